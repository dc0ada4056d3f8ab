-- Gives a place to destinations of sets that have none, after the newest entry, and takes it from those that the file
-- disables. ARGV for each: 'file' = enabled in the file, 'api' = the API has made it, enabled or not any more,
-- 'gone' = disabled in the file, as a process that starts finds, 'off' = the same later; name. Returns how many are new.
--
-- The API may have one of the same name as the file, which counts when the file's set is gone. A process with another
-- file may serve it already, or still. So 'gone' leaves an enabled one of the API its place and marks it, and whoever
-- finds it enabled later, here or there, begins anew: what happened meanwhile is told nobody.
redis.call('DEL', '{ms}:none')
local function is_enabled_by_the_api(name)
  local set, destination = string.match(name, '^([^:]*):(.*)$')
  return is_on(redis.call('HGET', set_key(set), destination))
end

local new = 0
for a = 1, #ARGV, 2 do
  local what, name = ARGV[a], ARGV[a + 1]
  local has_place = redis.call('EXISTS', cursor_key(name)) == 1
  if what == 'gone' or what == 'off' then
    if not is_enabled_by_the_api(name) then
      stop(name)
    elseif has_place and what == 'gone' then
      redis.call('HSET', state_key(name), 'aside', 1)
    end
  elseif not has_place or redis.call('HEXISTS', state_key(name), 'aside') == 1 then
    if what == 'file' or is_enabled_by_the_api(name) then
      stop(name)
      start_at_end(name)
      new = new + 1
    end
  end
end
return new
