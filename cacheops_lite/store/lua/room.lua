-- Purpose: shared by fill.lua and create_row_versions.lua, which include this file by name (see `script_source` in
-- store/client.py).

-- include max_shapes

local NO_ROOM = 'NOROOM the dependency index is full'

-- Return whether the indexes of all groups exist.
local function have_indexes(groups)
    for _, group in ipairs(groups) do
        if group.index and redis.call('type', group.index).ok ~= 'set' then
            return false
        end
    end
    return true
end

-- Return whether the indexes have room for the shapes of all groups.
local function have_room(groups)
    local shapes = {}
    for _, group in ipairs(groups) do
        local index = group.index
        if index then
            shapes[index] = shapes[index] or {}
            table.insert(shapes[index], group.shape)
        end
    end
    for index, of_index in pairs(shapes) do
        if not has_room_for(index, of_index, MAX_DERIVED_IN_FILLS) then
            return false
        end
    end
    return true
end
