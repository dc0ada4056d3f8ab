-- Keeps events of SES in the inbox (feedback_inbox.lua). ARGV: most events, most of them about unknown sends, then for each
-- its id, the event, ms until it is looked at, 1 = it is about a send that is not known. Returns for each 1 = kept, also
-- when it was there already, 0 = there is no room. Refused by a full server.
local most, now, out = tonumber(ARGV[1]), now_ms(), {}
for a = 3, #ARGV, 4 do
  local id, event = ARGV[a], ARGV[a + 1]
  local is_there = redis.call('HEXISTS', ENTRIES, id) == 1
  local has_room = redis.call('ZCARD', INBOX) < most
  if not is_there and has_room then
    redis.call('HSET', ENTRIES, id, text_of(now) .. ' ' .. event)
    redis.call('ZADD', INBOX, now + tonumber(ARGV[a + 2]), id)
    redis.call('ZADD', ARGV[a + 3] == '1' and UNKNOWN or OWN, text_of(now), id)
  end
  out[#out + 1] = (is_there or has_room) and 1 or 0
end
give_up_unknown(tonumber(ARGV[2]))
return out
