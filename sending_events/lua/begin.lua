-- Takes the right to serve a destination. ARGV: name, token, lock_ms.
-- Returns {cursor, failures so far}, or {} when another has it or the pause after a failure is not over.
-- A destination without a cursor is new: it starts at the oldest entry that is kept.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
local failures, next_try = unpack(redis.call('HMGET', state, 'failures', 'next_try_at_ms'))
if next_try and tonumber(next_try) > now_ms() then return {} end
if not redis.call('SET', lock_key(name), ARGV[2], 'NX', 'PX', ARGV[3]) then return {} end
local cursor = redis.call('GET', cursor_key(name))
if not cursor then
  cursor = '0-0'
  redis.call('SET', cursor_key(name), cursor)
  redis.call('HSET', state, 'position', trimmed())
end
return { cursor, tonumber(failures or 0) }
