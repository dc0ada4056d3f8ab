-- What time brings: ended leases, parked messages whose hour has come, nudges that were lost. Any worker may run it
-- at any moment, twice at once does no harm.
-- ARGV: limit, max_crashes, nudge_ms, nudges wanted (how many ids the queue can take now), slack_ms (so much before a
-- nudge counts as lost: the queue is empty, so there is none under way)
-- A lease that ends under an operator's wish to hold the message ends in held.
-- Returns {ids whose lease ended, ids held for too many crashes, number woken, [id, crashes, …] to nudge, number due}.
may_grow()
local now = now_ms()

local function ripe(place, limit, slack)
  return redis.call('ZRANGEBYSCORE', PREFIX .. place, '-inf', now + (slack or 0), 'LIMIT', 0, limit)
end

local WORKERS_LOST = 'workers lost'
local ended, held = {}, {}
for _, id in ipairs(ripe('leased', ARGV[1])) do
  if leave('leased', id) then
    local is_hold_wanted = redis.call('HGET', M .. id, 'ho')
    redis.call('HDEL', M .. id, 'ho', 'ev')  -- they were for this lease
    redis.call('HINCRBY', M .. id, 'f', 1)  -- from here on the old holder writes and sends nothing
    if redis.call('HINCRBY', M .. id, 'x', 1) >= tonumber(ARGV[2]) then
      enter('held', id, now, WORKERS_LOST)
      if is_hold_wanted then tell_held(id, now, WORKERS_LOST) end
      count(COUNTERS, 'held_messages', 1)
      held[#held + 1] = id
    else
      ended[#ended + 1] = id
      if is_hold_wanted then
        hold_for_operator(id, now)
        count(COUNTERS, 'held_messages', 1)
      else
        enter('due', id, now, '')
      end
    end
  end
end

local woken = 0
for _, id in ipairs(ripe('parked', ARGV[1])) do
  if leave('parked', id) then
    enter('due', id, now, '')
    woken = woken + 1
  end
end

local nudge = {}
if tonumber(ARGV[4]) > 0 then
  for _, id in ipairs(ripe('due', ARGV[4], ARGV[5])) do
    local is_there, crashes = unpack(redis.call('HMGET', M .. id, 'p', 'x'))
    if is_there then
      redis.call('ZADD', PREFIX .. 'due', now + ARGV[3], id)
      nudge[#nudge + 1] = id
      nudge[#nudge + 1] = crashes or '0'
    else
      redis.call('ZREM', PREFIX .. 'due', id)
    end
  end
end
return { ended, held, woken, nudge, redis.call('ZCARD', PREFIX .. 'due') }
