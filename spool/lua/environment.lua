-- Whose spool this is. ARGV: JSON of the environment that a spool without one gets. Returns the spool's own.
may_grow()
redis.call('SET', '{ms}:environment', ARGV[1], 'NX')
return redis.call('GET', '{ms}:environment')
