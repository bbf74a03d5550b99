/* anchor.h - where Lua's collector finds the objects that a structure of Oakum's refers to.
 *
 * A table of as many entries would be copied as a whole when it grows, and looked through in one
 * step by Lua's collector. So anchors are a tree of tables with 256 slots each, made in full: a
 * chunk is added or given back at a time. It hangs in the first user value of its owner, a
 * userdata, and so circles through the structure are Lua's own, and are collected.
 *
 * Owns: struct oaki_lua_anchors, which is in the owner's cell (cell.h). An anchor is a number from
 *   1: 256 times its chunk's place, and its slot's, plus 1; 0 is none.
 * Bound: all is O(1), and a reserve makes two tables at most. */
#ifndef OAKI_LUA_ANCHOR_H
#define OAKI_LUA_ANCHOR_H

#include "lua_base.h"
#include <stdint.h>

#define OAKI_LUA_CHUNK 256u

typedef struct oaki_lua_chunk {
    struct oaki_lua_chunk *prev, *next; /* of those with free slots */
    uint32_t index, used;
    uint16_t free;                      /* first of the free slots that were taken before, or 256 */
    uint16_t fresh;                     /* slots that were ever taken */
    bool made;                          /* its table is there */
    uint8_t link[OAKI_LUA_CHUNK];       /* from a free slot to the next */
} oaki_lua_chunk;

typedef struct oaki_lua_anchors {
    oaki_lua_chunk **chunk; /* by index */
    size_t nchunks, room;
    oaki_lua_chunk *open;   /* those with free slots; those whose table is there first */
    size_t used;
    bool pairs;             /* chunks are for pairs of key and value, and have this metatable: */
    const void *metatable;  /* its key in the registry, or NULL */
} oaki_lua_anchors;

/* The next two anchors that are taken need no memory. Raises an error without memory; may run
 * finalizers. */
void oaki_lua_anchors_reserve(lua_State *L, int owner, oaki_lua_anchors *a);

/* Take an anchor: after a reserve. Nothing is in it. */
uint32_t oaki_lua_anchor_take(oaki_lua_anchors *a);

/* Give it back. Its chunk is given back if it was the last one in it and others have room. */
void oaki_lua_anchor_drop(lua_State *L, int owner, oaki_lua_anchors *a, uint32_t anchor);

/* Pop a value into it; push what is in it. No memory is needed. These, and what follows or drops an
 * anchor, raise an error where the debug library has put something else in a table's place. */
void oaki_lua_anchor_set(lua_State *L, int owner, uint32_t anchor);
void oaki_lua_anchor_get(lua_State *L, int owner, uint32_t anchor);

/* Push the table of its chunk, for those with pairs. */
void oaki_lua_anchor_push_chunk(lua_State *L, int owner, uint32_t anchor);

/* All of them go. */
void oaki_lua_anchors_clear(lua_State *L, int owner, oaki_lua_anchors *a);

#endif
