/* pacing.h - memory that hangs on Lua objects and that Lua doesn't see, told to Lua's collector.
 *
 * Lua's collector is due when its heap has grown by a part of what was left by the last cycle.
 * A step can be told that so many bytes were allocated (lua_gc, LUA_GCSTEP); to tell it of all
 * external bytes would make a small heap with much outside collect at each turn. So what is told
 * is n * L / (L + E) for n new bytes, with L bytes of Lua's and E outside: then the steps add up
 * to a cycle when L + E has grown by that part. */
#ifndef OAKI_LUA_PACING_H
#define OAKI_LUA_PACING_H

#include "lua_base.h"

#define OAKI_LUA_PACING_STEP ((size_t)16 << 10) /* told in portions of so many external bytes */

typedef struct oaki_lua_pacing {
    size_t external; /* bytes that are there */
    size_t untold;   /* of those that came since the last portion */
    double due;      /* bytes for the collector, less than a KiB */
} oaki_lua_pacing;

/* May run finalizers. */
void oaki_lua_pacing_add(lua_State *L, oaki_lua_pacing *p, size_t bytes);
void oaki_lua_pacing_sub(oaki_lua_pacing *p, size_t bytes);

#endif
