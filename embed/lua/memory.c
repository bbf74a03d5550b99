/* memory.c - how Lua handles a failed allocation: it collects, tries again, and raises LUA_ERRMEM,
 * with a text made when the state was opened.
 *
 * No function of Lua's interface only raises that error, but each one that allocates may raise it.
 * So one is called with a request larger than any allocator can serve. Before Lua gives up, it
 * collects all of its garbage, which may hold much of the zone. This emergency collection is the
 * only kind that runs no finalizers. In the middle of a function of this library, finalizers could
 * change the structure it works on. So the emergency collection also makes room for Oakum's
 * allocations; its error is then caught.
 *
 * Owns nothing. Bound: a full collection of Lua's. */
#include "lua_base.h"
#include <errno.h>

#define TOO_MUCH ((size_t)1 << 61) /* bytes; beyond 2^63 Lua raises another error */

int oaki_lua_no_memory(lua_State *L)
{
    (void)lua_newuserdatauv(L, TOO_MUCH, 0);
    return luaL_error(L, "oakum: no memory, and yet 2 EiB"); /* not reached */
}

int oaki_lua_call_unseen(lua_State *L, int arguments, int results)
{
    int mask = lua_gethookmask(L), count = lua_gethookcount(L);
    lua_Hook hook = lua_gethook(L);
    if (hook) lua_sethook(L, NULL, 0, 0);
    int status = lua_pcall(L, arguments, results, 0);
    if (hook) lua_sethook(L, hook, mask, count);
    return status;
}

void oaki_lua_make_room(lua_State *L)
{
    int saved = errno;
    if (!lua_checkstack(L, 2)) return;
    lua_pushcfunction(L, oaki_lua_no_memory);
    (void)oaki_lua_call_unseen(L, 0, 0);
    lua_pop(L, 1);
    errno = saved;
}
