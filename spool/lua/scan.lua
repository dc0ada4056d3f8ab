-- A part of a place, for acts by filter: nothing is changed and nothing is kept between two calls.
-- ARGV: place, cursor ('0' = from the beginning), about how many.
-- Returns {next cursor ('0' = the end), [{id and the fields of SUMMARY} …]}.
-- ZSCAN shows whatever is there from the first call to the last; what comes or goes meanwhile perhaps, and now and
-- then one twice.
local out = {}
local cursor, found = unpack(redis.call('ZSCAN', PREFIX .. ARGV[1], ARGV[2], 'COUNT', ARGV[3]))
for n = 1, #found, 2 do
  local key = M .. found[n]
  if redis.call('EXISTS', key) == 1 then
    out[#out + 1] = { found[n], unpack(redis.call('HMGET', key, unpack(SUMMARY))) }
  end
end
return { cursor, out }
