/* pacing.h - external bytes: memory outside of Lua's heap that Lua objects keep, which Lua's
 * collector has to take into account.
 *
 * A cycle of Lua's collector is due when its heap has grown by a certain part since the last cycle.
 * lua_gc(LUA_GCSTEP) can report further allocated bytes. If it reported all external bytes, a small
 * heap with much external memory would collect all the time. So n new external bytes are reported
 * as n * L / (L + E), with L bytes in Lua's heap and E external ones. Then a cycle is due when L
 * has grown by that part of L, or E by that part of L + E. */
#ifndef OAKI_LUA_PACING_H
#define OAKI_LUA_PACING_H

#include "lua_base.h"

#define OAKI_LUA_PACING_STEP ((size_t)16 << 10) /* external bytes of one report */

typedef struct oaki_lua_pacing {
    size_t external; /* external bytes now */
    size_t untold;   /* new external bytes since the last report */
    double due;      /* bytes that are still to be reported: less than a KiB */
} oaki_lua_pacing;

/* Add external bytes. May run finalizers. */
void oaki_lua_pacing_add(lua_State *L, oaki_lua_pacing *p, size_t bytes);
void oaki_lua_pacing_sub(oaki_lua_pacing *p, size_t bytes);

#endif
