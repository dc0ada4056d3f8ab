-- What the publisher needs of messages. ARGV: ids. Returns for each the fields of SUMMARY and the beginning of its content
-- ('' = it is not kept any more), or {}.
local out = {}
for a = 1, #ARGV do
  local fields = redis.call('HMGET', M .. ARGV[a], unpack(SUMMARY))
  if fields[1] then
    fields[#SUMMARY + 1] = head_of(ARGV[a]) or redis.call('GET', PREFIX .. 'h:' .. ARGV[a]) or ''
  end
  out[a] = fields[1] and fields or {}
end
return out
