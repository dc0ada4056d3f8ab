-- Keeps events of SES in the inbox (feedback_inbox.lua). ARGV: most events, then id, event, ms until it is looked at for
-- each. Returns for each 1 = kept, also when it was there already, 0 = there is no room. Refused by a full server.
local inbox, events = PREFIX .. 'inbox', PREFIX .. 'inbox-events'
local most, now, out = tonumber(ARGV[1]), now_ms(), {}
for a = 2, #ARGV, 3 do
  local id, event = ARGV[a], ARGV[a + 1]
  local is_there = redis.call('HEXISTS', events, id) == 1
  local has_room = redis.call('ZCARD', inbox) < most
  if not is_there and has_room then
    redis.call('HSET', events, id, text_of(now) .. ' ' .. event)
    redis.call('ZADD', inbox, now + tonumber(ARGV[a + 2]), id)
  end
  out[#out + 1] = (is_there or has_room) and 1 or 0
end
return out
