-- A route that is in trouble may be probed now, by the next message that waits for it. ARGV: route.
-- Returns 1 = it is in trouble, 0 = it is not.
may_grow()
local key = PREFIX .. 'route:' .. ARGV[1]
if redis.call('HEXISTS', key, 't') == 0 then return 0 end
redis.call('HSET', key, 'tp', now_ms())
return 1
