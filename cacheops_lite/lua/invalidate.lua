-- Purpose: drop the stamps that committed changes meet, by the schemes that their tables' registries know.
--
-- KEYS   [1] the prefix of all keys (prefix and namespace)
-- ARGV   [1] JSON: {table: {"all": true} or {"rows": [change, ...]}}, a change being
--            old, new   row images {column: token}; absent: there was, or is, no such row
--            both       what both images have in common, and is not in either; may be absent
--            changed    columns that may differ between both; absent where a row came or went
--            or, of many rows that came, {"met": {columns of a scheme: ["column=token&...", ...]}}
-- Reply  the number of stamps and generations dropped
--
-- Not knowing means dropping: with the registry missing, or a column missing from an image, the table starts a new
-- generation.

-- Cached results freed at once, at most; the rest are invalid already and die by their timeout.
local FREED_AT_ONCE = 32
-- Arguments of one call: Lua's stack has room for some thousands.
local PASSED_AT_ONCE = 4000

local root = KEYS[1]
local tables = cjson.decode(ARGV[1])
local budget = FREED_AT_ONCE
local dropped = 0

local function split(text, separator)
    local parts = {}
    for part in string.gmatch(text, '[^' .. separator .. ']+') do
        parts[#parts + 1] = part
    end
    return parts
end

local function parse(member)
    local columns, id, read = string.match(member, '^([^|]*)|([^|]*)|?(.*)$')
    local scheme = {columns = split(columns, ','), id = id}
    if id ~= '*' then
        scheme.read = {}
        for _, column in ipairs(split(read ~= '' and read or id, ',')) do
            scheme.read[column] = true
        end
    end
    return scheme
end

local function concerns(scheme, changed)
    if not changed then
        return true
    end
    if not scheme.read then
        return #changed > 0
    end
    for _, column in ipairs(changed) do
        if scheme.read[column] then
            return true
        end
    end
    return false
end

local function stamp_of(name, scheme, image, both)
    local parts = {}
    for i, column in ipairs(scheme.columns) do
        local token = image[column] or both[column]
        if not token then
            return nil
        end
        parts[i] = column .. '=' .. token
    end
    return name .. ':' .. table.concat(parts, '&') .. '|' .. scheme.id
end

-- Add to `stamps` what many rows that came meet; false when that can't be told.
local function meet_arrivals(name, schemes, met, stamps)
    for _, scheme in ipairs(schemes) do
        local conditions = met[table.concat(scheme.columns, ',')]
        if not conditions then
            return false
        end
        for _, condition in ipairs(conditions) do
            stamps[name .. ':' .. condition .. '|' .. scheme.id] = true
        end
    end
    return true
end

-- Add to `stamps` what the change meets; false when that can't be told.
local function meet(name, schemes, change, stamps)
    if change.met then
        return meet_arrivals(name, schemes, change.met, stamps)
    end
    local both = change.both or {}
    for _, scheme in ipairs(schemes) do
        if concerns(scheme, change.changed) then
            for _, image in ipairs({change.old or false, change.new or false}) do
                if image then
                    local stamp = stamp_of(name, scheme, image, both)
                    if not stamp then
                        return false
                    end
                    stamps[stamp] = true
                end
            end
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

for name, work in pairs(tables) do
    local members = redis.call('smembers', root .. 'r:' .. name)
    local known = #members > 0 and not work.all
    local schemes = {}
    for _, member in ipairs(members) do
        if member ~= '' then
            schemes[#schemes + 1] = parse(member)
        end
    end
    local stamps = {}
    for _, change in ipairs(work.rows or {}) do
        known = known and meet(name, schemes, change, stamps)
    end
    if known then
        dropped = dropped + drop(stamps)
    else
        dropped = dropped + redis.call('del', root .. 'g:' .. name)
    end
end

return dropped
