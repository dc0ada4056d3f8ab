-- Remembers that a destination did not take a batch. ARGV: name, token, pause_ms, error.
-- Returns 1 = written, 0 = the lock is lost.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
if redis.call('GET', lock_key(name)) ~= ARGV[2] then return 0 end
redis.call('HINCRBY', state, 'failures', 1)
redis.call('HSET', state, 'next_try_at_ms', now_ms() + ARGV[3], 'error', ARGV[4])
return 1
