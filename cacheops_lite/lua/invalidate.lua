-- Purpose: drop the stamps that committed changes meet, by the schemes that their tables' registries know.
--
-- KEYS   [1] the prefix of all keys (prefix and namespace)
-- ARGV   [1] JSON: {table: {"all": true} or {"rows": [change, ...]}}, a change being
--            old, new   row images {column: token}; absent: there was, or is, no such row
--            changed    columns that may differ between both; absent where a row came or went
-- Reply  the number of stamps and generations dropped
--
-- Not knowing means dropping: with the registry missing, or a column missing from an image, the table starts a new
-- generation.

-- Cached results freed at once, at most; the rest are invalid already and die by their timeout.
local FREED_AT_ONCE = 256

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

local function stamp_of(name, scheme, image)
    local parts = {}
    for i, column in ipairs(scheme.columns) do
        if not image[column] then
            return nil
        end
        parts[i] = column .. '=' .. image[column]
    end
    return name .. ':' .. table.concat(parts, '&') .. '|' .. scheme.id
end

-- Add to `stamps` what the change meets; false when that can't be told.
local function meet(name, schemes, change, stamps)
    for _, scheme in ipairs(schemes) do
        if concerns(scheme, change.changed) then
            for _, image in ipairs({change.old or false, change.new or false}) do
                if image then
                    local stamp = stamp_of(name, scheme, image)
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

local function drop_stamp(stamp)
    dropped = dropped + redis.call('del', root .. 's:' .. stamp)
    local set = root .. 'd:' .. stamp
    if budget > 0 then
        local results = redis.call('spop', set, budget)
        budget = budget - #results
        if #results > 0 then
            redis.call('unlink', unpack(results))
        end
    end
    redis.call('unlink', set)
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
        for stamp in pairs(stamps) do
            drop_stamp(stamp)
        end
    else
        dropped = dropped + redis.call('del', root .. 'g:' .. name)
    end
end

return dropped
