-- Adds events that belong to no change of a message, on a full server too. ARGV: events. Returns how many.
may_grow()
for _, event in ipairs(ARGV) do redis.call('XADD', EVENTS, '*', 'd', event) end
return #ARGV
