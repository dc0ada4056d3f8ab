-- Put before the scripts of the suppression list (spool/suppression.py); after prelude.lua.
-- {ms}:suppressed        hash  address -> JSON: r reason, s source, at ms, e ends ms or 0, m message_id, f feedback id
-- {ms}:suppressed-at     zset  address -> at: the order of listings
-- {ms}:suppressed-ends   zset  address -> ends, of those that end by themselves
-- {ms}:suppressed-there  zset  address -> when the account's own list was last seen to have it, ms
-- {ms}:suppressed-gone   hash  address -> when it was removed here while the account's list had it, ms
-- An address is one of many in a key, never a key.
local ROWS, BY_TIME, ENDS = PREFIX .. 'suppressed', PREFIX .. 'suppressed-at', PREFIX .. 'suppressed-ends'
local THERE, GONE = PREFIX .. 'suppressed-there', PREFIX .. 'suppressed-gone'

local function is_over(row, now) return row.e > 0 and row.e <= now end

-- The row of an address, nil when it has none that counts.
local function row_of(address, now)
  local raw = redis.call('HGET', ROWS, address)
  local row = raw and cjson.decode(raw)
  return row and not is_over(row, now) and row or nil
end

local function save(address, row)
  redis.call('HSET', ROWS, address, cjson.encode(row))
  redis.call('ZADD', BY_TIME, text_of(row.at), address)
  if row.e > 0 then
    redis.call('ZADD', ENDS, text_of(row.e), address)
  else
    redis.call('ZREM', ENDS, address)
  end
end

-- `is_told`: the account's list is to lose it as well.
local function erase(address, now, is_told)
  redis.call('HDEL', ROWS, address)
  redis.call('ZREM', BY_TIME, address)
  redis.call('ZREM', ENDS, address)
  if redis.call('ZREM', THERE, address) == 1 and is_told then redis.call('HSET', GONE, address, text_of(now)) end
end
