/* state.h - a Lua state on Oakum's heap (<oakum/lua.h>).
 *
 * Owns: struct oaki_lua, one for each state: an object of Oakum's that the state keeps, as the
 *   argument of its allocator function, and so do finalizers of host objects that are still to
 *   run. All of it belongs to the thread that uses the state, but for what `lock` guards. */
#ifndef OAKI_LUA_STATE_H
#define OAKI_LUA_STATE_H

#include "lua_base.h"
#include "pacing.h"
#include <oakum/frames.h>
#include <oakum/lua.h>
#include <oakum/map.h>
#include <oakum/zone.h>
#include <pthread.h>

/* A host object that Oakum's collector has found unreachable, and that waits for its state. */
typedef struct oaki_lua_released {
    struct oaki_lua_released *next;
    void *object;
} oaki_lua_released;

typedef struct oaki_lua {
    lua_State *main;
    void *main_block;    /* the state's own: freed last */
    oak_zone *zone;
    size_t bytes, peak;
    uint64_t blocks, failures;
    bool warn_on, warn_more;
    /* lines.c */
    oak_map *threads;    /* from the blocks of coroutines to nothing of interest */
    size_t thread_size;  /* of such a block; 0: there was none yet */
    uintptr_t threads_lo, threads_hi; /* where they have ever been */
    oak_frame_source source;
    pthread_t stack_of;  /* whose stack this is */
    uintptr_t stack_lo, stack_hi;
    /* object.c */
    size_t objects, held;
    uint64_t changes;    /* objects that came out of `released` */
    bool watching;       /* there is a sentinel */
    pthread_mutex_t lock;/* of the next two */
    bool open;
    oaki_lua_released *released;
    oaki_lua_pacing pacing;
} oaki_lua;

/* NULL: it is none of ours. */
oaki_lua *oaki_lua_of(lua_State *L);

/* lines.c: a state begins; a coroutine's block came or went. */
void oaki_lua_lines_init(oaki_lua *s);
void oaki_lua_thread_made(oaki_lua *s, void *block, size_t size);
void oaki_lua_thread_freed(oaki_lua *s, void *block);

#endif
