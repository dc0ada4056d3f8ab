-- Which destinations may be offered something now. ARGV: names. Writes nothing.
-- Returns for each its cursor, or '' when nothing is behind it, another process serves it, or its pause is not over.
local last, now, out = last_id(), now_ms(), {}
for a = 1, #ARGV do
  local cursor = redis.call('GET', cursor_key(ARGV[a])) or '0-0'
  out[a] = ''
  if is_less(cursor, last) and redis.call('EXISTS', lock_key(ARGV[a])) == 0 then
    local next_try = redis.call('HGET', state_key(ARGV[a]), 'next_try_at_ms')
    if not next_try or tonumber(next_try) <= now then out[a] = cursor end
  end
end
return out
