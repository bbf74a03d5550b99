-- oakum.weakmap: what dies goes, what lives stays, in all three modes.
local oakum = require "oakum"

local function count(m)
    local n = 0
    for k, v in pairs(m) do
        assert(m[k] == v)
        n = n + 1
    end
    return n
end

for _, mode in ipairs { "incremental", "generational" } do
    collectgarbage(mode)

    -- Weak keys are ephemerons: a value that refers to its key doesn't keep it.
    local k, keep = oakum.weakmap "k", {}
    for i = 1, 5000 do
        local key = {}
        k[key] = { key, i }
        if i % 10 == 0 then keep[i] = key end
    end
    k.text = "stays"; k[12] = 13
    collectgarbage(); collectgarbage()
    assert(count(k) == 502 and k.text == "stays" and k[12] == 13)
    for i, key in pairs(keep) do assert(k[key][2] == i) end
    assert(oakum.stats(k).len == 502 and #k == 502)

    -- Weak values, with keys of all kinds, which the map keeps as long as they have one.
    local v, held = oakum.weakmap "v", {}
    for i = 1, 3000 do
        local value = {}
        v[i % 3 == 0 and {} or i % 3 == 1 and i or "key" .. i] = value
        if i % 10 == 0 then held[i] = value end
    end
    v.number = 42
    collectgarbage(); collectgarbage()
    assert(count(v) == 301 and v.number == 42)
    for i, value in pairs(held) do
        if i % 3 == 1 then assert(v[i] == value) end
        if i % 3 == 2 then assert(v["key" .. i] == value) end
    end
    held = nil
    collectgarbage(); collectgarbage()
    assert(count(v) == 1)

    -- Both.
    local b, x, y = oakum.weakmap "kv", {}, {}
    b[x] = y; b[{}] = y; b[x] = y; b[y] = {}
    collectgarbage(); collectgarbage()
    assert(b[x] == y and b[y] == nil and count(b) == 1)
end
collectgarbage "incremental"

-- New objects at the addresses of dead ones find nothing of theirs.
local m = oakum.weakmap "k"
for i = 1, 200000 do
    local key = {}
    assert(m[key] == nil)
    m[key] = i
    assert(m[key] == i)
end
collectgarbage(); collectgarbage()
assert(count(m) == 0)

-- What is dead is removed by using the map, without a look at all of it.
m = oakum.weakmap "k"
for i = 1, 20000 do m[{}] = i end
collectgarbage()
for i = 1, 20000 do local _ = m[i] end
assert(#m < 100, #m)

-- Writes during a loop.
m = oakum.weakmap "v"
local list = {}
for i = 1, 1000 do list[i] = {}; m[i] = list[i] end
local seen = 0
for k in pairs(m) do
    if k <= 1000 then seen = seen + 1 end
    m[k] = nil
    if k <= 1000 then m[k + 1000] = list[k] end
end
assert(seen == 1000)
m[list] = list
m[list] = nil
assert(m[list] == nil)
oakum.clear(m)
assert(count(m) == 0)
oakum.close(m)
assert(not pcall(function() m[1] = 2 end))
assert(not pcall(oakum.weakmap, "x"))
