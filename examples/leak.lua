-- leak.lua - a server that forgets to forget, and what tells
-- LUA_CPATH='embed/lua/?.so' lua5.4 examples/leak.lua
local oakum = require "oakum"

server = { sessions = {}, cache = oakum.cache { entries = 100 } }

local function request(n)
    local session = { id = n, data = ("x"):rep(100) }
    server.sessions[n] = session                -- the leak: nobody takes it out
    server.cache:put(n, session)
end

local detector = oakum.detector()
for minute = 1, 12 do
    for i = 1, 50 do request(minute * 1000 + i) end
    for _, leak in ipairs(detector:scan()) do
        print(("%s has %d entries, %+.0f a minute"):format(leak.path, leak.entries, leak.growth))
    end
end
local oldest = server.sessions[1001]
print("the oldest session is kept by " .. oakum.why(oldest))
assert(oakum.why(oldest) == "_G.server.sessions[1001]")
