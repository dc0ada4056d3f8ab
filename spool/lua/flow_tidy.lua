-- Forgets messages whose access is over. ARGV: how many at most.
-- Returns [[id, names that are not needed any more …] …].
may_grow()
local out = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', FLOWS, '-inf', now_ms(), 'LIMIT', 0, ARGV[1])) do
  local names = redis.call('HMGET', FLOW .. id, 'base', 'latest', 'put')
  redis.call('DEL', FLOW .. id)
  redis.call('ZREM', FLOWS, id)
  out[#out + 1] = { id, unpack(unneeded(names, {})) }
end
return out
