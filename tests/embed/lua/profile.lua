-- The profile tells which line of the script allocated.
local oakum = require "oakum"
assert(oakum.profile.start(1))
local m = oakum.map()
local function fill(n)
    for i = 1, n do m["key" .. i] = i end -- line 6
end
fill(3000)
local text = oakum.profile.text(5)
assert(text:find "profile.lua:6 fill", text)
assert(text:find "profile.lua:8", text)

local co = coroutine.wrap(function()
    for i = 1, 3000 do m[i] = i; m[-i] = i end -- line 14
end)
co()
text = oakum.profile.text(50)
assert(text:find "profile.lua:14", text)

local path = os.tmpname()
assert(oakum.profile.save(path))
local f = io.open(path, "rb")
assert(f:read(2) == "\x1f\x8b")
f:close()
os.remove(path)
assert(oakum.profile.stop())

local s = oakum.stats()
assert(s.heap_alloc > 0 and s.heap_objects > 0 and math.type(s.sys) == "integer")
oakum.collect()
assert(oakum.stats().num_gc > s.num_gc)
