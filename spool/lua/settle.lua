-- The holder of a lease writes facts and events and says where the message goes: all or nothing.
-- ARGV[1]: JSON list of settlements; ARGV[2 …]: contents of spawned messages, in order.
--   q mark: hash of the rest, which a repeat has again; no number: tells equal settlements of one lease apart
--   i id, f fence, live 1 = only while the lease has not ended (an intent to send), to place or absent = stay,
--   ms distance of the wake-up, why, set [field, value, …], att [field, JSON, …], cut [field …], ev [event …],
--   n {counter: by}, ix [index …], sp [[id, static JSON, index, event, recipients] …]
--   fx [fact of a route …] (facts.lua), seat for the place `lane`: parked, and in the queue of a lane
--   take {seat, recipients, limits}: the recipients of an intent, taken together with it or not at all
--   and for the call as a whole: keep keep_finished_ms, nudge nudge_ms, far for a wake-up that never comes.
-- Returns for each 1 = written, 0 = the lease is lost (then only an attempt still open gets its late answer),
-- {why, ms} = the take is denied and nothing was written: not even a mark, so that it may be asked for again.
may_grow()
local now, exact_now, out, content_at = now_ms(), exact_now_ms(), {}, 2
local spawned_messages, spawned_recipients = 0, 0

-- As spool/states.py has them.
local IN_DOUBT, HELD_BY_OPERATOR = 'in doubt: sent or not', 'held by the operator'
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
local function contradicts(op, key)
  for a = 1, #op.att, 2 do
    local known = redis.call('HGET', key, op.att[a])
    if known and outcome_of(known) == 'accepted' and outcome_of(op.att[a + 1]) ~= 'accepted' then return true end
  end
  return false
end

-- The lease is lost. What SES answered is a fact all the same: it closes an attempt that is open or in doubt, and a
-- message that is held only for that doubt goes on.
local function note_late_answers(op, key, place)
  for a = 1, #op.att, 2 do
    local known = redis.call('HGET', key, op.att[a])
    local before, after = known and outcome_of(known), outcome_of(op.att[a + 1])
    if known and after and (not before or before == 'unknown') then
      redis.call('HSET', key, op.att[a], op.att[a + 1])
      local why = redis.call('HGET', key, 'why')
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

-- Event kind `held`, for the recipients that are not final, as sending_events/records.py has it.
local function tell_held(op, states)
  local unfinished = {}
  for n = 1, #states do
    if string.find(states, '^%l', n) then unfinished[#unfinished + 1] = n - 1 end
  end
  local event = { k = 'held', id = op.i, at = now, why = HELD_BY_OPERATOR }
  if #unfinished > 0 then event.r = unfinished end
  redis.call('XADD', EVENTS, '*', 'd', cjson.encode(event))
end

local function hold_for_operator(op, key)
  enter('held', op.i, now, HELD_BY_OPERATOR)
  if op.to ~= 'held' then count(COUNTERS, 'held_messages', 1) end  -- else the holder counts it
  tell_held(op, redis.call('HGET', key, 'r'))
end

local function queue(op, key, at)
  local _, recipients = string.gsub(redis.call('HGET', key, 'r'), 'w', '')
  enter('parked', op.i, op.ms > 0 and now + op.ms or op.far, op.why)
  step_in(op.i, op.seat, at, recipients)
end

local function move(op, key, at)
  redis.call('ZREM', PREFIX .. 'leased', op.i)
  if op.to == 'done' then return finish(op.i, at, now, op.why, op.keep) end
  local is_wanted, is_confirmed = unpack(redis.call('HMGET', key, 'ho', 'ev'))
  -- The holder lived to say where it goes: only losses in a row count.
  redis.call('HDEL', key, 'x', 'w', 'ho', 'ev')
  if op.to ~= 'due' then redis.call('HDEL', key, 'g') end
  if is_wanted and (op.to ~= 'held' or op.why == HELD_BY_OPERATOR) then
    hold_for_operator(op, key)
  elseif is_confirmed and (op.why == AWAITS_EVENT or op.why == IN_DOUBT) then
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
    if accept_one(now, new[1], new[2], content, new[3], new[4], new[5], op.nudge) == 1 then
      spawned_messages, spawned_recipients = spawned_messages + 1, spawned_recipients + new[5]
    end
  end
end

local function write(op, key, at, marks)
  local fields = op.set
  fields[#fields + 1] = 'q'
  fields[#fields + 1] = op.to and op.q or marks .. op.q
  redis.call('HSET', key, unpack(fields))
  if #op.att > 0 then redis.call('HSET', key, unpack(op.att)) end
  cut(op, key)
  for _, event in ipairs(op.ev) do redis.call('XADD', EVENTS, '*', 'd', event) end
  for name, by in pairs(op.n) do count(COUNTERS, name, by) end
  note_facts(op.fx, exact_now)
  if op.to then move(op, key, at) end
end

for n, op in ipairs(cjson.decode(ARGV[1])) do
  local key = M .. op.i
  local fence, place, at, marks = unpack(redis.call('HMGET', key, 'f', 'p', 'at', 'q'))
  marks = marks or ''
  -- Its answer did not arrive, so it was sent again: events and counters must not double.
  local is_repeat = fence == string.format('%.0f', op.f) and string.find(marks, op.q, 1, true) ~= nil
  local written = holds(op, fence, place) or (is_repeat and op.live ~= 1)
  local denied
  if place and not is_repeat then
    if written and contradicts(op, key) then
      written = false
      leave('leased', op.i)
      enter('due', op.i, now, '')
    elseif written then
      denied = op.take and take_or_deny(op.i, op.take, exact_now)
      if not denied then
        spawn(op, content_at)
        write(op, key, at, marks)
      end
    else
      note_late_answers(op, key, place)
    end
    if not denied then
      for _, index in ipairs(op.ix) do remember(index, op.i, now) end
    end
  end
  content_at = content_at + #op.sp
  out[n] = denied or (written and 1 or 0)
end
count_accepted(now, spawned_messages, spawned_recipients)
return out
