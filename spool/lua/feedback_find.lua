-- The message that an event of SES is about. ARGV: its id or '', index of SES's id of the call. Without an id, or when
-- there is no such message, the index says whose call it was; it remembers longer than messages are kept.
-- Returns {id or '', field, value …}: all that is known of the message but its content; no fields = it is forgotten.
local DAYS_BACK = math.floor(now_ms() / DAY_MS)

local function indexed(index)
  for day = DAYS_BACK, DAYS_BACK - INDEX_DAYS, -1 do
    local id = redis.call('HGET', bucket_of(index, day), string.sub(index, 4))
    if id then return id end
  end
end

local id = ARGV[1]
if (id == '' or redis.call('HEXISTS', M .. id, 'p') == 0) and ARGV[2] ~= '' then id = indexed(ARGV[2]) or id end
local out, names = { id }, {}
if id == '' then return out end
for _, name in ipairs(redis.call('HKEYS', M .. id)) do
  if name ~= 'c' and name ~= 'h' then names[#names + 1] = name end
end
if #names == 0 then return out end
for n, value in ipairs(redis.call('HMGET', M .. id, unpack(names))) do
  out[#out + 1] = names[n]
  out[#out + 1] = value
end
return out
