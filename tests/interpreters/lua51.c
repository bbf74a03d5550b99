/* lua51.c - the allocator of the states of Lua 5.1 and LuaJIT, and the function that opens one with
 * it.
 *
 * With -DPINNED blocks stay until Lua frees them, whoever refers to them. What LuaJIT compiles has
 * addresses in its instructions, and as sums, where no collector looks. */
#include "heap.h"

#include <stdio.h>

#include "lauxlib.h"
#include "lua.h"

#ifndef ON_LIBGC
static void *block_new(void *zone, size_t n)
{
#ifdef PINNED
    return oak_zone_alloc_pinned(zone, n);
#else
    return oak_zone_alloc(zone, n);
#endif
}
/* lua.c has one thread and one state. Within the zone, its allocations are as fast as outside. */
static void *zone_new(void)
{
    oak_zone *zone = oak_zone_new(&(oak_zone_options){ .name = "lua" });
    return zone && oak_zone_enter(zone) == 0 ? zone : NULL;
}
#else
static void *block_new(void *zone, size_t n)
{
    (void)zone;
#ifdef PINNED
    return GC_MALLOC_UNCOLLECTABLE(n);
#else
    return heap_alloc(n);
#endif
}
static void *zone_new(void)
{
    return heap_alloc(1);
}
#endif

static void *block(void *zone, void *p, size_t old, size_t n)
{
    if (n == 0) {
        heap_free(p);
        return NULL;
    }
    if (!p) return block_new(zone, n);
    void *moved = heap_realloc(p, n);
    /* Lua takes it for granted that a block can shrink. */
    return moved || n > old ? moved : p;
}

static int panic(lua_State *L)
{
    fprintf(stderr, "PANIC: unprotected error in call to Lua API (%s)\n", lua_tostring(L, -1));
    return 0;
}

lua_State *lua51_newstate(void)
{
    void *zone = zone_new();
    lua_State *L = zone ? lua_newstate(block, zone) : NULL;
    if (L) lua_atpanic(L, panic);
    return L;
}
