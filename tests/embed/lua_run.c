/* lua_run.c - running scripts in tests (lua_run.h). */
#include "lua_run.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static int collect(lua_State *L)
{
    (void)L;
    oak_collect();
    return 0;
}

lua_State *test_lua_state(const oak_lua_config *config)
{
    lua_State *L = oak_lua_newstate(config);
    ck_assert_ptr_nonnull(L);
    luaL_openlibs(L);
    oak_lua_openlib(L);
    lua_pop(L, 1);
    lua_register(L, "collect", collect);
    return L;
}

const char *test_lua_fails(lua_State *L, const char *script)
{
    if (luaL_loadbuffer(L, script, strlen(script), "@script.lua") != LUA_OK ||
        lua_pcall(L, 0, 0, 0) != LUA_OK)
        return lua_tostring(L, -1);
    return NULL;
}

void test_lua_run(lua_State *L, const char *script)
{
    const char *error = test_lua_fails(L, script);
    ck_assert_msg(!error, "%s, in %.60s", error, script);
}

lua_Integer test_lua_value(lua_State *L, const char *expression)
{
    char script[256];
    snprintf(script, sizeof script, "return %s", expression);
    ck_assert_int_eq(luaL_dostring(L, script), LUA_OK);
    lua_Integer n = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : lua_tointeger(L, -1);
    lua_settop(L, 0);
    return n;
}

__attribute__((noinline)) void test_lua_wipe(void)
{
    char stack[16384];
    memset(stack, 0, sizeof stack);
    __asm__("" : : "r"(stack) : "memory");
}

size_t test_lua_objects(void)
{
    oak_memstats m;
    test_lua_wipe();
    oak_collect();
    oak_finalizers_run();
    oak_collect();
    oak_memstats_read(&m);
    return m.heap_objects;
}
