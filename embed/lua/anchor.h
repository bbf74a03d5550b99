/* anchor.h - references that Lua's collector sees: for each Lua object that a structure of Oakum's
 * refers to.
 *
 * Lua would copy one large table as a whole when it grows, and its collector would traverse it in
 * one step. So anchors are a tree of tables of fixed size, with 256 slots each, which grows and
 * shrinks by one table at a time. The tree is the first user value of its owner, a userdata. So
 * cycles through the structure are cycles of Lua's own, and are collected.
 *
 * Owns: struct oaki_lua_anchors, which is in the owner's cell (cell.h). An anchor is a number: 256
 * times the chunk's index, plus the slot's index, plus 1; 0 is none. Bound: all functions are O(1);
 * a reserve makes at most two tables. */
#ifndef OAKI_LUA_ANCHOR_H
#define OAKI_LUA_ANCHOR_H

#include "lua_base.h"
#include <stdint.h>

#define OAKI_LUA_CHUNK 256u

typedef struct oaki_lua_chunk {
    struct oaki_lua_chunk *prev, *next; /* in the list of chunks with free slots */
    uint32_t index, used;
    uint16_t free;                      /* first free slot among the first `fresh` ones, or 256 */
    uint16_t fresh;                     /* number of slots that have ever been taken */
    bool made;                          /* its table exists */
    uint8_t link[OAKI_LUA_CHUNK];       /* from a free slot to the next */
} oaki_lua_chunk;

typedef struct oaki_lua_anchors {
    oaki_lua_chunk **chunk; /* by index */
    size_t nchunks, room;
    oaki_lua_chunk *open;   /* chunks with free slots; those with a table first */
    size_t used;
    bool pairs;             /* chunks hold pairs of key and value */
    const void *metatable;  /* registry key of the metatable of chunks, or NULL */
} oaki_lua_anchors;

/* Make room for two anchors, so that taking them needs no memory. Raises an error without memory;
 * may run finalizers. */
void oaki_lua_anchors_reserve(lua_State *L, int owner, oaki_lua_anchors *a);

/* Take an empty anchor, after a reserve. */
uint32_t oaki_lua_anchor_take(oaki_lua_anchors *a);

/* Give an anchor back. The table of an empty chunk is dropped if other chunks have room. */
void oaki_lua_anchor_drop(lua_State *L, int owner, oaki_lua_anchors *a, uint32_t anchor);

/* Pop a value into an anchor; push the value of an anchor. They need no memory. Functions that
 * access an anchor raise an error if the debug library has replaced one of the tables. */
void oaki_lua_anchor_set(lua_State *L, int owner, uint32_t anchor);
void oaki_lua_anchor_get(lua_State *L, int owner, uint32_t anchor);

/* Push the table of an anchor's chunk, if chunks hold pairs. */
void oaki_lua_anchor_push_chunk(lua_State *L, int owner, uint32_t anchor);

/* Drop all anchors. */
void oaki_lua_anchors_clear(lua_State *L, int owner, oaki_lua_anchors *a);

#endif
