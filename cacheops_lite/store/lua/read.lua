-- Purpose: read a value with its versions; if asked to, create the missing versions before the database is read.
--
-- A new dependency index starts a new table version, because changes made while the index was missing could not be
-- matched against it.  No version of a fenced table is created: rows that its writer is about to change must not be
-- read before the commit and cached.  What was made in another epoch of the server counts as missing: an old snapshot or
-- a lagging replica may have brought it back.
--
-- KEYS   the value, n table versions, m dependency versions; to create versions also n dependency indexes and n fences
-- ARGV   [1] n, [2] m
--        [3] 1 if the value begins with a header; '-' if it is not asked for: KEYS[1] is then any key of the slot
--        [4] a new table version, a random token and the epoch; absent if no versions are to be created
--        [5] the least time to live of what is created, in seconds
--        [6] JSON: {"shapes": [[member, ...] for each table], "owners": [position of each dependency's table, from 1]}
--        [7] 1 on a cluster: a fence of another epoch may have come with its slot from another node, so it counts
-- Reply  the value's seal (digest and signature), the names in its header, and its payload: all nothing if the value
--        cannot be valid, the seal empty if it is damaged, the names 'full' if an index has no room for a new shape; then
--        the present table versions and dependency versions
--
-- The header lies between seal and payload and names the row-level dependencies that only the value itself knows: the
-- lengths of its two parts, JSON with groups of names, and JSON with the tokens of each group, see fill.lua.  The payload
-- may be long, so it is read once, at the end.

-- A full index begins anew at most this often.
local RENEWAL_SECONDS = 3600
local SEAL_LENGTH, SIZE_LENGTH, TOKEN_LENGTH = 32, 8, 8
-- include max_shapes
local n, m = tonumber(ARGV[1]), tonumber(ARGV[2])
local has_header, fresh, ttl, is_cluster = ARGV[3] == '1', ARGV[4], tonumber(ARGV[5]), ARGV[7] == '1'

local function token_of(version)
    return string.sub(version, 1, TOKEN_LENGTH)
end

local function epoch_of(version)
    return string.sub(version, TOKEN_LENGTH + 1)
end

local found = n + m > 0 and redis.call('mget', unpack(KEYS, 2, 1 + n + m)) or {}

local function is_current(group, tokens)
    local table_version = found[group.owner]
    if not table_version then
        return false
    end
    if #group.values == 0 then
        return true
    end
    local versions = {}
    for i, value in ipairs(group.values) do
        versions[i] = group.version .. value .. group.tail
    end
    for i, version in ipairs(redis.call('mget', unpack(versions))) do
        if version ~= token_of(table_version) .. tokens[i] then
            return false
        end
    end
    return true
end

local function range(first, last)
    return redis.call('getrange', KEYS[1], first, last)
end

-- Return the offset of the payload and the names in the header, false if a version in the header has changed.
local function payload_offset()
    if not has_header then
        return SEAL_LENGTH, ''
    end
    local start = SEAL_LENGTH + 2 * SIZE_LENGTH
    local sizes = range(SEAL_LENGTH, start - 1)
    local middle = start + tonumber(string.sub(sizes, 1, SIZE_LENGTH))
    local finish = middle + tonumber(string.sub(sizes, SIZE_LENGTH + 1))
    local names, tokens = range(start, middle - 1), cjson.decode(range(middle, finish - 1))
    for i, group in ipairs(cjson.decode(names)) do
        if not is_current(group, tokens[i]) then
            return false
        end
    end
    return finish, names
end

-- Return whether all versions exist, table versions are of this epoch, and each dependency version begins with the token
-- of its table's.
local function are_current(owners)
    for i = 1, n + m do
        if not found[i] then
            return false
        end
        if i <= n then
            if #found[i] ~= #fresh or epoch_of(found[i]) ~= epoch_of(fresh) then
                return false
            end
        elseif token_of(found[i]) ~= token_of(found[owners[i - n]]) then
            return false
        end
    end
    return true
end

-- include extend_ttl

local function has_type(key, kind)
    return redis.call('type', key).ok == kind
end

-- Tokens that expired, and those of another epoch, are removed from the fence: if their writer is still alive, it learns
-- at the release that it lost it.
local function is_fenced(fence)
    if not has_type(fence, 'zset') then
        return false
    end
    redis.call('zremrangebyscore', fence, '-inf', '(' .. redis.call('time')[1])
    if is_cluster then
        return redis.call('exists', fence) == 1
    end
    for _, token in ipairs(redis.call('zrange', fence, 0, -1)) do
        if epoch_of(token) ~= epoch_of(fresh) then
            redis.call('zrem', fence, token)
        end
    end
    return redis.call('exists', fence) == 1
end

-- An index of another type is not ours.
local function is_own(index)
    return has_type(index, 'set') and redis.call('sismember', index, '@@' .. epoch_of(fresh)) == 1
end

local function has_room(index, shapes)
    return #shapes == 0 or not is_own(index) or has_room_for(index, shapes, MAX_DERIVED_SHAPES)
end

-- Return whether an index is so old that it may begin anew: most of its shapes may be of constants that have moved on.
local function is_outdated(index)
    local now = tonumber(redis.call('time')[1])
    for _, member in ipairs(redis.call('smembers', index)) do
        local since = string.match(member, '^@@@(%d+)$')
        if since then
            return now - tonumber(since) >= RENEWAL_SECONDS
        end
    end
    return true
end

-- Return false if an index has no room.
local function create_versions(registration)
    local is_renewed = {}
    for i = 1, n do
        if is_fenced(KEYS[1 + n + m + n + i]) then
            return true
        end
    end
    for i = 1, n do
        if not has_room(KEYS[1 + n + m + i], registration.shapes[i]) then
            is_renewed[i] = is_outdated(KEYS[1 + n + m + i])
            if not is_renewed[i] then
                return false
            end
        end
    end
    for i = 1, n do
        local index, shapes = KEYS[1 + n + m + i], registration.shapes[i]
        local is_new = is_renewed[i] or not is_own(index)
        if is_new or not found[i] or #found[i] ~= #fresh or epoch_of(found[i]) ~= epoch_of(fresh) then
            found[i] = fresh
            redis.call('set', KEYS[1 + i], fresh, 'EX', ttl * 2)
        else
            extend_ttl(KEYS[1 + i], ttl)
        end
        if is_new then
            redis.call('del', index)
            -- The incarnation tells this index from an earlier one with as many shapes.
            local since = '@@@' .. redis.call('time')[1]
            redis.call('sadd', index, '@' .. fresh, '@@' .. epoch_of(fresh), since, unpack(shapes))
        elseif #shapes > 0 then
            redis.call('sadd', index, unpack(shapes))
        end
        extend_ttl(index, ttl)
    end
    for i, owner in ipairs(registration.owners) do
        local key, version = KEYS[1 + n + i], found[n + i]
        if not version or token_of(version) ~= token_of(found[owner]) then
            found[n + i] = token_of(found[owner]) .. token_of(fresh)
            redis.call('set', key, found[n + i], 'EX', ttl * 2)
        else
            extend_ttl(key, ttl)
        end
    end
    return true
end

if ARGV[3] == '-' then
    if not are_current(cjson.decode(ARGV[6]).owners) and not create_versions(cjson.decode(ARGV[6])) then
        return {false, 'full', false, unpack(found)}
    end
    return {false, false, false, unpack(found)}
end

-- A foreign or truncated value is a miss.
local is_readable, offset, names = pcall(payload_offset)
local seal, payload = false, false
local is_incomplete = false
if fresh then
    local registration = cjson.decode(ARGV[6])
    if not are_current(registration.owners) then
        if not create_versions(registration) then
            return {false, 'full', false, unpack(found)}
        end
        is_incomplete = true
    end
end
-- A value with a header does not carry all versions, so it may be valid although some were missing: its digest decides.
if is_readable and offset and (has_header or not is_incomplete) then
    seal = redis.pcall('getrange', KEYS[1], 0, SEAL_LENGTH - 1)
    payload = redis.pcall('getrange', KEYS[1], offset, -1)
end
if seal == '' then
    -- There is no such key.
    seal = false
elseif type(seal) == 'table' or (not is_readable and redis.call('exists', KEYS[1]) == 1) then
    seal, names, payload = '', '', ''
end
return {seal, seal and names, seal and payload, unpack(found)}
