-- Put after quota.lua in settle.lua: what calls tell about their routes, and what calls are granted.

local ACCOUNT_PROBE_MS, ACCOUNT_PROBE_MAX_MS = 5000, 300000
local WAY_PROBE_MS, WAY_PROBE_MAX_MS = 1000, 30000
local FAILURES_IN_A_ROW = 5
local CUT_DISTANCE_MS, CUT, LOWEST_FACTOR = 1000, 0.7, 1 / 64
local DAILY_MS, DAILY_MAX_MS = 60000, 600000

-- Values of `ta` and what counts more: calls fail on the way, are not allowed, are refused for the account's sake.
-- Perhaps only some senders are not allowed: then the next probe, of another one, must not be far.
local WAY, DENIED, ACCOUNT = '0', 'd', '1'
local WEIGHT = { [WAY] = 1, [DENIED] = 2, [ACCOUNT] = 3 }

local function probe_distance(route)
  local is_account, probes = route.values.ta == ACCOUNT, math.min(number(route, 'tn', 0), 20)
  local first = is_account and ACCOUNT_PROBE_MS or WAY_PROBE_MS
  return math.min(is_account and ACCOUNT_PROBE_MAX_MS or WAY_PROBE_MAX_MS, first * 2 ^ probes)
end

-- Calls that were under way when the trouble began fail as well: only the answer of a probe doubles the distance.
local function note_trouble(route, fact, now, kind)
  local is_known = route.values.t and WEIGHT[route.values.ta] >= WEIGHT[kind]
  if not is_known then
    put(route, 'ts', math.floor(now))
    put(route, 'ta', kind)
    put(route, 'tn', 0)
  end
  if route.values.ta == kind then
    put(route, 't', fact.code)
    put(route, 'tw', fact.words)
  end
  if is_known and route.values.tg == '1' then put(route, 'tn', number(route, 'tn', 0) + 1) end
  if not is_known or route.values.tg == '1' then put(route, 'tp', math.floor(now + probe_distance(route))) end
  clear(route, 'tg', 'tr')
end

-- One message alone may be the reason; a success of any other begins the count anew.
local function note_failure(route, fact, now, kind)
  put(route, 'uf', number(route, 'uf', 0) + 1)
  if route.values.t or number(route, 'uf', 0) >= FAILURES_IN_A_ROW then note_trouble(route, fact, now, kind) end
end

local NOTE = {
  ok = function(route)
    clear(route, 't', 'tw', 'ts', 'ta', 'tp', 'tn', 'tg', 'tr', 'uf')
  end,
  throttled = function(route, _, now)
    if now - number(route, 'cut', 0) < CUT_DISTANCE_MS then return end
    local factor = math.max(LOWEST_FACTOR, factor_of(route, now) * CUT)
    put(route, 'fa', factor)
    put(route, 'ft', math.floor(now))
    put(route, 'cut', math.floor(now))
    route.is_open = false
    if route.values.base then  -- from now on a second of silence, wherever the bucket was last looked at
      local rate = effective(number(route, 'base'), factor)
      local seconds = math.max(0, now - number(route, 'bt', now)) / 1000
      put(route, 'c', math.min(number(route, 'c', 1), 1 - rate - seconds * rate))
    end
  end,
  daily = function(route, _, now)
    if now < number(route, 'du', 0) then return end  -- calls that were under way when it was told
    local again = now - number(route, 'du', 0) < DAILY_MAX_MS and number(route, 'dk', 0) + 1 or 0
    put(route, 'dk', again)
    put(route, 'ds', math.floor(now))
    put(route, 'du', math.floor(now + math.min(DAILY_MAX_MS, DAILY_MS * 2 ^ math.min(again, 10))))
  end,
  refused = function() end,  -- for its recipients only
  trouble = function(route, fact, now) note_trouble(route, fact, now, ACCOUNT) end,
  denied = function(route, fact, now) note_failure(route, fact, now, DENIED) end,
  unreachable = function(route, fact, now) note_failure(route, fact, now, WAY) end,
}

-- SES counts nobody of a call that it did not take. To our buckets such a call is a tenth of a recipient: nobody's good
-- mail waits for it, and however many of them there are, they have an end. After a throttle answer nothing flows back.
local REFUSED_COSTS = 0.1

