-- Put before every other script of this folder. Names, the server's clock, and the moves they share.
--
-- Keys (one hash tag, see spool/keys.py):
--   {ms}:m:<id>     hash  m static JSON | c inline content | at accepted, ms | p place | r recipient states
--                         f fence | n rounds | y failures | x crashes | why reason | w worker | told JSON
--                         until ms | a:<number> one attempt, JSON | q marks of the settlements of this lease
--   {ms}:due        zset  when the sweeper nudges it (again), ms     {ms}:leased  zset  end of the lease, ms
--   {ms}:parked     zset  when it wakes, ms                          {ms}:held    zset  since, ms
--   {ms}:ages       hash  slot of acceptance -> unfinished           {ms}:reasons hash  place:reason -> messages
--   {ms}:i:<day>:<3 digits>  hash  rest of a foreign id's hash -> message_id
--   {ms}:x:<id>     string, the message was withdrawn                {ms}:happenings  stream, field d
--   {ms}:counters   hash
--
-- Memory: a server over maxmemory refuses a script's first growing command, but not one that comes after a
-- shrinking one. Every script but accept.lua therefore begins with a DEL or ZREM: what was accepted can be
-- finished on a full server, only new mail is refused.
--
-- Errors: a script that fails in the middle keeps what it wrote. What could fail (types, encodings) is made sure
-- by the Python side before the call; a message that is not there is checked for here.

local M, I, X, PREFIX = '{ms}:m:', '{ms}:i:', '{ms}:x:', '{ms}:'
local AGES, REASONS, EVENTS, COUNTERS = '{ms}:ages', '{ms}:reasons', '{ms}:happenings', '{ms}:counters'
local SLOT_MS = 10000
-- Foreign ids are found this long at least: the longest life of a message and its feedback.
local DAY_MS, INDEX_DAYS = 86400000, 10

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Takes the refusal for want of memory away from everything that follows in this script.
local function may_grow() redis.call('DEL', PREFIX .. 'none') end

local function count(hash, name, by)
  if redis.call('HINCRBY', hash, name, by) <= 0 and hash ~= COUNTERS then redis.call('HDEL', hash, name) end
end

local function slot_of(at) return string.format('%.0f', math.floor(at / SLOT_MS)) end

-- A key for each foreign id would cost three times the memory of a field in a small hash.
local function bucket_of(index, day) return I .. string.format('%.0f', day) .. ':' .. string.sub(index, 1, 3) end

local function remember(index, id, now)
  local day = math.floor(now / DAY_MS)
  local bucket = bucket_of(index, day)
  redis.call('HSET', bucket, string.sub(index, 4), id)
  redis.call('PEXPIREAT', bucket, string.format('%.0f', (day + 1 + INDEX_DAYS) * DAY_MS))
end

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
  local is_there, why = unpack(redis.call('HMGET', M .. id, 'p', 'why'))
  if not is_there then return false end
  if place == 'parked' or place == 'held' then count(REASONS, place .. ':' .. (why or ''), -1) end
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
  redis.call('HDEL', key, 'c', 'w')
  redis.call('HSET', key, 'p', 'done', 'until', now, 'why', why)
  redis.call('PEXPIRE', key, keep_ms)
end
