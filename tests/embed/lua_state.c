/* lua_state.c - tests of embed/lua/state.c: Lua's memory in Oakum's heap, its limit, its end. */
#include "lua_run.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_embed_lua_state(void);

static const char work[] =
    "local t = {}\n"
    "for i = 1, 20000 do\n"
    "    t[i % 500] = { i, tostring(i), function() return i end, ('x'):rep(i % 100) }\n"
    "    if i % 4000 == 0 then collect() end\n"
    "end\n"
    "for i = 0, 499 do\n"
    "    local e = t[i]\n"
    "    assert(e[1] % 500 == i and tonumber(e[2]) == e[1] and e[3]() == e[1])\n"
    "    assert(#e[4] == e[1] % 100)\n"
    "end\n";

START_TEST(oakums_collector_frees_nothing_of_luas)
{
    lua_State *L = test_lua_state(NULL);
    for (int i = 0; i < 3; i++) {
        test_lua_run(L, work);
        oak_collect();
    }
    lua_gc(L, LUA_GCGEN, 0, 0);
    test_lua_run(L, work);
    lua_close(L);
}
END_TEST

START_TEST(a_closed_state_leaves_nothing)
{
    lua_close(test_lua_state(NULL));
    size_t before = test_lua_objects();
    for (int i = 0; i < 20; i++) {
        lua_State *L = test_lua_state(&(oak_lua_config){ .name = "one of many" });
        test_lua_run(L, "kept = {} for i = 1, 1000 do kept[i] = { i } end");
        test_lua_run(L, "co = coroutine.create(function() coroutine.yield() end)"
                        " coroutine.resume(co)");
        lua_close(L);
    }
    ck_assert_uint_le(test_lua_objects(), before + 20);
    oak_zone_stats z[8];
    ck_assert_uint_eq(oak_zones_read(z, 8, NULL), 2);
}
END_TEST

START_TEST(the_account_is_luas_own)
{
    lua_State *L = test_lua_state(NULL);
    test_lua_run(L, work);
    lua_gc(L, LUA_GCCOLLECT);
    oak_lua_stats s;
    ck_assert(oak_lua_stats_read(L, &s));
    ck_assert(oak_lua_stats_read(L, NULL));
    size_t own = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
    ck_assert_uint_eq(s.bytes, own);
    ck_assert_uint_ge(s.inuse, s.bytes);
    ck_assert_uint_ge(s.peak, s.bytes);
    ck_assert_uint_gt(s.blocks, 100);
    lua_close(L);
    lua_State *other = luaL_newstate();
    ck_assert(!oak_lua_stats_read(other, &s));
    ck_assert(!oak_lua_stats_read(other, NULL));
    ck_assert_uint_eq(s.bytes, 0);
    ck_assert_uint_eq(oak_lua_set_limit(other, 1), SIZE_MAX);
    lua_close(other);
}
END_TEST

/* ---- the limit ---- */

static const char grow_forever[] =
    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end";

START_TEST(beyond_its_limit_a_state_has_luas_error)
{
    lua_State *a = test_lua_state(&(oak_lua_config){ .name = "small", .limit = 8 << 20 });
    lua_State *b = test_lua_state(NULL);
    for (int i = 0; i < 3; i++) {
        const char *error = test_lua_fails(a, grow_forever);
        ck_assert_ptr_nonnull(error);
        ck_assert_ptr_nonnull(strstr(error, "not enough memory"));
        lua_settop(a, 0);
        oak_lua_stats s;
        oak_lua_stats_read(a, &s);
        lua_gc(a, LUA_GCCOLLECT); /* for Lua's buffers, which ask for memory without trying it */
        ck_assert_uint_le(s.inuse, 8 << 20);
        ck_assert_uint_gt(s.peak, 4 << 20);
        ck_assert_uint_gt(s.failures, 0);
        test_lua_run(a, "assert(#string.rep('y', 100000) == 100000)");
        test_lua_run(b, "local t = {} for i = 1, 20000 do t[i] = ('x'):rep(1000) .. i end");
    }
    test_lua_run(a, "assert(not pcall(string.rep, 'x', 20 << 20))");
    ck_assert_uint_eq(oak_lua_set_limit(a, 64 << 20), 8 << 20);
    test_lua_run(a, "assert(#string.rep('x', 20 << 20) == 20 << 20)");
    ck_assert_uint_eq(oak_lua_set_limit(a, SIZE_MAX), 64 << 20);
    lua_close(a);
    lua_close(b);
}
END_TEST

