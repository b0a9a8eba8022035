-- Purpose: requests for wrk: most of them for few of the pages; at the end one line of JSON.
--
-- arguments after "--": the number of books, the number of authors, the share of writes, the seed

local books, authors, writes

-- A number from 1 to n; each doubling has as many requests as the one before.
local function popular(n)
    return math.min(n, math.floor(n ^ math.random()))
end

function init(arguments)
    books, authors, writes = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
    math.randomseed(tonumber(arguments[4]))
end

function request()
    if math.random() < writes then
        return wrk.format('POST', '/book/' .. popular(books) .. '/')
    elseif math.random() < 0.25 then
        return wrk.format('GET', '/author/' .. popular(authors) .. '/')
    end
    return wrk.format('GET', '/book/' .. popular(books) .. '/')
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
