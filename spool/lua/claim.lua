-- Leases due messages to one worker. A message that is not due (a late or doubled nudge) is passed over.
-- ARGV: worker, lease_ms, ids. Returns for each leased message {id, fence, all fields of its hash}.
may_grow()
local now, out = now_ms(), {}
for a = 3, #ARGV do
  local id = ARGV[a]
  local key = M .. id
  local is_due = redis.call('ZREM', PREFIX .. 'due', id) == 1
  local place, fence = unpack(is_due and redis.call('HMGET', key, 'p', 'f') or {})
  if place then
    fence = (fence or 0) + 1
    redis.call('ZADD', PREFIX .. 'leased', now + ARGV[2], id)
    redis.call('HSET', key, 'f', fence, 'p', 'leased', 'until', now + ARGV[2], 'why', '', 'w', ARGV[1], 'q', '')
    out[#out + 1] = { id, fence, redis.call('HGETALL', key) }
  end
end
if #ARGV > 2 then redis.call('ZREM', RELEASED, unpack(ARGV, 3)) end
return out
