-- Puts addresses on the suppression list. ARGV[1]: 'order' = each row replaces what is known of its address, 'news' =
-- it adds to it: the later instant, the longer keep, and a complaint stays one; 'found' = the account's list has it,
-- now, and it is new here or stays as it is. ARGV[2]: JSON, rows {address, reason, source, at ms or 0 = now, keep ms
-- or 0, message_id, feedback id}. Returns for each 1 = new, 2 = changed, 0 = known as it is.
may_grow()
local how, now, out = ARGV[1], now_ms(), {}

local function later_end(one, other)
  if one == 0 or other == 0 then return 0 end
  return math.max(one, other)
end

local function with_news(known, row)
  local is_later = row.at >= known.at
  local reason = (known.r == 'COMPLAINT' or row.r == 'COMPLAINT') and 'COMPLAINT' or row.r
  local newer = is_later and row or known
  return { r = reason, s = known.s, at = newer.at, e = later_end(known.e, row.e), m = newer.m, f = newer.f }
end

local function is_same(one, other)
  return one.r == other.r and one.s == other.s and one.at == other.at and one.e == other.e and one.m == other.m
    and one.f == other.f
end

for n, given in ipairs(cjson.decode(ARGV[2])) do
  local address, keep = given[1], given[5]
  local at = given[4] > 0 and given[4] or now
  local row = { r = given[2], s = given[3], at = at, e = keep > 0 and now + keep or 0, m = given[6], f = given[7] }
  local known = row_of(address, now)
  if how == 'found' then
    -- What was removed here since and not yet there does not come back.
    if not known and redis.call('HEXISTS', GONE, address) == 1 then
      out[n] = 0
    else
      if not known then save(address, row) end
      redis.call('ZADD', THERE, text_of(now), address)
      out[n] = known and 0 or 1
    end
  else
    local next_row = known and how == 'news' and with_news(known, row) or row
    out[n] = not known and 1 or is_same(known, next_row) and 0 or 2
    if out[n] > 0 then save(address, next_row) end
    redis.call('HDEL', GONE, address)
    -- The account's list has another reason for it, or had it before it ended here: it is told again.
    if not known or known.r ~= next_row.r then redis.call('ZREM', THERE, address) end
  end
end
return out
