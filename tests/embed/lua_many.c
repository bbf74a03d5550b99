/* lua_many.c - states with much that Lua's collector has to find itself: full userdata in cycles,
 * through Oakum's heap too, and coroutines by the thousand. */
#include "lua_run.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

Suite *suite_embed_lua_many(void);

#define CYCLES 10000
#define COROUTINES 5000

/* ---- a thread that collects Oakum's heap meanwhile ---- */

static atomic_bool over;
static pthread_t collector;

static void *collect_on(void *arg)
{
    for (; !atomic_load(&over); usleep(1000)) oak_collect();
    return arg;
}

static void begin_collecting(void)
{
    atomic_store(&over, false);
    ck_assert_int_eq(pthread_create(&collector, NULL, collect_on, NULL), 0);
}

static void end_collecting(void)
{
    atomic_store(&over, true);
    pthread_join(collector, NULL);
}

/* ---- full userdata ---- */

/* An object of Oakum's and a userdata refer to each other. */
typedef struct half {
    struct half *other;
    uint64_t id;
} half;

static lua_Integer made, collected;
static oak_weak *weak[2 * CYCLES]; /* of the halves in Oakum's heap */

static int half_gc(lua_State *L)
{
    half *h = lua_touserdata(L, 1);
    collected += h->other && h->other->id == h->id && h->other->other == h;
    return 0;
}

/* half(): a userdata with two user values. */
static int half_new(lua_State *L)
{
    half *h = lua_newuserdatauv(L, sizeof *h, 2);
    *h = (half){ oak_alloc(sizeof *h), (uint64_t)made };
    if (!h->other) return luaL_error(L, "no memory");
    *h->other = (half){ h, h->id };
    weak[made++] = oak_weak_new(h->other);
    luaL_setmetatable(L, "half");
    return 1;
}

static int half_set(lua_State *L)
{
    lua_settop(L, 3);
    return lua_setiuservalue(L, 1, (int)lua_tointeger(L, 2)) ? 0 : luaL_error(L, "no such value");
}

static int half_get(lua_State *L)
{
    lua_getiuservalue(L, 1, (int)luaL_checkinteger(L, 2));
    return 1;
}

static lua_State *state_with_halves(void)
{
    lua_State *L = test_lua_state(NULL);
    made = collected = 0;
    luaL_newmetatable(L, "half");
    lua_pushcfunction(L, half_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_register(L, "half", half_new);
    lua_register(L, "set", half_set);
    lua_register(L, "get", half_get);
    return L;
}

static size_t alive(void)
{
    size_t n = 0;
    test_lua_wipe();
    oak_collect();
    for (lua_Integer i = 0; i < made; i++) n += oak_weak_get(weak[i]) != NULL;
    return n;
}

static const char make_cycles[] = "kept = {}\n"
                                  "for i = 1, 10000 do\n"
                                  "    local a, b = half(), half()\n"
                                  "    set(a, 1, b) set(b, 1, a) set(a, 2, a)\n"
                                  "    set(b, 2, function() return a, b end)\n"
                                  "    if i % 100 == 0 then kept[#kept + 1] = a end\n"
                                  "end\n";
static const char check_kept[] =
    "for _, a in ipairs(kept) do\n"
    "    local b = get(a, 1)\n"
    "    local x, y = get(b, 2)()\n"
    "    assert(get(b, 1) == a and get(a, 2) == a and x == a and y == b)\n"
    "end\n";

static void set_mode(lua_State *L, int i)
{
    if (i)
        lua_gc(L, LUA_GCGEN, 0, 0);
    else
        lua_gc(L, LUA_GCINC, 0, 0, 0);
}

START_TEST(cycles_of_full_userdata_go)
{
    lua_State *L = state_with_halves();
    set_mode(L, _i);
    begin_collecting();
    test_lua_run(L, make_cycles);
    test_lua_run(L, check_kept);
    end_collecting();
    lua_gc(L, LUA_GCCOLLECT);
    ck_assert_int_eq(made, 2 * CYCLES);
    ck_assert_int_eq(collected, 2 * CYCLES - 200); /* each whole when its __gc ran */
    lua_gc(L, LUA_GCCOLLECT);                      /* Lua frees after __gc */
    size_t left = alive();
    ck_assert_msg(left >= 200 && left <= 210, "%zu", left); /* a stale word may hold some */
    test_lua_run(L, check_kept);
    lua_close(L);
    ck_assert_int_eq(collected, 2 * CYCLES);
    ck_assert_uint_le(alive(), 10);
}
END_TEST

/* ---- coroutines ---- */

static const char make_coroutines[] = "all = {}\n"
                                      "for i = 1, 5000 do\n"
                                      "    all[i] = coroutine.create(function(a)\n"
                                      "        local mine, text = { i, a }, 'c' .. i\n"
                                      "        for round = 1, 3 do\n"
                                      "            mine[#mine + 1] = coroutine.yield(mine, text)\n"
                                      "        end\n"
                                      "        return mine, text\n"
                                      "    end)\n"
                                      "end\n";
/* Each has what it was given, at any depth of its stack. */
static const char resume_them[] =
    "for round = 0, 3 do\n"
    "    for i, co in ipairs(all) do\n"
    "        local ok, mine, text = coroutine.resume(co, i * 10 + round)\n"
    "        assert(ok and mine[1] == i and text == 'c' .. i and #mine == 2 + round)\n"
    "        for r = 0, round do assert(mine[2 + r] == i * 10 + r) end\n"
    "    end\n"
    "    collect() collectgarbage()\n"
    "end\n"
    "for _, co in ipairs(all) do assert(coroutine.status(co) == 'dead') end\n";

static size_t bytes(lua_State *L)
{
    oak_lua_stats s;
    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCCOLLECT);
    ck_assert(oak_lua_stats_read(L, &s));
    return s.bytes;
}

