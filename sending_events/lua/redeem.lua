-- Puts dead letters back into the stream, for their destination only and with their event ids.
-- ARGV: name, then ids of entries of its dead-letter stream. Returns how many; what another took meanwhile is passed by.
-- A failing destination is tried again at once: a try that is under way notes no failure any more.
redis.call('DEL', '{ms}:none')
local name, done = ARGV[1], 0
for a = 2, #ARGV do
  local letter = redis.call('XRANGE', dead_key(name), ARGV[a], ARGV[a])[1]
  if letter then
    local fields = {}
    for f = 1, #letter[2], 2 do fields[letter[2][f]] = letter[2][f + 1] end
    redis.call('XADD', EVENTS, '*', 'd', fields.d, 'id', fields.id, 'only', name)
    redis.call('XDEL', dead_key(name), ARGV[a])
    done = done + 1
  end
end
if done > 0 and redis.call('HDEL', state_key(name), 'failures', 'next_try_at_ms', 'error', 'odd') > 0 then
  redis.call('DEL', lock_key(name))
end
return done
