-- Put: stores a small value under one of 10,000 keys; every client goes its own way through them.
local thread_number = 0
function setup(thread)
    thread:set("number", thread_number)
    thread_number = thread_number + 1
end
local at = 0
function request()
    at = at + 1
    return wrk.format("PUT", path and path or ("/api/v1/kv/bench:" .. number .. ":" .. (at % 5000)))
end
function init(arguments)
    path = arguments[1]
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = '{"value": "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}'
end
