/* frame.h - lines of a script as frames of the heap profile (<oakum/frames.h>). */
#ifndef OAKI_LUA_FRAME_H
#define OAKI_LUA_FRAME_H

#include "lua_base.h"
#include <oakum/frames.h>
#include <oakum/zone.h>

/* The functions of Lua that are active on L, the innermost first, at most max; those of C are left
 * out. Nothing is allocated in the state. Returns how many. */
size_t oaki_lua_frames(lua_State *L, uintptr_t *frame, size_t max);

/* A source with this function, that hides the code of Lua and of this library, where they are
 * shared libraries. */
oak_frame_source oaki_lua_frame_source(size_t (*read)(uintptr_t *frame, size_t max, void *ctx),
                                       void *ctx);

/* What is allocated between the two lies in L's zone, if it has one, and is noted by the profile
 * with the lines of L's script. No error may be raised between, and nothing of Lua's called. */
void oaki_lua_alloc_begin(lua_State *L);
void oaki_lua_alloc_end(void);

/* The zone of a state of oak_lua_newstate; NULL for others (state.c, nozone.c). */
oak_zone *oaki_lua_zone_of(lua_State *L);

#endif
