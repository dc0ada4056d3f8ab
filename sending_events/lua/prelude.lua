-- Put before every other script of this folder, after a line with PREFIX ({ms}:), EVENTS and COUNTERS.
--
-- Keys (one hash tag, see spool/keys.py):
--   EVENTS                    stream, in order; cut off at the front by trim.lua alone. Field d: what happened. A dead
--                             letter that is told again has also id (its event id) and only (its destination)
--   {ms}:cursor:<name>        string, id of the last entry that the destination has taken or did not want
--   {ms}:destination:<name>   hash  position: how many entries were ever added up to the cursor
--                                   failures, next_try_at_ms, error: only while the destination does not take
--                                   odd: how many of the last failures were bugs over the one event at the cursor
--                                   skip_after, skip_to: entries between them are not offered; of a replay with an end
--                                   changed: of a set that the API made, the version of its last change
--                                   aside: the file has a disabled one of the same name, see start.lua
--   {ms}:lock:events:<name>   string with expiry, the token of the process that serves the destination now
--   {ms}:dead:<name>          stream, fields id d why: what the destination can never take or did not take in time,
--                             the newest ones
--   {ms}:set:<set>, {ms}:sets:version   what the API has made, see configuration_sets.lua
--   COUNTERS                  hash  events_published:<name> events_lost:<name> events_refused:<name>
--                                   events_too_old:<name> events_trimmed
--
-- Memory: as in the spool's scripts, every script that writes begins with a DEL, so that a full server still lets
-- events out and the stream shrink.

local function cursor_key(name) return PREFIX .. 'cursor:' .. name end
local function state_key(name) return PREFIX .. 'destination:' .. name end
local function lock_key(name) return PREFIX .. 'lock:events:' .. name end
local function dead_key(name) return PREFIX .. 'dead:' .. name end
local VERSION = PREFIX .. 'sets:version'
local function set_key(set) return PREFIX .. 'set:' .. set end

-- What a script answers instead when the caller knows the configuration sets as they were: it has to look again.
local OUTDATED = -1

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

-- Whether a destination is one of a set: <set>:<destination>. One without a cursor is told nothing of what is there;
-- one of the settings (file, log) begins at the oldest entry.
local function is_of_a_set(name) return string.find(name, ':', 1, true) ~= nil end

-- Whether the API has changed a destination since the version that a process knows ('' = it knows of none).
local function is_outdated(name, version)
  local changed = redis.call('HGET', state_key(name), 'changed')
  return changed and tonumber(changed) > (tonumber(version or '') or math.huge)
end

-- Whether JSON of a destination, as the API has made it, says that it is enabled. What is there may be unreadable,
-- written by a hand or another version: then it is disabled, and may be replaced.
local function is_on(json)
  local is_json, values = pcall(cjson.decode, json or '')
  return is_json and type(values) == 'table' and values.on == true
end

-- Takes a destination its place. The process that serves it now loses its turn, and with it the right to move the
-- cursor and to note a failure.
local function stop(name) redis.call('DEL', cursor_key(name), state_key(name), lock_key(name)) end

-- Id of the newest entry, '0-0' when there is none.
local function last_id()
  local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
  return last and last[1] or '0-0'
end

-- How many entries were ever added; asked for once, for scripts that add and remove none.
local added_so_far
local function added()
  added_so_far = added_so_far or trimmed() + redis.call('XLEN', EVENTS)
  return added_so_far
end

-- Puts a cursor at the newest entry: what happened before is told nobody.
local function start_at_end(name)
  redis.call('SET', cursor_key(name), last_id())
  redis.call('HSET', state_key(name), 'position', added())
end

-- Moves a cursor to an entry that is `entries` further on. `last` = last_id().
local function move(name, to, entries, last)
  redis.call('SET', cursor_key(name), to)
  if last == '0-0' or last == to then  -- at the end the position is known for certain
    redis.call('HSET', state_key(name), 'position', added())
  else
    redis.call('HINCRBY', state_key(name), 'position', entries)
  end
end

-- A dead letter: event id, what happened, why.
local function bury(name, most, id, d, why)
  redis.call('XADD', dead_key(name), 'MAXLEN', most, '*', 'id', id, 'd', d, 'why', why)
end
