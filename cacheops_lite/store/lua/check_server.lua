-- Purpose: find out whether the server takes writes, and whether an older state of the database has come back, as after
-- SWAPDB or DEBUG RELOAD, which keep connections.
--
-- KEYS   [1] the clock: the time of the last check by any process
-- ARGV   [1] the latest time of the clock that the caller has seen, in milliseconds since 1970, 0 for none
-- Reply  the time of the clock before, 0 for none; then its time now: 0 if the clock went back, it then stays as it is
--
-- A clock that is missing says nothing: it may have been evicted.

local found = redis.pcall('get', KEYS[1])
local before = type(found) == 'string' and tonumber(found) or 0
if before > 0 and before < tonumber(ARGV[1]) then
    return {string.format('%.0f', before), '0'}
end
local time = redis.call('time')
-- The time of the system may be set back; the clock is not.
local now = string.format('%.0f', math.max(time[1] * 1000 + math.floor(time[2] / 1000), before))
redis.call('set', KEYS[1], now)
return {string.format('%.0f', before), now}
