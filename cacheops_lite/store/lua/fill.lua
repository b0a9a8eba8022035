-- Purpose: store a value under the stamps that it was built under, unless one of them fell meanwhile.
--
-- KEYS   the value, its m generations and stamps, then the set of dependents of each stamp that it carries (none with
--        CACHEOPS_INSIDEOUT)
-- ARGV   [1] the value's digest, [2] its payload, [3] its time to live in seconds, [4] m, [5...] the generations and
--        stamps it was built under; then, if the value says what it rests on of some tables:
--        a fresh random token, and JSON: [group, ...], a group being
--            owner           which of the generations is its table's
--            stamp, tail     what stamps' keys begin and end with, and
--            values          what stands between
--            set             what the keys of their sets of dependents begin with; absent with CACHEOPS_INSIDEOUT
--            registry, member    where their scheme is to be registered; absent if it is
-- Reply  1 if stored, 0 if dead on arrival
--
-- The stamps of groups are made now: those on any row of their tables, which stand, have watched over the read.
--
-- A set of dependents is bookkeeping: each write to it looks at a few members and removes those that are gone, so that
-- it stays within a small factor of the live ones.

local SAMPLE = 3
local digest, payload = ARGV[1], ARGV[2]
local ttl = tonumber(ARGV[3])
local m = tonumber(ARGV[4])
local fresh, groups = ARGV[m + 5], ARGV[m + 6] and cjson.decode(ARGV[m + 6])

for i = 1, m do
    if redis.call('get', KEYS[1 + i]) ~= ARGV[4 + i] then
        return 0
    end
end
for _, group in ipairs(groups or {}) do
    if group.index and redis.call('type', group.index).ok ~= 'set' then
        return 0
    end
end

local function keep(key)
    if redis.call('ttl', key) < ttl then
        redis.call('expire', key, ttl * 2)
    end
end

local function note_in(set)
    if type(redis.pcall('sadd', set, KEYS[1])) == 'table' then
        -- Something of another type is in the way.
        redis.call('del', set)
        redis.call('sadd', set, KEYS[1])
    end
    for _, member in ipairs(redis.call('srandmember', set, SAMPLE)) do
        if redis.call('exists', member) == 0 then
            redis.call('srem', set, member)
        end
    end
    keep(set)
end

-- Make the stamps of a group; returns what of them is not the generation.
local function create_versions(group)
    local table_version = ARGV[4 + group.owner]
    if group.index then
        redis.call('sadd', group.index, group.shape)
        keep(group.index)
    end
    local tokens = {}
    for i, value in ipairs(group.values) do
        local key = group.version .. value .. group.tail
        local found = redis.pcall('get', key)
        if type(found) ~= 'string' or string.sub(found, 1, #table_version) ~= table_version then
            found = table_version .. fresh
            redis.call('set', key, found, 'EX', ttl * 2)
        else
            keep(key)
        end
        tokens[i] = string.sub(found, #table_version + 1)
        if group.conjunction_set then
            note_in(group.conjunction_set .. value .. group.tail)
        end
    end
    return tokens
end

if groups then
    local header = {}
    for i, group in ipairs(groups) do
        local tokens = create_versions(group)
        header[i] = {owner = group.owner, version = group.version, tail = group.tail, values = group.values, tokens = tokens}
    end
    local encoded = cjson.encode(header)
    payload = string.format('%08d', #encoded) .. encoded .. payload
end
redis.call('set', KEYS[1], digest .. payload, 'EX', ttl)

for i = 1, m do
    keep(KEYS[1 + i])
end
for i = m + 2, #KEYS do
    note_in(KEYS[i])
end

return 1
