-- Sets a cursor back, so that what was taken is offered again. ARGV: name, to, position, skip_after ('' = none).
-- With skip_after only the entries up to it come again: those between it and where the cursor is now do not.
-- Returns 1, or 0 when the cursor is not behind `to`. A process that serves the destination now loses its turn: it
-- moves no cursor and notes no failure.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
local cursor = redis.call('GET', cursor_key(name))
if not cursor or not is_less(ARGV[2], cursor) then return 0 end
redis.call('DEL', lock_key(name))
redis.call('SET', cursor_key(name), ARGV[2])
redis.call('HSET', state, 'position', ARGV[3])
redis.call('HDEL', state, 'failures', 'next_try_at_ms', 'error', 'odd', 'skip_after', 'skip_to')
if ARGV[4] ~= '' and is_less(ARGV[4], cursor) then
  redis.call('HSET', state, 'skip_after', ARGV[4], 'skip_to', cursor)
end
return 1
