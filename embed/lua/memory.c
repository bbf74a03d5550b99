/* memory.c - what Lua does where it finds no memory: it collects, tries again, and raises
 * LUA_ERRMEM, with its own text, which it has made when the state was opened.
 *
 * No function of Lua's interface raises that error; each that allocates does. So one is asked for
 * more than any allocator has. Before Lua gives up it collects all of its garbage, which may hold
 * much of the zone. That is an emergency collection, the only one that runs no finalizers: in the
 * middle of one of our functions they could change what that works on. So it is the one that makes
 * room for an allocation of ours, too: its error is caught.
 * Owns nothing. Bound: a full collection of Lua's. */
#include "lua_base.h"
#include <errno.h>

#define TOO_MUCH ((size_t)1 << 61) /* bytes; beyond 2^63 Lua raises another error */

int oaki_lua_no_memory(lua_State *L)
{
    (void)lua_newuserdatauv(L, TOO_MUCH, 0);
    return luaL_error(L, "oakum: no memory, and yet 2 EiB"); /* not reached */
}

/* A script's hook would see the call. */
void oaki_lua_make_room(lua_State *L)
{
    int saved = errno, mask = lua_gethookmask(L), count = lua_gethookcount(L);
    lua_Hook hook = lua_gethook(L);
    if (!lua_checkstack(L, 2)) return;
    if (hook) lua_sethook(L, NULL, 0, 0);
    lua_pushcfunction(L, oaki_lua_no_memory);
    (void)lua_pcall(L, 0, 0, 0);
    lua_pop(L, 1);
    if (hook) lua_sethook(L, hook, mask, count);
    errno = saved;
}
