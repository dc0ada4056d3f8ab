-- How a sender stands from now on. ARGV: sender, JSON of its standing or '' = well, ms since when it is paused for its
-- figures or 0. Returns 1 when that is another level than before.
may_grow()
local sender, paused = ARGV[1], tonumber(ARGV[3])
local before = redis.call('HGET', STANDINGS, sender)
if ARGV[2] == '' then return redis.call('HDEL', STANDINGS, sender) end
redis.call('HSET', STANDINGS, sender, ARGV[2])
if paused > 0 then redis.call('HSET', figures_of(sender), 'paused', text_of(paused)) end
return before and cjson.decode(before).level == cjson.decode(ARGV[2]).level and 0 or 1
