-- Gives a parked or held message up. The caller decided about its recipients by what it read; this is written only
-- while that is still so: the states, and how many attempts SES accepted (an answer may come after its lease).
-- ARGV: id, states as read, accepted attempts as read, states from now on, why, keep_finished_ms, keep_headers_ms,
-- counters as JSON, events …
-- Returns 1 = the message is done, 0 = nothing was written: it changed, or it is in neither place.
may_grow()
local id, now = ARGV[1], now_ms()
local key = M .. id
local states, at = unpack(redis.call('HMGET', key, 'r', 'at'))

local function accepted_attempts()
  local found = 0
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) == 'a:' and cjson.decode(redis.call('HGET', key, field)).outcome == 'accepted' then
      found = found + 1
    end
  end
  return found
end

if states ~= ARGV[2] or accepted_attempts() ~= tonumber(ARGV[3]) then return 0 end
if not (leave('parked', id) or leave('held', id)) then return 0 end
redis.call('HSET', key, 'r', ARGV[4])
for a = 9, #ARGV do redis.call('XADD', EVENTS, '*', 'd', ARGV[a]) end
for name, by in pairs(cjson.decode(ARGV[8])) do count_fact(now, name, by) end
finish(id, at, now, ARGV[5], ARGV[6], ARGV[7])
return 1
