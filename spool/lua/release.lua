-- Parked or held messages become due at once. ARGV: nudge_ms, ids.
-- Returns for each 1 = released, 0 = it was in neither place. Failures and crashes start at nought again.
may_grow()
local now, out = now_ms(), {}
for a = 2, #ARGV do
  local id = ARGV[a]
  local was_there = leave('parked', id) or leave('held', id)
  if was_there then
    redis.call('HDEL', M .. id, 'x', 'y', 'ho')
    local states = redis.call('HGET', M .. id, 'r')
    -- Who was in doubt until now is sent to again; a function that it waits for is asked at once.
    redis.call('HSET', M .. id, 'r', (string.gsub(states, 'u', 'w')), 'ask', 1)
    enter('due', id, now + ARGV[1], '')
  end
  out[#out + 1] = was_there and 1 or 0
end
return out
