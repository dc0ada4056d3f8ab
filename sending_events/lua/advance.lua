-- Moves a cursor past entries that are taken, or refused for good, and forgets former failures.
-- ARGV: name, token, from, to, entries, most dead letters, then for each refused entry: id, d, why.
-- Returns 1 = moved, 0 = the lock is lost or another moved the cursor: what was taken will be offered again.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
if redis.call('GET', lock_key(name)) ~= ARGV[2] then return 0 end
if redis.call('GET', cursor_key(name)) ~= ARGV[3] then return 0 end
redis.call('HDEL', state, 'failures', 'next_try_at_ms', 'error')
redis.call('SET', cursor_key(name), ARGV[4])
local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
if last == nil or last[1] == ARGV[4] then  -- at the end the position is known for certain
  redis.call('HSET', state, 'position', trimmed() + redis.call('XLEN', EVENTS))
else
  redis.call('HINCRBY', state, 'position', ARGV[5])
end
local refused = (#ARGV - 6) / 3
for a = 7, #ARGV, 3 do
  redis.call('XADD', dead_key(name), 'MAXLEN', ARGV[6], '*', 'id', ARGV[a], 'd', ARGV[a + 1], 'why', ARGV[a + 2])
end
if refused > 0 then redis.call('HINCRBY', COUNTERS, 'events_refused:' .. name, refused) end
if ARGV[5] - refused > 0 then redis.call('HINCRBY', COUNTERS, 'events_published:' .. name, ARGV[5] - refused) end
return 1
