-- Put before the scripts of spool/reputation.py; after prelude.lua.
-- {ms}:reputation:<hash of the sender>  hash  <slot start s>:d|b|c -> delivered, bounced, complained in it | since ms
--                                             before which nothing counts | paused since when its figures pause it, ms
-- {ms}:reputation             hash  sender -> JSON of those that are warned of or paused (spool/reputation.py)
-- {ms}:reputation-users:<day> hash  envelope sender -> user who sent with it
local STANDINGS, USERS = PREFIX .. 'reputation', PREFIX .. 'reputation-users:'
-- Complaints come days later, when the message is forgotten. Some programs write a sender for each message: no more
-- than so many are kept a day.
local USER_DAYS, USERS_A_DAY = 10, 10000

local function figures_of(sender) return STANDINGS .. ':' .. redis.sha1hex(sender) end

local function is_paused(sender, now)
  local raw = redis.call('HGET', PAUSES, 'user:' .. sender)
  local pause = raw and cjson.decode(raw)
  return pause and (pause['until'] == 0 or pause['until'] > now)
end
