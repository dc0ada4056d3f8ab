-- How far SES's events have been read. ARGV: source, position, ms of a read that came to the end or 0.
-- Returns nothing of interest.
may_grow()
local hash = PREFIX .. 'feedback'
redis.call('HSET', hash, 'position:' .. ARGV[1], ARGV[2])
if tonumber(ARGV[3]) > 0 then redis.call('HSET', hash, 'seen_at_ms', ARGV[3]) end
return 1
