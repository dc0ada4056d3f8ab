-- Takes the right to serve a destination. ARGV: name, token, lock_ms, version of the sets that the caller knows.
-- Returns {cursor, failures so far, now_ms, skip_after, skip_to, odd failures so far}; {} when another has it, the pause
-- after a failure is not over, or it is one of a set that has no cursor: it was disabled a moment ago; OUTDATED when
-- the destination has changed since that version. One of the settings that is new begins at the oldest entry kept.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
if is_outdated(name, ARGV[4]) then return OUTDATED end
local failures, next_try, skip_after, skip_to, odd =
  unpack(redis.call('HMGET', state, 'failures', 'next_try_at_ms', 'skip_after', 'skip_to', 'odd'))
local now, cursor = now_ms(), redis.call('GET', cursor_key(name))
if next_try and tonumber(next_try) > now then return {} end
if not cursor and is_of_a_set(name) then return {} end
if not redis.call('SET', lock_key(name), ARGV[2], 'NX', 'PX', ARGV[3]) then return {} end
if not cursor then
  cursor = '0-0'
  redis.call('SET', cursor_key(name), cursor)
  redis.call('HSET', state, 'position', trimmed())
end
return { cursor, tonumber(failures or 0), now, skip_after or '', skip_to or '', tonumber(odd or 0) }
