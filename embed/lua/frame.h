/* frame.h - lines of a script as frames of the heap profile (<oakum/frames.h>). */
#ifndef OAKI_LUA_FRAME_H
#define OAKI_LUA_FRAME_H

#include "lua_base.h"
#include <oakum/frames.h>
#include <oakum/zone.h>

/* Store up to max frames of the active Lua functions of L, the innermost first, without C
 * functions. Allocates nothing in the state. Returns how many were stored. */
size_t oaki_lua_frames(lua_State *L, uintptr_t *frame, size_t max);

/* A source of frames that calls `read`. It hides the code of Lua and of this library, if they are
 * shared libraries. */
oak_frame_source oaki_lua_frame_source(size_t (*read)(uintptr_t *frame, size_t max, void *ctx),
                                       void *ctx);

/* Allocations between these calls are in L's zone, if it has one, and the profile records them with
 * the lines of L's script. In between no error may be raised, and no function of Lua called. */
void oaki_lua_alloc_begin(lua_State *L);
void oaki_lua_alloc_end(void);

/* Evaluates `call`, which allocates, between the two. If the result is NULL, collects Lua's garbage
 * and evaluates it once more. */
#define OAKI_LUA_ALLOC(L, call)                \
    __extension__({                            \
        oaki_lua_alloc_begin(L);               \
        __auto_type made = (call);             \
        oaki_lua_alloc_end();                  \
        if (OAKI_LUA_UNLIKELY(!made)) {        \
            oaki_lua_make_room(L);             \
            oaki_lua_alloc_begin(L);           \
            made = (call);                     \
            oaki_lua_alloc_end();              \
        }                                      \
        made;                                  \
    })

/* The zone of a state of oak_lua_newstate; NULL for others (state.c, nozone.c). */
oak_zone *oaki_lua_zone_of(lua_State *L);

#endif
