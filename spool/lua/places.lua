-- Put after lanes.lua: the moves of messages between places, as spool/states.py has them.

-- Returns 1 = taken, 0 = it was here already (a repeated commit is no second message), -1 = withdrawn before.
-- The caller calls count_accepted once for all it took.
local function accept_one(now, id, meta, content, index, event, recipients, nudge_ms)
  local key = M .. id
  if redis.call('EXISTS', key, X .. id) > 0 then return redis.call('EXISTS', key) == 1 and 0 or -1 end
  local states = string.rep('w', recipients)
  if content == '' then
    redis.call('HSET', key, 'm', meta, 'at', now, 'p', 'due', 'r', states)
  else
    redis.call('HSET', key, 'm', meta, 'at', now, 'p', 'due', 'r', states, 'c', content)
  end
  redis.call('ZADD', PREFIX .. 'due', now + nudge_ms, id)
  if index ~= '' then remember(index, id, now) end
  if event ~= '' then redis.call('XADD', EVENTS, '*', 'd', event) end
  return 1
end

local function count_accepted(now, messages, recipients)
  if messages == 0 then return end
  count(AGES, slot_of(now), messages)
  count(COUNTERS, 'accepted_messages', messages)
  count(COUNTERS, 'accepted_recipients', recipients)
end

-- As spool/states.py has it. What such a pause kept does not count for the age: `pd` = since when, ms.
local PAUSED_DOMAIN = 'recipient domain is paused'

local function count_kept(id)
  local since = redis.call('HGET', M .. id, 'pd')
  if not since then return end
  redis.call('HINCRBY', M .. id, 'kept', text_of(math.max(0, now_ms() - since)))
  redis.call('HDEL', M .. id, 'pd')
end

-- Takes the message out of a place; the caller puts it into the next one in the same script. False = it is not
-- there, or the place named a message that does not exist.
local function leave(place, id)
  if redis.call('ZREM', PREFIX .. place, id) == 0 then return false end
  local is_there, why, seat = unpack(redis.call('HMGET', M .. id, 'p', 'why', 'l'))
  if not is_there then return false end
  if place == 'parked' or place == 'held' then count(REASONS, place .. ':' .. (why or ''), -1) end
  if seat then step_out(id, cjson.decode(seat)) end
  if place == 'parked' and why == PAUSED_DOMAIN then count_kept(id) end
  return true
end

local function enter(place, id, score, why)
  redis.call('ZADD', PREFIX .. place, score, id)
  redis.call('HSET', M .. id, 'p', place, 'until', score, 'why', why)
  if place == 'parked' or place == 'held' then count(REASONS, place .. ':' .. why, 1) end
  if place == 'parked' and why == PAUSED_DOMAIN then redis.call('HSET', M .. id, 'pd', text_of(now_ms())) end
end

-- As spool/states.py has it.
local HELD_BY_OPERATOR = 'held by the operator'

-- Event kind `held`, for the recipients that are not final, as sending_events/records.py has it.
local function tell_held(id, now, why)
  local states, waiting = redis.call('HGET', M .. id, 'r'), {}
  for n = 1, #states do
    if string.find(states, '^%l', n) then waiting[#waiting + 1] = n - 1 end
  end
  local event = { k = 'held', id = id, at = now, why = why }
  if #waiting > 0 then event.r = waiting end
  redis.call('XADD', EVENTS, '*', 'd', cjson.encode(event))
end

-- The operator's hold of a message that has left its place. A turn is not kept, nor the wish that is now fulfilled:
-- `ho` is there under a lease only. The caller counts it.
local function hold_for_operator(id, now)
  redis.call('HDEL', M .. id, 'g', 'ho')
  enter('held', id, now, HELD_BY_OPERATOR)
  tell_held(id, now, HELD_BY_OPERATOR)
end

-- The end of a message that has left its place: its content goes now, what is known of it after a while.
local function finish(id, at, now, why, keep_ms)
  local key = M .. id
  count(AGES, slot_of(at), -1)
  redis.call('HDEL', key, 'c', 'w', 'g', 'ho', 'ask', 'ev')
  redis.call('HSET', key, 'p', 'done', 'until', now, 'why', why)
  redis.call('PEXPIRE', key, keep_ms)
end
