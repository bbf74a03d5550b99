/* lua.h - Lua 5.4 on Oakum's heap: the library liboakum-lua, which needs liboakum and liblua5.4.
 *
 * A Lua state allocates from Oakum's heap, and frees its memory by itself. Each state has a zone of
 * its own, which has an account and a limit. Oakum's collector never frees Lua's memory, but scans
 * it for pointers. So a userdata may hold a pointer to an object of Oakum's, and keeps it alive.
 *
 * At most one thread uses a state at a time, as with any Lua state. Functions that say so may raise
 * Lua errors, "not enough memory" among them. They may be called where Lua's own functions may be.
 * docs/lua.md is the introduction. */
#ifndef OAKUM_LUA_H
#define OAKUM_LUA_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/* As in <lua.h>; C11 and C++ allow the repetition. */
typedef struct lua_State lua_State;

#if defined(__GNUC__)
#define OAK_LUA_API __attribute__((visibility("default")))
#else
#define OAK_LUA_API
#endif

/* ---- states ---- */

/** Options of a new state. All zero is the default. */
typedef struct oak_lua_config {
    const char *name; /* of the state's zone, copied; NULL: "lua" */
    size_t limit;     /* bytes, as in oak_lua_set_limit; 0: none */
} oak_lua_config;

/** Make a state, as luaL_newstate does: the panic function prints the error and aborts, warnings
 * are off until warn("@on"), and no library is open. config may be NULL. lua_close closes the state
 * and frees its zone. Returns NULL with ENOMEM. */
OAK_LUA_API lua_State *oak_lua_newstate(const oak_lua_config *config);

/** Set the limit of a state's memory, in bytes; 0: none. An allocation beyond the limit makes Lua
 * collect. If that doesn't make room, the allocation fails with Lua's error "not enough memory", in
 * this state only. The limit counts whole pages of the zone, so a limit below some hundred KiB is
 * met early. SIZE_MAX changes nothing. Returns the previous limit.
 *
 * Here and below, L is a state of oak_lua_newstate or one of its coroutines. For any other state
 * the result is SIZE_MAX. */
OAK_LUA_API size_t oak_lua_set_limit(lua_State *L, size_t bytes);

/** The memory of a state. */
typedef struct oak_lua_stats {
    size_t limit;      /* 0: none */
    size_t inuse;      /* bytes in the zone's pages */
    size_t bytes;      /* requested by Lua and not yet freed */
    size_t peak;       /* the maximum of `bytes` so far */
    uint64_t blocks;   /* requested by Lua and not yet freed */
    uint64_t failures; /* allocations that failed */
    size_t external;   /* bytes of oak_lua_external */
    size_t objects;    /* host objects whose proxy is alive */
    size_t held;       /* those of `objects` that the host may hold: see below */
} oak_lua_stats;

/** Read the figures into *out. Returns false, and stores zeroes, if L is not a state of
 * oak_lua_newstate. */
OAK_LUA_API bool oak_lua_stats_read(lua_State *L, oak_lua_stats *out);

/** Open the module "oakum" (docs/lua.md), as luaL_requiref does, and push it. From here on,
 * `require "oakum"` returns this module in this state. May raise errors. */
OAK_LUA_API void oak_lua_openlib(lua_State *L);

/* ---- why is it alive ---- */

/** Push a text with a shortest path from the registry to the value at `idx`, and return true. The
 * text is such as "_G.app.handler (upvalue queue)[3]". The path goes through tables, upvalues,
 * locals, user values and metatables. If only this stack refers to the value, or it is no object,
 * push nil and return false.
 *
 * Lua's collector stops during the call, which takes O(objects of the state). L may be any Lua
 * state. May raise errors. */
OAK_LUA_API bool oak_lua_why(lua_State *L, int idx);

/** As oak_lua_why, for an object of Oakum's. The path leads to the first userdata that contains a
 * pointer to or into the object. It may also end at a light userdata that is such a pointer. */
OAK_LUA_API bool oak_lua_why_pointer(lua_State *L, const void *p);

/* ---- host objects that refer to Lua values ---- */

/* A host object is an object of Oakum's heap. Lua has a proxy of it: a full userdata. The proxy's
 * user values are the object's slots: they hold the Lua values that the object refers to.
 *
 * Both collectors together find dead host objects, even in cycles through both heaps. While the
 * host may hold the object, the proxy is kept alive, and so are the values in its slots. Once
 * Oakum's collector finds no pointer of the host to it, the object belongs to Lua. oak_lua_toobject
 * gives it back to the host. When it belongs to Lua and Lua's collector finds the proxy dead, the
 * object dies.
 *
 * The host may keep pointers to the object in stacks, static data and objects of Oakum's. A pointer
 * from one host object to another counts as the host's. So a cycle that contains such a pointer is
 * never freed: put the other object's proxy in a slot instead. */

/** Push the metatable of a type of host objects. The first call with this name makes it, with an
 * __gc of Oakum's. The host adds its methods. May raise errors. */
OAK_LUA_API void oak_lua_newtype(lua_State *L, const char *type);

/** Make a host object of `size` zeroed bytes with so many slots, at most 65,535, and push its
 * proxy. `type` is the name of a type of oak_lua_newtype. The object is scanned conservatively. May
 * raise errors. */
OAK_LUA_API void *oak_lua_newobject(lua_State *L, size_t size, int slots, const char *type);

/** Push the object's proxy, which is always the same; nil once the proxy is dead. May raise errors.
 */
OAK_LUA_API void oak_lua_pushobject(lua_State *L, void *object);

/** Returns the host object whose proxy is at idx; from now on the host may hold it. NULL if the
 * value is no proxy of this type. May raise errors. */
OAK_LUA_API void *oak_lua_toobject(lua_State *L, int idx, const char *type);

/** As oak_lua_toobject, for methods that don't store the pointer: the result is valid only while
 * the value stays at idx. An object that belongs to Lua still does. Cheap. Raises Lua's error for a
 * bad argument if the value is no proxy of this type. */
OAK_LUA_API void *oak_lua_checkobject(lua_State *L, int idx, const char *type);

/** Pop a value into a slot; slots count from 1. Raises an error if there is no such slot. If the
 * object's proxy is dead, the value is dropped. */
OAK_LUA_API void oak_lua_setslot(lua_State *L, void *object, int slot);

/** Push the value of a slot; nil if there is no such slot, or the object's proxy is dead. May raise
 * errors. */
OAK_LUA_API void oak_lua_getslot(lua_State *L, void *object, int slot);

/** Run both collectors in turn until a round changes no host object, at most 16 rounds. Returns how
 * many host objects were freed. May raise errors. */
OAK_LUA_API size_t oak_lua_collect(lua_State *L);

/* ---- external bytes ---- */

/** Add delta bytes, which may be negative, to the external memory of a state: memory outside of
 * Lua's heap that its objects keep. Lua's collector paces itself by both. A cycle is due when
 * Lua's heap has grown by the pause parameter, or external memory by that part of the total. So 1
 * MB in Lua with 1 GB outside isn't collected all the time.
 *
 * The call may collect, and so run finalizers. It may be made where Lua's own functions may be. L
 * is a state of oak_lua_newstate. */
OAK_LUA_API void oak_lua_external(lua_State *L, ptrdiff_t delta);

OAK_END_DECLS

#endif
