-- Purpose: after a writer has waited for unknown near caches of tables, note that there are none.
--
-- KEYS   the registrations of the tables, where the writer left its token
-- ARGV   [1] its token, [2] the epoch of the server, [3] the seconds after which they expire
-- Reply  1
--
-- If the token is gone, a near cache has registered since, and may have lost its registration again.

for _, key in ipairs(KEYS) do
    if redis.pcall('get', key) == '?' .. ARGV[1] then
        redis.call('set', key, '0|' .. ARGV[2], 'EX', ARGV[3])
    end
end
return 1
