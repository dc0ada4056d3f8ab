-- The holder of a lease writes facts and events and says where the message goes: all or nothing.
-- ARGV[1]: JSON list of settlements; ARGV[2 …]: contents of spawned messages, in order.
--   q mark: hash of the rest, which a repeat has again; no number: tells equal settlements of one lease apart
--   i id, f fence, live 1 = only while the lease has not ended (an intent to send), to place or absent = stay,
--   ms distance of the wake-up, why, set [field, value, …], att [field, JSON, …], cut [field …], ev [event …],
--   n {counter: by}, ix [index …], sp [[id, static JSON, index, event, recipients] …]
--   fx [fact of a route …] (facts.lua), seat for the place `lane`: parked, and in the queue of a lane
--   wait how many recipients want a turn there; absent = all that wait
--   take {seat, recipients, limits}: the recipients of an intent, taken together with it or not at all
--   and for the call as a whole: keep keep_finished_ms, keep_head keep_headers_ms, nudge nudge_ms, far for a wake-up that
--   never comes.
-- Returns for each 1 = written, 0 = the lease is lost (then only an attempt still open gets its late answer),
-- {why, ms} = the take is denied and nothing was written: not even a mark, so that it may be asked for again.
may_grow()
local now, exact_now, out, content_at = now_ms(), exact_now_ms(), {}, 2
local spawned_messages, spawned_recipients, counts = 0, 0, {}

-- As spool/states.py has them.
local IN_DOUBT = 'in doubt: sent or not'
local AWAITS_EVENT = "waits for SES's own event of a call without an answer"

-- Outcomes that finish no recipient; of these only the newest attempts are kept.
local FINISHES_NOBODY = { throttled = true, unavailable = true, unknown = true }

local function outcome_of(attempt)
  local outcome = cjson.decode(attempt).outcome
  return outcome ~= cjson.null and outcome or nil
end

local function holds(op, fence, place)
  if place ~= 'leased' or fence ~= string.format('%.0f', op.f) then return false end
  if op.live ~= 1 then return true end
  local ends = redis.call('ZSCORE', PREFIX .. 'leased', op.i)
  return ends and tonumber(ends) > now
end

-- A late answer (below) may have come between the claim and this write: then the holder does not know that SES has
-- the batch. It writes nothing, and the message is due again for one who does.
local function contradicts(op, attempts)
  for a = 1, #op.att, 2 do
    local known = attempts[a]
    if known and outcome_of(known) == 'accepted' and outcome_of(op.att[a + 1]) ~= 'accepted' then return true end
  end
  return false
end

-- Attempts that others closed as accepted under this lease, but for those whose acceptance its holder writes here. While
-- there are any its next call might be for recipients that SES has already: it is denied.
local function unnoticed(op, closed)
  if closed == '' then return '' end
  for a = 1, #op.att, 2 do
    if outcome_of(op.att[a + 1]) == 'accepted' then closed = string.gsub(closed, op.att[a] .. ' ', '') end
  end
  return closed
end

-- From a holder that does not know enough to one who will.
local function take_back(id)
  leave('leased', id)
  local is_hold_wanted = redis.call('HGET', M .. id, 'ho')
  redis.call('HDEL', M .. id, 'ho', 'ev')  -- they were for this lease
  if not is_hold_wanted then return enter('due', id, now, '') end
  hold_for_operator(id, now)
  count(COUNTERS, 'held_messages', 1)
end

-- The lease is lost. What SES answered is a fact all the same: it closes an attempt that is open or in doubt, and a
-- message that waits only for that goes on. Who has the lease now does not know of it.
local function note_late_answers(op, key, place, attempts)
  for a = 1, #op.att, 2 do
    local known = attempts[a]
    local before, after = known and outcome_of(known), outcome_of(op.att[a + 1])
    if known and after and (not before or before == 'unknown') then
      redis.call('HSET', key, op.att[a], op.att[a + 1])
      local why, closed = unpack(redis.call('HMGET', key, 'why', 'ev'))
      if after == 'accepted' and place == 'leased' then
        redis.call('HSET', key, 'ev', (closed or '') .. op.att[a] .. ' ')
      end
      local waits_for_it = place == 'held' and why == IN_DOUBT or place == 'parked' and why == AWAITS_EVENT
      if after == 'accepted' and waits_for_it then
        leave(place, op.i)
        enter('due', op.i, now, '')
        place = 'due'
      end
    end
  end
end

-- Somebody waits for the answer of this attempt: its event must find it.
local function is_awaited(attempt, states)
  for _, index in ipairs(cjson.decode(attempt).recipients) do
    if string.sub(states, index + 1, index + 1) == 'u' then return true end
  end
  return false
end

