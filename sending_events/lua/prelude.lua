-- Put before every other script of this folder, after a line with PREFIX ({ms}:), EVENTS and COUNTERS.
--
-- Keys (one hash tag, see spool/keys.py):
--   EVENTS                    stream, field d: what happened, in order; cut off at the front by trim.lua alone
--   {ms}:cursor:<name>        string, id of the last entry that the destination has taken
--   {ms}:destination:<name>   hash  position: how many entries were ever added up to the cursor
--                                   failures, next_try_at_ms, error: only while the destination does not take
--   {ms}:lock:events:<name>   string with expiry, the token of the process that serves the destination now
--   {ms}:dead:<name>          stream, fields id d why: what the destination can never take, the newest ones
--   COUNTERS                  hash  events_published:<name> events_lost:<name> events_refused:<name> events_trimmed
--
-- Memory: as in the spool's scripts, every script that writes begins with a DEL, so that a full server still lets
-- events out and the stream shrink.

local function cursor_key(name) return PREFIX .. 'cursor:' .. name end
local function state_key(name) return PREFIX .. 'destination:' .. name end
local function lock_key(name) return PREFIX .. 'lock:events:' .. name end
local function dead_key(name) return PREFIX .. 'dead:' .. name end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function is_less(a, b)
  local a_ms, a_seq = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_seq = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_seq) < tonumber(b_seq)
end

local function just_after(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return ms .. '-' .. string.format('%.0f', seq + 1)
end

local function trimmed() return tonumber(redis.call('HGET', COUNTERS, 'events_trimmed') or 0) end
