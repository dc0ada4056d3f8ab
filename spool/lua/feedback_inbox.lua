-- Events of SES that wait in the spool: what /feedback/sns took, and what is about a send that is not known yet.
-- {ms}:inbox zset id -> when it is looked at next, ms | {ms}:inbox-events hash id -> <first seen, ms> <event>
-- ARGV: take, how many, ms until they are looked at again unless they are removed
--       later, ms until the next look, ids | done, ids
-- Returns for take {now in ms, id, entry …}; for the others how many there were.
may_grow()
local inbox, events = PREFIX .. 'inbox', PREFIX .. 'inbox-events'
local act, now = ARGV[1], now_ms()

local function take()
  local out = { text_of(now) }
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', inbox, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    local entry = redis.call('HGET', events, id)
    if entry then
      redis.call('ZADD', inbox, now + tonumber(ARGV[3]), id)
      out[#out + 1] = id
      out[#out + 1] = entry
    else
      redis.call('ZREM', inbox, id)
    end
  end
  return out
end

local function later()
  local found = 0
  for a = 3, #ARGV do
    found = found + (redis.call('ZADD', inbox, 'XX', 'CH', now + tonumber(ARGV[2]), ARGV[a]) or 0)
  end
  return found
end

local function done()
  local found = 0
  for a = 2, #ARGV do
    found = found + redis.call('ZREM', inbox, ARGV[a])
    redis.call('HDEL', events, ARGV[a])
  end
  return found
end

return ({ take = take, later = later, done = done })[act]()
