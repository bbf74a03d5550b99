/* lua_host.c - runs a script in a state on Oakum's heap: lua_host SCRIPT [ARGUMENT...] */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <oakum/lua.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    lua_State *L = argc > 1 ? oak_lua_newstate(NULL) : NULL;
    if (!L) return 2;
    luaL_openlibs(L);
    oak_lua_openlib(L);
    lua_settop(L, 0);
    int status = luaL_loadfile(L, argv[1]);
    for (int i = 2; i < argc; i++) lua_pushstring(L, argv[i]);
    if (status == LUA_OK) status = lua_pcall(L, argc - 2, 0, 0);
    if (status != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_close(L);
    return status == LUA_OK ? 0 : 1;
}