local function give_back(route, fact, now)
  note_taken(route, -fact.recipients, now)
  if fact.kind == 'throttled' or fact.kind == 'daily' or not route.values.base then return end
  local full = capacity(effective(number(route, 'base'), factor_of(route, now)))
  local fields = { 'c', 'c:' .. (fact.lanes[1] or ''), 's:' .. (fact.lanes[1] or '') }
  for _, lane in ipairs(fact.lanes) do fields[#fields + 1] = 'r:' .. lane end
  for _, field in ipairs(fields) do
    local tokens = route.values[field] and number(route, field)
    if tokens and tokens < full then put(route, field, math.min(full, tokens + fact.recipients - REFUSED_COSTS)) end
  end
end

local function note_facts(facts, now)
  for _, fact in ipairs(facts) do
    local route = load_route(fact.route)
    NOTE[fact.kind](route, fact, now)
    clear(route, 'tg')  -- answered, whatever it was
    if fact.recipients > 0 then give_back(route, fact, now) end
    route.is_noted = true
  end
end

-- A turn of a message for this route and lane; nil without one.
local function turn_at(seat, field)
  local recipients, at = string.match(field or '', '^(%d+) (.*)$')
  return at == at_of(seat) and tonumber(recipients) or nil
end

-- Somebody waits in the lane, or in one before it; those whom an operator paused do not count.
local function is_queue(limits, name)
  for n = 1, (lane_of(limits, name)) do
    if redis.call('EXISTS', lane_key(limits.name .. ':' .. limits.lanes[n][1])) == 1 then return true end
  end
  return false
end

-- What was noted and paid. A call that was denied leaves nothing behind.
local function save_noted(now)
  for _, route in pairs(routes) do
    if route.is_noted then save_route(route, now) end
  end
end

-- Why a call may not be made now, and for how long; nil = it may.
local function denial(route, take, turn, now)
  local limits, seat = take.limits, take.seat
  local wait = ms_until_resumed(now, 'all', 'route:' .. seat.route, 'lane:' .. seat.lane, 'user:' .. seat.sender)
  if wait > 0 then return 'paused', wait end
  wait = route.values.t and number(route, 'tp', 0) - now or 0
  if wait > 0 then return 'trouble', wait end
  wait = ms_until_quota(route, limits, seat.lane, now)
  if wait > 0 then return 'daily quota', wait end
  if not turn and is_queue(limits, seat.lane) then return 'queue', 0 end
  wait = ms_until_call(route, limits, seat.lane, now)
  if wait > 0 then return 'rate', wait end
end

-- What a granted call costs. The turn pays for the release; who has none, or not enough of it, pays now.
local function pay(id, route, take, turn, now)
  local limits, seat, recipients = take.limits, take.seat, take.recipients
  local unpaid = math.max(0, recipients - (turn or 0))
  debit_call(route, limits, seat.lane, recipients)
  debit_releases(route, limits, seat.lane, unpaid)
  -- Who takes what others will miss is served later than they; as long as there is enough nobody keeps accounts.
  if unpaid > 0 and route.rate ~= UNLIMITED and number(route, 'c') < 1 then
    charge(at_of(seat), redis.sha1hex(seat.sender), unpaid, seat.weight)
  end
  if turn and turn > recipients then
    redis.call('HSET', M .. id, 'g', text_of(turn - recipients) .. ' ' .. at_of(seat))
  elseif turn then
    redis.call('HDEL', M .. id, 'g')
  end
  if route.values.t then  -- a probe that has no answer yet counts as a failed one: calls may hang for long
    if route.values.tg == '1' then put(route, 'tn', number(route, 'tn', 0) + 1) end
    put(route, 'tp', math.floor(now + probe_distance(route)))
    put(route, 'tg', '1')
  end
  note_taken(route, recipients, now)
  route.is_noted = true
end

-- Takes the recipients of a call: nil = granted and paid, else {why, ms}.
local function take_or_deny(id, take, field, is_hold_wanted, now)
  if is_hold_wanted then return { 'paused', 0 } end  -- the holder's move ends in held
  local route, turn = open_route(take.limits, now), turn_at(take.seat, field)
  local why, wait = denial(route, take, turn, now)
  if why then return { why, math.ceil(wait) } end
  pay(id, route, take, turn, now)
  return nil
end
