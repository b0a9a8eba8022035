-- Purpose: read a value with what it rests on; make what of that is absent, where asked, before the database is read.
-- A registry made anew starts a new generation: changes that came while it was missing could not be matched against it.
-- Nothing of a table is made while it is held: what its writer is about to commit must not be read before and kept.
--
-- KEYS   the value, n generations, m stamps; to make what is absent, n registries and n holds
-- ARGV   [1] n, [2] m
--        [3] 1 if the value begins with what is for this script
--        [4] a fresh random token, as long as generations are; absent if nothing is to be made
--        [5] least time to live of all that is made, in seconds
--        [6] JSON: {"shapes": [[member, ...] for each table], "owners": [table of each stamp, from 1]}
-- Reply  the value's digest and its payload, nothing if it can't be valid; then the generations and stamps, as they stand
--        now
--
-- What is for this script is a header between digest and payload: its length and, as JSON, the groups of stamps that only
-- the value itself knows of, see fill.lua.  The payload, which may be long, is taken in hand only once.

local DIGEST, LENGTH = 16, 8
local n, m = tonumber(ARGV[1]), tonumber(ARGV[2])
local has_header, fresh, ttl = ARGV[3] == '1', ARGV[4], tonumber(ARGV[5])

local found = n + m > 0 and redis.call('mget', unpack(KEYS, 2, 1 + n + m)) or {}

local function stands(group)
    local table_version = found[group.owner]
    if not table_version then
        return false
    end
    if #group.values == 0 then
        return true
    end
    local versions = {}
    for i, name in ipairs(group.values) do
        versions[i] = group.version .. name .. group.tail
    end
    for i, version in ipairs(redis.call('mget', unpack(versions))) do
        if version ~= table_version .. group.tokens[i] then
            return false
        end
    end
    return true
end

local function range(first, last)
    return redis.call('getrange', KEYS[1], first, last)
end

-- Where the payload starts, false unless all that the header names stands.
local function start_of_payload()
    if not has_header then
        return DIGEST
    end
    local start = DIGEST + LENGTH
    local length = tonumber(range(DIGEST, start - 1))
    for _, group in ipairs(cjson.decode(range(start, start + length - 1))) do
        if not stands(group) then
            return false
        end
    end
    return start + length
end

local function all_stand(owners)
    for i = 1, n + m do
        if not found[i] or (i > n and string.sub(found[i], 1, #fresh) ~= found[owners[i - n]]) then
            return false
        end
    end
    return true
end

local function keep(key)
    if redis.call('ttl', key) < ttl then
        redis.call('expire', key, ttl * 2)
    end
end

local function is_of(key, kind)
    return redis.call('type', key).ok == kind
end

-- Of a writer that counts as dead the hold is taken away: should it live, it must find out.
local function is_fenced(fence)
    return is_of(fence, 'zset')
        and redis.call('zremrangebyscore', fence, '-inf', '(' .. redis.call('time')[1]) >= 0
        and redis.call('exists', fence) == 1
end

local function make(plan)
    for i = 1, n do
        if is_fenced(KEYS[1 + n + m + n + i]) then
            return
        end
    end
    for i = 1, n do
        local index = KEYS[1 + n + m + i]
        -- What is of another type is not ours.
        local is_new = not is_of(index, 'set')
        if is_new or not found[i] or #found[i] ~= #fresh then
            found[i] = fresh
            redis.call('set', KEYS[1 + i], fresh, 'EX', ttl * 2)
        else
            keep(KEYS[1 + i])
        end
        if is_new then
            redis.call('del', index)
            -- Tells it from the one before: both may have as many schemes.
            redis.call('sadd', index, '@' .. fresh, unpack(plan.shapes[i]))
        elseif #plan.shapes[i] > 0 then
            redis.call('sadd', index, unpack(plan.shapes[i]))
        end
        keep(index)
    end
    for i, owner in ipairs(plan.owners) do
        local key, version = KEYS[1 + n + i], found[n + i]
        if not version or string.sub(version, 1, #fresh) ~= found[owner] then
            found[n + i] = found[owner] .. fresh
            redis.call('set', key, found[n + i], 'EX', ttl * 2)
        else
            keep(key)
        end
    end
end

-- What is foreign or truncated is a miss.
local readable, start = pcall(start_of_payload)
local digest, payload = false, false
local made = false
if fresh then
    local plan = cjson.decode(ARGV[6])
    if not all_stand(plan.owners) then
        make(plan)
        made = true
    end
end
-- With a header it may stand without what was absent: its digest tells.
if readable and start and (has_header or not made) then
    digest, payload = redis.pcall('getrange', KEYS[1], 0, DIGEST - 1), redis.pcall('getrange', KEYS[1], start, -1)
end
if type(digest) == 'table' or type(payload) == 'table' then
    digest, payload = false, false
end
return {digest, payload, unpack(found)}
