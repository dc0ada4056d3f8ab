-- Adds to the figures of one sender and returns them. ARGV: user ('' = none), envelope sender, 1 = the user is not
-- known any more, delivered, bounced, complained, instant ms or 0 = now, window ms, slot ms.
-- Slots that have left the window are forgotten. After a resume it counts anew.
-- Returns {sender, delivered, bounced, complained, paused since ms or 0, now ms}.
may_grow()
local now, user, address = now_ms(), ARGV[1], ARGV[2]
local window, slot = tonumber(ARGV[8]), tonumber(ARGV[9])
local at = tonumber(ARGV[7]) > 0 and math.min(tonumber(ARGV[7]), now) or now

local function user_of()
  local today = math.floor(now / DAY_MS)
  for day = today, today - USER_DAYS, -1 do
    local found = redis.call('HGET', USERS .. text_of(day), address)
    if found then return found end
  end
  return ''
end

local function remember_user()
  local users = USERS .. text_of(math.floor(now / DAY_MS))
  if redis.call('HLEN', users) >= USERS_A_DAY then return end
  redis.call('HSET', users, address, user)
  redis.call('PEXPIRE', users, text_of((USER_DAYS + 1) * DAY_MS))
end

if ARGV[3] == '1' then
  user = user_of()
elseif user ~= '' and address ~= '' and user ~= address then
  remember_user()
end
local sender = user ~= '' and user or address
local key = figures_of(sender)

local paused = tonumber(redis.call('HGET', key, 'paused') or 0)
if paused > 0 and not is_paused(sender, now) then
  redis.call('DEL', key)
  redis.call('HSET', key, 'since', text_of(now))
  paused = 0
end

if at > now - window and at >= tonumber(redis.call('HGET', key, 'since') or 0) then
  local name = text_of(math.floor(at / slot) * slot / 1000)
  for n, letter in ipairs({ 'd', 'b', 'c' }) do
    local by = tonumber(ARGV[n + 3])
    if by > 0 then redis.call('HINCRBY', key, name .. ':' .. letter, by) end
  end
end
redis.call('PEXPIRE', key, text_of(2 * window + slot))

local sums, fields = { d = 0, b = 0, c = 0 }, redis.call('HGETALL', key)
for n = 1, #fields, 2 do
  local start, letter = string.match(fields[n], '^(%d+):(%a)$')
  if start and tonumber(start) * 1000 + slot <= now - window then
    redis.call('HDEL', key, fields[n])
  elseif start then
    sums[letter] = sums[letter] + tonumber(fields[n + 1])
  end
end
return { sender, sums.d, sums.b, sums.c, paused, now }
