-- Purpose: shared by invalidate.lua and register_near.lua, which include this file by name (see `script_source` in
-- store/client.py).

-- Return the lease in a registration, as text, and the epoch of the server that it is of; nothing if there is none, or
-- another one's token.  Last comes what was found.
local function registration_of(key)
    local found = redis.pcall('get', key)
    found = type(found) == 'string' and found
    local lease, epoch = string.match(found or '', '^([0-9.]+)|(.*)$')
    return lease, epoch, found
end
