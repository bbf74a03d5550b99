/* lua_base.h - the base of all files of embed/lua/: Lua's headers, and small arithmetic. These
 * files use only Oakum's public interface, as they are part of a library and of a module. */
#ifndef OAKI_LUA_BASE_H
#define OAKI_LUA_BASE_H

#include <lauxlib.h>
#include <lua.h>
#include <oakum/base.h>

#if LUA_VERSION_NUM != 504
#error "this is for Lua 5.4"
#endif

/* Raise LUA_ERRMEM (memory.c). Doesn't return. */
int oaki_lua_no_memory(lua_State *L);

/* As lua_pcall, without a hook of the script's: it would see the call, and run in it. */
int oaki_lua_call_unseen(lua_State *L, int arguments, int results);

/* Collect all of Lua's garbage after a failed allocation, as Lua does before it tries again. Runs
 * no code of the script: finalizers run later. Keeps errno. */
void oaki_lua_make_room(lua_State *L);

#define OAKI_LUA_LIKELY(x) __builtin_expect(!!(x), 1)
#define OAKI_LUA_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define OAKI_LUA_MIN(a, b) ((a) < (b) ? (a) : (b))

#endif
