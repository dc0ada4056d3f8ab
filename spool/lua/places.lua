-- Put after lanes.lua: the moves of messages between places, as spool/states.py has them.

-- A commit that waited in a socket comes within this time or never.
local LATE_MS = 3600000

-- The id of the message that this one repeats; nil when there is none, and then this one is marked as the first.
-- What its door is told holds from now on: the earlier one cannot be withdrawn any more, and a commit of this one that
-- was sent twice gets the same answer, even when the mark has gone.
local function repeated(id, once, once_ms)
  local earlier = redis.call('GET', O .. once)
  if not earlier then
    redis.call('SET', O .. once, id, 'PX', once_ms)
  elseif earlier ~= id then
    if redis.call('HEXISTS', M .. earlier, 'p') == 1 then redis.call('HINCRBY', M .. earlier, 'rep', 1) end
    redis.call('SET', X .. id, earlier, 'PX', LATE_MS)
    count(COUNTERS, 'repeated_messages', 1)
  end
  return earlier or nil
end

-- Returns 1 = taken, 0 = it was here already (a repeated commit is no second message), -1 = withdrawn before, an id = it
-- repeats that message and was not taken.
-- The caller calls count_accepted once for all it took.
local function accept_one(now, id, meta, content, index, event, recipients, nudge_ms, once, once_ms, head)
  local key = M .. id
  if redis.call('EXISTS', key, X .. id) > 0 then
    if redis.call('EXISTS', key) == 1 then return 0 end
    local instead = redis.call('GET', X .. id)
    return instead ~= '' and instead or -1
  end
  local earlier = once ~= '' and repeated(id, once, once_ms)
  if earlier then return earlier == id and 0 or earlier end  -- its own mark: it is finished and forgotten
  local states = string.rep('w', recipients)
  if content == '' then
    redis.call('HSET', key, 'm', meta, 'at', now, 'p', 'due', 'r', states)
  else
    redis.call('HSET', key, 'm', meta, 'at', now, 'p', 'due', 'r', states, 'c', content)
  end
  if head ~= '' then redis.call('HSET', key, 'h', head) end
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

-- Recipients that are not final by the configuration set of their events ('' = none), as sending_events/sets_of_parts.py
-- has it; without any, that of the message. The decoding costs what the message has of recipients: for what happens
-- seldom.
local function waiting_by_set(id)
  local states, meta, verdict = unpack(redis.call('HMGET', M .. id, 'r', 'm', 'v'))
  local with = string.find(meta, '"with":', 1, true) and cjson.decode(meta).with
  local said, chosen, found = with and with.set or '', {}, {}
  if verdict and string.find(verdict, '"configuration_set":', 1, true) then
    for _, part in ipairs(cjson.decode(verdict).parts or {}) do
      for _, index in ipairs(part.configuration_set and part.recipients or {}) do chosen[index] = part.configuration_set end
    end
  end
  for n = 1, #states do
    if string.find(states, '^%l', n) then
      local set = chosen[n - 1] or said
      found[set] = found[set] or {}
      table.insert(found[set], n - 1)
    end
  end
  if not next(found) then found[said] = {} end
  return found
end

-- Event kind `held`, for the recipients that are not final, as sending_events/records.py has it.
local function tell_held(id, now, why)
  for set, waiting in pairs(waiting_by_set(id)) do
    local event = { k = 'held', id = id, at = now, why = why, set = set ~= '' and set or nil }
    if #waiting > 0 then event.r = waiting end
    redis.call('XADD', EVENTS, '*', 'd', cjson.encode(event))
  end
end

-- The operator's hold of a message that has left its place. A turn is not kept, nor the wish that is now fulfilled:
-- `ho` is there under a lease only. The caller counts it.
local function hold_for_operator(id, now)
  redis.call('HDEL', M .. id, 'g', 'ho')
  enter('held', id, now, HELD_BY_OPERATOR)
  tell_held(id, now, HELD_BY_OPERATOR)
end

-- The end of a message that has left its place: its content goes now, its headers and what is known of it after a while.
local function finish(id, at, now, why, keep_ms, headers_ms)
  local key = M .. id
  count(AGES, slot_of(at), -1)
  local head = tonumber(headers_ms) > 0 and head_of(id)
  if head then redis.call('SET', PREFIX .. 'h:' .. id, head, 'PX', headers_ms) end
  redis.call('HDEL', key, 'c', 'h', 'w', 'g', 'ho', 'ask', 'ev')
  redis.call('HSET', key, 'p', 'done', 'until', now, 'why', why)
  redis.call('PEXPIRE', key, keep_ms)
end