/* And their error is the one that Lua raises itself, by its number too. */
START_TEST(maps_and_caches_count_as_the_states_own)
{
    static const char *const grow[] = {
        "local m = require 'oakum'.map() for i = 1, 1e9 do m[i] = i end",
        "local m = require 'oakum'.weakmap 'k' for i = 1, 1e9 do m['k' .. i] = i end",
        "local c = require 'oakum'.cache { entries = 1e9 | 0 } for i = 1, 1e9 do c:put(i, i) end",
        "local c, kept = require 'oakum'.cache { entries = 10000 }, {}\n"
        "for i = 1, 10000 do c:put(i, i) end\n"
        "for i = 1, 3000 do kept[i] = { pairs(c) } end",
        "local d, t = require 'oakum'.detector { entries = 4, collect = false }, {}\n"
        "for i = 1, 16000 do t[i] = { 1, 2, 3, 4 } end\n"
        "d:scan()",
    };
    for (size_t i = 0; i < sizeof grow / sizeof grow[0]; i++) {
        lua_State *L = test_lua_state(&(oak_lua_config){ .limit = 8 << 20 });
        ck_assert_int_eq(luaL_loadstring(L, grow[i]), LUA_OK);
        int status = lua_pcall(L, 0, 0, 0);
        ck_assert_str_eq(lua_tostring(L, -1), "not enough memory"); /* and no line of the script */
        ck_assert_int_eq(status, LUA_ERRMEM);
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT);
        test_lua_run(L, "local m = require 'oakum'.map { 1, 2, 3 } assert(#m == 3)");
        lua_close(L);
    }
}
END_TEST

/* There are free slots of all sizes that it takes, but for that of the keys of a chunk. */
START_TEST(a_weak_map_that_has_no_room_for_keys_is_empty)
{
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = 64 << 20 });
    test_lua_run(L, "local oakum, numbers, names = require 'oakum', {}, {}\n"
                    "map, w = oakum.map { {} }, oakum.weakmap 'v'\n"
                    "for i = 1, 256 do numbers[i], names[i] = i, 'k' .. i end\n"
                    "kept = {}\n"
                    "for i = 1, 100 do\n"
                    "    local t = {}\n"
                    "    for _, k in ipairs(names) do t[k] = 1 end\n"
                    "    kept[i] = { { table.unpack(numbers) }, t }\n"
                    "end\n"
                    "for i = 1, 100, 2 do kept[i] = 0 end\n"
                    "collectgarbage()");
    oak_lua_set_limit(L, 1);
    test_lua_run(L, "assert(not pcall(function() w[1] = w end))\n"
                    "for i = 1, 200 do assert(w[i] == nil) end\n");
    oak_lua_set_limit(L, 0);
    test_lua_run(L, "for i = 1, 600 do w[i] = w end for i = 1, 600 do assert(w[i] == w) end");
    lua_close(L);
}
END_TEST

START_TEST(garbage_counts_until_lua_needs_the_room)
{
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = 4 << 20 });
    lua_gc(L, LUA_GCSTOP);
    test_lua_run(L, "for i = 1, 100000 do local t = { i } end");
    lua_close(L);
}
END_TEST

#define SMALL ((size_t)4 << 20)
#define LITTLE ((size_t)48 << 10) /* less than each of these takes */

/* Lua strings, until hardly anything is left below the limit; then they are garbage. */
static void fill_with_garbage(lua_State *L)
{
    oak_lua_stats s;
    lua_newtable(L);
    for (lua_Integer i = 1; oak_lua_stats_read(L, &s) && s.inuse + LITTLE < SMALL; i++) {
        (void)lua_newuserdatauv(L, 5000, 0);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 1);
}

/* As of an emergency collection of Lua's, nothing of the script's runs in it. */
static const struct wanting {
    const char *before, *script;
} wanting[] = {
    { "", "m = oakum.map(20000)" },
    { "m = oakum.map()", "for i = 1, 20000 do m[i] = i end assert(#m == 20000)" },
    { "m, n = oakum.map(), 0",
      "debug.sethook(function() n = n + 1 end, 'c')\n"
      "for i = 1, 20000 do m[i] = i end\n"
      "assert(debug.gethook()) debug.sethook()\n"
      "assert(n == 20003)" },
    { "w = oakum.weakmap 'v'", "for i = 1, 20000 do w[i] = w end assert(w[20000] == w)" },
    { "c = oakum.cache { entries = 8000 }",
      "for i = 1, 8000 do c:put(i, i) end assert(#c == 8000)" },
    { "c = oakum.cache { entries = 8000 } for i = 1, 8000 do c:put(i, i) end",
      "local n = 0 for k in pairs(c) do n = n + 1 end assert(n == 8000)" },
    { "d, t = oakum.detector { entries = 4, collect = false }, {}\n"
      "for i = 1, 2000 do t[i] = { 1, 2, 3, 4 } end",
      "d:scan()" },
};

