/* lua-host.c - two plugins in Lua, each in a zone with a limit, and host objects that they share:
 * one plugin asks for too much, and the other doesn't notice.
 *
 * cc lua-host.c $(pkg-config --cflags --libs oakum lua5.4) -loakum-lua */
#include <lauxlib.h>
#include <lualib.h>
#include <oakum/lua.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>

/* A timer of the host's, which refers to a function of Lua's. */
typedef struct timer {
    int period;
} timer;

#define TIMER "host.timer"

/* timer(period, function): the function is in slot 1 */
static int new_timer(lua_State *L)
{
    int period = (int)luaL_checkinteger(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    timer *t = oak_lua_newobject(L, sizeof *t, 1, TIMER);
    t->period = period;
    lua_pushvalue(L, 2);
    oak_lua_setslot(L, t, 1);
    return 1;
}

/* t:fire() */
static int fire(lua_State *L)
{
    timer *t = oak_lua_checkobject(L, 1, TIMER);
    oak_lua_getslot(L, t, 1);
    lua_pushinteger(L, t->period);
    lua_call(L, 1, 0);
    return 0;
}

static lua_State *plugin(const char *name, size_t limit)
{
    lua_State *L = oak_lua_newstate(&(oak_lua_config){ .name = name, .limit = limit });
    if (!L) exit(1);
    luaL_openlibs(L);
    oak_lua_openlib(L);
    oak_lua_newtype(L, TIMER);
    lua_newtable(L);
    lua_pushcfunction(L, fire);
    lua_setfield(L, -2, "fire");
    lua_setfield(L, -2, "__index");
    lua_settop(L, 0);
    lua_register(L, "timer", new_timer);
    return L;
}

static void run(lua_State *L, const char *name, const char *script)
{
    oak_lua_stats s;
    if (luaL_dostring(L, script)) {
        printf("%s: %s\n", name, lua_tostring(L, -1));
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT);
    }
    oak_lua_stats_read(L, &s);
    printf("%s: %zu KiB of %zu, %zu timers\n", name, s.inuse >> 10, s.limit >> 10, s.objects);
}

int main(void)
{
    lua_State *greedy = plugin("greedy", 4 << 20), *modest = plugin("modest", 4 << 20);
    run(greedy, "greedy", "local t = {} while true do t[#t + 1] = { #t } end");
    run(modest, "modest", "for i = 1, 1000 do local t t = timer(i, function() return t end) end\n"
                          "kept = timer(5, function(p) print('every ' .. p) end) kept:fire()");
    printf("modest: %zu timers in circles went\n", oak_lua_collect(modest));
    run(modest, "modest", "");
    lua_close(greedy);
    lua_close(modest);
    return 0;
}
