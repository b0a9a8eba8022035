-- Purpose: store a value under the stamps that it was built under, unless one of them fell meanwhile.
--
-- KEYS   the value, its m generations and stamps, then the set of dependents of each stamp (none with
--        CACHEOPS_INSIDEOUT)
-- ARGV   [1] the value, [2] its time to live in seconds, [3] m, [4...] the generations and stamps it was built under
-- Reply  1 if stored, 0 if dead on arrival
--
-- A set of dependents is bookkeeping: each write to it looks at a few members and removes those that are gone, so that
-- it stays within a small factor of the live ones.

local SAMPLE = 3
local ttl = tonumber(ARGV[2])
local m = tonumber(ARGV[3])

for i = 1, m do
    if redis.call('get', KEYS[1 + i]) ~= ARGV[3 + i] then
        return 0
    end
end

redis.call('set', KEYS[1], ARGV[1], 'EX', ttl)

for i = 1, m do
    if redis.call('ttl', KEYS[1 + i]) < ttl then
        redis.call('expire', KEYS[1 + i], ttl * 2)
    end
end

for i = m + 2, #KEYS do
    local set = KEYS[i]
    redis.call('sadd', set, KEYS[1])
    for _, member in ipairs(redis.call('srandmember', set, SAMPLE)) do
        if redis.call('exists', member) == 0 then
            redis.call('srem', set, member)
        end
    end
    if redis.call('ttl', set) < ttl then
        redis.call('expire', set, ttl * 2)
    end
end

return 1
