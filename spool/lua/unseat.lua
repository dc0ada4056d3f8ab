-- Messages that wait in a lane become due at once, to choose their route anew. What a call left in doubt stays so.
-- ARGV: nudge_ms, ids. Returns for each 1 = it is due, 0 = it does not wait in a lane (any more).
may_grow()
local now, out = now_ms(), {}
for a = 2, #ARGV do
  local id = ARGV[a]
  -- As spool/states.py has it.
  local is_waiting = redis.call('HGET', M .. id, 'why') == 'waits for its turn' and leave('parked', id)
  if is_waiting then enter('due', id, now + ARGV[1], '') end
  out[#out + 1] = is_waiting and 1 or 0
end
return out
