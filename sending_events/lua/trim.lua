-- Removes what every destination has taken and no replay may ask for any more, then the oldest entries beyond
-- max_backlog or max_bytes, of which what is kept for a replay goes first; in steps of at most `limit`.
-- ARGV: max_backlog, limit, replay_ms, replay_events, max_bytes (0 = any), version of the sets that the names are of
-- ('' = any), names of the destinations; without a name nobody waits for anything, and one of a set that has no cursor
-- waits for nothing. Returns {removed, still to be removed, lost for each name …}, or OUTDATED, with nothing removed,
-- when there is another version: there may be a destination that the caller does not know.
redis.call('DEL', '{ms}:none')
local version = redis.call('GET', VERSION)
if ARGV[6] ~= '' and version and version ~= ARGV[6] then return OUTDATED end
local first_name, max_bytes, cursors, slowest, slowest_name, last = 7, tonumber(ARGV[5]), {}, nil, nil, last_id()
for a = first_name, #ARGV do
  local cursor = redis.call('GET', cursor_key(ARGV[a])) or (is_of_a_set(ARGV[a]) and last or '0-0')
  cursors[a] = cursor
  if slowest == nil or is_less(cursor, slowest) then slowest, slowest_name = cursor, ARGV[a] end
end

-- Entries up to the slowest cursor are kept while they are younger than replay_ms and no more than replay_events.
local removed, spare = 0, 0
if not slowest then
  removed = redis.call('XTRIM', EVENTS, 'MAXLEN', 0)
else
  local end_of_taken, oldest_kept = just_after(slowest), string.format('%.0f-0', now_ms() - ARGV[3])
  if tonumber(ARGV[4]) == 0 or is_less(end_of_taken, oldest_kept) then oldest_kept = end_of_taken end
  removed = redis.call('XTRIM', EVENTS, 'MINID', oldest_kept)
  local taken = tonumber(redis.call('HGET', state_key(slowest_name), 'position') or 0) - trimmed() - removed
  if slowest == last then taken = redis.call('XLEN', EVENTS) end
  spare = oldest_kept == end_of_taken and 0 or taken - ARGV[4]
  if spare > 0 then
    local most = math.min(spare, tonumber(ARGV[2]))
    local first = redis.call('XRANGE', EVENTS, '-', '(' .. end_of_taken, 'COUNT', most)
    if #first > 0 then removed = removed + redis.call('XTRIM', EVENTS, 'MINID', just_after(first[#first][1])) end
    spare = #first < most and 0 or spare - #first
  end
end

local length = redis.call('XLEN', EVENTS)
local too_many = length - ARGV[1]
if max_bytes > 0 and length > 0 then
  -- Guessed from some of its nodes, all of about the same size. A server that does not tell sets no limit.
  local size = redis.pcall('MEMORY', 'USAGE', EVENTS, 'SAMPLES', 100)
  if type(size) == 'number' and size > max_bytes then
    too_many = math.max(too_many, math.ceil(length * (1 - max_bytes / size)))
  end
end
local out = { 0, spare }
for a = first_name, #ARGV do out[a - first_name + 3] = 0 end
if too_many > 0 then
  local oldest = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', math.min(too_many, tonumber(ARGV[2])))
  for a = first_name, #ARGV do
    local lost = 0
    for e = #oldest, 1, -1 do
      if not is_less(cursors[a], oldest[e][1]) then break end
      lost = lost + 1
    end
    if lost > 0 then
      out[a - first_name + 3] = lost
      redis.call('HINCRBY', COUNTERS, 'events_lost:' .. ARGV[a], lost)
      redis.call('HINCRBY', state_key(ARGV[a]), 'position', lost)
    end
  end
  removed = removed + redis.call('XTRIM', EVENTS, 'MINID', just_after(oldest[#oldest][1]))
  out[2] = math.max(spare, too_many - #oldest)
end
if removed > 0 then redis.call('HINCRBY', COUNTERS, 'events_trimmed', removed) end
out[1] = removed
return out
