-- Purpose: make what a read's dependencies need and lack, before the database is asked.
-- A registry made anew starts a new generation: changes that came while it was missing could not be matched against it.
--
-- KEYS   n generations, n registries, then the stamps
-- ARGV   [1] a fresh random token, as long as generations are
--        [2] least time to live of all of them, in seconds
--        [3] JSON: {"schemes": [[member, ...] for each table], "owners": [table of each stamp, from 1]}
-- Reply  the generations, then the stamps, as they stand now

local fresh = ARGV[1]
local ttl = tonumber(ARGV[2])
local plan = cjson.decode(ARGV[3])
local n = #plan.schemes
local reply = {}

local function keep(key)
    if redis.call('ttl', key) < ttl then
        redis.call('expire', key, ttl * 2)
    end
end

for i = 1, n do
    local generation = redis.call('get', KEYS[i])
    local registry = KEYS[n + i]
    if redis.call('exists', registry) == 0 then
        generation = false
    end
    if not generation then
        generation = fresh
        redis.call('set', KEYS[i], generation)
    end
    redis.call('sadd', registry, '', unpack(plan.schemes[i]))
    keep(KEYS[i])
    keep(registry)
    reply[i] = generation
end

for j, owner in ipairs(plan.owners) do
    local key = KEYS[2 * n + j]
    local generation = reply[owner]
    local stamp = redis.call('get', key)
    if not stamp or string.sub(stamp, 1, #generation) ~= generation then
        stamp = generation .. fresh
        redis.call('set', key, stamp)
    end
    keep(key)
    reply[n + j] = stamp
end

return reply
