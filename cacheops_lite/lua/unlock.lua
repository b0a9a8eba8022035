-- Purpose: release a lock, unless it is somebody else's by now.
-- KEYS   [1] the lock
-- ARGV   [1] the holder's token
-- Reply  1 if released

if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('del', KEYS[1])
end
return 0
