/* walk.h - a walk over all that is reachable in a Lua state, and paths in words.
 *
 * Breadth first from the registry, by Lua's public interface: pairs of tables, metatables,
 * upvalues, user values, and the functions and locals of coroutines. References of weak tables
 * aren't followed. Lua's collector is stopped meanwhile, so no code of the script runs.
 *
 * Owns: struct oaki_lua_walk, whose memory is userdata on the stack of the state, so that an error
 * gives it back. Bound: O(objects + references); 40 to 80 bytes of the state's memory an
 * object, and 16 to 32 for the table that has it. */
#ifndef OAKI_LUA_WALK_H
#define OAKI_LUA_WALK_H

#include "lua_base.h"

typedef struct oaki_lua_walk oaki_lua_walk;

typedef struct oaki_lua_visit {
    /* An object that was just met: its number, and its kind and address as lua_topointer tells
     * it. The value is at the top of the stack. true: this is what was looked for, stop. */
    bool (*met)(oaki_lua_walk *w, unsigned number, int type, const void *p, void *ctx);
    /* A string, or light userdata, which are met once for each reference; or NULL. As `met`. */
    bool (*plain)(lua_State *L, int type, const void *p, void *ctx);
    /* All pairs of a table, which is at the top of the stack, have been counted; or NULL. */
    void (*counted)(oaki_lua_walk *w, unsigned number, size_t pairs, void *ctx);
    /* The walk is over, with what was found, or NO_NUMBER; paths may be asked for. May push one
     * value, which is the walk's result. Or NULL. */
    void (*done)(oaki_lua_walk *w, unsigned found, void *ctx);
    void *ctx;
} oaki_lua_visit;

#define OAKI_LUA_NO_NUMBER ((unsigned)-1)

/* Walk, and push what `done` pushed, or nil. May raise errors, those that the functions raise
 * too, in which Lua's collector goes on as it was. */
void oaki_lua_walk_all(lua_State *L, const oaki_lua_visit *v);

/* The path to an object, pushed as a string. */
void oaki_lua_walk_path(oaki_lua_walk *w, unsigned number);

/* Is it a table in which one of the module's own structures keeps what it refers to (anchor.h)? No
 * script may get hold of it: what is cut there, C still uses. */
bool oaki_lua_walk_is_internal(oaki_lua_walk *w, unsigned number);

/* Does the path lead where a script can't go by itself: through the registry, user values of what
 * isn't the module's own, upvalues and temporaries of C functions? */
bool oaki_lua_walk_is_hidden(oaki_lua_walk *w, unsigned number);

/* Push the object with this number. */
void oaki_lua_walk_push(oaki_lua_walk *w, unsigned number);

lua_State *oaki_lua_walk_state(const oaki_lua_walk *w);

#endif
