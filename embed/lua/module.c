/* module.c - the table of the module: require "oakum".
 *
 * The stock interpreter loads oakum.so, which contains all of Oakum. In a state of oak_lua_newstate
 * the module is part of liboakum-lua (oak_lua_openlib). docs/lua.md is its reference.
 *
 * Owns: nothing. */
#include "module.h"
#include "structs.h"
#include "why.h"
#include <oakum/gc.h>
#include <oakum/heap.h>
#include <oakum/profile.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- functions for several types ---- */

typedef struct operation {
    const char *type;
    lua_CFunction stats, clear, close;
} operation;

static const operation operations[] = {
    { OAKI_LUA_MAP, oaki_lua_map_stats, oaki_lua_map_clear, oaki_lua_map_close },
    { OAKI_LUA_WEAKMAP, oaki_lua_weakmap_stats, oaki_lua_weakmap_clear, oaki_lua_weakmap_close },
};

static const operation *operation_at_1(lua_State *L)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (luaL_testudata(L, 1, operations[i].type)) return &operations[i];
    luaL_typeerror(L, 1, "oakum.map or oakum.weakmap");
    return NULL;
}

static int clear(lua_State *L)
{
    return operation_at_1(L)->clear(L);
}

static int close_object(lua_State *L)
{
    return operation_at_1(L)->close(L);
}

/* ---- the heap ---- */

static void number(lua_State *L, const char *name, uint64_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

/* oakum.stats(): of Oakum's heap; oakum.stats(map): of the map */
static int stats(lua_State *L)
{
    oak_memstats m;
    if (!lua_isnoneornil(L, 1)) return operation_at_1(L)->stats(L);
    oak_memstats_read(&m);
    lua_newtable(L);
    number(L, "heap_alloc", m.heap_alloc);
    number(L, "heap_objects", m.heap_objects);
    number(L, "heap_inuse", m.heap_inuse);
    number(L, "heap_sys", m.heap_sys);
    number(L, "sys", m.sys);
    number(L, "total_alloc", m.total_alloc);
    number(L, "mallocs", m.mallocs);
    number(L, "frees", m.frees);
    number(L, "next_gc", m.next_gc);
    number(L, "num_gc", m.num_gc);
    number(L, "pause_total_ns", m.pause_total_ns);
    number(L, "pause_last_ns", m.num_gc ? m.pause_ns[(m.num_gc + 255) % 256] : 0);
    lua_pushnumber(L, m.gc_cpu_fraction);
    lua_setfield(L, -2, "gc_cpu_fraction");
    return 1;
}

/* oakum.collect(): Lua's collector first, as it frees references to Oakum's objects; then Oakum's
 */
static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT);
    oak_collect();
    (void)oak_finalizers_run();
    return 0;
}

static int why(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    (void)oaki_lua_why(L, 1);
    return 1;
}

/* ---- the profile ---- */

static int result(lua_State *L, int status, const char *what)
{
    int error = errno;
    if (status == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", what, strerror(error));
    return 2;
}

/* oakum.profile.start([rate]) */
static int profile_start(lua_State *L)
{
    lua_Integer rate = luaL_optinteger(L, 1, (lua_Integer)OAK_PROFILE_RATE);
    luaL_argcheck(L, rate > 0, 1, "a number of bytes");
    return result(L, oak_profile_set_rate((size_t)rate), "profile");
}

static int profile_stop(lua_State *L)
{
    return result(L, oak_profile_set_rate(0), "profile");
}

/* oakum.profile.save(path): the profile of this moment, in pprof's format */
static int profile_save(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    oak_profile *p = oak_profile_read(OAK_PROFILE_NOW);
    int status = p ? oak_profile_save(p, path) : -1, error = errno;
    oak_profile_free(p);
    errno = error;
    return result(L, status, path);
}

typedef struct range {
    const char *text;
    size_t n;
} range;

static int push_range(lua_State *L)
{
    const range *r = lua_touserdata(L, 1);
    lua_pushlstring(L, r->text, r->n);
    return 1;
}

/* oakum.profile.text([sites]) */
static int profile_text(lua_State *L)
{
    lua_Integer top = luaL_optinteger(L, 1, 20);
    luaL_argcheck(L, top > 0, 1, "a number of sites");
    oak_profile *p = oak_profile_read(OAK_PROFILE_NOW);
    int fd = p ? memfd_create("oakum profile", MFD_CLOEXEC) : -1;
    bool whole = fd >= 0 && oak_profile_print(p, fd, OAK_PROFILE_INUSE_BYTES, (size_t)top) == 0;
    int error = errno;
    oak_profile_free(p);
    off_t size = whole ? lseek(fd, 0, SEEK_END) : 0;
    void *text = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0) (void)syscall(SYS_close, fd); /* close(2) would be a cancellation point */
    if (text == MAP_FAILED) {
        errno = error;
        return result(L, -1, "profile");
    }
    range r = { .text = text, .n = (size_t)size };
    lua_pushcfunction(L, push_range);
    lua_pushlightuserdata(L, &r);
    int status = lua_pcall(L, 1, 1, 0);
    (void)munmap(text, (size_t)size);
    return status == LUA_OK ? 1 : lua_error(L);
}

static void open_functions(lua_State *L)
{
    static const luaL_Reg profile[] = { { "start", profile_start },
                                        { "stop", profile_stop },
                                        { "save", profile_save },
                                        { "text", profile_text },
                                        { NULL, NULL } };
    luaL_newlib(L, profile);
    lua_setfield(L, -2, "profile");
    lua_pushfstring(L, "Oakum %s", oak_version());
    lua_setfield(L, -2, "_VERSION");
}

/* A copy has a heap of its own, and metatables are found by name. So a second one in the state
 * would take objects of the first for its own. */
static void assert_one_copy(lua_State *L)
{
    static const char this;
    if (lua_getfield(L, LUA_REGISTRYINDEX, "oakum.copy") != LUA_TNIL &&
        lua_touserdata(L, -1) != &this)
        luaL_error(L, "oakum: another copy of the module is open in this state");
    lua_pop(L, 1);
    lua_pushlightuserdata(L, (void *)&this);
    lua_setfield(L, LUA_REGISTRYINDEX, "oakum.copy");
}

int luaopen_oakum(lua_State *L)
{
    static const luaL_Reg functions[] = { { "clear", clear },     { "close", close_object },
                                          { "stats", stats },     { "collect", collect },
                                          { "why", why },         { NULL, NULL } };
    luaL_checkversion(L);
    assert_one_copy(L);
    if (oak_init(NULL) != 0)
        return luaL_error(L, "oakum: the heap can't be started: %s", strerror(errno));
    luaL_newlib(L, functions);
    oaki_lua_open_iterator(L);
    oaki_lua_open_map(L);
    oaki_lua_open_weakmap(L);
    oaki_lua_open_cache(L);
    oaki_lua_open_detector(L);
    open_functions(L);
    return 1;
}
