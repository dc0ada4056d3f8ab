-- What the operator sees of the routes. ARGV: limits of the routes as JSON, how many messages of a place to look at.
-- Returns {views of the routes as JSON, recipients that wait and stand in no lane yet, the ledger of each as in its
-- hash …}.
may_grow()
local now, views, out = exact_now_ms(), {}, {}

-- Recipients of due and leased messages for whom no call has begun; of many messages the first say it for all.
local function unqueued(most)
  local sum = 0
  for _, place in ipairs({ 'due', 'leased' }) do
    local ids, recipients = most > 0 and redis.call('ZRANGE', PREFIX .. place, 0, most - 1) or {}, 0
    for _, id in ipairs(ids) do
      local _, waiting = string.gsub(redis.call('HGET', M .. id, 'r') or '', 'w', '')
      recipients = recipients + waiting
    end
    if #ids > 0 then sum = sum + recipients * redis.call('ZCARD', PREFIX .. place) / #ids end
  end
  return math.floor(sum + 0.5)
end

for n, limits in ipairs(cjson.decode(ARGV[1])) do
  local route = open_route(limits, now)
  slide(route, now)
  save_route(route)
  views[n] = view_of(route, limits, now)
  out[n + 2] = redis.call('HGETALL', '{ms}:sent:' .. limits.name)
end
out[1], out[2] = cjson.encode(views), unqueued(tonumber(ARGV[2]))
return out
