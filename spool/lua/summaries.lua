-- What listings and events need of many messages. ARGV: ids. Returns for each {m, at, p, r, why, until} or {}.
local out = {}
for a = 1, #ARGV do
  local key = M .. ARGV[a]
  out[a] = redis.call('EXISTS', key) == 1 and redis.call('HMGET', key, 'm', 'at', 'p', 'r', 'why', 'until') or {}
end
return out
