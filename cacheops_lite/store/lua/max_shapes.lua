-- Purpose: shared by read.lua and room.lua, which include this file by name (see `script_source` in store/client.py).

-- Shapes of one table: each costs every write of it.
local MAX_SHAPES = 500
-- This shape is registered although the index is full.
local ANY_ROW = '|*'

-- Return whether an index has room for those of these shapes that it lacks.
local function has_room_for(index, shapes)
    local size = redis.call('scard', index)
    if size + #shapes <= MAX_SHAPES then
        return true
    end
    local is_full = false
    for _, shape in ipairs(shapes) do
        if shape ~= ANY_ROW and redis.call('sismember', index, shape) == 0 then
            size = size + 1
            is_full = size > MAX_SHAPES
        end
    end
    return not is_full
end