START_TEST(what_is_luas_garbage_makes_room_for_maps_and_caches)
{
    const struct wanting *w = &wanting[_i];
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = SMALL });
    lua_gc(L, LUA_GCSTOP);
    test_lua_run(L, "oakum = require 'oakum'");
    test_lua_run(L, w->before);
    test_lua_run(L, "setmetatable({}, { __gc = function() ran = true end })");
    fill_with_garbage(L);
    test_lua_run(L, w->script);
    test_lua_run(L, "assert(not ran) collectgarbage() assert(ran)");
    lua_close(L);
}
END_TEST

/* A script's __gc keeps what could not be completed: it is closed. */
START_TEST(what_could_not_be_made_is_closed)
{
    static const char *const made[] = { "oakum.map", "function() return oakum.weakmap 'k' end",
                                        "function() return oakum.cache { entries = 4 } end" };
    static const char *const used[] = { "m[1] = 1", "m[m] = 1", "m:put(1, 1)" };
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = SMALL });
    char script[1000];
    snprintf(script, sizeof script,
             "oakum = require 'oakum'\n"
             "local make, half, keep, hog, n = %s, {}, {}, {}, 0\n"
             "getmetatable(make()).__gc = function(m) half[#half + 1] = m end\n"
             "for i = 1, 20000 do half[i], keep[i] = 0, 0 end\n"
             "for i = 1, 20000 do half[i] = nil end\n"
             "pcall(function() for i = 1, 1e9 do hog[i] = ('x'):rep(1000) .. i end end)\n"
             "for i = 1, 20000 do\n"
             "  local ok, m = pcall(make)\n"
             "  if ok then keep[i] = m else n = n + 1 if n > 100 then break end end\n"
             "end\n"
             "hog = nil collectgarbage()\n"
             "assert(n > 0 and #half > 0)\n"
             "for _, m in ipairs(half) do pcall(function() %s end) end\n",
             made[_i], used[_i]);
    test_lua_run(L, script);
    lua_close(L);
}
END_TEST

/* It could begin another walk, or start Lua's collector. */
START_TEST(a_hook_sees_nothing_of_a_walk)
{
    lua_State *L = test_lua_state(NULL);
    test_lua_run(L, "local oakum, n = require 'oakum', 0\n"
                    "local a = oakum.detector { entries = 4, collect = false }\n"
                    "local b = oakum.detector { entries = 4, collect = false }\n"
                    "debug.sethook(function() n = n + 1 if n == 2 then debug.sethook() b:scan() end"
                    " end, 'c')\n"
                    "a:scan()\n"
                    "local seen = n\n"
                    "debug.sethook()\n" /* a call, which the hook sees */
                    "assert(seen == 1 and n == 2)");
    lua_close(L);
}
END_TEST

START_TEST(a_state_that_does_not_fit_is_none)
{
    errno = 0;
    ck_assert_ptr_null(oak_lua_newstate(&(oak_lua_config){ .limit = 1000 }));
    ck_assert_int_eq(errno, ENOMEM);
    lua_State *L = oak_lua_newstate(NULL);
    ck_assert_ptr_nonnull(L);
    lua_close(L);
}
END_TEST

/* ---- what Lua refers to ---- */

static oak_weak *weak;

static __attribute__((noinline)) void hang_on_userdata(lua_State *L)
{
    void **u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = oak_alloc(100);
    weak = oak_weak_new(*u);
    lua_setglobal(L, "holder");
}

static __attribute__((noinline)) void hang_on_a_table(lua_State *L)
{
    void *p = oak_alloc(100);
    weak = oak_weak_new(p);
    lua_pushlightuserdata(L, p);
    lua_setglobal(L, "holder");
}

