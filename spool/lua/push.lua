-- Pushes tasks for the workers, on a full server too. ARGV: LPUSH = behind all others, RPUSH = before them, name of the
-- list, then the tasks. Returns the length of the list.
may_grow()
return redis.call(ARGV[1], ARGV[2], unpack(ARGV, 3))
