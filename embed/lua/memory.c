/* memory.c - raises Lua's own error for lack of memory: LUA_ERRMEM, with the text that Lua has
 * prepared.
 *
 * No function of Lua's interface only raises this error, but each function that allocates may. So
 * one is called for more memory than any allocator has. Before Lua gives up, it collects. Its
 * garbage may hold much of the zone, so a handler of the error finds room.
 *
 * Owns nothing. Bound: a full collection of Lua's. */
#include "lua_base.h"

#define TOO_MUCH ((size_t)1 << 61) /* bytes; beyond 2^63 Lua raises another error */

int oaki_lua_no_memory(lua_State *L)
{
    (void)lua_newuserdatauv(L, TOO_MUCH, 0);
    return luaL_error(L, "oakum: no memory, and yet 2 EiB"); /* not reached */
}
