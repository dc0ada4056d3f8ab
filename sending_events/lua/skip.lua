-- Moves cursors past entries that their destinations do not want, all of them in one step.
-- ARGV: version of the sets that the caller knows, then for each: name, from, to, entries. One that moved meanwhile, or
-- is being served, stays. Returns the names of those that have changed since that version, which stay as well.
redis.call('DEL', '{ms}:none')
local outdated, last = {}, last_id()
for a = 2, #ARGV, 4 do
  local name = ARGV[a]
  if is_outdated(name, ARGV[1]) then
    outdated[#outdated + 1] = name
  elseif redis.call('EXISTS', lock_key(name)) == 0 and redis.call('GET', cursor_key(name)) == ARGV[a + 1] then
    move(name, ARGV[a + 2], ARGV[a + 3], last)
  end
end
return outdated
