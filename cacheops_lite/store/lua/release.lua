-- Purpose: release a lock, or a writer's fence of a table, unless another token owns it by now.
--
-- KEYS   [1] the lock (a string) or the fence (a sorted set)
-- ARGV   [1] the owner's token
-- Reply  1 if released, else 0

local kind = redis.call('type', KEYS[1]).ok
if kind == 'zset' then
    return redis.call('zrem', KEYS[1], ARGV[1])
end
if kind == 'string' and redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('del', KEYS[1])
end
return 0
