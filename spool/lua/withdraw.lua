-- Takes back messages whose client was told 451 because the commit's answer did not come in time. A commit that
-- comes later still (it waited in a socket) is refused: the client sends the message again under another id.
-- ARGV: how long a late commit is refused, ms; then for each message: id, event.
-- Returns for each 1 = taken back, 0 = it was not here, or a worker has or had it: what may be sent is not undone.
may_grow()
local out = {}
for a = 2, #ARGV, 2 do
  local id = ARGV[a]
  local place, fence, at, states = unpack(redis.call('HMGET', M .. id, 'p', 'f', 'at', 'r'))
  local is_mine = place == 'due' and not fence
  if is_mine then
    redis.call('ZREM', PREFIX .. 'due', id)
    redis.call('DEL', M .. id)
    count(AGES, slot_of(at), -1)
    count(COUNTERS, 'withdrawn_messages', 1)
    count(COUNTERS, 'withdrawn_recipients', #states)
    if ARGV[a + 1] ~= '' then redis.call('XADD', EVENTS, '*', 'd', ARGV[a + 1]) end
  end
  if is_mine or not place then redis.call('SET', X .. id, '', 'PX', ARGV[1]) end
  out[#out + 1] = is_mine and 1 or 0
end
return out
