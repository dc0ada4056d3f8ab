-- What the operator sees of the routes. ARGV: limits of the routes as JSON.
-- Returns {views of the routes as JSON, the ledger of each as in its hash …}.
may_grow()
local now, views, out = exact_now_ms(), {}, {}
for n, limits in ipairs(cjson.decode(ARGV[1])) do
  local route = open_route(limits, now)
  slide(route, now)
  save_route(route)
  views[n] = view_of(route, limits, now)
  out[n + 1] = redis.call('HGETALL', '{ms}:sent:' .. limits.name)
end
out[1] = cjson.encode(views)
return out
