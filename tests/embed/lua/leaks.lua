-- oakum.detector names the table that grows, by its path, and nothing else; oakum.why finds paths.
local oakum = require "oakum"

app = { sessions = {}, steady = {}, pool = {} }
for i = 1, 1000 do app.steady[i] = {} end

local queue = {}
local function handler() return queue end
app.handler = handler
app.events = oakum.map()
app.watched = oakum.weakmap "k"
local watched, inside = {}, {}
debug.getregistry().hosts_own = inside

-- What the structures themselves are made of isn't named, nor is another detector's table.
local d, other = oakum.detector { scans = 8 }, oakum.detector { scans = 8 }
local found
for round = 1, 12 do
    for i = 1, 50 do app.sessions[#app.sessions + 1] = { id = i } end
    for i = 1, 40 do queue["q" .. round .. ":" .. i] = true end
    for i = 1, 30 do app.events[round * 100 + i] = {} end
    for i = 1, 20 do
        local key = {}
        watched[#watched + 1] = key
        app.watched[key] = { round }
    end
    for i = 1, 15 do inside[#inside + 1] = i end
    other:scan()
    local junk = {}
    for i = 1, math.random(100, 500) do junk[i] = {} end
    app.pool = junk                       -- another table each time
    for i = 1, 1000 do app.steady[i] = round end
    found = d:scan()
    if round < 8 then assert(#found == 0) end
end
local paths = {}
for _, f in ipairs(found) do
    paths[f.path] = f
    print(f.path, f.entries, f.growth)
end
assert(paths["_G.app.sessions"].entries == 600 and paths["_G.app.sessions"].growth == 50)
assert(paths["_G.app.sessions"].object == app.sessions)
assert(paths["_G.app.handler (upvalue queue)"].entries == 480)
assert(paths["_G.app.events"].growth == 30)
assert(paths["_G.app.events"].object == app.events)
local hidden = 0
for path, f in pairs(paths) do
    if f.growth == 15 then
        assert(path == "registry.hosts_own" and f.object == nil)
        hidden = hidden + 1
    end
    assert(not path:find "user value")
end
assert(hidden == 1)
assert(#found == 5 and found[1].path == "_G.app.sessions") -- and the local `watched`

-- What was cut is no leak any more; a table that died is forgotten.
app.sessions = {}
queue = nil
oakum.clear(app.events)
for round = 1, 10 do found = d:scan() end
assert(#found == 0)

-- Paths.
assert(oakum.why(app.steady) == "_G.app.steady")
assert(oakum.why(string.format) == "_G.string.format")
app["odd key"] = { [12] = { [true] = { [1.5] = {} } } }
assert(oakum.why(app["odd key"][12][true][1.5]) == '_G.app["odd key"][12][true][1.5]')
app["a\nb\""] = {}
assert(oakum.why(app["a\nb\""]) == '_G.app["a\\x0ab\\""]')
setmetatable(app.pool, { __index = { deep = {} } })
assert(oakum.why(getmetatable(app.pool).__index.deep) == "_G.app.pool (metatable).__index.deep")
local key = {}
app.byobject = { [key] = {} }
key.mark = {}
assert(oakum.why(key.mark) == "_G.app.byobject (a key).mark")
assert(oakum.why(app.byobject[key]):find "^_G%.app%.byobject%[table: ")
app.text = "a string of its own that is long enough to be an object of its own"
assert(oakum.why(app.text) == "_G.app.text")
local in_map = {}
app.events.x = in_map
assert(oakum.why(in_map):find "^_G%.app%.events %(user value 1%)")

local co = coroutine.wrap(function(argument)
    local waiting = { argument }
    coroutine.yield()
    return waiting
end)
local lost = {}
co(lost)
app.co = co
assert(oakum.why(lost):find("_G.app.co (upvalue", 1, true))
assert(oakum.why(lost):find("(local argument of", 1, true), oakum.why(lost))
local fresh = coroutine.create(function() end)
app.fresh = fresh

-- Only a local of the function that runs, only a weak table, nothing.
local here = {}
assert(oakum.why(here):find("(local here of main at", 1, true), oakum.why(here))
assert(oakum.why({}) == nil and oakum.why(12) == nil and oakum.why(nil) == nil)
app.weak = setmetatable({}, { __mode = "v" })
local function only_weak()
    app.weak[1] = {}
    return oakum.why(app.weak[1])
end
assert(only_weak() == nil)
local deep = {}
app.deep = deep
for i = 1, 200 do deep.next = {}; deep = deep.next end
assert(oakum.why(deep):find "^%.%.%.%.next")
