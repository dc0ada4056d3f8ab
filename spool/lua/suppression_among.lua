-- Which of these addresses are suppressed now. ARGV: addresses. Returns for each its row, '' = it is not.
local now, out = now_ms(), {}
for n, raw in ipairs(redis.call('HMGET', ROWS, unpack(ARGV))) do
  out[n] = raw and not is_over(cjson.decode(raw), now) and raw or ''
end
return out
