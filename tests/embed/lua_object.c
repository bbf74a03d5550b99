/* lua_object.c - tests of embed/lua/object.c: host objects and Lua values that refer to each other
 * go when nothing else refers to them, and not before. */
#include "lua_run.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_embed_lua_object(void);

#define TYPE "test.object"

typedef struct object {
    struct object *next; /* another one, by a pointer of the host's */
    int number;
} object;

static object *held; /* by the host */

static int new_object(lua_State *L)
{
    int number = (int)luaL_optinteger(L, 1, 0);
    object *o = oak_lua_newobject(L, sizeof *o, 2, TYPE);
    o->number = number;
    return 1;
}

static int set(lua_State *L)
{
    object *o = oak_lua_checkobject(L, 1, TYPE);
    lua_settop(L, 2);
    oak_lua_setslot(L, o, 1);
    return 0;
}

static int get(lua_State *L)
{
    oak_lua_getslot(L, oak_lua_checkobject(L, 1, TYPE), 1);
    return 1;
}

static int get_number(lua_State *L)
{
    lua_pushinteger(L, ((object *)oak_lua_checkobject(L, 1, TYPE))->number);
    return 1;
}

/* set_in(a, slot, value) */
static int set_in(lua_State *L)
{
    object *o = oak_lua_checkobject(L, 1, TYPE);
    lua_settop(L, 3);
    oak_lua_setslot(L, o, (int)luaL_checkinteger(L, 2));
    return 0;
}

/* chain(a, b): a has a pointer to b */
static int chain(lua_State *L)
{
    object *a = oak_lua_toobject(L, 1, TYPE);
    a->next = oak_lua_toobject(L, 2, TYPE);
    return 0;
}

/* hold(a): the host does */
static int hold(lua_State *L)
{
    held = lua_isnil(L, 1) ? NULL : oak_lua_toobject(L, 1, TYPE);
    return 0;
}

static int chained(lua_State *L)
{
    object *a = oak_lua_checkobject(L, 1, TYPE);
    oak_lua_pushobject(L, a->next);
    return 1;
}

static lua_State *state(void)
{
    static const luaL_Reg methods[] = { { "set", set },           { "set_in", set_in },
                                        { "get", get },           { "number", get_number },
                                        { "chain", chain },       { "chained", chained },
                                        { NULL, NULL } };
    lua_State *L = test_lua_state(NULL);
    oak_lua_newtype(L, TYPE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_register(L, "object", new_object);
    lua_register(L, "hold", hold);
    return L;
}

static size_t objects(lua_State *L)
{
    oak_lua_stats s;
    oak_lua_stats_read(L, &s);
    return s.objects;
}

/* Scripts run below this frame, so that words of theirs are written over. */
static __attribute__((noinline)) void run(lua_State *L, const char *script)
{
    test_lua_run(L, script);
}

static size_t left(lua_State *L)
{
    test_lua_wipe();
    (void)oak_lua_collect(L);
    return objects(L);
}

START_TEST(of_ten_thousand_circles_none_is_left)
{
    lua_State *L = state();
    run(L, "for i = 1, 10000 do local o = object(i); o:set({ o }) end");
    ck_assert_uint_le(left(L), 0);
    run(L, "for i = 1, 10000 do local o = object(i); o:set(function() return o end) end");
    ck_assert_uint_eq(left(L), 0);
    run(L, "local a, b for i = 1, 10000 do a, b = object(), object(); a:set({b}); b:set({a}) end");
    ck_assert_uint_eq(left(L), 0);
    oak_lua_stats s;
    oak_lua_stats_read(L, &s);
    ck_assert_uint_eq(s.held, 0);
    lua_close(L);
}
END_TEST

/* Without anybody asking: both collectors run by themselves. */
START_TEST(circles_go_in_the_course_of_things)
{
    lua_State *L = state();
    run(L, "for i = 1, 200000 do local o = object(i); o:set({ o, ('x'):rep(100) }) end");
    ck_assert_uint_lt(objects(L), 150000);
    lua_close(L);
}
END_TEST

enum { ROOM = 200000 };

static int new_userdata(lua_State *L)
{
    lua_newuserdatauv(L, 0, 0);
    return 1;
}

/* A finalizer, of a table that has room: userdata are put into it until there is no memory. */
static int use_up(lua_State *L)
{
    lua_Integer n = 0;
    do lua_pushcfunction(L, new_userdata);
    while (lua_pcall(L, 0, 1, 0) == LUA_OK && (lua_rawseti(L, 1, ++n), n < ROOM));
    lua_pushinteger(L, n);
    lua_setglobal(L, "made");
    lua_settop(L, 1);
    lua_setglobal(L, "full");
    return 0;
}

/* What the host let go of is noticed in Lua's cycles, also after one that ran out of memory. */
START_TEST(a_cycle_without_memory_is_not_the_last)
{
    lua_State *L = state();
    run(L, "for i = 1, 100 do local o = object(i); o:set({ o }); hold(o) end hold(nil)"
           " made, full = 0, 0");
    lua_createtable(L, ROOM, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, use_up);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2); /* after the sentinel, so it is finalized before it */
    oak_lua_stats s;
    oak_lua_stats_read(L, &s);
    oak_lua_set_limit(L, s.bytes + (1 << 20));
    lua_pop(L, 1);
    lua_gc(L, LUA_GCCOLLECT);
    oak_lua_set_limit(L, 0);
    lua_Integer made = test_lua_value(L, "made");
    ck_assert(made > 0 && made < ROOM);
    run(L, "full = nil");
    test_lua_wipe();
    for (int i = 0; i < 100 && objects(L) > 0; i++) {
        oak_collect();
        (void)oak_finalizers_run();
        lua_gc(L, LUA_GCCOLLECT);
    }
    ck_assert_uint_le(objects(L), 2); /* a stack may hold a stray word */
    lua_close(L);
}
END_TEST

