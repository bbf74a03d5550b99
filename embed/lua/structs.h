/* structs.h - the structures of the module: their types' names, and what opens them.
 *
 * Each type has its metatable in the registry, by this name; the word behind the point is what
 * errors call it. */
#ifndef OAKI_LUA_STRUCTS_H
#define OAKI_LUA_STRUCTS_H

#include "lua_base.h"

#define OAKI_LUA_MAP "oakum.map"
#define OAKI_LUA_WEAKMAP "oakum.weakmap"
#define OAKI_LUA_CACHE "oakum.cache"
#define OAKI_LUA_DETECTOR "oakum.detector"
#define OAKI_LUA_ITERATOR "oakum.iterator"
#define OAKI_LUA_LIST "oakum.list" /* of a cache's entries */

/* Register the types, and put what makes one into the module's table at the top of the stack. */
void oaki_lua_open_map(lua_State *L);
void oaki_lua_open_weakmap(lua_State *L);
void oaki_lua_open_cache(lua_State *L);
void oaki_lua_open_detector(lua_State *L);
void oaki_lua_open_iterator(lua_State *L);

/* Operations of several types, for the functions of the module: what they are given is at 1. */
ptrdiff_t oaki_lua_map_length(lua_State *L, int idx); /* -1: it is no map, or closed */
int oaki_lua_map_stats(lua_State *L);
int oaki_lua_map_clear(lua_State *L);
int oaki_lua_map_close(lua_State *L);
int oaki_lua_weakmap_stats(lua_State *L);
int oaki_lua_weakmap_clear(lua_State *L);
int oaki_lua_weakmap_close(lua_State *L);

/* Push an iterator over an oak_map of the object at 1, and what else pairs() wants: 4 values.
 * `next` pushes a pair, or returns 0 at the end. */
struct oak_map;
struct oak_map_iter;
int oaki_lua_iterator_new(lua_State *L, const struct oak_map *m,
                          int (*next)(lua_State *L, int owner, struct oak_map_iter *it));

#endif
