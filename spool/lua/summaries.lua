-- What listings and events need of many messages. ARGV: ids. Returns for each the fields of SUMMARY or {}.
local out = {}
for a = 1, #ARGV do
  local key = M .. ARGV[a]
  out[a] = redis.call('EXISTS', key) == 1 and redis.call('HMGET', key, unpack(SUMMARY)) or {}
end
return out
