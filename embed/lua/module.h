/* module.h - the function that opens the module; Lua finds it in oakum.so by its name. */
#ifndef OAKI_LUA_MODULE_H
#define OAKI_LUA_MODULE_H

#include "lua_base.h"

__attribute__((visibility("default"))) int luaopen_oakum(lua_State *L);

#endif
