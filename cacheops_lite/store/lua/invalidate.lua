-- Purpose: drop the stamps that changes meet, if they were found by the schemes that are registered now; before a commit
-- hold the tables as well, so that nobody makes such stamps until it is flushed.
--
-- KEYS   [1] the prefix of all keys (prefix and namespace)
-- ARGV   [1] what the reply begins with, [2] the token of the hold, empty if there is to be none, [3] for how many seconds
--        it stands at most; then, of each table in turn: its name; version and size of the registry that the stamps were found by, size 0 if none
--        is known, -1 to drop the whole table; how many stamps, and these, as they follow the table's name in keys; -1 if
--        they can't be told by that registry
-- Reply  ARGV[1], which proves that it is the reply to this call; how many stamps and generations were dropped; then, of each table whose registry is missing, its name; of each whose
--        registry is another one its name and members: nothing of that table was dropped, and it has to be told again
--
-- A version belongs to one registry, to which schemes are only added: of that version and size there is but one.
-- Not knowing means dropping: with the registry missing, or where it can't be told, the table starts a new generation.

-- Cached results freed at once, at most; the rest are invalid already and die by their timeout.
local FREED_AT_ONCE = 32
-- Arguments of one call: Lua's stack has room for some thousands.
local PASSED_AT_ONCE = 4000

local root = KEYS[1]
local budget = FREED_AT_ONCE
local reply = {ARGV[1], 0}

local function some_of(keys, first)
    return unpack(keys, first, math.min(first + PASSED_AT_ONCE - 1, #keys))
end

-- Call `command` with all of `keys`, of which Lua can pass only so many at once; returns the sum of the replies.
local function all_at_once(command, keys)
    local sum = 0
    for first = 1, #keys, PASSED_AT_ONCE do
        sum = sum + redis.call(command, some_of(keys, first))
    end
    return sum
end

-- The values of `keys`, false where there is none.
local function get_all(keys)
    local values = {}
    for first = 1, #keys, PASSED_AT_ONCE do
        for _, value in ipairs(redis.call('mget', some_of(keys, first))) do
            values[#values + 1] = value
        end
    end
    return values
end

-- Drop those stamps in ARGV that are there, their sets, and as many results as the budget allows.
local function drop(name, first, last)
    local versions, sets = root .. 'd:' .. name .. ':', root .. 'c:' .. name .. ':'
    local asked, dropped, freed = {}, {}, {}
    for i = first, last do
        asked[#asked + 1] = versions .. ARGV[i]
    end
    for i, found in ipairs(get_all(asked)) do
        if found then
            local set = sets .. ARGV[first + i - 1]
            dropped[#dropped + 1] = asked[i]
            freed[#freed + 1] = set
            if budget > 0 then
                -- Whichever come first: to choose at random takes longer the larger the set.
                local results = redis.pcall('sscan', set, '0', 'count', budget)[2] or {}
                for j = 1, math.min(#results, budget) do
                    freed[#freed + 1] = results[j]
                end
                budget = budget - #results
            end
        end
    end
    all_at_once('unlink', freed)
    return all_at_once('del', dropped)
end

local token, seconds = ARGV[2], tonumber(ARGV[3])

local function fence(name)
    local key = root .. 'f:' .. name
    local now = tonumber(redis.call('time')[1])
    if type(redis.pcall('zremrangebyscore', key, '-inf', '(' .. now)) == 'table' then
        -- Something of another type is in the way.
        redis.call('del', key)
    end
    redis.call('zadd', key, now + seconds, token)
    redis.call('expire', key, seconds + 1)
end

local i = 4
while ARGV[i] do
    local name, incarnation, size, count = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    if token ~= '' then
        fence(name)
    end
    local index = root .. 'i:' .. name
    local found = size >= 0 and redis.pcall('scard', index) or 0
    if type(found) == 'table' then
        redis.call('del', index)
        found = 0
    end
    local is_known = found > 0 and found == size and redis.call('sismember', index, incarnation) == 1
    if found == 0 or (is_known and count < 0) then
        reply[2] = reply[2] + redis.call('del', root .. 't:' .. name)
        if found == 0 and size >= 0 then
            reply[#reply + 1] = {name}
        end
    elseif is_known then
        reply[2] = reply[2] + drop(name, i + 4, i + 3 + count)
    else
        reply[#reply + 1] = {name, redis.call('smembers', index)}
    end
    i = i + 4 + math.max(count, 0)
end

return reply
