-- What is wrong is said so, and nothing is changed by it.
local oakum = require "oakum"

local function fails(what, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok, what)
    assert(tostring(message):find(what, 1, true), message)
end

local m, w, c = oakum.map(), oakum.weakmap "k", oakum.cache { entries = 10 }
for _, o in ipairs { m, w } do
    fails("a key may not be nil", function() o[nil] = 1 end)
    fails("a key may not be NaN", function() o[0/0] = 1 end)
    fails("a key may not be NaN", function() o[0/0] = nil end)
    assert(#o == 0 and o[nil] == nil and o[0/0] == nil)
end
fails("a key may not be nil", c.put, c, nil, 1)
fails("a key may not be NaN", c.put, c, 0/0, 1)
fails("a cache holds no nil", c.put, c, 1, nil)
fails("must be positive", c.put, c, 1, 1, { ttl = 0 })
fails("must be positive", c.put, c, 1, 1, { ttl = 0/0 })
fails("must be positive", c.put, c, 1, 1, { bytes = -1 })
fails("table expected", c.put, c, 1, 1, 5)
fails("must be bounded", oakum.cache, {})
fails("must be bounded", c.limit, c, {})
fails("must be positive", oakum.cache, { entries = 0 })
fails("evicted must be a function", oakum.cache, { entries = 1, evicted = 3 })
fails("table expected", oakum.cache)
fails("invalid option", oakum.weakmap, "weak")
fails("number of entries", oakum.map, -1)
fails("oakum.map or oakum.weakmap", oakum.clear, {})
fails("oakum.map or oakum.weakmap", oakum.stats, io.stdout)
fails("oakum.cache expected", c.get, m, 1)
fails("scans must be", oakum.detector, { scans = 1 })
fails("table expected", oakum.detector, 1)
fails("number of bytes", oakum.profile.start, 0)
fails("value expected", oakum.why)

oakum.close(m)
fails("the map is closed", function() return m[1] end)
fails("the map is closed", function() m[1] = 1 end)
fails("the map is closed", function() return #m end)
fails("the map is closed", pairs, m)
fails("the map is closed", oakum.clear, m)
oakum.close(m)
oakum.close(w)
fails("the weakmap is closed", function() return w[1] end)
c:close()
fails("the cache is closed", c.get, c, 1)
local d = oakum.detector()
d:close()
fails("the detector is closed", d.scan, d)

-- Closed in the middle of a loop.
m = oakum.map { 1, 2, 3 }
fails("the map is closed", function() for _ in pairs(m) do oakum.close(m) end end)
w = oakum.weakmap "v"
w[1], w[2] = m, m
fails("the weakmap is closed", function() for _ in pairs(w) do oakum.close(w) end end)

-- Methods of metatables on what they are not for.
local meta = getmetatable(oakum.map())
fails("oakum.map expected", meta.__gc, io.stdout)
fails("oakum.map expected", meta.__index, oakum.weakmap "k", 1)

-- What steps through one structure steps through no other.
local c1, c2 = oakum.cache { entries = 10 }, oakum.cache { entries = 10 }
local key, value = {}, {}
c1:put(key, value)
local k, v = pairs(c1)(c2)
assert(k == key and v == value)
local _, _, _, list = getmetatable(c1).__pairs(c1)
local step, iterator = pairs(oakum.map { 1, 2, 3 })
fails("oakum.iterator expected", step, list)
fails("oakum.iterator expected", step, c1)
fails("oakum.list expected", getmetatable(list).__gc, iterator)
c2 = c1
local each = pairs(c1)
c1:close()
fails("the cache is closed", each, c2)
fails("the cache is closed", each, oakum.cache { entries = 1 })

-- The debug library can take the tables away in which objects are kept.
local function replaced(o, read, write)
    local tables = debug.getuservalue(o, 1)
    for _, other in ipairs { false, "text", {}, { 1 }, { {} }, { { 1 } } } do
        debug.setuservalue(o, other or nil, 1)
        fails("user value of Oakum's was replaced", read)
        fails("user value of Oakum's was replaced", write)
        collectgarbage()
    end
    debug.setuservalue(o, tables, 1)
end
local thing = {}
m, w, c = oakum.map(), oakum.weakmap "k", oakum.cache { entries = 10 }
m.a, m[thing], w[thing] = thing, 1, 1
c:put(thing, thing)
replaced(m, function() return m.a end, function() m.a = {} end)
replaced(m, function() for _ in pairs(m) do end end, function() m[{}] = thing end)
assert(m.a == thing)
replaced(w, function() return w[thing] end, function() w[thing] = 2 end)
assert(w[thing] == 1)
replaced(c, function() return c:get(thing) end, function() c:put({}, {}) end)
assert(c:get(thing) == thing)
debug.setuservalue(m, nil, 1)
fails("user value of Oakum's was replaced", function() m.a = nil end)
for _, o in ipairs { m, w } do oakum.clear(o) end
m.a = thing
assert(#m == 1 and m.a == thing)

local nowhere, why = oakum.profile.save "/no/such/folder/profile"
assert(nowhere == nil and why:find("/no/such/folder/profile", 1, true))
