/* lua.h - Lua 5.4 on Oakum's heap: library liboakum-lua, beside liboakum and liblua5.4.
 *
 * Lua frees its memory by itself; Oakum gives it where to live. Each state has a zone of its own:
 * an account, and a limit. What Lua allocates is never freed by Oakum's collector, which looks
 * into it for pointers: so a userdata may hold a pointer to an object of Oakum's, and keeps it.
 *
 * A state is used by one thread at a time, as Lua's are. Functions that say so raise Lua's errors,
 * "not enough memory" among them, and are called where Lua's own may be. docs/lua.md is the tour.
 */
#ifndef OAKUM_LUA_H
#define OAKUM_LUA_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/* As <lua.h> says, which C11 and C++ allow to be said twice. */
typedef struct lua_State lua_State;

#if defined(__GNUC__)
#define OAK_LUA_API __attribute__((visibility("default")))
#else
#define OAK_LUA_API
#endif

/* ---- states ---- */

/** How a state is made; all zero is the default. */
typedef struct oak_lua_config {
    const char *name; /* of its zone, copied; NULL: "lua" */
    size_t limit;     /* bytes of memory that it may have; 0: none. See oak_lua_set_limit */
} oak_lua_config;

/** A state, as luaL_newstate makes one: a panic function that tells the error and aborts, warnings
 * that are off until warn("@on"); no libraries are open. config may be NULL. Closed by lua_close,
 * which gives its zone back. NULL with ENOMEM. */
OAK_LUA_API lua_State *oak_lua_newstate(const oak_lua_config *config);

/** Beyond so many bytes, an allocation makes Lua collect, and if that doesn't help, fails with
 * Lua's own error, "not enough memory", in this state alone. Bytes are those of the zone: whole
 * pages, so that a limit below some hundred KiB is met early. Returns the old limit; 0: none;
 * SIZE_MAX asks only. L is a state of oak_lua_newstate, or one of its coroutines, here and below;
 * with any other SIZE_MAX is returned. */
OAK_LUA_API size_t oak_lua_set_limit(lua_State *L, size_t bytes);

typedef struct oak_lua_stats {
    size_t limit;      /* 0: none */
    size_t inuse;      /* of the zone: bytes in pages that it has */
    size_t bytes;      /* that Lua has asked for and not freed */
    size_t peak;       /* the most of those */
    uint64_t blocks;   /* that Lua has and has not freed */
    uint64_t failures; /* allocations that failed */
    size_t external;   /* bytes of oak_lua_external */
    size_t objects;    /* host objects whose proxy is alive */
    size_t held;       /* and of these, those that the host may hold: see below */
} oak_lua_stats;

/** false, and zeroes: L is none of ours. */
OAK_LUA_API bool oak_lua_stats_read(lua_State *L, oak_lua_stats *out);

/** Open the module "oakum" (docs/lua.md), as luaL_requiref does; pushes it. It is the one that
 * `require "oakum"` finds in this state from here on. May raise errors. */
OAK_LUA_API void oak_lua_openlib(lua_State *L);

/* ---- why is it alive ---- */

/** Push a shortest path of tables, upvalues, locals, user values and metatables from the registry
 * to the value at `idx`, in words, "_G.app.handler (upvalue queue)[3]", and return true; or push
 * nil, when nothing but this stack refers to it, or it is no object. Stops Lua's collector
 * meanwhile; O(the state's objects). Any Lua state. May raise errors. */
OAK_LUA_API bool oak_lua_why(lua_State *L, int idx);

/** The same for an object of Oakum's: to the first userdata that has a pointer to it or into it,
 * or the light userdata that is one. */
OAK_LUA_API bool oak_lua_why_pointer(lua_State *L, const void *p);

/* ---- host objects that refer to Lua values ---- */

/* A host object is an object of Oakum's heap that Lua knows by a proxy, a full userdata, in whose
 * user values, the slots, it keeps the Lua values that it refers to. Both collectors together
 * decide when it goes, circles through both included: while the host may hold it, its proxy is
 * held, and so what is in the slots; when Oakum's collector finds that nothing of the host's
 * reaches it any more, it belongs to Lua, until the host gets it again by oak_lua_toobject; and
 * when Lua finds that its proxy can't be reached either, it goes.
 *
 * The host may keep pointers to it wherever Oakum looks: stacks, static data, Oakum's objects. A
 * pointer from one host object to another counts as the host's own, so circles that are made of
 * those alone, or that such a pointer is part of, stay: put the other one's proxy in a slot. */

/** A type of host objects: makes, or finds, the metatable that is registered by this name, with a
 * __gc of Oakum's, and pushes it; the host adds its methods. May raise errors. */
OAK_LUA_API void oak_lua_newtype(lua_State *L, const char *type);

/** A new host object of `size` zeroed bytes, with so many slots, at most 65,535; pushes its proxy.
 * The type is one of oak_lua_newtype. It is scanned conservatively. May raise errors. */
OAK_LUA_API void *oak_lua_newobject(lua_State *L, size_t size, int slots, const char *type);

/** Push its proxy, which is the same each time; nil when it has gone. May raise errors. */
OAK_LUA_API void oak_lua_pushobject(lua_State *L, void *object);

/** The host object whose proxy is at idx, for the host to hold. NULL when it isn't one of this
 * type. May raise errors. */
OAK_LUA_API void *oak_lua_toobject(lua_State *L, int idx, const char *type);

/** The same, to be used only as long as the value stays where it is: the object goes on belonging
 * to Lua, if it did. For methods that don't store it; cheap. Raises Lua's error of a bad argument
 * when it isn't one. */
OAK_LUA_API void *oak_lua_checkobject(lua_State *L, int idx, const char *type);

/** Pop a value into a slot, from 1: an error when there is no such slot; it is dropped when the
 * object's proxy has gone. Push what is in one: nil in both cases. May raise errors. */
OAK_LUA_API void oak_lua_setslot(lua_State *L, void *object, int slot);
OAK_LUA_API void oak_lua_getslot(lua_State *L, void *object, int slot);

/** Collect with both collectors, in turn, until nothing more goes. Returns how many host objects
 * went. May raise errors. */
OAK_LUA_API size_t oak_lua_collect(lua_State *L);

/* ---- external bytes ---- */

/** Memory that Lua doesn't see hangs on its objects: so many bytes more, or, when negative, less.
 * Lua's collector then goes as fast as if its own heap were larger by that, in proportion: with
 * 1 MB of Lua's and 1 GB outside, a cycle is due when either has grown by its pause. May collect,
 * and so run finalizers: to be called where Lua's own functions may be. Any state of
 * oak_lua_newstate. */
OAK_LUA_API void oak_lua_external(lua_State *L, ptrdiff_t delta);

OAK_END_DECLS

#endif
