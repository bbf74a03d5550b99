/* lua_lines.c - tests of embed/lua/lines.c and frame.c: a heap profile by lines of the script. */
#include "lua_run.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_embed_lua_lines(void);

static void start(void)
{
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
}

typedef struct sum {
    const char *function, *caller; /* the innermost frame; one that must be behind it, or NULL */
    int64_t bytes, objects;
} sum;

static bool add(const oak_profile_site *s, void *ctx)
{
    sum *x = ctx;
    if (s->nframes == 0 || !s->frames[0].function || strcmp(s->frames[0].function, x->function))
        return true;
    bool behind = x->caller == NULL;
    for (size_t i = 1; i < s->nframes && !behind; i++)
        behind = s->frames[i].function && strcmp(s->frames[i].function, x->caller) == 0;
    if (behind) {
        x->bytes += s->alloc_bytes;
        x->objects += s->alloc_objects;
    }
    return true;
}

static sum sum_of(const char *function, const char *caller)
{
    sum x = { function, caller, 0, 0 };
    oak_profile *p = oak_profile_read(OAK_PROFILE_NOW);
    ck_assert_int_eq(oak_profile_each(p, OAK_PROFILE_ALLOC_BYTES, add, &x), 0);
    oak_profile_free(p);
    return x;
}

START_TEST(a_line_has_what_it_allocates)
{
    lua_State *L = test_lua_state(NULL);
    test_lua_run(L, "local function fill(n)\n"
                    "    for i = 1, n do\n"
                    "        t[i] = { i }\n"
                    "    end\n"
                    "end\n"
                    "t = {}\n"
                    "fill(1000)\n"
                    "s = ('abc'):rep(100000)\n");
    sum line = sum_of("script.lua:3 fill", "script.lua:7");
    ck_assert_int_ge(line.objects, 2000); /* a table and its array, each */
    ck_assert_int_ge(sum_of("script.lua:8", NULL).bytes, 300000);
    lua_close(L);
}
END_TEST

/* The coroutine that runs is told, however many have resumed each other, and others wait. */
START_TEST(lines_are_of_the_coroutine_that_runs)
{
    lua_State *L = test_lua_state(NULL);
    test_lua_run(L, "waiting = {}\n"
                    "for i = 1, 100 do\n"
                    "    waiting[i] = coroutine.wrap(function() coroutine.yield() end)\n"
                    "    waiting[i]()\n"
                    "end\n"
                    "local inner = coroutine.wrap(function()\n"
                    "    for i = 1, 500 do keep = ('i'):rep(1000) .. i; coroutine.yield() end\n"
                    "end)\n"
                    "local outer = coroutine.wrap(function()\n"
                    "    while true do\n"
                    "        for i = 1, 10 do inner() end\n"
                    "        last = { ('o'):rep(1000) }; coroutine.yield()\n"
                    "    end\n"
                    "end)\n"
                    "for i = 1, 50 do\n"
                    "    outer()\n"
                    "end\n");
    ck_assert_int_ge(sum_of("script.lua:7", "script.lua:11").bytes, 500 * 1000);
    ck_assert_int_ge(sum_of("script.lua:12", "script.lua:16").bytes, 50 * 1000);
    ck_assert_int_lt(sum_of("script.lua:16", NULL).bytes, 20000);
    ck_assert_int_lt(sum_of("script.lua:11", NULL).bytes, 20000);
    lua_close(L);
}
END_TEST

static void *new_userdata(lua_State *L)
{
    return lua_newuserdatauv(L, 5000, 0);
}

static int make(lua_State *L)
{
    void *p = new_userdata(L);
    __asm__("" : : "r"(p) : "memory");
    return 1;
}

START_TEST(functions_of_the_host_stand_behind_the_lines)
{
    lua_State *L = test_lua_state(NULL);
    lua_register(L, "make", make);
    test_lua_run(L, "for i = 1, 100 do\n x = make()\n end");
    ck_assert_int_ge(sum_of("script.lua:2", "make").bytes, 500000);
    lua_close(L);
}
END_TEST

START_TEST(the_profile_of_maps_in_a_state_has_lines_too)
{
    lua_State *L = test_lua_state(NULL);
    test_lua_run(L, "local oakum = require 'oakum'\n"
                    "m = oakum.map()\n"
                    "for i = 1, 5000 do\n m[i] = i\n end\n");
    ck_assert_int_ge(sum_of("script.lua:4", NULL).bytes, 5000 * 48);
    lua_close(L);
}
END_TEST

/* Sampled while Lua makes coroutines, grows stacks, collects, and runs out of memory. */
START_TEST(a_sample_may_fall_due_anywhere)
{
    lua_State *L = test_lua_state(&(oak_lua_config){ .limit = 8 << 20 });
    test_lua_run(L, "local function deep(n) return n > 0 and 1 + deep(n - 1) or 0 end\n"
                    "local list = {}\n"
                    "for i = 1, 300 do\n"
                    "    local co\n"
                    "    co = coroutine.create(function(n) deep(n); coroutine.yield() end)\n"
                    "    assert(coroutine.resume(co, i * 10 % 1000))\n"
                    "    list[i % 20] = co\n"
                    "    setmetatable({}, { __gc = function() local t = { {}, {} } end })\n"
                    "    local ok = pcall(string.rep, 'x', 20 << 20)\n"
                    "end\n"
                    "assert(deep(10000) == 10000)\n");
    ck_assert_int_gt(sum_of("script.lua:1 deep", NULL).objects, 0);
    lua_close(L);
}
END_TEST

Suite *suite_embed_lua_lines(void)
{
    Suite *s = suite_create("embed/lua_lines");
    TCase *tc = tcase_create("lines");
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, a_line_has_what_it_allocates);
    tcase_add_test(tc, lines_are_of_the_coroutine_that_runs);
    tcase_add_test(tc, functions_of_the_host_stand_behind_the_lines);
    tcase_add_test(tc, the_profile_of_maps_in_a_state_has_lines_too);
    tcase_add_test(tc, a_sample_may_fall_due_anywhere);
    suite_add_tcase(s, tc);
    return s;
}
