-- How many entries wait for each destination, without reading them. ARGV: names. Writes nothing.
-- Position and the number of trimmed entries count the same thing from the same start, so that their difference is
-- the place of the cursor in the stream; the ends of the stream are compared first, where it is certain.
local length, out = redis.call('XLEN', EVENTS), {}
local first = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
for a = 1, #ARGV do
  local cursor = redis.call('GET', cursor_key(ARGV[a])) or (is_of_a_set(ARGV[a]) and last_id() or '0-0')
  if length == 0 or not is_less(cursor, last[1]) then
    out[a] = 0
  elseif is_less(cursor, first[1]) then
    out[a] = length
  else
    local position = tonumber(redis.call('HGET', state_key(ARGV[a]), 'position') or 0)
    out[a] = math.max(1, math.min(length, trimmed() + length - position))
  end
end
return out
