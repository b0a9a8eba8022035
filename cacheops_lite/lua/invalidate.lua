-- Purpose: drop the stamps that committed changes meet, by the schemes that their tables' registries know.
--
-- KEYS   [1] the prefix of all keys (prefix and namespace)
-- ARGV   [1] JSON: {table: {"all": true}, or {"columns": [column, ...], "rows": [change, ...], "met": [arrivals, ...]}},
--            a change being [old, new, changed]:
--                old, new   row images: the token of each of the columns, 0 where it is not known; new has 1 where it is
--                           the same as in old; 0 altogether: there was, or is, no such row
--                changed    columns that may differ between both, of all that there are; 0 where a row came or went
--            and arrivals, of many rows that came, {columns of a scheme: ["column=token&...", ...]}
-- Reply  how many stamps and generations were dropped; then, of each table with a scheme that names other columns than
--        those, its name and its registry's members: of these tables nothing was dropped, and they have to be told again
--
-- Not knowing means dropping: with the registry missing, or a token unknown, the table starts a new generation.

-- Cached results freed at once, at most; the rest are invalid already and die by their timeout.
local FREED_AT_ONCE = 32
-- Arguments of one call: Lua's stack has room for some thousands.
local PASSED_AT_ONCE = 4000
local SAME = 1

local root = KEYS[1]
local budget = FREED_AT_ONCE
local reply = {0}

-- A scheme by its member of the registry: what its stamps are made of, and what its results read.
-- Nothing where it names a column that has no `position`, or is foreign.
local function parse(name, member, position)
    local columns, id, read = string.match(member, '^([^|]*)|([^|]*)|?(.*)$')
    if not id then
        return nil
    end
    local scheme = {columns = columns, positions = {}, heads = {}, tail = '|' .. id}
    local head = name .. ':'
    for column in string.gmatch(columns, '[^,]+') do
        local i = position[column]
        if not i then
            return nil
        end
        scheme.positions[#scheme.positions + 1] = i
        scheme.heads[#scheme.heads + 1] = head .. column .. '='
        head = '&'
    end
    scheme.start = #scheme.heads == 0 and head or ''
    scheme.read = id ~= '*' and ',' .. (read ~= '' and read or id) .. ','
    return scheme
end

local function concerns(scheme, changed)
    if changed == 0 or not scheme.read then
        return changed == 0 or #changed > 0
    end
    for _, column in ipairs(changed) do
        if string.find(scheme.read, ',' .. column .. ',', 1, true) then
            return true
        end
    end
    return false
end

-- Add to `stamps` what an image meets; false when that can't be told.  What is the same is in `old`.
local function meet(scheme, image, old, stamps)
    local stamp = scheme.start
    for i, position in ipairs(scheme.positions) do
        local token = image[position]
        if token == SAME then
            token = old[position]
        end
        if type(token) ~= 'string' then
            return false
        end
        stamp = stamp .. scheme.heads[i] .. token
    end
    stamps[stamp .. scheme.tail] = true
    return true
end

local function meet_row(schemes, change, stamps)
    local old, new, changed = change[1], change[2], change[3]
    for _, scheme in ipairs(schemes) do
        if concerns(scheme, changed) then
            if (old ~= 0 and not meet(scheme, old, old, stamps)) or (new ~= 0 and not meet(scheme, new, old, stamps)) then
                return false
            end
        end
    end
    return true
end

local function meet_arrivals(name, schemes, met, stamps)
    for _, scheme in ipairs(schemes) do
        local conditions = met[scheme.columns]
        if not conditions then
            return false
        end
        for _, condition in ipairs(conditions) do
            stamps[name .. ':' .. condition .. scheme.tail] = true
        end
    end
    return true
end

-- Call `command` with all of `keys`, of which Lua can pass only so many at once; returns the sum of the replies.
local function all_at_once(command, keys)
    local sum = 0
    for first = 1, #keys, PASSED_AT_ONCE do
        sum = sum + redis.call(command, unpack(keys, first, math.min(first + PASSED_AT_ONCE - 1, #keys)))
    end
    return sum
end

-- Drop the stamps, their sets, and as many results as the budget allows.
local function drop(stamps)
    local fallen, freed = {}, {}
    for stamp in pairs(stamps) do
        local set = root .. 'd:' .. stamp
        fallen[#fallen + 1] = root .. 's:' .. stamp
        freed[#freed + 1] = set
        if budget > 0 then
            -- Whichever come first: to choose at random takes longer the larger the set.
            local results = redis.call('sscan', set, '0', 'count', budget)[2]
            for i = 1, math.min(#results, budget) do
                freed[#freed + 1] = results[i]
            end
            budget = budget - #results
        end
    end
    all_at_once('unlink', freed)
    return all_at_once('del', fallen)
end

-- What of a table's schemes the changes meet; false when that can't be told, nothing when other columns are needed.
local function met_by(name, work)
    local members = not work.all and redis.call('smembers', root .. 'r:' .. name)
    if not members or #members == 0 then
        return false
    end
    local position, schemes, stamps = {}, {}, {}
    for i, column in ipairs(work.columns) do
        position[column] = i
    end
    for _, member in ipairs(members) do
        if member ~= '' then
            local scheme = parse(name, member, position)
            if not scheme then
                reply[#reply + 1] = {name, members}
                return nil
            end
            schemes[#schemes + 1] = scheme
        end
    end
    for _, change in ipairs(work.rows) do
        if not meet_row(schemes, change, stamps) then
            return false
        end
    end
    for _, met in ipairs(work.met) do
        if not meet_arrivals(name, schemes, met, stamps) then
            return false
        end
    end
    return stamps
end

for name, work in pairs(cjson.decode(ARGV[1])) do
    local stamps = met_by(name, work)
    if stamps then
        reply[1] = reply[1] + drop(stamps)
    elseif stamps == false then
        reply[1] = reply[1] + redis.call('del', root .. 'g:' .. name)
    end
end

return reply
