/* cell.h - structures of Oakum's as Lua objects.
 *
 * The stock interpreter's memory is no place where Oakum's collector looks. So a userdata has a
 * pointer to a *cell*, an object of Oakum's in which all else is, and to a pinned one that refers
 * to the cell; that one is freed by the userdata's __gc or __close, and until then all lives.
 *
 * Whatever runs Lua's collector may run a finalizer, and that may close or empty the structure in
 * the middle of an operation on it. The cell isn't freed when it is closed: it lives on, empty, as
 * long as an operation has it on its stack, and what is done to it then is lost. So an operation
 * has to be ready to find its cell empty after such a call, and no more.
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
    oaki_lua_pacing *pacing; /* the state's; NULL: it is closed */
    size_t charged;          /* bytes that were told to it */
} oaki_lua_cell;

/* Push a userdata of this type, whose metatable is registered by that name, with a cell of `size`
 * zeroed bytes, and `values` user values. Raises an error without memory. */
void *oaki_lua_cell_new(lua_State *L, size_t size, const char *type, int values);

/* The cell of the userdata at idx. Raises an error if it is none of this type, or is closed. */
void *oaki_lua_cell_at(lua_State *L, int idx, const char *type);

/* The same; NULL when it is closed. */
void *oaki_lua_cell_or_null(lua_State *L, int idx, const char *type);

/* Let go of the cell, which the caller has emptied. */
void oaki_lua_cell_close(lua_State *L, int idx, const char *type);

/* So many bytes more are hanging on it. May run Lua's finalizers: last of all. */
void oaki_lua_cell_charge(lua_State *L, oaki_lua_cell *c, size_t bytes);
void oaki_lua_cell_uncharge(oaki_lua_cell *c, size_t bytes);

/* Register a metatable with these functions, and __name; pops nothing, pushes it. */
void oaki_lua_cell_type(lua_State *L, const char *type, const luaL_Reg *functions);

#endif
