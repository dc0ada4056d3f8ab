-- Writes down what one event of SES tells, once: all or nothing. ARGV: id of the message or '', bucket and mark that know
-- the event again, how long they do in ms, the event's record for the stream or '', 1 = things follow that are not in this
-- script, and JSON {l = [[recipient, moves] …], n = {counter: by}, s = {statistic: by}}. `moves` are pairs of letters: a
-- state and the one after it (spool/feedback_states.py).
-- {ms}:told:<bucket> set of marks | {ms}:told-open hash, events whose followers are not done: <bucket>:<mark> -> since, ms
-- Returns 1 = written, 0 = it was written before, 2 = likewise, and what follows was not done yet.
may_grow()
local id, bucket, mark, now = ARGV[1], ARGV[2], ARGV[3], now_ms()
local marks, open, name = PREFIX .. 'told:' .. bucket, PREFIX .. 'told-open', bucket .. ':' .. mark
if redis.call('SADD', marks, mark) == 0 then return 2 * redis.call('HEXISTS', open, name) end
redis.call('PEXPIRE', marks, ARGV[4])
if ARGV[6] == '1' then redis.call('HSET', open, name, text_of(now)) end
local told = cjson.decode(ARGV[7])

local function moved(letter, moves)
  for n = 1, #moves, 2 do
    if string.sub(moves, n, n) == letter then return string.sub(moves, n + 1, n + 1) end
  end
  return letter  -- of another version
end

local states, letters = unpack(redis.call('HMGET', M .. id, 'r', 'fb'))
if states and #told.l > 0 then
  letters = letters or ''
  letters = letters .. string.rep('-', #states - #letters)
  for _, one in ipairs(told.l) do
    local at = one[1] + 1
    if at <= #letters then
      letters = string.sub(letters, 1, at - 1) .. moved(string.sub(letters, at, at), one[2]) .. string.sub(letters, at + 1)
    end
  end
  redis.call('HSET', M .. id, 'fb', letters)
end

for name, by in pairs(told.n) do count(COUNTERS, name, by) end
for what, by in pairs(told.s) do count_statistic(now, what, by) end
redis.call('HSET', PREFIX .. 'feedback', 'applied_at_ms', text_of(now))
if ARGV[5] ~= '' then redis.call('XADD', EVENTS, '*', 'd', ARGV[5]) end
return 1
