-- How a sender stands from now on, by figures that were read then; when they pause it: its pause, the pause's event and
-- the mark that it is paused for its figures, in one step and once. ARGV: sender, JSON of its standing or '' = well, when
-- its figures were read, ms, then for a pause its JSON and its event.
-- Figures from before a resume say nothing any more: nothing changes. A pause that is there is left as it is.
-- Returns 1 when that is another level than before.
may_grow()
local sender, read_at = ARGV[1], tonumber(ARGV[3])
local key, scope = figures_of(sender), 'user:' .. sender
local marked, since = unpack(redis.call('HMGET', key, 'paused', 'since'))
if since and tonumber(since) > read_at then return 0 end
local level = ARGV[2] == '' and 'well' or cjson.decode(ARGV[2]).level
-- Read before the pause; or somebody has resumed the sender, which the next note sees.
if marked and (level ~= 'paused' or not is_paused(sender, now_ms())) then return 0 end
if level == 'well' then return redis.call('HDEL', STANDINGS, sender) end
if level == 'paused' and not marked then
  if not is_paused(sender, now_ms()) then
    redis.call('HSET', PAUSES, scope, ARGV[4])
    redis.call('XADD', EVENTS, '*', 'd', ARGV[5])
  end
  redis.call('HSET', key, 'paused', text_of(read_at))
end
local before = redis.call('HGET', STANDINGS, sender)
redis.call('HSET', STANDINGS, sender, ARGV[2])
return before and cjson.decode(before).level == level and 0 or 1
