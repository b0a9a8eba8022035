-- Purpose: lift the holds of a writer, after its commit.
--
-- KEYS   n tables' holds, and their n generations
-- ARGV   [1] the holds' token
-- Reply  how many tables start a new generation: those whose hold did not stand to the end
--
-- A hold that still stands has kept what it dropped from being made.  After one that was lost, or that somebody took for a
-- dead writer's, anything may have been made meanwhile.

local n = #KEYS / 2
local fallen = 0

for i = 1, n do
    if redis.call('zrem', KEYS[i], ARGV[1]) == 0 then
        fallen = fallen + redis.call('del', KEYS[n + i])
    end
end

return fallen
