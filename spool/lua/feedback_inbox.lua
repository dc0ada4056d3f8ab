-- Events of SES that wait in the spool: what /feedback/sns took, and what is about a send that is not known yet.
-- ARGV: take, how many, ms until they are looked at again unless they are removed
--       later, ms until the next look, ids | done, ids
--       unknown, ms until the next look, most of them, ids: they are about a send that is not known
-- Returns for take {now in ms, id, entry …}; for the others how many there were.
may_grow()
local act, now = ARGV[1], now_ms()

local function take()
  local out = { text_of(now) }
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', INBOX, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    local entry = redis.call('HGET', ENTRIES, id)
    if entry then
      redis.call('ZADD', INBOX, now + tonumber(ARGV[3]), id)
      out[#out + 1] = id
      out[#out + 1] = entry
    else
      forget(id)
    end
  end
  return out
end

local function put_off(first)
  local found = 0
  for a = first, #ARGV do
    found = found + (redis.call('ZADD', INBOX, 'XX', 'CH', now + tonumber(ARGV[2]), ARGV[a]) or 0)
  end
  return found
end

local function later() return put_off(3) end

local function unknown()
  for a = 4, #ARGV do
    local since = redis.call('ZSCORE', OWN, ARGV[a])
    if since then
      redis.call('ZREM', OWN, ARGV[a])
      redis.call('ZADD', UNKNOWN, since, ARGV[a])
    end
  end
  local found = put_off(4)
  give_up_unknown(tonumber(ARGV[3]))
  return found
end

local function done()
  local found = 0
  for a = 2, #ARGV do found = found + forget(ARGV[a]) end
  return found
end

return ({ take = take, later = later, unknown = unknown, done = done })[act]()
