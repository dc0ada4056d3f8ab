-- Moves a cursor past entries that are taken, were not wanted, or are refused for good, and forgets former failures.
-- ARGV: name, token, from, to, entries, taken, most dead letters, counter of the dead letters, then for each of them:
-- id, d, why.
-- Returns 1 = moved, 0 = the lock is lost or another moved the cursor: what was taken will be offered again.
redis.call('DEL', '{ms}:none')
local name, taken = ARGV[1], tonumber(ARGV[6])
if redis.call('GET', lock_key(name)) ~= ARGV[2] then return 0 end
if redis.call('GET', cursor_key(name)) ~= ARGV[3] then return 0 end
local refused = (#ARGV - 8) / 3
-- Only the destination's own answer ends its failures: what it did not want, or was too old for it, says nothing.
if taken > 0 or (refused > 0 and ARGV[8] == 'events_refused') then
  redis.call('HDEL', state_key(name), 'failures', 'next_try_at_ms', 'error', 'odd')
end
move(name, ARGV[4], ARGV[5], last_id())
for a = 9, #ARGV, 3 do bury(name, ARGV[7], ARGV[a], ARGV[a + 1], ARGV[a + 2]) end
if refused > 0 then redis.call('HINCRBY', COUNTERS, ARGV[8] .. ':' .. name, refused) end
if taken > 0 then redis.call('HINCRBY', COUNTERS, 'events_published:' .. name, taken) end
return 1
