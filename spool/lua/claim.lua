-- Leases due messages to one worker. A message that is not due (a late or doubled nudge) is passed over.
-- ARGV: worker, lease_ms, ids. Returns for each leased message {id, fence, all fields of its hash}.
may_grow()
local now, out = now_ms(), {}
for a = 3, #ARGV do
  local id = ARGV[a]
  local key = M .. id
  if redis.call('ZREM', PREFIX .. 'due', id) == 1 and redis.call('EXISTS', key) == 1 then
    local fence = redis.call('HINCRBY', key, 'f', 1)
    redis.call('ZADD', PREFIX .. 'leased', now + ARGV[2], id)
    redis.call('HSET', key, 'p', 'leased', 'until', now + ARGV[2], 'why', '', 'w', ARGV[1], 'q', '')
    out[#out + 1] = { id, fence, redis.call('HGETALL', key) }
  end
end
if #ARGV > 2 then redis.call('ZREM', RELEASED, unpack(ARGV, 3)) end
return out
