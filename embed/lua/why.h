/* why.h - the module's forms of oak_lua_why and oak_lua_why_pointer (<oakum/lua.h>). */
#ifndef OAKI_LUA_WHY_H
#define OAKI_LUA_WHY_H

#include "lua_base.h"

bool oaki_lua_why(lua_State *L, int idx);
bool oaki_lua_why_pointer(lua_State *L, const void *p);

#endif
