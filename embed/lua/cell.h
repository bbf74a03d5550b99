/* cell.h - structures of Oakum's as Lua objects.
 *
 * The stock interpreter's memory is no place where Oakum's collector looks. So a userdata has a
 * pointer to a *cell*, a pinned object of Oakum's, in which all else is; it is freed by the
 * userdata's __gc or __close, and until then all that it refers to lives.
 *
 * Owns: cells. Invariant: a closed object's userdata has no cell. Bound: O(1). */
#ifndef OAKI_LUA_CELL_H
#define OAKI_LUA_CELL_H

#include "anchor.h"
#include "frame.h"
#include "pacing.h"

/* What each cell begins with. */
typedef struct oaki_lua_cell {
    oaki_lua_anchors anchors;
    oaki_lua_pacing *pacing; /* the state's */
    size_t charged;          /* bytes that were told to it */
} oaki_lua_cell;

/* Push a userdata of this type, whose metatable is registered by that name, with a cell of `size`
 * zeroed bytes, and `values` user values. Raises an error without memory. */
void *oaki_lua_cell_new(lua_State *L, size_t size, const char *type, int values);

/* The cell of the userdata at idx. Raises an error if it is none of this type, or is closed. */
void *oaki_lua_cell_at(lua_State *L, int idx, const char *type);

/* The same; NULL when it is closed. */
void *oaki_lua_cell_or_null(lua_State *L, int idx, const char *type);

/* Free the cell. What it referred to is the caller's to free before, if it wants to. */
void oaki_lua_cell_close(lua_State *L, int idx, const char *type);

/* So many bytes more are hanging on it. May run Lua's finalizers: last of all. */
void oaki_lua_cell_charge(lua_State *L, oaki_lua_cell *c, size_t bytes);
void oaki_lua_cell_uncharge(oaki_lua_cell *c, size_t bytes);

/* Register a metatable with these functions, and __name; pops nothing, pushes it. */
void oaki_lua_cell_type(lua_State *L, const char *type, const luaL_Reg *functions);

#endif
