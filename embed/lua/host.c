/* host.c - functions of liboakum-lua that the module has, too: oak_lua_why, and opening the module.
 *
 * Owns: nothing. */
#include "module.h"
#include "why.h"
#include <oakum/lua.h>

bool oak_lua_why(lua_State *L, int idx)
{
    return oaki_lua_why(L, idx);
}

bool oak_lua_why_pointer(lua_State *L, const void *p)
{
    return oaki_lua_why_pointer(L, p);
}

void oak_lua_openlib(lua_State *L)
{
    luaL_requiref(L, "oakum", luaopen_oakum, 0);
}