START_TEST(coroutines_go_on_where_they_were)
{
    lua_State *L = test_lua_state(NULL);
    set_mode(L, _i);
    size_t before = bytes(L);
    begin_collecting();
    test_lua_run(L, make_coroutines);
    test_lua_run(L, resume_them);
    end_collecting();
    ck_assert_uint_gt(bytes(L), before + (size_t)COROUTINES * 500);
    test_lua_run(L, "all = nil");
    ck_assert_uint_lt(bytes(L), before + 200000); /* the table of strings has grown */
    lua_close(L);
}
END_TEST

START_TEST(coroutines_in_cycles_go)
{
    static const char make[] = "for i = 1, 5000 do\n"
                               "    local co, u = nil, half()\n"
                               "    co = coroutine.create(function()\n"
                               "        local me, mine = co, u\n"
                               "        coroutine.yield()\n"
                               "        return me, mine\n"
                               "    end)\n"
                               "    set(u, 1, co)\n"
                               "    coroutine.resume(co)\n"
                               "end\n";
    lua_State *L = state_with_halves();
    size_t before = bytes(L);
    begin_collecting();
    for (int i = 0; i < 3; i++) test_lua_run(L, make);
    end_collecting();
    size_t after = bytes(L);
    ck_assert_int_eq(made, 3 * COROUTINES);
    ck_assert_int_eq(collected, made);
    ck_assert_uint_lt(after, before + 200000);
    ck_assert_uint_le(alive(), 10);
    lua_close(L);
}
END_TEST

START_TEST(coroutines_beyond_the_limit_are_luas_error)
{
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = 6 << 20 });
    for (int i = 0; i < 3; i++) {
        const char *error = test_lua_fails(L, "all, n = {}, 0\n"
                                              "while true do\n"
                                              "    local co = coroutine.wrap(function()\n"
                                              "        local x <close> = setmetatable({}, {\n"
                                              "            __close = function() n = n + 1 end })\n"
                                              "        coroutine.yield(x)\n"
                                              "    end)\n"
                                              "    co() all[#all + 1] = co\n"
                                              "end");
        ck_assert_ptr_nonnull(error);
        ck_assert_ptr_nonnull(strstr(error, "not enough memory"));
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT);
        ck_assert_int_gt(test_lua_value(L, "#all"), 2000);
        test_lua_run(L, "for _, co in ipairs(all) do co() end assert(n == #all) all = nil");
        lua_gc(L, LUA_GCCOLLECT);
    }
    lua_close(L);
}
END_TEST

Suite *suite_embed_lua_many(void)
{
    Suite *s = suite_create("embed/lua_many");
    TCase *tc = tcase_create("many");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, cycles_of_full_userdata_go, 0, 2);
    tcase_add_loop_test(tc, coroutines_go_on_where_they_were, 0, 2);
    tcase_add_test(tc, coroutines_in_cycles_go);
    tcase_add_test(tc, coroutines_beyond_the_limit_are_luas_error);
    suite_add_tcase(s, tc);
    return s;
}
