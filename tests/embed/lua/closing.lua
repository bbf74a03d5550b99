-- What is closed or emptied in the middle of an operation on it: by a function of the script that
-- the operation calls, or by a finalizer that runs whenever something is made.
local oakum = require "oakum"

local function closed(ok, message)
    assert(not ok and message:find("is closed", 1, true), message)
end

-- By metamethods of an argument. What is made then would take the place of what was freed.
for i = 1, 200 do
    local made = {}
    local function make()
        for j = 1, 40 do
            made[j] = oakum.cache { entries = j }
            made[j]:put({}, {})
        end
        return 5
    end
    local c = oakum.cache { entries = 10 }
    c:put(1, {})
    local closes = setmetatable({}, { __index = function() c:close() return make() end })
    closed(pcall(i % 2 == 0 and c.limit or c.put, c, i % 2 == 0 and closes or 1, {}, closes))
    for j, other in pairs(made) do
        assert(#other == 1)
        for k = 1, 50 do other:put(k, {}) end
        assert(#other == j)
    end
end

-- By finalizers: one runs in each cycle of Lua's, and now and then it closes what is in use.
local current, give_back, closings = nil, nil, 0
local function trap()
    setmetatable({}, { __gc = function()
        if current then
            give_back(current)
            current, closings = nil, closings + 1
            local new = oakum.map { 1, {}, 3 }
            new[{}] = oakum.weakmap "k"
        end
        if give_back then trap() end
    end })
end

local function try(back, make, use)
    give_back, closings = back, 0
    trap()
    for i = 1, 2000 do
        local it = make()
        current = it
        pcall(function()
            for j = 1, 3000 do
                use(it, j)
                if not current then break end
            end
        end)
        if closings == 60 then break end
    end
    current, give_back = nil, nil
    collectgarbage()
    assert(closings > 0)
end

local mode = collectgarbage("setpause", 100)
local long = ("x"):rep(3000)
local function no() end
local function small() return oakum.cache { entries = 2, evicted = no } end
local function put_long(c, i) c:put(long .. i, {}) end
local function put(c, i) c:put(i, {}) for _ in pairs(c) do break end end
local function get(c, i) c:put({}, long .. i) for k in pairs(c) do c:get(k) end end
local function write(m) m[{}] = {} end
local function length(m, i) m[i] = {} assert(oakum.stats(m).len > 0) for _ in pairs(m) do break end end

for _, back in ipairs { function(c) c:close() end, function(c) c:clear() end } do
    try(back, small, put_long)
    try(back, function() return oakum.cache { entries = 50 } end, put)
    try(back, small, get)
end
for _, back in ipairs { oakum.close, oakum.clear } do
    for _, use in ipairs { write, length } do
        try(back, oakum.map, use)
        try(back, function() return oakum.weakmap "k" end, use)
        try(back, function() return oakum.weakmap "v" end, use)
    end
end

-- By a finalizer, in the middle of an iteration: a step gives something or ends it.
local kinds = {
    { oakum.map, oakum.clear, function(m, i) return i, i end },
    { function() return oakum.weakmap "k" end, oakum.clear, function(_, i) return {}, i end },
    { function() return oakum.weakmap "v" end, oakum.clear, function(_, i) return i, {} end },
    { function() return oakum.cache { entries = 3000 } end, function(c) c:clear() end,
      function(_, i) return i, i end },
}
for _, kind in ipairs(kinds) do
    for _, how in ipairs { "clear", "delete", "refill" } do
        for round = 1, 5 do
            local it, keep, values, fired, given = kind[1](), {}, {}, false, 0
            local function store(k, v) if it.put and v then it:put(k, v)
                elseif it.put then it:delete(k) else it[k] = v end end
            for i = 1, 1500 do
                keep[i], values[i] = kind[3](it, i)
                store(keep[i], values[i])
            end
            collectgarbage()
            setmetatable({}, { __gc = function()
                fired = true
                if how == "clear" then kind[2](it)
                else for i = 1, #keep do store(keep[i], nil) end end
                if how == "refill" then
                    for i = 1, 1500 do store(keep[i], values[i]) end
                end
            end })
            while not fired do
                given = 0
                for k in pairs(it) do
                    assert(k ~= nil)
                    given = given + 1
                    assert(given <= 4500, "an iteration without end")
                end
            end
        end
    end
end

try(function(d) d:close() end, function() return oakum.detector { entries = 4 } end,
    function(d) d:scan() end)
collectgarbage("setpause", mode)
