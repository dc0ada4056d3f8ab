-- Put before every other script of this folder. Names and the server's clock. After it come lanes.lua
-- and places.lua: the moves they share.
--
-- Keys (one hash tag, see spool/keys.py):
--   {ms}:m:<id>     hash  m static JSON | c inline content | at accepted, ms | p place | r recipient states
--                         f fence | n rounds | y failures | x crashes | why reason | w worker | told JSON
--                         sup recipients that were on the suppression list, JSON
--                         until ms | a:<number> one attempt, JSON | q marks of the settlements of this lease
--                         l where it waits for its turn, JSON, while it does | g recipients left of its turn, blank,
--                         route:lane | ho the operator wants it held | kept ms that do not count for its age
--                         ask the operator has let it go on: functions that wait are asked at once
--                         pd since when a paused domain keeps it, ms
--                         v what rules decided, JSON (verdicts.py)
--                         fb what SES told later, a letter for each recipient (feedback_states.py)
--                         h beginning of a content that is stored elsewhere, with its header section
--                         rep how often a door was told of it for a repeat (once): it cannot be withdrawn any more
--                         ev attempts that others closed as accepted under this lease, a:<number> and a blank each
--   {ms}:due        zset  when the sweeper nudges it (again), ms     {ms}:leased  zset  end of the lease, ms
--   {ms}:parked     zset  when it wakes, ms                          {ms}:held    zset  since, ms
--   {ms}:ages       hash  slot of acceptance -> unfinished           {ms}:reasons hash  place:reason -> messages
--   {ms}:i:<day>:<3 digits>  hash  rest of a foreign id's hash -> message_id
--   {ms}:x:<id>     string, the message was withdrawn; or the id that its door was told of in its place
--   {ms}:o:<once>   string, the message that a repeat would double (idempotency.py)
--   {ms}:h:<id>     string, beginning of a finished message's content
--   {ms}:happenings stream, field d                                  {ms}:counters   hash
--   {ms}:statistics:<day>  hash  <slot, seconds>:<what> -> recipients (statistics.py)
--   {ms}:flow:<id>, {ms}:flows  see flow.lua
--   {ms}:pauses     hash  scope -> an operator's pause, JSON: until ms or 0, since ms, why, by
--   {ms}:route:<name>, {ms}:sent:<name>  see quota.lua         {ms}:lane…, {ms}:line…  see lanes.lua
--
-- Memory: a server over maxmemory refuses a script's first growing command, but not one that comes after a
-- shrinking one. Every script but accept.lua therefore begins with a DEL or ZREM: what was accepted can be
-- finished on a full server, only new mail is refused.
--
-- Errors: a script that fails in the middle keeps what it wrote. What could fail (types, encodings) is made sure
-- by the Python side before the call; a message that is not there is checked for here.

local M, I, X, O, PREFIX = '{ms}:m:', '{ms}:i:', '{ms}:x:', '{ms}:o:', '{ms}:'
local AGES, REASONS, EVENTS, COUNTERS = '{ms}:ages', '{ms}:reasons', '{ms}:happenings', '{ms}:counters'
local PAUSES, LANES, RELEASED = '{ms}:pauses', '{ms}:lanes', '{ms}:released'
local SLOT_MS = 10000
-- What listings show of a message.
local SUMMARY = { 'm', 'at', 'p', 'r', 'why', 'until', 'l', 'g', 'ho', 'v' }
-- As event_headers.py has it.
local HEAD_BYTES = 11264
-- Foreign ids are found this long at least: the longest life of a message and its feedback.
local DAY_MS, INDEX_DAYS = 86400000, 10

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function text_of(number) return string.format('%.0f', number) end

-- Takes the refusal for want of memory away from everything that follows in this script.
local function may_grow() redis.call('DEL', PREFIX .. 'none') end

local function count(hash, name, by)
  if redis.call('HINCRBY', hash, name, by) <= 0 and hash ~= COUNTERS then redis.call('HDEL', hash, name) end
end

-- Adds to the account's statistics, once what happened is written: attempts, rejects, bounces or complaints. A day's hash
-- goes by itself, a day after the two weeks that are told of.
local STATISTICS_SLOT, STATISTICS_DAYS = 900, 15

local function count_statistic(at, what, by)
  local seconds = math.floor(at / 1000)
  local hash = PREFIX .. 'statistics:' .. text_of(math.floor(seconds / 86400))
  local field = text_of(seconds - seconds % STATISTICS_SLOT) .. ':' .. what
  if redis.call('HINCRBY', hash, field, by) == by then
    redis.call('EXPIREAT', hash, text_of((math.floor(seconds / 86400) + 1 + STATISTICS_DAYS) * 86400))
  end
end

-- Adds to a counter of recipients and, where it is told there too, to the statistics. Suppressed recipients count as
-- rejected here and as bounced in the statistics, as their event says: they are taken from the rejects again.
local STATISTIC_OF = { sent_recipients = 'attempts', rejected_recipients = 'rejects', suppressed_recipients = 'bounces' }

local function count_fact(now, name, by)
  count(COUNTERS, name, by)
  if STATISTIC_OF[name] and by > 0 then count_statistic(now, STATISTIC_OF[name], by) end
  if name == 'suppressed_recipients' and by > 0 then count_statistic(now, 'rejects', -by) end
end

local function slot_of(at) return text_of(math.floor(at / SLOT_MS)) end

-- A key for each foreign id would cost three times the memory of a field in a small hash.
local function bucket_of(index, day) return I .. text_of(day) .. ':' .. string.sub(index, 1, 3) end

local function remember(index, id, now)
  local day = math.floor(now / DAY_MS)
  local bucket = bucket_of(index, day)
  redis.call('HSET', bucket, string.sub(index, 4), id)
  redis.call('PEXPIREAT', bucket, text_of((day + 1 + INDEX_DAYS) * DAY_MS))
end

-- The beginning of a message's content, with its header section; nil when it is not kept (any more).
local function head_of(id)
  local content, head = unpack(redis.call('HMGET', M .. id, 'c', 'h'))
  if head or not content then return head or nil end
  head = string.sub(content, 1, HEAD_BYTES)
  local last = string.find(head, '\r\n\r\n', 1, true)
  return last and string.sub(head, 1, last + 1) or head
end
