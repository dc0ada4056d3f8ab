-- What listings and events need of many messages. ARGV: ids. Returns for each the fields of SUMMARY or {}.
local out = {}
for a = 1, #ARGV do
  local fields = redis.call('HMGET', M .. ARGV[a], unpack(SUMMARY))
  out[a] = fields[1] and fields or {}
end
return out
