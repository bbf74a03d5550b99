/* structs.h - the structures of the module: the names of their types, and functions that open them.
 *
 * The name is the key of the type's metatable in the registry. The part after the point is its name
 * in error messages. */
#ifndef OAKI_LUA_STRUCTS_H
#define OAKI_LUA_STRUCTS_H

#include "lua_base.h"

#define OAKI_LUA_MAP "oakum.map"
#define OAKI_LUA_WEAKMAP "oakum.weakmap"
#define OAKI_LUA_CACHE "oakum.cache"
#define OAKI_LUA_DETECTOR "oakum.detector"
#define OAKI_LUA_ITERATOR "oakum.iterator"
#define OAKI_LUA_LIST "oakum.list" /* a list of a cache's entries */

/* Register a type, and add its constructor to the module's table at the top of the stack. */
void oaki_lua_open_map(lua_State *L);
void oaki_lua_open_weakmap(lua_State *L);
void oaki_lua_open_cache(lua_State *L);
void oaki_lua_open_detector(lua_State *L);
void oaki_lua_open_iterator(lua_State *L);

/* Operations of several types, for the functions of the module; their argument is at index 1. */
ptrdiff_t oaki_lua_map_length(lua_State *L, int idx); /* -1: no map, or closed */
int oaki_lua_map_stats(lua_State *L);
int oaki_lua_map_clear(lua_State *L);
int oaki_lua_map_close(lua_State *L);
int oaki_lua_weakmap_stats(lua_State *L);
int oaki_lua_weakmap_clear(lua_State *L);
int oaki_lua_weakmap_close(lua_State *L);

/* Push the 4 results of pairs() for an oak_map of the object at index 1, an iterator among them.
 * `next` pushes a pair, or returns 0 at the end. */
struct oak_map;
struct oak_map_iter;
int oaki_lua_iterator_new(lua_State *L, const struct oak_map *m,
                          int (*next)(lua_State *L, int owner, struct oak_map_iter *it));

#endif
