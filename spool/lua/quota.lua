-- Put after places.lua in the scripts that look at the limits of routes (spool/sending_quota.py tells the algorithm).
--
-- {ms}:route:<name>  hash
--   c, c:<lane>   tokens of the calls, and of those of a lane whose share is below 100 %
--   r:<lane>      tokens of the releases of this lane and those before it     s:<lane>  of this lane alone
--   bt            when the tokens above were true, ms     base  recipients per second before factor and margin
--   fa, ft        learned factor and when it was so       cut   when it was last cut
--   rate, limit, used, at   what SES said and when it was asked        qe  why it did not
--   ask, since    when SES was last asked and `settled` then; sn the same for the figures above
--   mt, ma, mb    when `all` was last marked, its value then and at the mark before
--   day, tail, all  recipients of the last 24 hours, the oldest minute of them, recipients ever
--   du, dk, ds    until when the daily quota is ended by SES's word, how often in a row, since when
--   t, tw, ts, ta trouble: code, words, since, kind (1 = the account's, d = not allowed, 0 = on the way)
--   tp, tn, tg    next probe, probes so far, 1 = one is under way
--   tr            the gate released a probe: no other before          uf  unreachable so often in a row
-- {ms}:sent:<name>   hash  minute since the epoch -> recipients taken in it

local MINUTE_MS, DAY_MINUTES = 60000, 1440
-- SES's figure counts for so long; then our own ledger does.
local FRESH_MS = 180000
local RECOVERED_PER_MS = 0.01 / 1000
-- A wait that has no end of its own.
local LONG_MS = 60000
-- A call that takes longer is an exception.
local UNDER_WAY_MS = 5000
-- The releases are so far ahead of the calls.
local AHEAD_SECONDS = 0.5
local UNLIMITED = math.huge
local routes = {}

local function exact_now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + t[2] / 1000
end

-- Hash fields as they are, numbers as numbers; what is put or taken goes to the server by save_route, once in a script.
local function load_route(name)
  if routes[name] then return routes[name] end
  local flat = redis.call('HGETALL', '{ms}:route:' .. name)
  local route = { name = name, values = {}, changed = {}, taken = 0 }
  for n = 1, #flat, 2 do route.values[flat[n]] = flat[n + 1] end
  routes[name] = route
  return route
end

local function number(route, field, default) return tonumber(route.values[field] or default) end

local function put(route, field, value)
  if type(value) == 'number' then value = string.format(value == math.floor(value) and '%.0f' or '%.6f', value) end
  if route.values[field] == value then return end
  route.values[field], route.changed[field] = value, value
end

local function clear(route, ...)
  for _, field in ipairs({ ... }) do
    if route.values[field] then
      route.values[field], route.changed[field] = nil, nil
      redis.call('HDEL', '{ms}:route:' .. route.name, field)
    end
  end
end

local function save_route(route, now)
  local flat = {}
  for field, value in pairs(route.changed) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  if #flat > 0 then redis.call('HSET', '{ms}:route:' .. route.name, unpack(flat)) end
  route.changed = {}
  if route.taken ~= 0 then
    redis.call('HINCRBY', '{ms}:sent:' .. route.name, text_of(math.floor(now / MINUTE_MS)), text_of(route.taken))
    route.taken = 0
  end
end

-- Rates -----------------------------------------------------------------------------------------------------------

local function factor_of(route, now)
  return math.min(1, number(route, 'fa', 1) + math.max(0, now - number(route, 'ft', now)) * RECOVERED_PER_MS)
end

-- Recipients per second before factor and margin; and whether nobody but ourselves said so.
local function base_rate(route, limits)
  local said, cap = number(route, 'rate', 0), limits.rate
  if said > 0 and cap > 0 then return math.min(said, cap), false end
  if said > 0 or cap > 0 then return math.max(said, cap), false end
  if route.values.qe and not route.values.at then return limits.fallback, true end
  return UNLIMITED, false
end

local function effective(base, factor) return base * factor * (base < 4 and 0.95 or 0.99) end

-- Without a rate there are no tokens to take away: each throttle answer brings silence, the longer the more there were.
local function ms_of_silence(route, now)
  if not route.values.cut then return 0 end
  return math.max(0, number(route, 'cut') + 1000 / number(route, 'fa', 1) - now)
end

local function capacity(rate) return math.max(1, rate / 2) end

local function refill(route, field, rate, seconds)
  local tokens = number(route, field, 1) + seconds * rate
  put(route, field, math.min(capacity(rate), tokens))
end

-- Brings the buckets to this moment, once in a script. Without a finite rate there are none.
local function open_route(limits, now)
  local route = load_route(limits.name)
  if route.is_open then return route end
  route.is_open = true
  local base = base_rate(route, limits)
  route.rate = effective(base, factor_of(route, now))
  if route.rate == UNLIMITED then
    clear(route, 'base')
    return route
  end
  put(route, 'base', base)
  local seconds = math.max(0, now - number(route, 'bt', now)) / 1000
  put(route, 'bt', string.format('%.3f', math.max(now, number(route, 'bt', now))))
  refill(route, 'c', route.rate, seconds)
  for _, lane in ipairs(limits.lanes) do
    local name, share = lane[1], lane[2] / 100
    refill(route, 'r:' .. name, route.rate, seconds)
    if share < 1 then
      refill(route, 'c:' .. name, route.rate * share, seconds)
      refill(route, 's:' .. name, route.rate * share, seconds)
    end
  end
  return route
end

local function add_tokens(route, field, by) put(route, field, number(route, field, 1) + by) end

-- Tokens are kept with six digits: a full bucket may be a little below what is computed as its capacity.
local ROUNDED = 1e-5

local function ms_until(route, field, level, rate)
  return math.max(0, (level - ROUNDED - number(route, field, 1)) / rate * 1000)
end

-- Position and share of a lane.
local function lane_of(limits, name)
  for n, lane in ipairs(limits.lanes) do
    if lane[1] == name then return n, lane[2] / 100 end
  end
end

-- Debits the releases: those of this lane, and of every lane after it, for which so much less is left.
local function debit_releases(route, limits, name, recipients)
  if route.rate == UNLIMITED then return end
  local position, share = lane_of(limits, name)
  for n = position, #limits.lanes do add_tokens(route, 'r:' .. limits.lanes[n][1], -recipients) end
  if share < 1 then add_tokens(route, 's:' .. name, -recipients) end
end

local function ms_until_release(route, limits, name, now)
  if route.rate == UNLIMITED then return ms_of_silence(route, now) end
  local _, share = lane_of(limits, name)
  local wait = ms_until(route, 'r:' .. name, 1 - route.rate * AHEAD_SECONDS, route.rate)
  if share == 1 then return wait end
  local rate = route.rate * share
  return math.max(wait, ms_until(route, 's:' .. name, 1 - rate * AHEAD_SECONDS, rate))
end

-- A lane after the first passes only above the part of the bucket that its share leaves to the lanes before it: a
-- waiting call of theirs goes first, and no tokens are lost by it.
local function ms_until_call(route, limits, name, now)
  if route.rate == UNLIMITED then return ms_of_silence(route, now) end
  local position, share = lane_of(limits, name)
  local full = capacity(route.rate)
  local level = position == 1 and 1 or math.min(full, 1 + full * math.max(0.05, 1 - share))
  local wait = ms_until(route, 'c', level, route.rate)
  return share == 1 and wait or math.max(wait, ms_until(route, 'c:' .. name, 1, route.rate * share))
end

local function debit_call(route, limits, name, recipients)
  if route.rate == UNLIMITED then return end
  local _, share = lane_of(limits, name)
  add_tokens(route, 'c', -recipients)
  if share < 1 then add_tokens(route, 'c:' .. name, -recipients) end
end

-- The rolling 24 hours ---------------------------------------------------------------------------------------------

-- Forgets the minutes that are over. Amortised one command for each minute in which something was sent.
local function slide(route, now)
  local key, minute = '{ms}:sent:' .. route.name, math.floor(now / MINUTE_MS)
  local day, tail, first = number(route, 'day', 0), number(route, 'tail', minute), minute - DAY_MINUTES
  if day <= 0 or tail + 2 * DAY_MINUTES < minute then
    redis.call('DEL', key)
    day, tail, route.taken = 0, minute, 0
  end
  while tail < first do
    local field = text_of(tail)
    local gone = redis.call('HGET', key, field)
    if gone then
      redis.call('HDEL', key, field)
      day = day - gone
    end
    tail = tail + 1
  end
  put(route, 'day', day)
  put(route, 'tail', tail)
end

-- Recipients ever whose calls have ended, or fewer: those of the last seconds, twice UNDER_WAY_MS at most, may be under
-- way, neither in SES's figure nor taken after the question. They count twice for once, until SES is asked again: a day
-- of which the last recipients wait a minute longer is kept, and so is the share of a lane.
local function settled(route, now)
  local all, age = number(route, 'all', 0), now - number(route, 'mt', 0)
  if age >= 2 * UNDER_WAY_MS then return all end
  return math.min(all, number(route, age >= UNDER_WAY_MS and 'ma' or 'mb', 0))
end

-- `recipients` below nought: SES did not take them after all.
local function note_taken(route, recipients, now)
  slide(route, now)
  local age = now - number(route, 'mt', 0)
  if age < 0 or age >= UNDER_WAY_MS then
    put(route, 'mb', settled(route, now))
    put(route, 'ma', number(route, 'all', 0))
    put(route, 'mt', math.floor(now))
  end
  if recipients < 0 then  -- else they would hide as many that are under way
    put(route, 'ma', number(route, 'ma', 0) + recipients)
    put(route, 'mb', number(route, 'mb', 0) + recipients)
  end
  route.taken = route.taken + recipients
  put(route, 'day', number(route, 'day', 0) + recipients)
  put(route, 'all', number(route, 'all', 0) + recipients)
end

local function used_of(route, now)
  if now - number(route, 'at', 0) > FRESH_MS then return math.max(0, number(route, 'day', 0)) end
  return number(route, 'used', 0) + math.max(0, number(route, 'all', 0) - number(route, 'sn', 0))
end

local function daily_limit(route, limits)
  local said, cap = number(route, 'limit', -1), limits.day
  if said >= 0 and cap > 0 then return math.min(said, cap) end
  return said >= 0 and said or cap > 0 and cap or UNLIMITED
end

-- So long a lane may take nothing for the daily quota's sake; 0 = it may. Only SES's word has a known end.
local function ms_until_quota(route, limits, name, now, more)
  local wait = number(route, 'du', 0) - now
  if wait > 0 then return wait end
  local _, share = lane_of(limits, name)
  return used_of(route, now) + (more or 0) < daily_limit(route, limits) * share and 0 or LONG_MS
end

-- Pauses ------------------------------------------------------------------------------------------------------------

local pauses_known

-- Scope -> until (or huge), of those that count.
local function pauses_at(now)
  if pauses_known then return pauses_known end
  local flat = redis.call('HGETALL', PAUSES)
  pauses_known = {}
  for n = 1, #flat, 2 do
    local is_json, pause = pcall(cjson.decode, flat[n + 1])
    local ends = is_json and type(pause) == 'table' and tonumber(pause['until'] or 0) or -1
    if ends == 0 then pauses_known[flat[n]] = UNLIMITED elseif ends > now then pauses_known[flat[n]] = ends end
  end
  return pauses_known
end

-- So long a pause of one of these scopes lasts, at most a minute for one without an end; 0 = there is none.
local function ms_until_resumed(now, ...)
  local wait, pauses = 0, pauses_at(now)
  for _, scope in ipairs({ ... }) do
    if pauses[scope] then wait = math.max(wait, math.min(LONG_MS, pauses[scope] - now)) end
  end
  return wait
end

-- What the operator sees -----------------------------------------------------------------------------------------------

local function trouble_of(route)
  if not route.values.t then return nil end
  return {
    code = route.values.t, words = route.values.tw or '', is_account = route.values.ta ~= '0',
    since_ms = number(route, 'ts', 0), probe_at_ms = number(route, 'tp', 0),
  }
end

-- How many senders that wait in a lane are paused, and whether all are. The gate may not have met the pause, or its end.
local function paused_senders(at, now)
  local waiting, paused = redis.call('ZCARD', lane_key(at)) + redis.call('HLEN', benched_key(at)), 0
  for scope in pairs(pauses_at(now)) do
    local sender = string.match(scope, '^user:(.*)$')
    if sender and redis.call('EXISTS', line_key(at, redis.sha1hex(sender))) == 1 then paused = paused + 1 end
  end
  return paused, paused > 0 and paused >= waiting
end

-- A route as spool/routes.py reads it; a rate or a limit below nought means none.
local function view_of(route, limits, now)
  local base, is_fallback = base_rate(route, limits)
  local limit, used, lanes, ended = daily_limit(route, limits), used_of(route, now), {}, number(route, 'du', 0) > now
  for n, lane in ipairs(limits.lanes) do
    local at = limits.name .. ':' .. lane[1]
    local messages, recipients = unpack(redis.call('HMGET', LANES, at .. ':messages', at .. ':recipients'))
    local paused, is_all_paused = paused_senders(at, now)
    lanes[n] = {
      name = lane[1], share = lane[2], messages = tonumber(messages or 0), recipients = tonumber(recipients or 0),
      paused_senders = paused, is_all_paused = is_all_paused,
    }
  end
  return {
    name = limits.name, rate = route.rate == UNLIMITED and -1 or route.rate, factor = factor_of(route, now),
    is_fallback = is_fallback, lanes = lanes, trouble = trouble_of(route), taken_at_ms = math.floor(now),
    max_send_rate = route.values.at and number(route, 'rate', 0) or nil,
    max_24_hour_send = route.values.at and number(route, 'limit', -1) or nil,
    fetched_at_ms = number(route, 'at', 0), quota_error = route.values.qe or '', used = used,
    daily_limit = limit == UNLIMITED and -1 or limit, daily_ended = ended or used >= limit,
    daily_until_ms = ended and number(route, 'du', 0) or 0,
  }
end