START_TEST(what_lua_refers_to_lives_as_long_as_that)
{
    lua_State *L = test_lua_state(NULL);
    void (*const ways[])(lua_State *) = { hang_on_userdata, hang_on_a_table };
    ck_assert_int_eq(oak_root_add(&weak, sizeof weak), 0);
    ways[_i](L);
    test_lua_wipe();
    oak_collect();
    ck_assert_ptr_nonnull(oak_weak_get(weak));
    test_lua_run(L, "holder = nil collectgarbage() collectgarbage()");
    test_lua_wipe();
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(weak));
    oak_root_remove(&weak, sizeof weak);
    lua_close(L);
}
END_TEST

/* ---- zones of the host's ---- */

START_TEST(a_state_has_nothing_in_the_callers_zone)
{
    oak_zone *made = oak_zone_new(NULL), *used = oak_zone_new(NULL);
    oak_zone_stats z;
    ck_assert_int_eq(oak_zone_enter(made), 0);
    lua_State *L = test_lua_state(NULL);
    oak_zone_leave(made);
    ck_assert_int_eq(oak_zone_enter(used), 0);
    test_lua_run(L, "kept = {}\n"
                    "for i = 1, 100 do kept[i] = coroutine.create(function() end) end");
    oak_zone_leave(used);
    oak_zone_stats_read(made, &z);
    ck_assert_uint_eq(z.mallocs, 0);
    oak_zone_stats_read(used, &z);
    ck_assert_uint_eq(z.mallocs, 0);
    ck_assert_int_eq(oak_zone_discard(made), 0);
    ck_assert_int_eq(oak_zone_discard(used), 0);
    test_lua_run(L, "for i = 1, 5000 do kept[i] = coroutine.create(function() end) end\n"
                    "kept = nil collectgarbage()");
    lua_close(L);
}
END_TEST

/* ---- warnings, threads, many ---- */

static void *run_work(void *arg)
{
    test_lua_run(arg, work);
    return NULL;
}

START_TEST(states_go_from_thread_to_thread)
{
    lua_State *L[4];
    pthread_t t[4];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) L[i] = test_lua_state(NULL);
        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(pthread_create(&t[i], NULL, run_work, L[i]), 0);
        for (int i = 0; i < 10; i++) oak_collect();
        for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
        for (int i = 0; i < 4; i++) test_lua_run(L[i], "collectgarbage()");
        for (int i = 3; i >= 0; i--) lua_close(L[i]);
    }
}
END_TEST

START_TEST(a_hundred_states_at_a_time)
{
    lua_State *L[100];
    for (int i = 0; i < 100; i++) {
        L[i] = test_lua_state(NULL);
        test_lua_run(L[i], "x = {} for i = 1, 100 do x[i] = tostring(i) end");
    }
    for (int i = 0; i < 100; i += 2) lua_close(L[i]);
    oak_collect();
    for (int i = 1; i < 100; i += 2) {
        test_lua_run(L[i], "for i = 1, 100 do assert(x[i] == tostring(i)) end");
        lua_close(L[i]);
    }
}
END_TEST

Suite *suite_embed_lua_state(void)
{
    Suite *s = suite_create("embed/lua_state");
    TCase *tc = tcase_create("state");
    tcase_add_test(tc, oakums_collector_frees_nothing_of_luas);
    tcase_add_test(tc, a_closed_state_leaves_nothing);
    tcase_add_test(tc, the_account_is_luas_own);
    tcase_add_test(tc, beyond_its_limit_a_state_has_luas_error);
    tcase_add_test(tc, maps_and_caches_count_as_the_states_own);
    tcase_add_test(tc, a_weak_map_that_has_no_room_for_keys_is_empty);
    tcase_add_test(tc, garbage_counts_until_lua_needs_the_room);
    tcase_add_loop_test(tc, what_is_luas_garbage_makes_room_for_maps_and_caches, 0,
                        sizeof wanting / sizeof wanting[0]);
    tcase_add_loop_test(tc, what_could_not_be_made_is_closed, 0, 3);
    tcase_add_test(tc, a_hook_sees_nothing_of_a_walk);
    tcase_add_test(tc, a_state_that_does_not_fit_is_none);
    tcase_add_loop_test(tc, what_lua_refers_to_lives_as_long_as_that, 0, 2);
    tcase_add_test(tc, a_state_has_nothing_in_the_callers_zone);
    tcase_add_test(tc, states_go_from_thread_to_thread);
    tcase_add_test(tc, a_hundred_states_at_a_time);
    suite_add_tcase(s, tc);
    return s;
}
