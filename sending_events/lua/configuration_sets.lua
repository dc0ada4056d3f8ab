-- Changes the configuration sets that the API has made. ARGV: what to do, then what that takes, see below.
-- Returns "done", or why not; then nothing was changed.
--
-- Keys:
--   {ms}:sets           zset, every score 0: the names of the sets, so that they have an order
--   {ms}:set:<set>      hash, name of a destination → JSON, see store.py; `on` = it is enabled
--   {ms}:sets:version   string, a number that is a higher one after every change
-- and those of the prelude for each destination, by the name <set>:<destination>. An enabled destination has a
-- cursor, one that is not has none. What happened while it was disabled, or before there was one, is never told.
--
-- Memory: what adds something is refused by a full server at its first write. What removes begins with a DEL.

local SETS = PREFIX .. 'sets'
local function has(set) return redis.call('ZSCORE', SETS, set) end

local function changed()
  redis.call('INCR', VERSION)
  return 'done'
end

local function forget(name)
  stop(name)
  redis.call('DEL', dead_key(name))
  for _, figure in ipairs({ 'events_published:', 'events_lost:', 'events_refused:', 'events_too_old:' }) do
    redis.call('HDEL', COUNTERS, figure .. name)
  end
end

local acts = {}

function acts.create(set, most_sets)
  if has(set) then return 'set_exists' end
  if redis.call('ZCARD', SETS) >= tonumber(most_sets) then return 'too_many_sets' end
  redis.call('ZADD', SETS, 0, set)
  return changed()
end

function acts.delete(set)
  if not has(set) then return 'no_set' end
  redis.call('DEL', '{ms}:none')
  for _, destination in ipairs(redis.call('HKEYS', set_key(set))) do forget(set .. ':' .. destination) end
  redis.call('DEL', set_key(set))
  redis.call('ZREM', SETS, set)
  return changed()
end

-- `is_new`: 1 = it must not be there yet, 0 = it must be there.
function acts.put(set, destination, json, is_new, most_destinations)
  if not has(set) then return 'no_set' end
  local old, name = redis.call('HGET', set_key(set), destination), set .. ':' .. destination
  if is_new == '1' then
    if old then return 'destination_exists' end
    if redis.call('HLEN', set_key(set)) >= tonumber(most_destinations) then return 'too_many_destinations' end
  elseif not old then
    return 'no_destination'
  end
  redis.call('HSET', set_key(set), destination, json)
  local result = changed()
  if not is_on(json) then
    stop(name)
    return result
  elseif not is_on(old) or redis.call('EXISTS', cursor_key(name)) == 0 then
    stop(name)
    start_at_end(name)
  else  -- what it could not take so far it may be able to take now; a turn under way is one of what it was before
    redis.call('HDEL', state_key(name), 'failures', 'next_try_at_ms', 'error', 'odd')
    redis.call('DEL', lock_key(name))
  end
  redis.call('HSET', state_key(name), 'changed', redis.call('GET', VERSION))
  return result
end

function acts.remove(set, destination)
  if not has(set) then return 'no_set' end
  redis.call('DEL', '{ms}:none')
  if redis.call('HDEL', set_key(set), destination) == 0 then return 'no_destination' end
  forget(set .. ':' .. destination)
  return changed()
end

return acts[ARGV[1]](unpack(ARGV, 2))
