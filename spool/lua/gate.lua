-- Lets waiting messages go as the tokens come. Any worker may run it at any moment; what it costs depends on what it
-- releases. ARGV: limits of the routes as JSON, how many messages at most (0 = it only looks), nudge_ms.
-- Returns {ids that became due, ms to the next look, views of the routes as JSON, pauses as in their hash}.
may_grow()
local now = exact_now_ms()
local now_whole = math.floor(now)
local limits_of_routes, most, nudge_ms = cjson.decode(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local released, next_ms = {}, 1000

-- Released messages that nobody has claimed: more of them would only lie in `due`, out of their order.
local UNCLAIMED_MS, MOST_UNCLAIMED = 10000, 2000
local LEAST_TURN = 50
local PROBE_DISTANCE_MS, NO_ROOM_MS = 1000, 50
-- Senders whose virtual time is remembered though they wait for nothing; and messages of lanes that the settings do
-- not know any more, in one look.
local MOST_SERVED, MOST_STRAYS = 10000, 20

local function room()
  return redis.call('ZCARD', RELEASED) < MOST_UNCLAIMED and #released < most
end

local function look_again_in(ms) next_ms = math.min(next_ms, math.max(1, math.ceil(ms))) end

-- First message of a sender's line that is there, with its seat; a sender without one leaves the schedule.
local function head_of(at, sender)
  while true do
    local id = redis.call('ZRANGE', line_key(at, sender), 0, 0)[1]
    if not id then
      redis.call('ZREM', lane_key(at), sender)
      return nil
    end
    local seat = redis.call('HGET', M .. id, 'l')
    if seat then return id, cjson.decode(seat) end
    redis.call('ZREM', line_key(at, sender), id)
  end
end

local function make_due(id, turn)
  leave('parked', id)
  enter('due', id, now_whole + nudge_ms, '')
  if turn then redis.call('HSET', M .. id, 'g', turn) end
  redis.call('ZADD', RELEASED, now_whole, id)
  released[#released + 1] = id
end

-- Gives the sender's first message its turn. Returns its recipients.
local function serve(route, limits, lane, sender, id, seat)
  local at = at_of(seat)
  local quantum = route.rate == UNLIMITED and seat.recipients or math.max(LEAST_TURN, math.ceil(route.rate / 2))
  local recipients = math.max(1, math.min(seat.recipients, quantum))
  make_due(id, text_of(recipients) .. ' ' .. at)
  charge(at, sender, recipients, seat.weight)
  debit_releases(route, limits, lane, recipients)
  return recipients
end

local function bench(at, sender, name)
  unschedule(at, sender)
  redis.call('HSET', benched_key(at), sender, name)
end

local function bring_back(at)
  local flat = redis.call('HGETALL', benched_key(at))
  for n = 1, #flat, 2 do
    if not pauses_at(now)['user:' .. flat[n + 1]] then
      redis.call('HDEL', benched_key(at), flat[n])
      schedule(at, flat[n])
    end
  end
end

-- Whoever is behind the lane's time anyway need not be remembered; with nobody waiting and tokens left, nobody.
local function forget_served(route, limits, lane)
  local at = limits.name .. ':' .. lane
  if redis.call('HEXISTS', LANES, at .. ':v') == 0 then return end
  local is_calm = route.rate == UNLIMITED or number(route, 'r:' .. lane) >= 1
  if is_calm and redis.call('EXISTS', lane_key(at), benched_key(at)) == 0 then
    redis.call('DEL', served_key(at))
    redis.call('HDEL', LANES, at .. ':v')
  else
    redis.call('ZREMRANGEBYSCORE', served_key(at), '-inf', virtual_time(at))
    redis.call('ZREMRANGEBYRANK', served_key(at), 0, -MOST_SERVED - 1)
  end
end

-- One probe while the route is in trouble: the first message that may go.
local function may_probe(route)
  local wait = math.max(number(route, 'tp', 0), number(route, 'tr', 0)) - now
  if wait > 0 then look_again_in(wait) end
  return wait <= 0
end

local function release_lane(route, limits, lane)
  local at = limits.name .. ':' .. lane
  while room() do
    local sender = redis.call('ZRANGE', lane_key(at), 0, 0)[1]
    if not sender then return end
    local wait = ms_until_quota(route, limits, lane, now, route.given)
    if wait == 0 then wait = ms_until_release(route, limits, lane, now) end
    if wait == 0 and route.values.t and not may_probe(route) then return end
    if wait > 0 then return look_again_in(wait) end
    local id, seat = head_of(at, sender)
    if id and pauses_at(now)['user:' .. seat.sender] then
      bench(at, sender, seat.sender)
    elseif id then
      route.given = route.given + serve(route, limits, lane, sender, id, seat)
      if route.values.t then put(route, 'tr', now_whole + PROBE_DISTANCE_MS) end
    end
  end
  look_again_in(NO_ROOM_MS)
end

local function release_route(route, limits)
  if ms_until_resumed(now, 'all', 'route:' .. limits.name) > 0 then return end
  route.given = 0  -- recipients of turns that are not taken yet
  for _, lane in ipairs(limits.lanes) do
    bring_back(limits.name .. ':' .. lane[1])
    if ms_until_resumed(now, 'lane:' .. lane[1]) == 0 then release_lane(route, limits, lane[1]) end
    forget_served(route, limits, lane[1])
  end
end

-- Messages of a route or lane that the settings do not have any more: their next holder chooses anew.
local function release_strays(known)
  local flat = redis.call('HGETALL', LANES)
  for n = 1, #flat, 2 do
    local at = string.match(flat[n], '^(.*):messages$')
    if at and not known[at] then
      for _ = 1, MOST_STRAYS do
        local sender = redis.call('ZRANGE', lane_key(at), 0, 0)[1]
        local id = sender and head_of(at, sender)
        if id then make_due(id) end
      end
      bring_back(at)
    end
  end
end

-- Pauses whose time is over go; the others count what they keep (lanes.lua), as long as somebody waits.
local function keep_pauses()
  local flat, scopes = redis.call('HGETALL', PAUSES), pauses_at(now)
  for n = 1, #flat, 2 do
    if not scopes[flat[n]] then redis.call('HDEL', PAUSES, flat[n]) end
  end
  local last = tonumber(redis.call('HGET', KEPT, 'at') or now_whole)
  local since = now_whole - last
  for scope in pairs(scopes) do redis.call('HINCRBY', KEPT, scope, text_of(since)) end
  for _, route in pairs(routes) do
    local is_kept = route.values.t and route.values.ta ~= '0' and not scopes['route:' .. route.name]
    if is_kept then redis.call('HINCRBY', KEPT, 'route:' .. route.name, text_of(since)) end
  end
  if redis.call('EXISTS', LANES) == 1 then redis.call('HSET', KEPT, 'at', now_whole) else redis.call('DEL', KEPT) end
end

redis.call('ZREMRANGEBYSCORE', RELEASED, '-inf', now_whole - UNCLAIMED_MS)
local views, known = {}, {}
for n, limits in ipairs(limits_of_routes) do
  local route = open_route(limits, now)
  slide(route, now)
  release_route(route, limits)
  save_route(route)
  views[n] = view_of(route, limits, now)
  for _, lane in ipairs(limits.lanes) do known[limits.name .. ':' .. lane[1]] = true end
end
keep_pauses()
if most > 0 then release_strays(known) end
return { released, next_ms, cjson.encode(views), redis.call('HGETALL', PAUSES) }
