-- Put before the scripts of spool/feedback_inbox.py; after prelude.lua.
-- {ms}:inbox         zset id -> when it is looked at next, ms  {ms}:inbox-events  hash id -> <first seen, ms> <event>
-- {ms}:inbox-own     zset id -> first seen, ms: not looked at yet, or not applied yet
-- {ms}:inbox-unknown zset id -> first seen, ms: about a send that is not known. Each event is in one of the two.
local INBOX, ENTRIES = PREFIX .. 'inbox', PREFIX .. 'inbox-events'
local OWN, UNKNOWN = PREFIX .. 'inbox-own', PREFIX .. 'inbox-unknown'

local function forget(id)
  redis.call('HDEL', ENTRIES, id)
  redis.call('ZREM', OWN, id)
  redis.call('ZREM', UNKNOWN, id)
  return redis.call('ZREM', INBOX, id)
end

-- Mail of others must not take the room of ours: beyond so many the oldest are foreign.
local function give_up_unknown(most)
  local over = redis.call('ZCARD', UNKNOWN) - most
  if over <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', UNKNOWN, 0, over - 1)) do forget(id) end
  count(COUNTERS, 'feedback_events:foreign', over)
end
