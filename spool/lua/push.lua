-- Pushes tasks for the workers, on a full server too. ARGV: name of the list, then the tasks.
-- Returns the length of the list.
may_grow()
return redis.call('LPUSH', ARGV[1], unpack(ARGV, 2))
