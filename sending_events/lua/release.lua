-- Gives a lock back. ARGV: name, token. Returns 1 = given back, 0 = it was another's already.
if redis.call('GET', lock_key(ARGV[1])) ~= ARGV[2] then return 0 end
return redis.call('DEL', lock_key(ARGV[1]))
