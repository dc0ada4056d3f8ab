-- A run is over: what is put from now on does not count. ARGV: id, token. Asked again it answers the same.
-- Returns the name of what was put during the run, '' = nothing was, or another run has begun.
may_grow()
local key = FLOW .. ARGV[1]
local run, put = unpack(redis.call('HMGET', key, 'run', 'put'))
if run ~= ARGV[2] then return '' end
redis.call('HSET', key, 'until', 0)
return put or ''
