-- Which destinations may be offered something now. ARGV: names. Writes nothing.
-- Returns for each its cursor; '' when nothing is behind it, another process serves it, or its pause is not over; '-'
-- for one of a set that has no cursor.
local last, now, out = last_id(), now_ms(), {}
for a = 1, #ARGV do
  local cursor = redis.call('GET', cursor_key(ARGV[a]))
  out[a] = ''
  if not cursor and is_of_a_set(ARGV[a]) then
    out[a] = '-'
  elseif is_less(cursor or '0-0', last) and redis.call('EXISTS', lock_key(ARGV[a])) == 0 then
    local next_try = redis.call('HGET', state_key(ARGV[a]), 'next_try_at_ms')
    if not next_try or tonumber(next_try) <= now then out[a] = cursor or '0-0' end
  end
end
return out
