/* walk.h - a walk over all reachable objects of a Lua state, and the paths to them.
 *
 * The walk is breadth first from the registry, and uses only Lua's public interface. It follows
 * pairs of tables, metatables, upvalues, user values, and the functions and locals of coroutines;
 * not the weak references of weak tables. Lua's collector is stopped meanwhile, so no code of the
 * script runs.
 *
 * Owns: struct oaki_lua_walk. Its memory is userdata on the state's stack, so that an error frees
 * it. Bound: O(objects + references); for each object 40 to 80 bytes of the state's memory, and 16
 * to 32 in the table of values. */
#ifndef OAKI_LUA_WALK_H
#define OAKI_LUA_WALK_H

#include "lua_base.h"

typedef struct oaki_lua_walk oaki_lua_walk;

typedef struct oaki_lua_visit {
    /* Called for each new object, with its number, its type, and its address as of lua_topointer.
     * The value is at the top of the stack. Returns true to end the walk with this object. */
    bool (*met)(oaki_lua_walk *w, unsigned number, int type, const void *p, void *ctx);
    /* As `met`, for strings and light userdata: called for each reference to one. Or NULL. */
    bool (*plain)(lua_State *L, int type, const void *p, void *ctx);
    /* Called with the number of pairs of each table, which is at the top of the stack. Or NULL. */
    void (*counted)(oaki_lua_walk *w, unsigned number, size_t pairs, void *ctx);
    /* Called at the end, with the number of the found object, or NO_NUMBER. It may make paths, and
     * push one value, which is the result of the walk. Or NULL. */
    void (*done)(oaki_lua_walk *w, unsigned found, void *ctx);
    void *ctx;
} oaki_lua_visit;

#define OAKI_LUA_NO_NUMBER ((unsigned)-1)

/* Walk, and push the value that `done` has pushed, or nil. May raise errors, also those of the
 * visitor's functions; Lua's collector is then started again if it was running. */
void oaki_lua_walk_all(lua_State *L, const oaki_lua_visit *v);

/* Push the path to an object, as a string. */
void oaki_lua_walk_path(oaki_lua_walk *w, unsigned number);

/* Whether an object is a table of anchors of the module (anchor.h). A script must not get it: the
 * module's C code relies on its contents. */
bool oaki_lua_walk_is_internal(oaki_lua_walk *w, unsigned number);

/* Whether a script could not follow the path by itself. That is so if the path leads through the
 * registry, upvalues or temporaries of C functions, or user values of foreign userdata. */
bool oaki_lua_walk_is_hidden(oaki_lua_walk *w, unsigned number);

/* Push the object with this number. */
void oaki_lua_walk_push(oaki_lua_walk *w, unsigned number);

lua_State *oaki_lua_walk_state(const oaki_lua_walk *w);

#endif
