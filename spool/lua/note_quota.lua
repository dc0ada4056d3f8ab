-- What SES said about the limits of a route. ARGV: route, why it did not say or '', and if it did: recipients per
-- second, recipients per 24 hours (below nought = no limit), recipients of the last 24 hours, when it was asked in ms.
-- Returns 1 = noted, 0 = SES was asked again meanwhile.
may_grow()
local route = load_route(ARGV[1])
if ARGV[2] ~= '' then
  put(route, 'qe', ARGV[2])
  save_route(route)
  return 1
end
local asked, question = tonumber(ARGV[6]), number(route, 'ask', 0)
if asked < math.max(question, number(route, 'at', 0)) then return 0 end
put(route, 'rate', ARGV[3])
put(route, 'limit', ARGV[4])
put(route, 'used', ARGV[5])
put(route, 'at', asked)
put(route, 'sn', asked == question and number(route, 'since', 0) or number(route, 'all', 0))
clear(route, 'qe')
local limit = tonumber(ARGV[4])
if asked > number(route, 'ds', 0) and (limit < 0 or tonumber(ARGV[5]) < limit) then clear(route, 'du', 'dk', 'ds') end
save_route(route)
return 1
