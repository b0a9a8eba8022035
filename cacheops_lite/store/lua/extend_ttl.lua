-- Purpose: shared by read.lua and fill.lua, which include this file by name (see `script_source` in store/client.py).

-- Make `key` live for at least `ttl` seconds.  It is extended to twice as long, so that few calls have to write.
local function extend_ttl(key, ttl)
    if redis.call('ttl', key) < ttl then
        redis.call('expire', key, ttl * 2)
    end
end