local function cut(op, key)
  for _, field in ipairs(op.cut) do
    local attempt, states = unpack(redis.call('HMGET', key, field, 'r'))
    local outcome = attempt and outcome_of(attempt)
    if FINISHES_NOBODY[outcome] and not (outcome == 'unknown' and is_awaited(attempt, states)) then
      redis.call('HDEL', key, field)
    end
  end
end

local function queue(op, key, at)
  local _, waiting = string.gsub(redis.call('HGET', key, 'r'), 'w', '')
  enter('parked', op.i, op.ms > 0 and now + op.ms or op.far, op.why)
  step_in(op.i, op.seat, at, op.wait and math.min(op.wait, waiting) or waiting)
end

local function move(op, key, at, is_unaware)
  redis.call('ZREM', PREFIX .. 'leased', op.i)
  if op.to == 'done' then return finish(op.i, at, now, op.why, op.keep, op.keep_head) end
  local is_wanted = redis.call('HGET', key, 'ho')
  -- The holder lived to say where it goes: only losses in a row count.
  redis.call('HDEL', key, 'x', 'w', 'ho', 'ask', 'ev')
  if op.to ~= 'due' then redis.call('HDEL', key, 'g') end
  if is_wanted and (op.to ~= 'held' or op.why == HELD_BY_OPERATOR) then
    hold_for_operator(op.i, now)
    if op.to ~= 'held' then count(COUNTERS, 'held_messages', 1) end  -- else the holder counts it
  elseif is_unaware and (op.to == 'lane' or op.why == AWAITS_EVENT or op.why == IN_DOUBT) then
    enter('due', op.i, now, '')  -- what it would wait for came while it was leased
  elseif op.to == 'lane' then
    queue(op, key, at)
  else
    enter(op.to, op.i, now + op.ms, op.why)
  end
end

local function spawn(op, first_content)
  for n, new in ipairs(op.sp) do
    local content = ARGV[first_content + n - 1]
    if accept_one(now, new[1], new[2], content, new[3], new[4], new[5], op.nudge, '', 0, '') == 1 then
      spawned_messages, spawned_recipients = spawned_messages + 1, spawned_recipients + new[5]
    end
  end
end

local function write(op, key, at, marks, known_as_closed, closed)
  local fields = { 'q', op.to and op.q or marks .. op.q }
  for _, more in ipairs({ op.set, op.att }) do
    for _, part in ipairs(more) do fields[#fields + 1] = part end
  end
  redis.call('HSET', key, unpack(fields))
  if closed ~= known_as_closed then redis.call('HSET', key, 'ev', closed) end
  cut(op, key)
  for _, event in ipairs(op.ev) do redis.call('XADD', EVENTS, '*', 'd', event) end
  for name, by in pairs(op.n) do counts[name] = (counts[name] or 0) + by end
  note_facts(op.fx, exact_now)
  if op.to then move(op, key, at, closed ~= '') end
end

-- What a settlement must know of its message, and its attempts as they stand there, at the places that op.att has.
local function read(op, key)
  local names, attempts = { 'f', 'p', 'at', 'q', 'ev', 'g', 'ho' }, {}
  for a = 1, #op.att, 2 do names[#names + 1] = op.att[a] end
  local known = redis.call('HMGET', key, unpack(names))
  for a = 1, #op.att, 2 do attempts[a] = known[7 + (a + 1) / 2] end
  return attempts, unpack(known, 1, 7)
end

for n, op in ipairs(cjson.decode(ARGV[1])) do
  local key = M .. op.i
  local attempts, fence, place, at, marks, known_as_closed, turn, is_hold_wanted = read(op, key)
  marks, known_as_closed = marks or '', known_as_closed or ''
  -- Its answer did not arrive, so it was sent again: events and counters must not double.
  local is_repeat = fence == string.format('%.0f', op.f) and string.find(marks, op.q, 1, true) ~= nil
  local written = holds(op, fence, place) or (is_repeat and op.live ~= 1)
  local denied
  if place and not is_repeat then
    if written and contradicts(op, attempts) then
      written = false
      take_back(op.i)
      note_late_answers(op, key, 'due', attempts)
    elseif written then
      local closed = unnoticed(op, known_as_closed)
      denied = op.take and (closed ~= '' and { 'paused', 0 } or take_or_deny(op.i, op.take, turn, is_hold_wanted, exact_now))
      if not denied then
        spawn(op, content_at)
        write(op, key, at, marks, known_as_closed, closed)
      end
    else
      note_late_answers(op, key, place, attempts)
    end
    if not denied then
      for _, index in ipairs(op.ix) do remember(index, op.i, now) end
    end
  end
  content_at = content_at + #op.sp
  out[n] = denied or (written and 1 or 0)
end
save_noted(exact_now)
for name, by in pairs(counts) do count_fact(now, name, by) end
count_accepted(now, spawned_messages, spawned_recipients)
return out
