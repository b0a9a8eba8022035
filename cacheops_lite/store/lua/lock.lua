-- Purpose: take a lock.  Sent a second time, because the first reply was lost, it finds that it was taken.
-- KEYS   [1] the lock
-- ARGV   [1] the token to hold it with, [2] for how many seconds it stands at most
-- Reply  the token if it holds the lock, else nothing

if redis.call('set', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) or redis.call('get', KEYS[1]) == ARGV[1] then
    return ARGV[1]
end
return false
