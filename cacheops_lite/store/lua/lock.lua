-- Purpose: take a lock.  If the reply is lost and the script is sent again, it finds the lock taken by its own token.
--
-- KEYS   [1] the lock
-- ARGV   [1] the owner's token and the epoch of the server, [2] seconds after which the lock expires
-- Reply  the token if it owns the lock, else nothing

-- A lock of another epoch was brought back by an old snapshot.
local TOKEN_LENGTH = 8
local owner = redis.call('get', KEYS[1])
if owner and string.sub(owner, TOKEN_LENGTH + 1) ~= string.sub(ARGV[1], TOKEN_LENGTH + 1) then
    redis.call('del', KEYS[1])
end
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) or redis.call('get', KEYS[1]) == ARGV[1] then
    return ARGV[1]
end
return false
