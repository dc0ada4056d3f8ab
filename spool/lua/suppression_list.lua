-- A page of the suppression list, in the order of its instants. ARGV: from ms, to ms or '+inf', the address after
-- which it goes on at `from` ('' = none), reason or '' = all, how many at most.
-- Returns {end ms, end address, address, row, address, row …}; where it ended, '' when it came to the end.
local SCANNED, STEP = 5000, 500
local from, to, after, reason, limit = ARGV[1], tonumber(ARGV[2]) or math.huge, ARGV[3], ARGV[4], tonumber(ARGV[5])
local now, found = now_ms(), {}

-- Where it goes on: behind `after`, or, when that has moved since, before the first of its instant.
local function first_rank()
  local score = after ~= '' and redis.call('ZSCORE', BY_TIME, after)
  if score and tonumber(score) == tonumber(from) then return redis.call('ZRANK', BY_TIME, after) + 1 end
  return redis.call('ZCOUNT', BY_TIME, '-inf', '(' .. from)
end

local function take(address)
  local raw = redis.call('HGET', ROWS, address)
  local row = raw and cjson.decode(raw)
  if not row or is_over(row, now) or (reason ~= '' and row.r ~= reason) then return end
  found[#found + 1] = address
  found[#found + 1] = raw
end

local rank, at, last, seen = first_rank(), '', '', 0
while true do
  local part = redis.call('ZRANGE', BY_TIME, rank, rank + STEP - 1, 'WITHSCORES')
  for n = 1, #part, 2 do
    local address, score = part[n], tonumber(part[n + 1])
    if score > to then return { '', '', unpack(found) } end
    -- Those of one instant are in the order of their addresses.
    if not (score == tonumber(from) and address <= after) then take(address) end
    at, last, seen = text_of(score), address, seen + 1
    if #found >= 2 * limit or seen >= SCANNED then return { at, last, unpack(found) } end
  end
  if #part < 2 * STEP then return { '', '', unpack(found) } end
  rank = rank + STEP
end
