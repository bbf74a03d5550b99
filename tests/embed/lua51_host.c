/* lua51_host.c - a host of Lua 5.1 that has only the allocator hook: lua51_host [pinned]
 *
 * Each state's blocks are in a zone of its own. Plain ones live as long as the state is known: all
 * that Lua has hangs together. Pinned ones live as long as Lua likes. The hook collects now and
 * then, at whatever the other threads are. Says nothing, unless something is wrong. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATES 6
#define THREADS 2
#define OFTEN 10000 /* calls of the hook between two collections */
#define LIMIT ((size_t)4 << 20)

typedef struct state {
    lua_State *L;
    oak_zone *zone;
    size_t bytes, calls;
} state;

static bool pinned;

static void fail(int line, const char *what)
{
    fprintf(stderr, "lua51_host: line %d: %s\n", line, what);
    exit(1);
}

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static void *resize(state *s, void *p, size_t n)
{
    if (p) return oak_realloc(p, n);
    return pinned ? oak_zone_alloc_pinned(s->zone, n) : oak_zone_alloc(s->zone, n);
}

static void *block(void *ctx, void *p, size_t old, size_t n)
{
    state *s = ctx;
    if (++s->calls % OFTEN == 0) oak_collect();
    void *moved = n ? resize(s, p, n) : NULL;
    if (!n) oak_free(p);
    if (n && !moved && n <= old) moved = p; /* Lua takes it for granted that blocks shrink */
    if (n && !moved) return NULL;
    s->bytes += n - (p ? old : 0);
    return moved;
}

/* ---- states ---- */

static int collect(lua_State *L)
{
    (void)L;
    oak_collect();
    return 0;
}

static int panic(lua_State *L)
{
    fail(0, lua_tostring(L, -1));
    return 0;
}

static state *open_state(size_t limit)
{
    state *s = oak_alloc(sizeof *s);
    CHECK(s);
    CHECK(s->zone = oak_zone_new(&(oak_zone_options){ .name = "lua 5.1", .limit = limit }));
    CHECK(s->L = lua_newstate(block, s));
    lua_atpanic(s->L, panic);
    luaL_openlibs(s->L);
    lua_register(s->L, "collect", collect);
    return s;
}

static void close_state(state *s)
{
    lua_close(s->L);
    CHECK(s->bytes == 0);
    CHECK(oak_zone_discard(s->zone) == 0);
}

static void run(state *s, const char *script)
{
    if (luaL_dostring(s->L, script)) fail(0, lua_tostring(s->L, -1));
    lua_settop(s->L, 0);
}

/* ---- scripts ---- */

static const char values[] =
    "local t = {}\n"
    "for i = 1, 5000 do\n"
    "    t[i % 500] = { i, tostring(i), function() return i end, ('x'):rep(i % 100) }\n"
    "    if i % 1000 == 0 then collect() end\n"
    "end\n"
    "for i = 0, 499 do\n"
    "    local e = t[i]\n"
    "    assert(e[1] % 500 == i and tonumber(e[2]) == e[1] and e[3]() == e[1])\n"
    "    assert(#e[4] == e[1] % 100)\n"
    "end\n";

/* Full userdata: of newproxy, in cycles by their environments and metatables. */
static const char userdata[] =
    "local gone = 0\n"
    "for i = 1, 2000 do\n"
    "    local a, b = newproxy(true), newproxy(true)\n"
    "    getmetatable(a).other, getmetatable(b).other = b, a\n"
    "    getmetatable(a).__gc = function(u)\n"
    "        assert(getmetatable(getmetatable(u).other).other == u)\n"
    "        gone = gone + 1\n"
    "    end\n"
    "    debug.setfenv(a, { b }) debug.setfenv(b, { a })\n"
    "    if i % 500 == 0 then collect() end\n"
    "end\n"
    "collectgarbage() collectgarbage()\n"
    "assert(gone >= 1999, gone)\n"; /* the last is in a register of the loop's */

static const char coroutines[] =
    "local all = {}\n"
    "for i = 1, 2000 do\n"
    "    all[i] = coroutine.create(function(a)\n"
    "        local mine, text = { i, a }, 'c' .. i\n"
    "        for round = 1, 3 do mine[#mine + 1] = coroutine.yield(mine, text) end\n"
    "        return mine, text\n"
    "    end)\n"
    "end\n"
    "for round = 0, 3 do\n"
    "    for i, co in ipairs(all) do\n"
    "        local ok, mine, text = coroutine.resume(co, i * 10 + round)\n"
    "        assert(ok and mine[1] == i and text == 'c' .. i and #mine == 2 + round)\n"
    "        for r = 0, round do assert(mine[2 + r] == i * 10 + r) end\n"
    "    end\n"
    "    collect() collectgarbage()\n"
    "end\n"
    "for _, co in ipairs(all) do assert(coroutine.status(co) == 'dead') end\n";

static void beyond_the_limit(void)
{
    state *s = open_state(LIMIT), *other = open_state(0);
    for (int i = 0; i < 3; i++) {
        CHECK(luaL_dostring(s->L, "t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end"));
        CHECK(strstr(lua_tostring(s->L, -1), "not enough memory"));
        CHECK(s->bytes > LIMIT / 2);
        lua_settop(s->L, 0);
        lua_pushnil(s->L);
        lua_setglobal(s->L, "t");
        lua_gc(s->L, LUA_GCCOLLECT, 0); /* a script has no memory to be compiled, before */
        run(other, values);
    }
    run(s, values);
    close_state(s);
    close_state(other);
}

/* ---- all ---- */

static void *run_all(void *arg)
{
    run(arg, values);
    run(arg, userdata);
    run(arg, coroutines);
    return arg;
}

int main(int argc, char **argv)
{
    state *all[STATES];
    pthread_t t[THREADS];
    pinned = argc > 1 && strcmp(argv[1], "pinned") == 0;
    for (int i = 0; i < STATES; i++) run(all[i] = open_state(0), values);
    for (int i = THREADS; i < STATES; i += 2) close_state(all[i]);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&t[i], NULL, run_all, all[i]) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(t[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++) close_state(all[i]);
    beyond_the_limit();
    for (int i = THREADS + 1; i < STATES; i += 2) {
        run(all[i], values);
        close_state(all[i]);
    }
    return 0;
}
