/* memory.c - the error for lack of memory, as Lua raises it: LUA_ERRMEM, with Lua's own text, which
 * it has made when the state was opened.
 *
 * No function of Lua's interface raises that error; each that allocates does. So one is asked for
 * more than any allocator has. Before Lua gives up it collects all of its garbage, which may hold
 * much of the zone: who catches the error finds the room.
 * Owns nothing. Bound: a full collection of Lua's. */
#include "lua_base.h"

#define TOO_MUCH ((size_t)1 << 61) /* bytes; beyond 2^63 Lua has another error */

int oaki_lua_no_memory(lua_State *L)
{
    (void)lua_newuserdatauv(L, TOO_MUCH, 0);
    return luaL_error(L, "oakum: no memory, and yet 2 EiB"); /* not reached */
}
