-- Purpose: on a cluster, create the versions of a value's row-level dependencies on one table, unless a version has
-- changed since the database was read.  fill.lua says why that is safe.
--
-- KEYS   the m versions of the table: its table version, then dependency versions; its dependency index; the versions of
--        the row-level dependencies.  All keys that are used are here, because the slot may be moving to another node.
-- ARGV   [1] m, [2...] the m versions that the value was built under; then the least time to live of what is created, in
--        seconds; a fresh random token; and JSON: [{version, tail, values, index, shape}, ...], see fill.lua
-- Reply  for each group a list: what follows the table version in each of its versions; nothing if a version has changed;
--        the error NO_ROOM if the index has no room for their shapes

local m = tonumber(ARGV[1])
local ttl, fresh, groups = tonumber(ARGV[m + 2]), ARGV[m + 3], cjson.decode(ARGV[m + 4])

-- include room

for i = 1, m do
    if redis.call('get', KEYS[i]) ~= ARGV[1 + i] then
        return false
    end
end
if not have_indexes(groups) then
    return false
end
if not have_room(groups) then
    return redis.error_reply(NO_ROOM)
end

-- include extend_ttl

-- There are none on a cluster.
local function add_to_conjunction_set()
end

-- include row_versions

local reply = {}
for i, group in ipairs(groups) do
    reply[i] = create_versions(group, string.sub(ARGV[2], 1, #fresh))
end
return reply
