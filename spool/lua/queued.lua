-- Some of the messages that wait for a route, each time of other senders. ARGV: route, how many about.
-- Returns [id, seat as JSON, …].
local out, most, each = {}, tonumber(ARGV[2]), 10
local flat = redis.call('HGETALL', LANES)
for n = 1, #flat, 2 do
  local at = string.match(flat[n], '^(.*):messages$')
  if at and string.match(at, '^[^:]*') == ARGV[1] then
    for _, sender in ipairs(redis.call('ZRANDMEMBER', lane_key(at), math.ceil(most / each))) do
      for _, id in ipairs(redis.call('ZRANGE', line_key(at, sender), 0, each - 1)) do
        local seat = redis.call('HGET', M .. id, 'l')
        if seat and #out < 2 * most then
          out[#out + 1] = id
          out[#out + 1] = seat
        end
      end
    end
  end
end
return out
