-- A function is about to be called. ARGV: id, digest of the content, its name or '' (it may be stored already),
-- end of the access by the message's age in ms, longest run in ms, token of the run or '' for one that changes
-- nothing, 1 = frozen.
-- Returns {0} = nothing was written: store the content and ask again, or {1, names that are not needed any more …}.
may_grow()
local id, digest, fresh, ends, lasts, token, frozen = unpack(ARGV)
local key, now = FLOW .. id, now_ms()
local base, known, latest, put, until_now = unpack(redis.call('HMGET', key, 'base', 'digest', 'latest', 'put', 'end'))
local is_sync = token ~= ''
local wants_base = is_sync and known ~= digest or not latest
if wants_base and fresh == '' then return { 0 } end

local new = { base = base or '', latest = latest or '', put = put or '' }
if wants_base then new.base = fresh end
if is_sync or not latest then new.latest, new.put = new.base, '' end
local last = math.max(tonumber(ends), now + lasts, tonumber(until_now or 0))
redis.call('HSET', key, 'end', text_of(last), 'base', new.base, 'latest', new.latest, 'put', new.put, 'fz', frozen)
if wants_base then redis.call('HSET', key, 'digest', digest) end
if is_sync then redis.call('HSET', key, 'run', token, 'until', text_of(now + lasts)) end
redis.call('ZADD', FLOWS, text_of(last), id)
return { 1, unpack(unneeded({ base, latest, put, fresh }, new)) }
