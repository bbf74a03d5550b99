/* state.h - a Lua state on Oakum's heap (<oakum/lua.h>).
 *
 * Owns: struct oaki_lua, one for each state: an object of Oakum's. The state keeps it alive, as it
 * is the argument of the allocator function. Pending finalizers of host objects keep it, too. Only
 * the thread that uses the state accesses it, except for `open` and `released`. */
#ifndef OAKI_LUA_STATE_H
#define OAKI_LUA_STATE_H

#include "lua_base.h"
#include "pacing.h"
#include <oakum/frames.h>
#include <oakum/lua.h>
#include <oakum/map.h>
#include <oakum/zone.h>
#include <atomic_ops.h>
#include <pthread.h>

/* A record of a host object that Oakum's collector has found unreachable, for the state's thread.
 */
typedef struct oaki_lua_released {
    struct oaki_lua_released *next;
    void *object;
} oaki_lua_released;

typedef struct oaki_lua {
    lua_State *main;
    void *main_block;    /* the block of the state itself: freed last */
    oak_zone *zone;
    size_t bytes, peak;
    uint64_t blocks, failures;
    bool warn_on, warn_more;
    /* lines.c */
    oak_map *threads;    /* the set of the blocks of coroutines; its values are unused */
    size_t thread_size;  /* size of such a block; 0: not known yet */
    uintptr_t threads_lo, threads_hi; /* the range of all such blocks so far */
    oak_frame_source source;
    pthread_t stack_of;  /* the thread of this stack */
    uintptr_t stack_lo, stack_hi;
    /* object.c */
    size_t objects, held;
    uint64_t changes;    /* number of objects that were taken out of `released` */
    bool watching;       /* there is a sentinel */
    AO_t open;           /* 0: the state is closed */
    AO_t released;       /* the top record of a stack */
    oaki_lua_pacing pacing;
} oaki_lua;

/* The struct of a state; NULL if it isn't one of oak_lua_newstate. */
oaki_lua *oaki_lua_of(lua_State *L);

/* lines.c: called for a new state, and for each coroutine's block that is allocated or freed. */
void oaki_lua_lines_init(oaki_lua *s);
void oaki_lua_thread_made(oaki_lua *s, void *block, size_t size);
void oaki_lua_thread_freed(oaki_lua *s, void *block);

#endif
