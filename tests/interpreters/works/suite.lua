-- suite.lua - what a heap could break of Lua 5.1: coroutines, weak tables, userdata, errors.

local passed, tests = 0, 0

local function check(name, value, expected)
    tests = tests + 1
    if value == expected then passed = passed + 1
    else print("FAIL " .. name .. ": " .. tostring(value)) end
end

local function churn(n) for i = 1, n do local _ = { i, "s" .. i, function() return i end } end end

local threads = {}
for i = 1, 2000 do
    threads[i] = coroutine.wrap(function() for k = 1, 3 do churn(2) coroutine.yield(i * k) end end)
end
local sum = 0
for _ = 1, 3 do for i = 1, 2000 do sum = sum + threads[i]() end end
check("coroutines", sum, 6 * 2001000)
threads = nil

local weak = setmetatable({}, { __mode = "k" })
local kept = {}
for i = 1, 1000 do
    local key = {}
    weak[key] = { i }
    if i % 10 == 0 then kept[#kept + 1] = key end
end
collectgarbage()
churn(1000)
local left = 0
for _ in pairs(weak) do left = left + 1 end
check("weak keys", left, 100)

local closed = 0
for _ = 1, 500 do
    local p = newproxy(true)
    getmetatable(p).__gc = function() closed = closed + 1 end
end
collectgarbage()
check("__gc", closed, 500)

local ok, message = pcall(function() local t = {} churn(100) return t.x.y end)
check("error", ok == false and message:find("index field 'x'") ~= nil, true)

local parts = {}
for i = 1, 20000 do parts[i] = tostring(i) end
check("concat", #table.concat(parts, ","), 108893)
table.sort(parts)
check("sort", parts[2], "10")

local big = {}
for i = 1, 100000 do big[i] = { i } end
for i = 1, 100000, 2 do big[i] = nil end
collectgarbage()
sum = 0
for i = 2, 100000, 2 do sum = sum + big[i][1] end
check("holes", sum, 2500050000)

local env = {}
setfenv(loadstring("x = {} for i = 1, 100 do x[i] = function() return i end end"), env)()
churn(1000)
check("loadstring", env.x[77](), 77)
check("gsub", ("hello world"):gsub("%w+", function(w) churn(10) return w:upper() end), "HELLO WORLD")
check("varargs", select("#", unpack({ 1, 2, 3, nil, 5 }, 1, 5)), 5)

print(passed .. " of " .. tests .. " pass")
