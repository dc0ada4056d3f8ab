-- The operator's pauses and drains, with the event that tells of them; on a full server too.
-- {ms}:pauses  hash  scope -> JSON {until, since, why, by}; a pause whose end has passed does not count
-- {ms}:drains  hash  worker -> since when it takes nothing new, ms
-- ARGV: hash ('pauses' or 'drains'), 'set' or 'cut', event or '', then for set: field, value, field, value …;
-- for cut: fields. Returns for set the number of fields, for cut those that were there. No event for nothing.
may_grow()
local hash, out = PREFIX .. ARGV[1], {}
if ARGV[2] == 'set' then
  for a = 4, #ARGV, 2 do
    redis.call('HSET', hash, ARGV[a], ARGV[a + 1])
    out[#out + 1] = ARGV[a]
  end
else
  for a = 4, #ARGV do
    if redis.call('HDEL', hash, ARGV[a]) == 1 then out[#out + 1] = ARGV[a] end
  end
end
if ARGV[3] ~= '' and #out > 0 then redis.call('XADD', EVENTS, '*', 'd', ARGV[3]) end
return out
