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

-- Takes the message out of a place; the caller puts it into the next one in the same script. False = it is not
-- there, or the place named a message that does not exist.
local function leave(place, id)
  if redis.call('ZREM', PREFIX .. place, id) == 0 then return false end
  local is_there, why, seat = unpack(redis.call('HMGET', M .. id, 'p', 'why', 'l'))
  if not is_there then return false end
  if place == 'parked' or place == 'held' then count(REASONS, place .. ':' .. (why or ''), -1) end
  if seat then step_out(id, cjson.decode(seat)) end
  return true
end

local function enter(place, id, score, why)
  redis.call('ZADD', PREFIX .. place, score, id)
  redis.call('HSET', M .. id, 'p', place, 'until', score, 'why', why)
  if place == 'parked' or place == 'held' then count(REASONS, place .. ':' .. why, 1) end
end

-- The end of a message that has left its place: its content goes now, what is known of it after a while.
local function finish(id, at, now, why, keep_ms)
  local key = M .. id
  count(AGES, slot_of(at), -1)
  redis.call('HDEL', key, 'c', 'w', 'g', 'ho')
  redis.call('HSET', key, 'p', 'done', 'until', now, 'why', why)
  redis.call('PEXPIRE', key, keep_ms)
end
