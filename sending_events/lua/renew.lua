-- Prolongs a lock. ARGV: name, token, lock_ms. Returns 1 = prolonged, 0 = lost.
redis.call('DEL', '{ms}:none')
if redis.call('GET', lock_key(ARGV[1])) ~= ARGV[2] then return 0 end
return redis.call('PEXPIRE', lock_key(ARGV[1]), ARGV[3])
