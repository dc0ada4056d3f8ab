-- Takes new messages into the spool. The only script that may be refused for want of memory.
-- ARGV: nudge_ms, then for each message: id, static JSON, content, index, event, recipients, once or '', once_ms, beginning
-- of a content that is not here.
-- Returns for each message 1 = taken, 0 = it was here already, -1 = it was withdrawn before, an id = it repeats that one.
local now, out, messages, recipients = now_ms(), {}, 0, 0
for a = 2, #ARGV, 9 do
  local id, meta, content, index, event, addresses, once, once_ms, head = unpack(ARGV, a, a + 8)
  local number = tonumber(addresses)
  local taken = accept_one(now, id, meta, content, index, event, number, ARGV[1], once, once_ms, head)
  if taken == 1 then messages, recipients = messages + 1, recipients + number end
  out[#out + 1] = taken
end
count_accepted(now, messages, recipients)
return out
