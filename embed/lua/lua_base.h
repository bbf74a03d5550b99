/* lua_base.h - what every file of embed/lua/ starts from: Lua's headers, small arithmetic. These
 * files use Oakum's public interface only, as they end up in a library and in a module. */
#ifndef OAKI_LUA_BASE_H
#define OAKI_LUA_BASE_H

#include <lauxlib.h>
#include <lua.h>
#include <oakum/base.h>

#if LUA_VERSION_NUM != 504
#error "this is for Lua 5.4"
#endif

/* Raises LUA_ERRMEM; doesn't return (memory.c). */
int oaki_lua_no_memory(lua_State *L);

#define OAKI_LUA_LIKELY(x) __builtin_expect(!!(x), 1)
#define OAKI_LUA_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define OAKI_LUA_MIN(a, b) ((a) < (b) ? (a) : (b))

#endif