START_TEST(a_finalizer_takes_proxies_only)
{
    lua_State *L = state();
    run(L, "local o, m = object(5), require 'oakum'.map()\n"
           "local gc = getmetatable(o).__gc\n"
           "m[1] = 'x'\n"
           "for _, v in ipairs { m, io.stdout, 5, 'text', {}, print } do gc(v) end\n"
           "gc()\n"
           "assert(m[1] == 'x' and io.stdout:write('') and o:number() == 5)\n"
           "gc(o) gc(o)\n"
           "assert(not pcall(o.number, o))");
    ck_assert_uint_eq(left(L), 0);
    lua_close(L);
}
END_TEST

START_TEST(what_lua_has_stays_with_what_is_in_its_slots)
{
    lua_State *L = state();
    run(L, "list = {}\n"
           "for i = 1, 100 do\n"
           "    local o = object(i); o:set({ i, o }); list[i] = o\n"
           "end");
    for (int i = 0; i < 3; i++) ck_assert_uint_eq(left(L), 100);
    run(L, "for i = 1, 100 do\n"
           "    local v = list[i]:get()\n"
           "    assert(v[1] == i and v[2] == list[i] and list[i]:number() == i)\n"
           "end\n"
           "for i = 1, 100, 2 do list[i] = nil end");
    ck_assert_uint_eq(left(L), 50);
    lua_close(L);
}
END_TEST

START_TEST(what_the_host_has_stays_with_what_is_in_its_slots)
{
    lua_State *L = state();
    for (int i = 0; i < 3; i++) {
        run(L, "local o = object(7); o:set({ 'kept', o }); hold(o)");
        ck_assert_uint_eq(left(L), 1);
        ck_assert_uint_eq(left(L), 1);
        ck_assert_int_eq(held->number, 7);
        oak_lua_getslot(L, held, 1);
        lua_rawgeti(L, -1, 1);
        ck_assert_str_eq(lua_tostring(L, -1), "kept");
        lua_settop(L, 0);
        oak_lua_pushobject(L, held); /* Lua has it too, and then alone */
        lua_setglobal(L, "again");
        held = NULL;
        ck_assert_uint_eq(left(L), 1);
        run(L, "assert(again:get()[1] == 'kept') hold(again) again = nil");
        ck_assert_uint_eq(left(L), 1);
        ck_assert_int_eq(held->number, 7);
        held = NULL;
        ck_assert_uint_eq(left(L), 0);
    }
    lua_close(L);
}
END_TEST

/* A finalizer of Lua's gives the host an object whose proxy is as dead as the finalizer's own. */
START_TEST(what_a_finalizer_gives_the_host_stays)
{
    lua_State *L = state();
    run(L, "local o = object(7); o:set({ 'kept' })\n"
           "x = setmetatable({ o = o }, { __gc = function(x) hold(x.o) end })");
    ck_assert_uint_eq(left(L), 1);
    for (int i = 0; i < 3; i++) {
        run(L, "x = nil collectgarbage() collectgarbage()");
        ck_assert_uint_eq(left(L), 1);
        ck_assert_ptr_nonnull(held);
        ck_assert_int_eq(held->number, 7);
        oak_lua_pushobject(L, held);
        ck_assert(lua_isuserdata(L, -1));
        lua_setglobal(L, "o");
        held = NULL;
        run(L, "assert(o:get()[1] == 'kept')\n"
               "x = setmetatable({ o = o }, { __gc = function(x) hold(x.o) end }) o = nil");
        ck_assert_uint_eq(left(L), 1);
    }
    run(L, "getmetatable(x).__gc = nil x = nil");
    ck_assert_uint_eq(left(L), 0);
    lua_close(L);
}
END_TEST

