-- Remembers that a destination did not take a batch. ARGV: name, token, pause_ms, error, 1 = odd.
-- Returns 1 = written, 0 = the lock is lost: what failed is not what the destination is now, or another is at it.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
if redis.call('GET', lock_key(name)) ~= ARGV[2] then return 0 end
redis.call('HINCRBY', state, 'failures', 1)
redis.call('HSET', state, 'next_try_at_ms', now_ms() + ARGV[3], 'error', ARGV[4])
if ARGV[5] == '1' then redis.call('HINCRBY', state, 'odd', 1) else redis.call('HDEL', state, 'odd') end
return 1
