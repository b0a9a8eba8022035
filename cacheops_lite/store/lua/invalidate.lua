-- Purpose: drop the dependency versions that changes meet.  Before a commit, also fence their tables, so that no reader
-- can create these versions again until the fence is released.
--
-- KEYS   [1] the beginning of all keys (prefix and namespace); on a cluster, for its one table, all keys that are used
--        instead: the slot may be moving to another node
-- ARGV   [1] a nonce, [2] the token of the fence, empty for none, [3] seconds after which the fence expires, [4] how many
--        names of dropped versions to return at most, [5] the longest lease of a near cache that the caller knows of, in
--        milliseconds, [6] the epoch of the server, [7] the length of the beginning of all keys; then for each table
--        in turn:
--            its name
--            the incarnation and the size of the dependency index that the caller used; size 0 if the caller knows
--            none, -1 to drop the whole table
--            the number of dependencies, and these, each as it follows the table's name in keys; -1 if that index
--            cannot tell them
-- Reply  the error of Redis if a table cannot be fenced; its versions are dropped nevertheless. Otherwise
--        the nonce, which proves that this is the reply to this call; for each table the number of versions dropped;
--        names of dropped versions, as they follow "d:" or "t:" in keys; the longest lease in milliseconds that near
--        caches of these tables may have, and the tables whose registration was missing; then for each table whose
--        dependency index is missing: {name}; for each table whose index differs from the caller's: {name, members}:
--        nothing of that table was dropped, and the caller has to repeat the call with this index
--
-- Shapes are only added to an index, so its incarnation and its size identify its members.
-- Unknown means drop: if the index is missing, or cannot tell the dependencies, the table version is dropped.  An index
-- of another epoch of the server need not be told: there is no table version of this epoch with it, see read.lua.

-- How many cached results one call frees at most.  The rest are invalid already and expire by their timeout.
local MAX_FREED_RESULTS = 32
-- Arguments of one redis.call: Lua's stack has room for some thousands.
local MAX_ARGUMENTS = 4000

local FIRST_TABLE = 8
-- How long the token of a writer stands for a missing registration at most, if it dies before it replaces that.
local TOKEN_SECONDS = 60

local root = string.sub(KEYS[1], 1, tonumber(ARGV[7]))
local budget = MAX_FREED_RESULTS
local numbers, names, max_names = {}, {}, tonumber(ARGV[4])
local longest, epoch = tonumber(ARGV[5]), ARGV[6]
local leases = {0}
local reply = {ARGV[1], numbers, names, leases}

local function note_name(name)
    if #names < max_names then
        names[#names + 1] = name
    end
end

local function chunk_of(keys, first)
    return unpack(keys, first, math.min(first + MAX_ARGUMENTS - 1, #keys))
end

-- Call `command` with all of `keys`, in chunks; return the sum of the replies.
local function call_in_chunks(command, keys)
    local sum = 0
    for first = 1, #keys, MAX_ARGUMENTS do
        sum = sum + redis.call(command, chunk_of(keys, first))
    end
    return sum
end

-- Return the values of `keys`, false where a key is missing.
local function get_all(keys)
    local values = {}
    for first = 1, #keys, MAX_ARGUMENTS do
        for _, value in ipairs(redis.call('mget', chunk_of(keys, first))) do
            values[#values + 1] = value
        end
    end
    return values
end

-- Drop the versions of the dependencies ARGV[first] to ARGV[last], their conjunction sets, and as many results as the
-- budget allows.
local function drop(name, first, last)
    local versions, sets = root .. 'd:{' .. name .. '}:', #KEYS == 1 and root .. 'c:{' .. name .. '}:'
    local wanted, dropped, freed = {}, {}, {}
    for i = first, last do
        wanted[#wanted + 1] = versions .. ARGV[i]
    end
    for i, found in ipairs(get_all(wanted)) do
        if found then
            dropped[#dropped + 1] = wanted[i]
            note_name(name .. ':' .. ARGV[first + i - 1])
            -- There are no conjunction sets on a cluster.
            local set = sets and sets .. ARGV[first + i - 1]
            freed[#freed + 1] = set or nil
            if set and budget > 0 then
                -- Not SRANDMEMBER: its cost grows with the set.
                local results = redis.pcall('sscan', set, '0', 'count', budget)[2] or {}
                for j = 1, math.min(#results, budget) do
                    freed[#freed + 1] = results[j]
                end
                budget = budget - #results
            end
        end
    end
    call_in_chunks('unlink', freed)
    return call_in_chunks('del', dropped)
end

local token, seconds = ARGV[2], tonumber(ARGV[3])
local fence_error

-- Fence a table.  What Redis refuses is noted: out of memory, or not permitted to tell the time, it still drops versions.
local function fence(name)
    local key = root .. 'f:{' .. name .. '}'
    local time = redis.pcall('time')
    local now = time[1] and tonumber(time[1]) or 0
    if type(redis.pcall('zremrangebyscore', key, '-inf', '(' .. now)) == 'table' then
        -- The key has another type, so it is not ours.
        redis.call('del', key)
    end
    local added = time.err and time or redis.pcall('zadd', key, now + seconds, token)
    if type(added) == 'table' then
        fence_error = added
    else
        redis.call('expire', key, seconds + 1)
    end
end

-- include registration

-- Note how long the writer has to wait for near caches of a table.  Without a registration of this epoch that is unknown:
-- it was evicted, or comes from an earlier life of the server.
local function note_lease(name)
    local key = root .. 'r:{' .. name .. '}'
    local lease, found_epoch, found = registration_of(key)
    if lease and found_epoch == epoch then
        leases[1] = math.max(leases[1], tonumber(lease))
    elseif longest > 0 then
        leases[1] = math.max(leases[1], longest)
        if token ~= '' and (lease or not found) then
            redis.pcall('set', key, '?' .. token, 'EX', TOKEN_SECONDS)
            leases[#leases + 1] = name
        end
    end
end

local i = FIRST_TABLE
while ARGV[i] do
    local name, incarnation, size, count = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    if token ~= '' then
        fence(name)
    end
    note_lease(name)
    local index = root .. 'i:{' .. name .. '}'
    local found = size >= 0 and redis.pcall('scard', index) or 0
    if type(found) == 'table' then
        redis.call('del', index)
        found = 0
    end
    local dropped = 0
    local is_known = found > 0 and found == size and redis.call('sismember', index, incarnation) == 1
    if found == 0 or (is_known and count < 0) or (not is_known and fence_error) then
        dropped = redis.call('del', root .. 't:{' .. name .. '}')
        if dropped > 0 then
            note_name(name)
        end
        if found == 0 and size >= 0 then
            reply[#reply + 1] = {name}
        end
    elseif is_known then
        dropped = drop(name, i + 4, i + 3 + count)
    else
        reply[#reply + 1] = {name, redis.call('smembers', index)}
    end
    numbers[#numbers + 1] = dropped
    i = i + 4 + math.max(count, 0)
end

leases[1] = tostring(leases[1])
return fence_error or reply
