/* lua_run.h - what tests of Lua on Oakum share: states with libraries, scripts that must run. */
#ifndef TESTS_EMBED_LUA_RUN_H
#define TESTS_EMBED_LUA_RUN_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <oakum/lua.h>
#include <oakum/oakum.h>

/* A state with its libraries, and `collect`, which runs Oakum's collector. */
lua_State *test_lua_state(const oak_lua_config *config);

/* Run a script, as the file "script.lua"; it must not fail. Nothing is on the stack then. */
void test_lua_run(lua_State *L, const char *script);

/* The same; its error, which is on the stack, or NULL. */
const char *test_lua_fails(lua_State *L, const char *script);

/* The integer, or the truth, that an expression has. */
lua_Integer test_lua_value(lua_State *L, const char *expression);

/* Objects in the heap after a collection, words on this stack wiped before it. */
size_t test_lua_objects(void);

/* Write over what calls have left on the stack below. */
void test_lua_wipe(void);

#endif
