-- Lets destinations that have no cursor yet begin after the newest entry. ARGV: names. Returns how many are new.
redis.call('DEL', '{ms}:none')
local new = 0
for a = 1, #ARGV do
  if redis.call('EXISTS', cursor_key(ARGV[a])) == 0 then
    start_at_end(ARGV[a])
    new = new + 1
  end
end
return new