/* A pointer of the host's from one to another keeps the other's slots. */
START_TEST(a_pointer_between_two_counts)
{
    lua_State *L = state();
    run(L, "first = object(1)\n"
           "do local second = object(2); second:set({ 'deep' }); first:chain(second) end");
    for (int i = 0; i < 3; i++) ck_assert_uint_eq(left(L), 2);
    run(L, "local second = first:chained()\n"
           "assert(second:number() == 2 and second:get()[1] == 'deep')\n"
           "second, first = nil, nil");
    ck_assert_uint_eq(left(L), 0);
    lua_close(L);
}
END_TEST

START_TEST(an_object_outlives_its_state)
{
    lua_State *L = state();
    run(L, "local o = object(9) o:set({ o }) hold(o) other = object(10)");
    lua_close(L);
    test_lua_wipe();
    oak_collect();
    ck_assert_int_eq(held->number, 9);
    held = NULL;
    for (int i = 0; i < 3; i++) (void)test_lua_objects(); /* finalizers that are still to run */
}
END_TEST

/* A child in which nothing is waited for in vain. */
static void use_in_child(lua_State *L)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        run(L, "object(1):set({})");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* Each child begins while the finalizer thread puts objects into the state's list. */
START_TEST(a_fork_beside_finalizers_leaves_a_state_that_works)
{
    lua_State *L = state();
    for (int round = 0; round < 5; round++) {
        run(L, "for i = 1, 20000 do object(i) end");
        test_lua_wipe();
        oak_collect();
        for (int i = 0; i < 20; i++) use_in_child(L);
    }
    ck_assert_uint_eq(left(L), 0);
    lua_close(L);
}
END_TEST

/* As large as a proxy, and another module's. */
static int new_foreign(lua_State *L)
{
    uintptr_t *word = lua_newuserdatauv(L, 3 * sizeof *word, 0);
    word[0] = word[1] = word[2] = 0x1234;
    lua_createtable(L, 0, 0);
    lua_setmetatable(L, -2);
    return 1;
}

START_TEST(a_copied_mark_is_none)
{
    lua_State *L = state();
    lua_register(L, "foreign", new_foreign);
    run(L, "local mt, u = getmetatable(object(1)), foreign()\n"
           "for k, v in pairs(mt) do getmetatable(u)[k] = v end\n"
           "mt.__gc(u)\n"
           "assert(not pcall(mt.__index.number, u))\n"
           "assert(object(5):number() == 5)\n"
           "kept = u");
    lua_getglobal(L, "kept");
    const uintptr_t *word = lua_touserdata(L, -1);
    ck_assert_uint_eq(word[0], 0x1234);
    ck_assert_uint_eq(word[1], 0x1234);
    lua_pop(L, 1);
    lua_close(L);
}
END_TEST

/* The caller's zone may go before the state. */
START_TEST(an_object_is_not_in_the_callers_zone)
{
    lua_State *L = state();
    oak_zone *zone = oak_zone_new(NULL);
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    run(L, "kept = object(7)");
    oak_zone_leave(zone);
    ck_assert_int_eq(oak_zone_discard(zone), 0);
    run(L, "assert(kept:number() == 7) kept = nil");
    ck_assert_uint_eq(left(L), 0);
    lua_close(L);
}
END_TEST

START_TEST(misuse_is_an_error)
{
    lua_State *L = state();
    lua_pushinteger(L, 5);
    ck_assert_ptr_null(oak_lua_toobject(L, 1, TYPE));
    lua_settop(L, 0);
    (void)luaL_newmetatable(L, "foreign");
    lua_newuserdatauv(L, 64, 0);
    luaL_setmetatable(L, "foreign");
    ck_assert_ptr_null(oak_lua_toobject(L, -1, "foreign"));
    lua_settop(L, 0);
    ck_assert_ptr_nonnull(strstr(test_lua_fails(L, "object.set(1)"), "index"));
    run(L, "assert(not pcall(getmetatable(object()).__index.set, io.stdout, 1))\n"
           "local o = object() local gc = getmetatable(o).__gc gc(o) gc(o)\n"
           "assert(not pcall(o.number, o))");
    object o;
    oak_lua_pushobject(L, &o);
    ck_assert(lua_isnil(L, -1));
    lua_settop(L, 0);
    run(L, "o = object(1)");
    lua_getglobal(L, "o");
    object *p = oak_lua_toobject(L, -1, TYPE);
    lua_settop(L, 0);
    oak_lua_getslot(L, p, 3);
    ck_assert(lua_isnil(L, -1));
    lua_settop(L, 0);
    lua_close(L);
}
END_TEST

