/* iterator.c - pairs() over structures that contain an oak_map.
 *
 * An iterator is a userdata whose cell has the position, and whose first user value is the
 * structure. It is also returned as the loop's closing value, but pairs() of Lua 5.4 passes on only
 * three values. So if a loop ends early, Lua's collector closes its iterator.
 *
 * Owns: its cell. Bound: a step is O(1), as the map's. */
#include "cell.h"
#include "structs.h"
#include <oakum/map.h>
#include <string.h>

typedef struct iterator {
    oaki_lua_cell cell;
    oak_map_iter at;
    int (*next)(lua_State *L, int owner, oak_map_iter *it);
} iterator;

/* The function that the loop calls, with (iterator, last key). */
static int step(lua_State *L)
{
    iterator *it = oaki_lua_cell_or_null(L, 1, OAKI_LUA_ITERATOR);
    if (!it) return 0;
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    return it->next(L, 2, &it->at);
}

static int close_iterator(lua_State *L)
{
    const iterator *it = oaki_lua_cell_or_null(L, 1, OAKI_LUA_ITERATOR);
    if (it) oaki_lua_cell_close(L, 1, OAKI_LUA_ITERATOR);
    return 0;
}

int oaki_lua_iterator_new(lua_State *L, const oak_map *m,
                          int (*next)(lua_State *L, int owner, oak_map_iter *it))
{
    lua_pushcfunction(L, step);
    iterator *it = oaki_lua_cell_new(L, sizeof *it, OAKI_LUA_ITERATOR, 1);
    oak_map_iter_init(&it->at, m);
    it->next = next;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushnil(L);
    lua_pushvalue(L, -2);
    return 4;
}

void oaki_lua_open_iterator(lua_State *L)
{
    static const luaL_Reg meta[] = { { "__gc", close_iterator },
                                     { "__close", close_iterator },
                                     { NULL, NULL } };
    oaki_lua_cell_type(L, OAKI_LUA_ITERATOR, meta);
    lua_pop(L, 1);
}
