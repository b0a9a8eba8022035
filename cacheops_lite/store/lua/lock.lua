-- Purpose: take a lock.  If the reply is lost and the script is sent again, it finds the lock taken by its own token.
--
-- KEYS   [1] the lock
-- ARGV   [1] the owner's token, [2] seconds after which the lock expires
-- Reply  the token if it owns the lock, else nothing

if redis.call('set', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) or redis.call('get', KEYS[1]) == ARGV[1] then
    return ARGV[1]
end
return false
