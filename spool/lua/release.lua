-- Parked or held messages become due at once. ARGV: nudge_ms, ids.
-- Returns for each 1 = released, 0 = it was in neither place. Failures and crashes start at nought again.
may_grow()
local now, out = now_ms(), {}

-- As spool/states.py has them.
local IN_DOUBT = 'in doubt: sent or not'
local AWAITS_EVENT = "waits for SES's own event of a call without an answer"

for a = 2, #ARGV do
  local id = ARGV[a]
  local why, states = unpack(redis.call('HMGET', M .. id, 'why', 'r'))
  local was_there = leave('parked', id) or leave('held', id)
  if was_there then
    redis.call('HDEL', M .. id, 'x', 'y', 'ho')
    -- Who is in doubt is sent to again where that was the reason to keep the message: whoever lets it go on for
    -- another reason may not know of it. A function that it waits for is asked at once.
    if why == IN_DOUBT or why == AWAITS_EVENT then states = string.gsub(states, 'u', 'w') end
    redis.call('HSET', M .. id, 'r', states, 'ask', 1)
    enter('due', id, now + ARGV[1], '')
  end
  out[#out + 1] = was_there and 1 or 0
end
return out
