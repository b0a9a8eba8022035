-- Purpose: store a value under the versions that it was built under, unless one of them has changed since.
--
-- KEYS   the value; its m versions: table versions, then dependency versions; the conjunction set of each dependency
--        that the value itself carries (none with CACHEOPS_INSIDEOUT)
-- ARGV   [1] the value's seal: digest and signature, [2] its payload, [3] its time to live in seconds, [4] m, [5...] the
--        m versions that it was built under; then, if the value has row-level dependencies:
--        a fresh random token, and JSON: [group, ...], where a group is
--            owner           the position of its table among the table versions, from 1
--            version, tail   the beginning and the end of the keys of its dependency versions
--            values          what stands between them in each key
--        and JSON with what else belongs to each group:
--            conjunction_set the beginning of the keys of its conjunction sets; absent with CACHEOPS_INSIDEOUT
--            index, shape    the dependency index and the shape to add to it; absent if it is there already
-- Reply  1 if stored, 0 if a version has changed or an index is missing; the error NO_ROOM, which reaches a caller that
--        does not wait, if an index has no room for the shapes of single rows
--
-- The versions of groups are created here, after the database was read.  That is safe because the version of the coarse
-- dependency ("any row of the table") was read before the data and is unchanged, so no row changed in between.
--
-- A conjunction set is bookkeeping: each write to it samples a few members and removes those whose values are gone, so
-- that it stays within a small factor of the live ones.

local SAMPLE_SIZE = 3
local seal, payload = ARGV[1], ARGV[2]
local ttl = tonumber(ARGV[3])
local m = tonumber(ARGV[4])
local fresh, names = ARGV[m + 5], ARGV[m + 6]
local groups = names and cjson.decode(names)
for i, further in ipairs(names and cjson.decode(ARGV[m + 7]) or {}) do
    for field, value in pairs(further) do
        groups[i][field] = value
    end
end

-- include room

for i = 1, m do
    if redis.call('get', KEYS[1 + i]) ~= ARGV[4 + i] then
        return 0
    end
end
if groups and not have_indexes(groups) then
    return 0
end
if groups and not have_room(groups) then
    return redis.error_reply(NO_ROOM)
end

-- include extend_ttl

local function add_to_conjunction_set(set)
    if type(redis.pcall('sadd', set, KEYS[1])) == 'table' then
        -- The key has another type, so it is not ours.
        redis.call('del', set)
        redis.call('sadd', set, KEYS[1])
    end
    for _, member in ipairs(redis.call('srandmember', set, SAMPLE_SIZE)) do
        if redis.call('exists', member) == 0 then
            redis.call('srem', set, member)
        end
    end
    extend_ttl(set, ttl)
end

-- include row_versions

if groups then
    -- The header: the names as they came, because they are signed, and the tokens of their versions.
    local tokens = {}
    for i, group in ipairs(groups) do
        tokens[i] = create_versions(group, string.sub(ARGV[4 + group.owner], 1, #fresh))
    end
    local encoded = cjson.encode(tokens)
    payload = string.format('%08d%08d', #names, #encoded) .. names .. encoded .. payload
end
redis.call('set', KEYS[1], seal .. payload, 'EX', ttl)

for i = 1, m do
    extend_ttl(KEYS[1 + i], ttl)
end
for i = m + 2, #KEYS do
    add_to_conjunction_set(KEYS[i])
end

return 1
