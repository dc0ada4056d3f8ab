-- What the account's list has not any more, or has now. ARGV[1] says which:
-- 'has', addresses …: it was told to suppress them. One that was removed here meanwhile is to be forgotten there.
-- 'lost', addresses …: it was told to forget them, or never had them.
-- 'unseen', ms, 'ses' or 'all', how many: a look at the whole of it began then. Entries that it had before and were not
-- seen since are removed here; with 'ses' only those that came from there. Returns how many were looked at, removed.
may_grow()
local now = now_ms()
if ARGV[1] == 'has' then
  for a = 2, #ARGV do
    if row_of(ARGV[a], now) then
      redis.call('ZADD', THERE, text_of(now), ARGV[a])
    else
      redis.call('HSET', GONE, ARGV[a], text_of(now))
    end
  end
elseif ARGV[1] == 'lost' then
  for a = 2, #ARGV do redis.call('HDEL', GONE, ARGV[a]) end
else
  local removed = 0
  local unseen = redis.call('ZRANGEBYSCORE', THERE, '-inf', '(' .. ARGV[2], 'LIMIT', 0, tonumber(ARGV[4]))
  for _, address in ipairs(unseen) do
    local row = row_of(address, now)
    if not row or row.s == 'ses' or ARGV[3] == 'all' then
      if row then removed = removed + 1 end
      erase(address, now, false)
    else
      redis.call('ZREM', THERE, address)
    end
  end
  return { #unseen, removed }
end
return { #ARGV - 1, 0 }
