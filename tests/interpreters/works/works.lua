-- works.lua - works of the port of Lua: works.lua fib|strings|tables|trees

local works = {}

local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
function works.fib() return fib(28) end

function works.strings()
    local sum = 0
    for i = 1, 30000 do
        local s = ""
        for j = 1, 10 do s = s .. "item " .. i .. "." .. j .. "," end
        sum = sum + #s:reverse():gsub(",", ";")
    end
    return sum
end

function works.tables()
    local sum = 0
    for round = 1, 10 do
        local t = {}
        for i = 1, 20000 do t["key" .. i] = { i, i * round } end
        for _, v in pairs(t) do sum = sum + v[2] end
    end
    return sum
end

local function tree(depth)
    if depth == 0 then return {} end
    return { tree(depth - 1), tree(depth - 1) }
end
local function count(t) return t[1] and 1 + count(t[1]) + count(t[2]) or 1 end

function works.trees()
    local sum = 0
    for _ = 1, 30 do sum = sum + count(tree(12)) end
    return sum
end

print(works[arg[1]]())
