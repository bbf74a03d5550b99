/* cell.h - structures of Oakum's as Lua objects.
 *
 * Oakum's collector doesn't scan the memory of the stock interpreter. So a structure is in a
 * *cell*, an object of Oakum's. The userdata has a pointer to it, and to a pinned object that
 * refers to the cell. The userdata's __gc or __close frees the pinned object. Until then the cell
 * is alive.
 *
 * A call that runs Lua's collector may run a finalizer, which may close or empty the structure in
 * the middle of an operation. A closed cell isn't freed while an operation has it on its stack: it
 * is empty, and changes to it are lost. So after such a call, an operation must expect an empty
 * cell, and nothing worse.
 *
 * Owns: cells. Invariant: a closed object's userdata has no cell. Bound: O(1). */
#ifndef OAKI_LUA_CELL_H
#define OAKI_LUA_CELL_H

#include "anchor.h"
#include "frame.h"
#include "pacing.h"

/* The beginning of each cell. */
typedef struct oaki_lua_cell {
    oaki_lua_anchors anchors;
    oaki_lua_pacing *pacing; /* of the state; NULL: the cell is closed */
    size_t charged;          /* external bytes of this cell */
} oaki_lua_cell;

/* Push a userdata with `values` user values and a cell of `size` zeroed bytes. `type` is the name
 * of its metatable in the registry. Raises an error without memory. */
void *oaki_lua_cell_new(lua_State *L, size_t size, const char *type, int values);

/* The cell of the userdata at idx. Raises an error if the value isn't of this type, or is closed.
 */
void *oaki_lua_cell_at(lua_State *L, int idx, const char *type);

/* As oaki_lua_cell_at, but NULL if it is closed. */
void *oaki_lua_cell_or_null(lua_State *L, int idx, const char *type);

/* Close the userdata at idx, whose cell the caller has emptied. */
void oaki_lua_cell_close(lua_State *L, int idx, const char *type);

/* There is no memory for what the cell at the top of the stack is to have. Closes it, as a script's
 * __gc may keep it; then raises the error. */
int oaki_lua_cell_failed(lua_State *L, const char *type);

/* Add external bytes to a cell. May run Lua's finalizers, so it is an operation's last call. */
void oaki_lua_cell_charge(lua_State *L, oaki_lua_cell *c, size_t bytes);
void oaki_lua_cell_uncharge(oaki_lua_cell *c, size_t bytes);

/* Register and push a metatable with these functions, and __name. */
void oaki_lua_cell_type(lua_State *L, const char *type, const luaL_Reg *functions);

#endif
