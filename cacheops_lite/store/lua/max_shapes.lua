-- Purpose: shared by read.lua and room.lua, which include this file by name (see `script_source` in store/client.py).

-- Shapes of one table: each costs every write of it.
local MAX_SHAPES = 500
-- Of these, shapes with derived conditions.  Their constants may move with the time, or be what users type, so that there
-- are ever new ones.
local MAX_DERIVED_SHAPES = 250
-- Of these, what a fill may add: a slice has a bound for each value that its last row may have.
local MAX_DERIVED_IN_FILLS = 125
-- This shape is registered although the index is full.
local ANY_ROW = '|*'

-- Return whether one of the conditions of a shape begins with an operator, see schema/derived_conditions.py.
local function is_derived(shape)
    return string.find(shape, '^[^|@][^|]*[?<>!^*$@]') ~= nil
end

local function count_derived(index)
    local count = 0
    for _, member in ipairs(redis.call('smembers', index)) do
        if is_derived(member) then
            count = count + 1
        end
    end
    return count
end

-- Return whether an index has room for those of these shapes that it lacks, if it may have `max_derived` with derived
-- conditions.
local function has_room_for(index, shapes, max_derived)
    local size, derived = redis.call('scard', index), 0
    if size + #shapes <= max_derived then
        return true
    end
    local is_full = false
    for _, shape in ipairs(shapes) do
        if shape ~= ANY_ROW and redis.call('sismember', index, shape) == 0 then
            size = size + 1
            is_full = size > MAX_SHAPES
            derived = derived + (is_derived(shape) and 1 or 0)
        end
    end
    return not is_full and (derived == 0 or count_derived(index) + derived <= max_derived)
end
