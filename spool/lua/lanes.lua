-- Put after prelude.lua: the queues in which messages wait for their turn (spool/sending_quota.py).
--
-- For each route and lane, <at> = <route>:<lane>; a sender's key is the SHA-1 of its name, which comes from outside:
--   {ms}:lane:<at>           zset  senders with somebody waiting -> virtual time at which each is served next
--   {ms}:line:<at>:<sender>  zset  messages of a sender -> when they were accepted, ms
--   {ms}:served:<at>         zset  senders with nobody waiting whose virtual time lies ahead of the lane's
--   {ms}:benched:<at>        hash  senders that an operator paused -> their names; they are in no other of these
--   {ms}:lanes               hash  <at>:messages, <at>:recipients -> who waits; <at>:v virtual time of the lane
--   {ms}:kept               hash  scope of a pause -> ms that it has been on, while somebody waits
--
-- Virtual time (start-time fair queueing): serving q recipients of a sender moves its time ahead by q / weight, the
-- lane's time is that of whom it served last, and a sender that comes back begins at the lane's time if its own lies
-- behind. So a sender that was away gets no arrears, and one with much mail has no more turns than the others.

local KEPT = '{ms}:kept'

local function lane_key(at) return '{ms}:lane:' .. at end
local function line_key(at, sender) return '{ms}:line:' .. at .. ':' .. sender end
local function served_key(at) return '{ms}:served:' .. at end
local function benched_key(at) return '{ms}:benched:' .. at end
local function at_of(seat) return seat.route .. ':' .. seat.lane end
local function virtual_time(at) return tonumber(redis.call('HGET', LANES, at .. ':v') or 0) end

-- Puts a sender into the schedule of its lane, at its own virtual time or at the lane's.
local function schedule(at, sender)
  if redis.call('ZSCORE', lane_key(at), sender) then return end
  local own = tonumber(redis.call('ZSCORE', served_key(at), sender) or 0)
  redis.call('ZADD', lane_key(at), math.max(own, virtual_time(at)), sender)
  redis.call('ZREM', served_key(at), sender)
end

-- Takes a sender out of it; the virtual time that lies ahead is remembered.
local function unschedule(at, sender)
  local own = redis.call('ZSCORE', lane_key(at), sender)
  if not own then return end
  redis.call('ZREM', lane_key(at), sender)
  if tonumber(own) > virtual_time(at) then redis.call('ZADD', served_key(at), own, sender) end
end

-- So long have pauses kept whoever waits here, in ms since some beginning; only differences mean anything.
local function kept_so_far(seat)
  local sum = 0
  local scopes = { 'all', 'route:' .. seat.route, 'lane:' .. seat.lane, 'user:' .. seat.sender }
  for _, ms in ipairs(redis.call('HMGET', KEPT, unpack(scopes))) do sum = sum + (ms and tonumber(ms) or 0) end
  return sum
end

local function count_lane(at, messages, recipients)
  count(LANES, at .. ':messages', messages)
  count(LANES, at .. ':recipients', recipients)
end

-- The message, which is in parked, joins the queue of its sender at the place that its acceptance gives it.
local function step_in(id, seat, accepted_at, recipients)
  local at, sender = at_of(seat), redis.sha1hex(seat.sender)
  seat.recipients, seat.kept = recipients, kept_so_far(seat)
  redis.call('HSET', M .. id, 'l', cjson.encode(seat))
  redis.call('ZADD', line_key(at, sender), accepted_at, id)
  if redis.call('HEXISTS', benched_key(at), sender) == 0 then schedule(at, sender) end
  count_lane(at, 1, recipients)
end

-- The message leaves the queue. What an operator's pause kept it there does not count for its age.
local function step_out(id, seat)
  local at, sender = at_of(seat), redis.sha1hex(seat.sender)
  local kept = kept_so_far(seat) - seat.kept
  if kept > 0 then redis.call('HINCRBY', M .. id, 'kept', text_of(kept)) end
  redis.call('HDEL', M .. id, 'l')
  redis.call('ZREM', line_key(at, sender), id)
  if redis.call('EXISTS', line_key(at, sender)) == 0 then
    unschedule(at, sender)
    redis.call('HDEL', benched_key(at), sender)
  end
  count_lane(at, -1, 0 - seat.recipients)  -- minus nought is no integer to the server
end

-- A sender of the lane was served so many recipients.
local function charge(at, sender, recipients, weight)
  local waiting = redis.call('ZSCORE', lane_key(at), sender)
  local own = tonumber(waiting or redis.call('ZSCORE', served_key(at), sender) or 0)
  local start = math.max(own, virtual_time(at))
  redis.call('HSET', LANES, at .. ':v', string.format('%.6f', start))
  redis.call('ZADD', waiting and lane_key(at) or served_key(at), start + recipients / weight, sender)
end
