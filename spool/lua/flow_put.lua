-- A function has put a content, which is stored. ARGV: id, its name, when the access ends if no function was given
-- this message before, ms, token of the run in which the put began or ''.
-- Returns {'counts' | 'kept' | 'unknown', names that are not needed any more …}.
may_grow()
local id, fresh, usual_end, run = unpack(ARGV)
local key, now = FLOW .. id, now_ms()
local ends, base, latest, put, last_run, open_until =
  unpack(redis.call('HMGET', key, 'end', 'base', 'latest', 'put', 'run', 'until'))
if tonumber(ends or usual_end) <= now then return { 'unknown', fresh } end

local counts = run ~= '' and run == last_run and tonumber(open_until or 0) > now
local new = { base = base or '', latest = fresh, put = counts and fresh or put or '' }
redis.call('HSET', key, 'end', ends or usual_end, 'latest', new.latest, 'put', new.put)
if not ends then redis.call('ZADD', FLOWS, usual_end, id) end
return { counts and 'counts' or 'kept', unpack(unneeded({ base, latest, put }, new)) }
