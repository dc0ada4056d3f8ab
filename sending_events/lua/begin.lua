-- Takes the right to serve a destination. ARGV: name, token, lock_ms, start.
-- Returns {cursor, failures so far, now_ms, skip_after, skip_to, odd failures so far}, or {} when another has it or the pause after a failure
-- is not over. A destination without a cursor is new: with start 'oldest' it begins at the oldest entry that is kept,
-- with 'end' after the newest; with 'never' there is nothing for it: it was disabled a moment ago.
redis.call('DEL', '{ms}:none')
local name, state = ARGV[1], state_key(ARGV[1])
local failures, next_try, skip_after, skip_to, odd =
  unpack(redis.call('HMGET', state, 'failures', 'next_try_at_ms', 'skip_after', 'skip_to', 'odd'))
local now = now_ms()
if next_try and tonumber(next_try) > now then return {} end
if ARGV[4] == 'never' and redis.call('EXISTS', cursor_key(name)) == 0 then return {} end
if not redis.call('SET', lock_key(name), ARGV[2], 'NX', 'PX', ARGV[3]) then return {} end
local cursor = redis.call('GET', cursor_key(name))
if not cursor then
  if ARGV[4] == 'end' then
    start_at_end(name)
  else
    redis.call('SET', cursor_key(name), '0-0')
    redis.call('HSET', state, 'position', trimmed())
  end
  cursor = redis.call('GET', cursor_key(name))
end
return { cursor, tonumber(failures or 0), now, skip_after or '', skip_to or '', tonumber(odd or 0) }
