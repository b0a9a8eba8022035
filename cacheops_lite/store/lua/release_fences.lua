-- Purpose: release a writer's fences after its commit.
--
-- KEYS   the fences of n tables, then their n table versions
-- ARGV   [1] the token of the fences
-- Reply  how many table versions were dropped: those of the tables whose fence was lost before the commit
--
-- While a fence exists, no reader can recreate the versions that the writer dropped.  If a fence was evicted or has
-- expired, readers may have cached outdated rows since then: the table version is dropped.

local n = #KEYS / 2
local dropped = 0

for i = 1, n do
    if redis.call('zrem', KEYS[i], ARGV[1]) == 0 then
        dropped = dropped + redis.call('del', KEYS[n + i])
    end
end

return dropped
