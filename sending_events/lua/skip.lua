-- Moves cursors past entries that their destinations do not want, all of them in one step.
-- ARGV for each: name, from, to, entries. One that moved meanwhile, or is being served, stays. Returns how many moved.
redis.call('DEL', '{ms}:none')
local moved, last = 0, last_id()
for a = 1, #ARGV, 4 do
  local name = ARGV[a]
  if redis.call('EXISTS', lock_key(name)) == 0 and redis.call('GET', cursor_key(name)) == ARGV[a + 1] then
    move(name, ARGV[a + 2], ARGV[a + 3], last)
    moved = moved + 1
  end
end
return moved
