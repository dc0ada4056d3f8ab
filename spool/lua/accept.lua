-- Takes new messages into the spool. The only script that may be refused for want of memory.
-- ARGV: nudge_ms, then for each message: id, static JSON, content, index, event, recipients.
-- Returns for each message 1 = taken, 0 = it was here already, -1 = it was withdrawn before.
local now, out, messages, recipients = now_ms(), {}, 0, 0
for a = 2, #ARGV, 6 do
  local number = tonumber(ARGV[a + 5])
  local taken = accept_one(now, ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], number, ARGV[1])
  if taken == 1 then messages, recipients = messages + 1, recipients + number end
  out[#out + 1] = taken
end
count_accepted(now, messages, recipients)
return out
