/* lua_states.c - states of the stock library that load the module and are closed, again and again:
 * lua_states SCRIPT ARGUMENT... Each of them unloads what it has loaded, as far as that goes. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static int run(lua_State *L, int argc, char **argv)
{
    luaL_openlibs(L);
    lua_newtable(L);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - 1);
    }
    lua_setglobal(L, "arg");
    int failed = luaL_dofile(L, argv[1]);
    if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return failed;
}

int main(int argc, char **argv)
{
    lua_State *L[3];
    int failed = 0;
    for (int round = 0; round < 8 && !failed; round++) {
        for (int i = 0; i < 3; i++) failed |= !(L[i] = luaL_newstate()) || run(L[i], argc, argv);
        for (int i = 0; i < 3; i++) lua_close(L[(i + round) % 3]);
    }
    return failed;
}
