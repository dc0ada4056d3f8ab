-- Removes entries whose time is over, at most ARGV[1] of them. Returns how many.
may_grow()
local now = now_ms()
local over = redis.call('ZRANGEBYSCORE', ENDS, '-inf', text_of(now), 'LIMIT', 0, tonumber(ARGV[1]))
for _, address in ipairs(over) do erase(address, now, true) end
return #over
