-- Purpose: shared by fill.lua and create_row_versions.lua, which include this file by name and define `fresh`, a random
-- token, `ttl`, in seconds, and `add_to_conjunction_set` (see `script_source` in store/client.py).

-- Create the missing dependency versions of a group; return the part of each that follows the table version.
local function create_versions(group, table_token)
    if group.index then
        redis.call('sadd', group.index, group.shape)
        extend_ttl(group.index, ttl)
    end
    local tokens = {}
    for i, value in ipairs(group.values) do
        local key = group.version .. value .. group.tail
        local found = redis.pcall('get', key)
        if type(found) ~= 'string' or string.sub(found, 1, #fresh) ~= table_token then
            found = table_token .. fresh
            redis.call('set', key, found, 'EX', ttl * 2)
        else
            extend_ttl(key, ttl)
        end
        tokens[i] = string.sub(found, #fresh + 1)
        if group.conjunction_set then
            add_to_conjunction_set(group.conjunction_set .. value .. group.tail)
        end
    end
    return tokens
end
