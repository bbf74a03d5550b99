/* lua_reach.c - tests of embed/lua/walk.c, path.c, why.c: paths to values and to objects. */
#include "lua_run.h"

#include <check.h>
#include <string.h>

Suite *suite_embed_lua_reach(void);

static const char *why_of(lua_State *L, const char *expression)
{
    lua_settop(L, 0);
    ck_assert_int_eq(luaL_loadstring(L, expression), LUA_OK);
    ck_assert_int_eq(lua_pcall(L, 0, 1, 0), LUA_OK);
    bool found = oak_lua_why(L, -1);
    ck_assert_int_eq(found, !lua_isnil(L, -1));
    return lua_tostring(L, -1);
}

START_TEST(a_host_asks_for_paths)
{
    lua_State *L = test_lua_state(NULL);
    test_lua_run(L, "app = { list = { {}, { name = {} } } }\n"
                    "local hidden = {}\n"
                    "function app.show() return hidden end");
    ck_assert_str_eq(why_of(L, "return app.list[2].name"), "_G.app.list[2].name");
    ck_assert_str_eq(why_of(L, "return app.show()"), "_G.app.show (upvalue hidden)");
    ck_assert_ptr_null(why_of(L, "return {}"));
    lua_settop(L, 0);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ck_assert(oak_lua_why(L, -1));
    ck_assert_ptr_nonnull(strstr(lua_tostring(L, -1), "registry["));
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    lua_close(L);
}
END_TEST

START_TEST(any_state_will_do)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    ck_assert_int_eq(luaL_dostring(L, "app = { here = {} }"), LUA_OK);
    ck_assert_str_eq(why_of(L, "return app.here"), "_G.app.here");
    lua_close(L);
}
END_TEST

START_TEST(the_path_to_an_object_of_oakums_goes_through_lua)
{
    lua_State *L = test_lua_state(NULL);
    char *p = oak_alloc(100);
    char **u = lua_newuserdatauv(L, 4 * sizeof *u, 0);
    u[2] = p + 50;
    lua_setglobal(L, "deep");
    test_lua_run(L, "app = { [1] = { of = deep } } deep = nil");
    ck_assert(oak_lua_why_pointer(L, p));
    ck_assert_str_eq(lua_tostring(L, -1), "_G.app[1].of");
    test_lua_run(L, "app = nil collectgarbage()");
    ck_assert(!oak_lua_why_pointer(L, p));
    lua_pushlightuserdata(L, p);
    lua_setglobal(L, "light");
    ck_assert(oak_lua_why_pointer(L, p + 3));
    ck_assert_str_eq(lua_tostring(L, -1), "_G.light");
    ck_assert(!oak_lua_why_pointer(L, &p));
    ck_assert(!oak_lua_why_pointer(L, NULL));
    lua_close(L);
}
END_TEST

static int ask(lua_State *L)
{
    oak_lua_why(L, 1);
    return 1;
}

START_TEST(an_error_on_the_way_leaves_the_collector_as_it_was)
{
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = 16 << 20 });
    lua_register(L, "why", ask);
    test_lua_run(L, "t = {} for i = 1, 60000 do t[i] = {} end collectgarbage()");
    oak_lua_stats s;
    oak_lua_stats_read(L, &s);
    oak_lua_set_limit(L, s.inuse + (512 << 10));
    const char *error = test_lua_fails(L, "why({})");
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, "not enough memory"));
    ck_assert_int_eq(lua_gc(L, LUA_GCISRUNNING), 1);
    oak_lua_set_limit(L, 0);
    test_lua_run(L, "assert(why(t[60000]) == '_G.t[60000]')");
    lua_gc(L, LUA_GCSTOP);
    test_lua_run(L, "assert(why(t) == '_G.t')");
    ck_assert_int_eq(lua_gc(L, LUA_GCISRUNNING), 0);
    lua_close(L);
}
END_TEST

START_TEST(coroutines_are_looked_into)
{
    lua_State *L = test_lua_state(NULL);
    lua_register(L, "why", ask);
    test_lua_run(L, "local function body(first, ...)\n"
                    "    local mine = { inner = {} }\n"
                    "    coroutine.yield(mine)\n"
                    "end\n"
                    "co = coroutine.create(body)\n"
                    "local vararg = {}\n"
                    "local _, mine = coroutine.resume(co, 1, vararg)\n"
                    "local path, more = why(mine.inner), why(vararg)\n"
                    "assert(path:find('_G.co (local mine of', 1, true), path)\n"
                    "assert(path:find('script.lua:3).inner', 1, true), path)\n"
                    "assert(more:find('(vararg)', 1, true), more)\n"
                    "fresh = coroutine.create(body)\n"
                    "assert(why(body):find('_G.', 1, true))\n");
    lua_close(L);
}
END_TEST

Suite *suite_embed_lua_reach(void)
{
    Suite *s = suite_create("embed/lua_reach");
    TCase *tc = tcase_create("reach");
    tcase_add_test(tc, a_host_asks_for_paths);
    tcase_add_test(tc, any_state_will_do);
    tcase_add_test(tc, the_path_to_an_object_of_oakums_goes_through_lua);
    tcase_add_test(tc, an_error_on_the_way_leaves_the_collector_as_it_was);
    tcase_add_test(tc, coroutines_are_looked_into);
    suite_add_tcase(s, tc);
    return s;
}
