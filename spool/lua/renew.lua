-- Prolongs leases. ARGV: lease_ms, then id, fence, id, fence … Returns for each 1 = prolonged, 0 = lost.
-- A lease that has ended and was not swept yet is prolonged too: nobody else has had the message.
may_grow()
local now, out = now_ms(), {}
for a = 2, #ARGV, 2 do
  local key = M .. ARGV[a]
  local fence, place = unpack(redis.call('HMGET', key, 'f', 'p'))
  local mine = fence == ARGV[a + 1] and place == 'leased'
  if mine then
    redis.call('ZADD', PREFIX .. 'leased', now + ARGV[1], ARGV[a])
    redis.call('HSET', key, 'until', now + ARGV[1])
  end
  out[#out + 1] = mine and 1 or 0
end
return out
