-- oakum.cache: what goes when, and who is told.
local oakum = require "oakum"

local told = {}
local function note(k, v, why) told[#told + 1] = { k, v, why } end

-- Least recently used first.
local c = oakum.cache { entries = 3, evicted = note }
for i = 1, 3 do assert(c:put(i, "v" .. i)) end
assert(c:get(1) == "v1")
c:put(4, { 4 })
assert(#told == 1 and told[1][1] == 2 and told[1][2] == "v2" and told[1][3] == "capacity")
assert(c:get(2) == nil and c:peek(3) == "v3" and c:get(4)[1] == 4 and #c == 3)
c:put(1, "new")
assert(#told == 2 and told[2][2] == "v1" and told[2][3] == "replaced" and c:get(1) == "new")
assert(c:delete(3) and not c:delete(3) and told[3][3] == "deleted")
c:clear()
assert(#told == 5 and told[5][3] == "cleared" and #c == 0)

-- Objects as keys and values, kept by the cache alone.
c = oakum.cache { entries = 500 }
local weak = setmetatable({}, { __mode = "k" })
for i = 1, 2000 do
    local k, v = {}, { i }
    weak[v] = true
    c:put(k, v)
end
collectgarbage(); collectgarbage()
local n = 0
for _ in pairs(weak) do n = n + 1 end
assert(n == 500 and #c == 500)
n = 0
for k, v in pairs(c) do
    assert(c:peek(k) == v)
    if n % 2 == 0 then c:delete(k) end
    n = n + 1
end
assert(n == 500 and #c == 250)

-- The most recently used come first in a loop.
c = oakum.cache { entries = 10 }
for i = 1, 10 do c:put(i, i) end
c:get(3)
for k in pairs(c) do assert(k == 3) break end

-- Bytes.
c = oakum.cache { bytes = 1000 }
for i = 1, 100 do c:put(i, i, { bytes = 100 }) end
assert(#c == 10 and c:stats().bytes == 1000)
assert(c:put("large", 1, { bytes = 1001 }) == false and c:get("large") == nil)
c:put("text", ("x"):rep(500))
assert(c:stats().bytes <= 1000 and c:get("text"))
c:limit { entries = 2 }
assert(#c == 2)

-- Time to live.
told = {}
c = oakum.cache { ttl = 3600, evicted = note }
c:put("short", 1, { ttl = 0.001 })
c:put("long", 2)
local t = os.clock()
repeat until os.clock() > t + 0.005
assert(c:get("short") == nil and c:get("long") == 2)
while c:purge(100) do end
assert(#told == 1 and told[1][1] == "short" and told[1][3] == "expired")
assert(c:stats().expirations == 1 and c:stats().hits == 1 and c:stats().misses == 1)

-- The function may use the cache, and raise errors, which reach who made it run.
c = oakum.cache { entries = 2, evicted = function(k, v, why)
    if k == "bad" then error "from evicted" end
    if why == "capacity" and v < 3 then c:put(k, v + 1) end
end }
for i = 1, 20 do c:put(i, 1) end
assert(#c == 2)
c:clear()
c:put("bad", 9)
local ok, message = pcall(c.delete, c, "bad")
assert(not ok and message:find "from evicted")
c:put(1, 1)
assert(c:get(1) == 1)

-- It may close it.
c = oakum.cache { entries = 1, evicted = function() c:close() end }
c:put(1, 1)
c:put(2, 2)
assert(not pcall(c.get, c, 2))

do
    local d <close> = oakum.cache { entries = 1 }
    c = d
end
assert(tostring(c) == "oakum.cache (closed)")

-- Model: against a list in order of use.
local seed = tonumber(os.getenv "OAKUM_TEST_SEED" or "") or os.time()
print("cache: OAKUM_TEST_SEED=" .. seed)
math.randomseed(seed)
c = oakum.cache { entries = 50 }
local order = {}
local function touch(k)
    for i, o in ipairs(order) do
        if o == k then table.remove(order, i) break end
    end
    table.insert(order, 1, k)
end
for i = 1, 20000 do
    local k = math.random(100)
    if math.random(2) == 1 then
        c:put(k, k)
        touch(k)
        order[51] = nil
    elseif c:get(k) then
        touch(k)
    end
end
n = 0
for k in pairs(c) do
    n = n + 1
    assert(order[n] == k)
end
assert(n == #order)
