-- Whether this process may ask SES for the figures of a route: one question at a time, whoever comes first.
-- ARGV: route, distance to the last question in ms. Returns the server's ms, or 0 = somebody asked lately.
-- What is taken from here on is not in SES's answer; what is under way may be in it or not, and counts besides.
may_grow()
local now, route = now_ms(), load_route(ARGV[1])
if now - number(route, 'ask', 0) < tonumber(ARGV[2]) then return 0 end
put(route, 'ask', now)
put(route, 'since', settled(route, now))
save_route(route)
return now
