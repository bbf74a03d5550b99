-- oakum.map against a table: the same random operations on both, in both modes of the collector.
local oakum = require "oakum"
local seed = tonumber(os.getenv "OAKUM_TEST_SEED" or "") or os.time()
print("map: OAKUM_TEST_SEED=" .. seed)
math.randomseed(seed)

local objects = {}
for i = 1, 50 do
    objects[#objects + 1] = {}
    objects[#objects + 1] = function() return i end
    objects[#objects + 1] = coroutine.create(print)
end
objects[#objects + 1] = io.stdout
objects[#objects + 1] = print

local function key()
    local kind = math.random(7)
    if kind == 1 then return math.random(-50, 300) end
    if kind == 2 then return math.random(100) / 4 end       -- some are whole numbers
    if kind == 3 then return "k" .. math.random(300) end
    if kind == 4 then return ("long"):rep(20) .. math.random(50) end
    if kind == 5 then return math.random(2) == 1 end
    if kind == 6 then return "a\0b" .. math.random(50) end
    return objects[math.random(#objects)]
end

local function value()
    local kind = math.random(6)
    if kind == 1 then return math.random(1000) end
    if kind == 2 then return math.random() end
    if kind == 3 then return { math.random(1000) } end
    if kind == 4 then return ("v"):rep(math.random(100)) end
    if kind == 5 then return math.random(2) == 1 end
    return objects[math.random(#objects)]
end

local function same(m, t)
    local n = 0
    for k, v in pairs(m) do
        assert(t[k] == v, tostring(k))
        n = n + 1
    end
    local count = 0
    for k, v in pairs(t) do
        assert(m[k] == v)
        assert(math.type(k) ~= "float" or k % 1 ~= 0)
        count = count + 1
    end
    assert(n == count and #m == count)
end

for _, mode in ipairs { "incremental", "generational" } do
    collectgarbage(mode)
    local m, t = oakum.map(), {}
    for i = 1, 60000 do
        local k = key()
        if math.random(3) == 1 then
            m[k], t[k] = nil, nil
        else
            local v = value()
            m[k], t[k] = v, v
        end
        if i % 5000 == 0 then
            same(m, t)
            collectgarbage(i % 10000 == 0 and "collect" or "step")
        end
        local q = key()
        assert(m[q] == t[q])
    end
    same(m, t)
    assert(getmetatable(m).__name == "oakum.map")
end
collectgarbage "incremental"

-- Kinds of keys that are one, and that are not.
local m = oakum.map()
m[1] = "one"; m[2.0] = "two"; m["1"] = "text"
assert(m[1.0] == "one" and m[2] == "two" and m["1"] == "text" and #m == 3)
m[-0.0] = "zero"
assert(m[0] == "zero")
m[2^53] = "large"
assert(m[1 << 53] == "large")
m[math.huge] = "inf"; m[-math.huge] = "-inf"
assert(m[math.huge] == "inf" and m[-math.huge] == "-inf" and m[0/0] == nil and m[nil] == nil)

-- From a table, with a hint, closed by the end of a block.
local from = oakum.map { 10, 20, x = 30 }
assert(#from == 3 and from[1] == 10 and from.x == 30)
local shut
do
    local c <close> = oakum.map(1000)
    c.x = 1
    shut = c
end
assert(not pcall(function() return shut.x end))
assert(tostring(shut) == "oakum.map (closed)")
oakum.close(shut)

-- Entries come and go while a loop is under way; those that stay are given once.
local it = oakum.map()
for i = 1, 2000 do it[i] = i end
local seen = {}
for k in pairs(it) do
    if k <= 2000 then
        assert(not seen[k])
        seen[k] = true
    end
    if k % 3 == 0 then it[k] = nil end
    if k <= 2000 then it[k + 2000] = true end
end
for i = 1, 2000 do assert(seen[i]) end

-- It grows in steps: somewhere on the way a resize is seen half done.
local big, half = oakum.map(), false
for i = 1, 50000 do
    big[i] = i
    if i % 97 == 0 and oakum.stats(big).resizing then half = true end
end
assert(half)
for i = 1, 50000 do big[i] = nil end
assert(#big == 0 and oakum.stats(big).anchors == 0)

-- A circle through a map is garbage when nothing else refers to it.
local count = 0
local watched = setmetatable({}, { __mode = "k" })
for i = 1, 1000 do
    local c = oakum.map()
    local o = setmetatable({}, { __gc = function() count = count + 1 end })
    c[1] = o; c[o] = c; o.map = c
    watched[o] = true
end
collectgarbage(); collectgarbage()
assert(count == 1000 and next(watched) == nil)

-- Memory outside counts: a loop that drops maps doesn't pile them up.
local before = oakum.stats().heap_alloc
for i = 1, 300 do
    local c = oakum.map()
    for j = 1, 2000 do c[j] = j end
end
collectgarbage(); oakum.collect()
assert(oakum.stats().heap_alloc < before + (4 << 20))

-- A finalizer may write to a map while it is being written to.
local shared = oakum.map()
for i = 1, 5000 do
    setmetatable({}, { __gc = function() shared["f" .. i % 700] = { i } end })
    shared[i] = { i }
end
collectgarbage()
for i = 1, 5000 do assert(shared[i][1] == i) end
oakum.clear(shared)
assert(#shared == 0)
