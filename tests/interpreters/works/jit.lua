-- jit.lua - what a heap could break of LuaJIT's compiled code: constants and sums of addresses in
-- traces, allocations that traces sink, cdata and its finalizers, states that leave traces.

local ffi, util = require("ffi"), require("jit.util")
local passed, tests = 0, 0

local function check(name, value, expected)
    tests = tests + 1
    if value == expected then passed = passed + 1
    else print("FAIL " .. name .. ": " .. tostring(value)) end
end

check("the compiler is on", jit.status(), true)

-- Each function is compiled, and compiled code is what refers to its table and strings.
local function counter(n)
    local seen = { total = 0 }
    return function(key)
        for i = 1, n do
            seen[key .. i % 50] = { i, key }
            seen.total = seen.total + #key
        end
        return seen.total, seen[key .. 7][2]
    end
end
local counters, total = {}, 0
for i = 1, 40 do counters[i] = counter(200) end
for round = 1, 5 do
    for i = 1, #counters do
        local sum, key = counters[i]("k" .. i)
        total = total + sum + #key
    end
    collectgarbage()
end
check("closures in traces", total, 333555)
check("there are traces", util.traceinfo(1) ~= nil, true)

-- A trace walks an array by a sum of its address and an index, while others grow.
local array, kept = {}, {}
for i = 1, 100000 do array[i] = i end
local sum = 0
for round = 1, 20 do
    for i = 1, #array do sum = sum + array[i] end
    kept[round] = {}
    for i = 1, 1000 do kept[round][i] = { "x" .. i } end
end
check("arrays", sum, 20 * 5000050000)
check("tables beside them", kept[20][1000][1], "x1000")

-- Temporary objects that traces sink come to life where a trace ends.
local function point(x, y) return { x = x, y = y } end
local last
local acc = 0
for i = 1, 200000 do
    local p = point(i, -i)
    local q = point(p.x + 1, p.y - 1)
    if i % 999 == 0 then last = q end
    acc = acc + q.x + q.y
end
check("sunk tables", acc == 0 and last.x == 199801 and last.y == -199801, true)

ffi.cdef "typedef struct { double x; int64_t n; char name[16]; } item;"
local items, closed = {}, 0
for i = 1, 20000 do
    local it = ffi.new("item", i, i * 2, "n" .. i)
    if i % 100 == 0 then items[#items + 1] = it end
end
local n = 0
for _, it in ipairs(items) do n = n + tonumber(it.n) + #ffi.string(it.name) end
check("cdata", n, 4021092)
for i = 1, 500 do ffi.gc(ffi.new("item"), function() closed = closed + 1 end) end
collectgarbage()
collectgarbage()
check("cdata finalizers", closed, 500)

local buffers = {}
for i = 1, 200 do
    local parts = {}
    for j = 1, 100 do parts[j] = string.format("%d:%d", i, j) end
    buffers[i] = table.concat(parts, ",")
end
local length = 0
for i = 1, 200 do length = length + #buffers[i] end
check("buffers", length, 127400)

local threads, yielded = {}, 0
for i = 1, 300 do
    threads[i] = coroutine.wrap(function()
        for k = 1, 100 do coroutine.yield({ k }) end
    end)
end
for _ = 1, 100 do
    for i = 1, 300 do yielded = yielded + threads[i]()[1] end
end
check("coroutines", yielded, 300 * 5050)

jit.flush()
local again = 0
for i = 1, 100000 do again = again + #tostring(i % 100) end
check("after a flush", again, 190000)
local ok = pcall(function()
    local t = setmetatable({}, { __index = function(_, k) if k == 1000 then error("end") end return k end })
    local s = 0
    for i = 1, 2000 do s = s + t[i] end
end)
check("errors out of traces", ok, false)

print(passed .. " of " .. tests .. " pass")
