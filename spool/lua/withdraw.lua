-- Takes back messages whose client was told to send again because the commit's answer did not come in time. A commit that
-- comes later still (it waited in a socket) is refused: the client sends the message again under another id.
-- A message that a repeat was told of stays: that client has its answer. Where none was told, the mark by which a repeat is
-- known goes with the message, or the next try would be answered with what is not there.
-- ARGV: how long a late commit is refused, ms; then ids.
-- Returns for each 1 = taken back, 0 = it was not here, a worker has or had it (what may be sent is not undone), or a
-- repeat counts on it.
may_grow()

local WITHDRAWN = 'taken back: the client was told to send it again'

-- Event kind `dropped`, as sending_events/records.py has it.
local function tell_withdrawn(id, now, known)
  local event = { k = 'dropped', id = id, at = now, why = WITHDRAWN }
  event.set = known.with and known.with.set
  redis.call('XADD', EVENTS, '*', 'd', cjson.encode(event))
end

local function take_back(id, at, states, known, now)
  redis.call('ZREM', PREFIX .. 'due', id)
  redis.call('DEL', M .. id)
  if known.once and redis.call('GET', O .. known.once) == id then redis.call('DEL', O .. known.once) end
  count(AGES, slot_of(at), -1)
  count(COUNTERS, 'withdrawn_messages', 1)
  count(COUNTERS, 'withdrawn_recipients', #states)
  tell_withdrawn(id, now, known)
end

local now, out = now_ms(), {}
for a = 2, #ARGV do
  local id = ARGV[a]
  local place, fence, at, states, meta, repeats = unpack(redis.call('HMGET', M .. id, 'p', 'f', 'at', 'r', 'm', 'rep'))
  local is_mine = place == 'due' and not fence and not repeats
  if is_mine then take_back(id, at, states, cjson.decode(meta), now) end
  if is_mine or not place then redis.call('SET', X .. id, '', 'PX', ARGV[1]) end
  out[#out + 1] = is_mine and 1 or 0
end
return out
