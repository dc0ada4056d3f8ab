-- The message of a foreign id. ARGV: indexes. Returns for each the message_id or ''; the newest day wins.
local today, out = math.floor(now_ms() / DAY_MS), {}
for a, index in ipairs(ARGV) do
  out[a] = ''
  for day = today, today - INDEX_DAYS, -1 do
    local id = redis.call('HGET', bucket_of(index, day), string.sub(index, 4))
    if id then
      out[a] = id
      break
    end
  end
end
return out