START_TEST(what_has_no_slot_is_not_dropped_in_silence)
{
    static const char *const bad[] = { "0", "3", "-1", "65536" };
    lua_State *L = state();
    run(L, "o = object(1) o:set_in(1, 'a') o:set_in(2, 'b')");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char script[64], line[32];
        (void)snprintf(script, sizeof script, "o:set_in(%s, {})", bad[i]);
        (void)snprintf(line, sizeof line, "oakum: no slot %s", bad[i]);
        const char *error = test_lua_fails(L, script);
        ck_assert_ptr_nonnull(error);
        ck_assert_ptr_nonnull(strstr(error, line));
        lua_settop(L, 0);
    }
    run(L, "assert(o:get() == 'a')");
    object gone;
    lua_pushinteger(L, 5);
    oak_lua_setslot(L, &gone, 1);
    ck_assert_int_eq(lua_gettop(L), 0);
    lua_close(L);
}
END_TEST

/* ---- external bytes ---- */

static size_t external_live;

static int free_external(lua_State *L)
{
    size_t n = *(size_t *)lua_touserdata(L, 1);
    external_live -= n;
    oak_lua_external(L, -(ptrdiff_t)n);
    return 0;
}

static int external(lua_State *L)
{
    size_t n = (size_t)luaL_checkinteger(L, 1), *u = lua_newuserdatauv(L, sizeof n, 0);
    *u = n;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_external);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    external_live += n;
    oak_lua_external(L, (ptrdiff_t)n);
    return 1;
}

START_TEST(external_bytes_drive_luas_collector)
{
    lua_State *L = state();
    lua_register(L, "external", external);
    size_t most = 0;
    for (int i = 0; i < 300; i++) {
        run(L, "for i = 1, 10 do external(1 << 20) end");
        if (external_live > most) most = external_live;
    }
    ck_assert_uint_lt(most, (size_t)300 << 20);
    run(L, "kept = {} for i = 1, 100 do kept[i] = external(10 << 20) end collectgarbage()");
    oak_lua_stats s;
    oak_lua_stats_read(L, &s);
    ck_assert_uint_eq(s.external, external_live);
    ck_assert_uint_eq(s.external, (size_t)1000 << 20);
    /* with so much outside, little more doesn't make it collect */
    run(L, "n = 0 setmetatable({}, { __gc = function(o) n = n + 1\n"
           "    setmetatable({}, getmetatable(o)) end })\n"
           "for i = 1, 50 do external(1 << 20) end");
    ck_assert_int_le(test_lua_value(L, "n"), 2);
    lua_close(L);
    ck_assert_uint_eq(external_live, 0);
}
END_TEST

Suite *suite_embed_lua_object(void)
{
    Suite *s = suite_create("embed/lua_object");
    TCase *tc = tcase_create("object");
    tcase_add_test(tc, of_ten_thousand_circles_none_is_left);
    tcase_add_test(tc, circles_go_in_the_course_of_things);
    tcase_add_test(tc, a_cycle_without_memory_is_not_the_last);
    tcase_add_test(tc, a_finalizer_takes_proxies_only);
    tcase_add_test(tc, what_lua_has_stays_with_what_is_in_its_slots);
    tcase_add_test(tc, what_the_host_has_stays_with_what_is_in_its_slots);
    tcase_add_test(tc, what_a_finalizer_gives_the_host_stays);
    tcase_add_test(tc, a_pointer_between_two_counts);
    tcase_add_test(tc, an_object_outlives_its_state);
    tcase_add_test(tc, a_fork_beside_finalizers_leaves_a_state_that_works);
    tcase_add_test(tc, an_object_is_not_in_the_callers_zone);
    tcase_add_test(tc, a_copied_mark_is_none);
    tcase_add_test(tc, misuse_is_an_error);
    tcase_add_test(tc, what_has_no_slot_is_not_dropped_in_silence);
    tcase_add_test(tc, external_bytes_drive_luas_collector);
    suite_add_tcase(s, tc);
    return s;
}
