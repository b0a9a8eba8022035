-- Purpose: shared by fill.lua and create_row_versions.lua, which include this file by name (see `script_source` in
-- store/client.py).

-- include max_shapes

-- Return whether there is an index with room for the shape of a group.  A full index takes no new shape, see read.lua;
-- those of single rows are few.
local function has_room(group)
    if not group.index then
        return true
    end
    if redis.call('type', group.index).ok ~= 'set' then
        return false
    end
    return redis.call('scard', group.index) < 2 * MAX_SHAPES or
        redis.call('sismember', group.index, group.shape) == 1
end
