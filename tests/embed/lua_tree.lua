-- lua_tree.lua - the module works from where it is: lua_tree.lua FILE BUILD [NAME]
-- FILE is what the loader must have mapped, BUILD a folder from which nothing may be.
local file, build, name = arg[1], arg[2], arg[3] or "oakum"
local oakum = require(name)

local m, w = oakum.map(), oakum.weakmap "k"
for i = 1, 20000 do
    m[i] = { i }
    w[m[i]] = i
end
for i = 1, 20000, 2 do m[i] = nil end
collectgarbage()
oakum.collect()
for i = 2, 20000, 2 do assert(m[i][1] == i and w[m[i]] == i) end
assert(#m == 10000)
assert(oakum.stats().num_gc > 0)

local seen = false
for line in io.lines "/proc/self/maps" do
    local mapped = line:match "%s(/.*)$" or ""
    seen = seen or mapped == file
    assert(build == "" or mapped:sub(1, #build + 1) ~= build .. "/", mapped)
end
assert(seen, file .. " is not mapped")
