-- Purpose: register near caches of tables, so that writers wait for their leases.
--
-- KEYS   the registrations of the tables
-- ARGV   [1] the lease in milliseconds, [2] the epoch of the server, [3] the seconds after which they expire
-- Reply  1

-- include registration

for _, key in ipairs(KEYS) do
    local lease, epoch = registration_of(key)
    local longest = ARGV[1]
    if lease and epoch == ARGV[2] and tonumber(lease) > tonumber(longest) then
        longest = lease
    end
    redis.call('set', key, longest .. '|' .. ARGV[2], 'EX', ARGV[3])
end
return 1
