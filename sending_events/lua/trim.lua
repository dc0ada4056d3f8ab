-- Removes what every destination has taken, then at most `limit` of the oldest entries beyond max_backlog.
-- ARGV: max_backlog, limit, names of the configured destinations; without a name nobody waits for anything.
-- Returns {removed, still too many, lost for each name …}.
redis.call('DEL', '{ms}:none')
local first_name, cursors, slowest = 3, {}, nil
for a = first_name, #ARGV do
  local cursor = redis.call('GET', cursor_key(ARGV[a])) or '0-0'
  cursors[a] = cursor
  if slowest == nil or is_less(cursor, slowest) then slowest = cursor end
end

local removed
if slowest then
  removed = redis.call('XTRIM', EVENTS, 'MINID', just_after(slowest))
else
  removed = redis.call('XTRIM', EVENTS, 'MAXLEN', 0)
end

local too_many = redis.call('XLEN', EVENTS) - ARGV[1]
local out = { 0, 0 }
for a = first_name, #ARGV do out[a] = 0 end
if too_many > 0 then
  local oldest = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', math.min(too_many, tonumber(ARGV[2])))
  for a = first_name, #ARGV do
    local lost = 0
    for e = #oldest, 1, -1 do
      if not is_less(cursors[a], oldest[e][1]) then break end
      lost = lost + 1
    end
    if lost > 0 then
      out[a] = lost
      redis.call('HINCRBY', COUNTERS, 'events_lost:' .. ARGV[a], lost)
      redis.call('HINCRBY', state_key(ARGV[a]), 'position', lost)
    end
  end
  removed = removed + redis.call('XTRIM', EVENTS, 'MINID', just_after(oldest[#oldest][1]))
  out[2] = too_many - #oldest
end
if removed > 0 then redis.call('HINCRBY', COUNTERS, 'events_trimmed', removed) end
out[1] = removed
return out
