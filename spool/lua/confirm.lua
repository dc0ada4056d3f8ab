-- SES's own event says that it took a call. ARGV: id, number of the attempt, ses_message_id, when in ms, index.
-- Closes an attempt that is open or in doubt; a message that waits for just that goes on. A live holder keeps it: what
-- it writes against this event is refused (settle.lua), and while `ev` names an attempt that it does not know to be
-- closed its next call is denied, and its last write does not wait for the event.
-- Returns 1 = noted, 0 = the outcome is written already, -1 = no such message or attempt.
may_grow()
local id, field, now = ARGV[1], 'a:' .. ARGV[2], now_ms()
local key = M .. id
local place, why, known, closed = unpack(redis.call('HMGET', key, 'p', 'why', field, 'ev'))
if not (place and known) then return -1 end

-- As spool/states.py has them.
local IN_DOUBT = 'in doubt: sent or not'
local AWAITS_EVENT = "waits for SES's own event of a call without an answer"

local attempt = cjson.decode(known)
if attempt.outcome ~= cjson.null and attempt.outcome ~= 'unknown' then return 0 end
attempt.outcome, attempt.ses_message_id = 'accepted', ARGV[3]
attempt.ended_at_ms = tonumber(ARGV[4])
attempt.code, attempt.reason = '', ''
redis.call('HSET', key, field, cjson.encode(attempt))
remember(ARGV[5], id, now)
if place == 'leased' then redis.call('HSET', key, 'ev', (closed or '') .. field .. ' ') end
if place == 'held' and why == IN_DOUBT or place == 'parked' and why == AWAITS_EVENT then
  leave(place, id)
  enter('due', id, now, '')
end
return 1
