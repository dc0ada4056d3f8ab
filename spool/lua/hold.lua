-- The operator's hand on single messages. ARGV: what to do, nudge_ms, ids. Returns for each one word.
--   hold  due or parked -> held ('done'); leased: ho is set, the end of the lease holds it ('later')
--   free  held by the operator -> due ('done'); leased: ho is cleared ('done')
--   retry parked and in no lane -> due ('done'); in a lane: its turn comes by itself ('lane')
--   wake  the same for one that only has to look at its pause again
-- Everything else is left alone: 'held' it is held or marked already, 'not' it is in no such place.
-- free and retry leave a mark (`ask`): a function that it waits for is asked at once. The holder's next move ends that.
-- What a call left in doubt stays so: to send such recipients again is release.lua's part alone.
-- `kept` sums up, in ms, how long the operator kept the message: its age does not grow meanwhile.
may_grow()
local now, out = now_ms(), {}

-- As spool/states.py has it.
local LANE = 'waits for its turn'

local function hold(id, place)
  if place == 'held' then return 'held' end
  if place == 'leased' then
    return redis.call('HSET', M .. id, 'ho', 1) == 1 and 'later' or 'held'
  end
  if not (leave('due', id) or leave('parked', id)) then return 'not' end
  hold_for_operator(id, now)
  count(COUNTERS, 'held_messages', 1)
  return 'done'
end

local function make_due(id, is_ask_wanted)
  redis.call('HDEL', M .. id, 'x', 'y')
  if is_ask_wanted then redis.call('HSET', M .. id, 'ask', 1) end
  enter('due', id, now + ARGV[2], '')
  return 'done'
end

local function free(id, place, why)
  if place == 'leased' then return redis.call('HDEL', M .. id, 'ho') == 1 and 'done' or 'not' end
  if place ~= 'held' or why ~= HELD_BY_OPERATOR then return 'not' end
  local since = tonumber(redis.call('ZSCORE', PREFIX .. 'held', id) or now)
  if not leave('held', id) then return 'not' end
  redis.call('HINCRBY', M .. id, 'kept', string.format('%.0f', math.max(0, now - since)))
  return make_due(id, true)
end

local function wake(id, place, why)
  if place ~= 'parked' then return 'not' end
  if why == LANE then return 'lane' end
  return leave('parked', id) and make_due(id, ARGV[1] == 'retry') or 'not'
end

local doing = ({ hold = hold, free = free, retry = wake, wake = wake })[ARGV[1]]
for a = 3, #ARGV do
  local place, why = unpack(redis.call('HMGET', M .. ARGV[a], 'p', 'why'))
  out[#out + 1] = place and doing(ARGV[a], place, why) or 'not'
end
return out
