-- What the operator sees of the routes. ARGV: limits of the routes as JSON, how many messages of a place to look at.
-- Returns {views of the routes as JSON, recipients that wait and stand in no lane yet, the ledger of each as in its
-- hash …}.
may_grow()
-- So many states of recipients are looked at in a place: a millisecond.
local MOST_LETTERS = 20000
local now, views, out = exact_now_ms(), {}, {}

-- Recipients of due and leased messages for whom no call has begun; of many messages the first say it for all.
local function unqueued(most)
  local sum = 0
  for _, place in ipairs({ 'due', 'leased' }) do
    local ids = most > 0 and redis.call('ZRANGE', PREFIX .. place, 0, most - 1) or {}
    local recipients, looked_at, letters = 0, 0, 0
    for _, id in ipairs(ids) do
      if letters > MOST_LETTERS then break end
      local states = redis.call('HGET', M .. id, 'r') or ''
      local _, waiting = string.gsub(states, 'w', '')
      recipients, looked_at, letters = recipients + waiting, looked_at + 1, letters + #states
    end
    if looked_at > 0 then sum = sum + recipients * redis.call('ZCARD', PREFIX .. place) / looked_at end
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
