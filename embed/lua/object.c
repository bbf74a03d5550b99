/* object.c - host objects that refer to Lua values, and that Lua values refer to (<oakum/lua.h>).
 *
 * Neither collector sees a whole cycle through both heaps. So an object belongs to one of them at a
 * time, and changes sides when that collector finds it unreachable:
 *
 * - held: the host may have pointers to the object. Its proxy is in a table of the registry, so
 *   the values in its slots are alive. The proxy has the object's address inverted, so Oakum's
 *   collector reaches the object only through the host's pointers. When there are none left, the
 *   object's finalizer runs, and the object becomes Lua's.
 * - Lua's: the proxy has the object's plain address, and so keeps it alive. The proxy is only in a
 *   weak table. When Lua's collector finds the proxy dead, its __gc drops the object. When the host
 *   gets the object from Lua, the object is held again.
 *
 * Bindings to counted objects use toggle references for this, driven by counts; here reachability
 * takes the place of counts.
 *
 * The finalizer is an ordered one. So an object that another host object points to becomes Lua's
 * only after that one, whose proxy then keeps both alive. Thus no reachable object is dropped too
 * early.
 *
 * Finalizers run on a thread of Oakum's, so they only put the object into a list. The state's
 * thread empties the list at its next call here, and in each cycle of Lua's collector. For the
 * latter there is a sentinel: each cycle collects it, and its __gc makes the next one. If the host
 * has got the object again before the list is emptied, the object gets a new finalizer and stays
 * held.
 *
 * Owns: oaki_lua.objects, held, released; the registry's entries whose keys are here. Bound: O(1),
 *   except for oak_lua_collect.
 * Lock: none, so that no fork finds one taken. `released` is a stack: any thread pushes, only the
 * state's thread pops (Treiber, "Systems programming: coping with parallelism", 1986). */
#include "object.h"
#include <oakum/gc.h>
#include <oakum/heap.h>
#include <sched.h>
#include <string.h>

#define ROUNDS 16 /* the most rounds of oak_lua_collect */

typedef struct proxy {
    uintptr_t hidden; /* the object's address, inverted; 0: the object is dropped */
    void *plain;      /* the object's address while it is Lua's; else NULL */
    bool asked;       /* the host has got the object from Lua while it was held */
    bool revived;     /* held again between Lua's finding the proxy dead and its __gc */
} proxy;

/* Keys of the registry: the weak table of all proxies by inverted address, the table of held ones,
 * the metatable of sentinels, and a mark in this file's metatables. */
static const char all_key = 0, held_key = 0, sentinel_key = 0, type_key = 0;

static void *object_of(const proxy *p)
{
    return p->hidden ? (void *)~p->hidden : NULL;
}

static void *hide(const void *object)
{
    return (void *)~(uintptr_t)object;
}

static oaki_lua *state_of(lua_State *L)
{
    oaki_lua *s = oaki_lua_of(L);
    if (!s) luaL_error(L, "oakum: this Lua state is not one of oak_lua_newstate");
    return s;
}

/* ---- tables of the registry ---- */

/* Push a table of the registry; the first call makes it. */
static void push_table(lua_State *L, const char *key, const char *mode)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE) return;
    lua_pop(L, 1);
    lua_newtable(L);
    if (mode) {
        lua_createtable(L, 0, 1);
        lua_pushstring(L, mode);
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

static void push_all(lua_State *L)
{
    push_table(L, &all_key, "v");
}

/* Push and return an object's proxy; nil and NULL if there is none. */
static proxy *push_proxy(lua_State *L, const void *object)
{
    push_all(L);
    lua_rawgetp(L, -1, hide(object));
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}

/* Remove an object's entry from the table at the top of the stack, and pop the table. A nil in a
 * Lua table keeps the bits of its previous value. Oakum's collector would see the address of a dead
 * proxy, which may by then be that of another object. So the entry is set to 0 first. */
static void remove_entry(lua_State *L, const void *object)
{
    lua_pushinteger(L, 0);
    lua_rawsetp(L, -2, hide(object));
    lua_pushnil(L);
    lua_rawsetp(L, -2, hide(object));
    lua_pop(L, 1);
}

/* ---- changing sides ---- */

/* The finalizer of a held object. Runs on any thread, in any zone. */
static void released(void *object, void *ctx)
{
    oaki_lua *s = ctx;
    oaki_lua_released *r = oak_zone_alloc(NULL, sizeof *r);
    if (!r) {
        (void)oak_finalizer_set(object, released, s); /* again, when there is memory */
        return;
    }
    r->object = object;
    do r->next = (oaki_lua_released *)AO_load(&s->released);
    while (!AO_compare_and_swap_full(&s->released, (AO_t)r->next, (AO_t)r));
    if (!AO_load_full(&s->open)) AO_store_full(&s->released, 0); /* nobody will pop it */
}

/* Of the proxy at the top of the stack. Another finalizer may have got a dead proxy. Lua has taken
 * it out of weak tables, and is yet to call its __gc. */
static void revive_if_dead(lua_State *L, proxy *p)
{
    void *key = hide(object_of(p));
    push_all(L);
    if (lua_rawgetp(L, -1, key) == LUA_TNIL) {
        lua_pushvalue(L, -3);
        lua_rawsetp(L, -3, key);
        p->revived = true;
    }
    lua_pop(L, 2);
}

/* Hold the object of the proxy at the top of the stack. */
static void hold(lua_State *L, oaki_lua *s, proxy *p)
{
    void *object = object_of(p);
    p->asked = object && !p->plain;
    if (!object || !p->plain) return;
    push_table(L, &held_key, NULL);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, hide(object));
    lua_pop(L, 1);
    revive_if_dead(L, p);
    if (oak_finalizer_set(object, released, s) != 0) return; /* its proxy keeps it */
    p->plain = NULL;
    s->held++;
}

static void let_lua_have(lua_State *L, oaki_lua *s, void *object)
{
    proxy *p = push_proxy(L, object);
    bool again = p && p->asked && oak_finalizer_set(object, released, s) == 0;
    s->changes++;
    if (again) {
        p->asked = false;
    } else if (p && !p->plain) {
        p->plain = object;
        s->held--;
        push_table(L, &held_key, NULL);
        remove_entry(L, object);
    }
    lua_pop(L, 1);
}

/* On the state's thread. The record at the top stays there while others are pushed above it, and
 * only here is a record freed: so a swap that succeeds has read the right `next`. */
static oaki_lua_released *pop_released(oaki_lua *s)
{
    for (;;) {
        oaki_lua_released *r = (oaki_lua_released *)AO_load_acquire(&s->released);
        if (OAKI_LUA_LIKELY(!r)) return NULL;
        if (AO_compare_and_swap_full(&s->released, (AO_t)r, (AO_t)r->next)) return r;
    }
}

/* Take records off the list one at a time, and free each: otherwise a stale word could keep a chain
 * of records, and so all of their objects. */
static void empty_released(lua_State *L, oaki_lua *s)
{
    for (oaki_lua_released *r; (r = pop_released(s));) {
        let_lua_have(L, s, r->object);
        oak_free(r);
    }
}

/* ---- Lua's cycles ---- */

static int watch(lua_State *L)
{
    lua_newuserdatauv(L, 0, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinel_key);
    lua_setmetatable(L, -2);
    return 0;
}

/* The __gc of a sentinel. Without memory for the next sentinel, this one is set up again; in
 * generational mode it is then collected later. */
static int sentinel_gc(lua_State *L)
{
    oaki_lua *s = oaki_lua_of(L);
    if (!s || !AO_load(&s->open) || lua_type(L, 1) != LUA_TUSERDATA) return 0;
    empty_released(L, s);
    lua_settop(L, 1);
    lua_pushcfunction(L, watch);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK) return 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinel_key);
    lua_setmetatable(L, 1);
    return 0;
}

static void start_watching(lua_State *L, oaki_lua *s)
{
    if (s->watching) return;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, sentinel_gc);
    lua_setfield(L, -2, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_key);
    watch(L);
    lua_pop(L, 1);
    s->watching = true;
}

/* Marks the metatable at the top by its own address: the mark is none in another, into which a
 * script may copy it. */
static void mark_type(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)lua_topointer(L, -1));
    lua_rawsetp(L, -2, &type_key);
}

/* Of the table at the top. */
static bool is_type(lua_State *L)
{
    lua_rawgetp(L, -1, &type_key);
    const void *mark = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return mark && mark == lua_topointer(L, -1);
}

/* The proxy at idx, or NULL: a script can call methods of a proxy, __gc too, with any value. */
static proxy *as_proxy(lua_State *L, int idx)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || lua_rawlen(L, idx) != sizeof(proxy)) return NULL;
    if (!lua_getmetatable(L, idx)) return NULL;
    bool ours = is_type(L);
    lua_pop(L, 1);
    return ours ? lua_touserdata(L, idx) : NULL;
}

/* The __gc of a proxy: the proxy is dead, or the state is being closed. In the latter case the
 * object may still be held. A proxy that was revived lives on, and has to be set up again. */
static int proxy_gc(lua_State *L)
{
    oaki_lua *s = oaki_lua_of(L);
    proxy *p = as_proxy(L, 1);
    void *object = p ? object_of(p) : NULL;
    if (!s || !object) return 0;
    if (p->revived) {
        p->revived = false;
        lua_getmetatable(L, 1);
        lua_setmetatable(L, 1);
        return 0;
    }
    if (!p->plain) {
        (void)oak_finalizer_set(object, NULL, NULL);
        s->held--;
        push_table(L, &held_key, NULL);
        remove_entry(L, object);
    }
    push_all(L);
    remove_entry(L, object);
    s->objects--;
    p->hidden = 0;
    p->plain = NULL;
    return 0;
}

void oaki_lua_objects_close(oaki_lua *s)
{
    AO_store_full(&s->open, 0);
    AO_store_full(&s->released, 0);
}

/* ---- the interface ---- */

void oak_lua_newtype(lua_State *L, const char *type)
{
    (void)state_of(L);
    luaL_newmetatable(L, type);
    lua_pushcfunction(L, proxy_gc);
    lua_setfield(L, -2, "__gc");
    mark_type(L);
}

/* Push the metatable of a type; raises an error if there is no such type. */
static void push_type(lua_State *L, const char *type)
{
    bool ours = luaL_getmetatable(L, type) == LUA_TTABLE && is_type(L);
    if (!ours) luaL_error(L, "oakum: %s is no type of oak_lua_newtype", type);
}

void *oak_lua_newobject(lua_State *L, size_t size, int slots, const char *type)
{
    oaki_lua *s = state_of(L);
    luaL_checkstack(L, 6, "oak_lua_newobject");
    if (slots < 0 || slots > 65535) luaL_error(L, "oakum: %d slots", slots);
    start_watching(L, s);
    empty_released(L, s);
    proxy *p = lua_newuserdatauv(L, sizeof *p, slots);
    memset(p, 0, sizeof *p);
    push_type(L, type);
    lua_setmetatable(L, -2);
    void *object = oak_zone_alloc(NULL, size); /* the caller may discard its zone */
    if (!object) {
        oaki_lua_make_room(L);
        object = oak_zone_alloc(NULL, size);
    }
    if (!object) oaki_lua_no_memory(L);
    p->hidden = ~(uintptr_t)object;
    p->plain = object;
    s->objects++;
    push_all(L);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, hide(object));
    lua_pop(L, 1);
    hold(L, s, p);
    return object;
}

void oak_lua_pushobject(lua_State *L, void *object)
{
    oaki_lua *s = state_of(L);
    luaL_checkstack(L, 6, "oak_lua_pushobject");
    empty_released(L, s);
    (void)push_proxy(L, object);
}

static proxy *proxy_at(lua_State *L, int idx, const char *type)
{
    return luaL_testudata(L, idx, type) ? as_proxy(L, idx) : NULL;
}

void *oak_lua_toobject(lua_State *L, int idx, const char *type)
{
    oaki_lua *s = state_of(L);
    luaL_checkstack(L, 6, "oak_lua_toobject");
    empty_released(L, s);
    proxy *p = proxy_at(L, idx, type);
    if (!p) return NULL;
    lua_pushvalue(L, idx);
    hold(L, s, p);
    lua_pop(L, 1);
    return object_of(p);
}

void *oak_lua_checkobject(lua_State *L, int idx, const char *type)
{
    proxy *p = luaL_checkudata(L, idx, type);
    void *object = proxy_at(L, idx, type) ? object_of(p) : NULL;
    if (!object) luaL_argerror(L, idx, "the host object has gone");
    return object;
}

void oak_lua_setslot(lua_State *L, void *object, int slot)
{
    (void)state_of(L);
    luaL_checkstack(L, 6, "oak_lua_setslot");
    if (push_proxy(L, object)) {
        lua_insert(L, -2);
        if (!lua_setiuservalue(L, -2, slot)) luaL_error(L, "oakum: no slot %d", slot);
    } else {
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void oak_lua_getslot(lua_State *L, void *object, int slot)
{
    (void)state_of(L);
    luaL_checkstack(L, 6, "oak_lua_getslot");
    if (push_proxy(L, object)) {
        if (lua_getiuservalue(L, -1, slot) == LUA_TNONE) lua_pop(L, 1), lua_pushnil(L);
        lua_remove(L, -2);
    }
}

/* Run the finalizers that are due, and wait for those on the finalizer thread. That thread may have
 * taken a finalizer and not begun yet, so the wait goes on for a moment. */
static void run_finalizers(void)
{
    for (unsigned idle = 0; idle < 3; idle++) {
        if (oak_finalizers_run() > 0 || oak_finalizer_running_ns() != 0) idle = 0;
        (void)sched_yield();
    }
}

size_t oak_lua_collect(lua_State *L)
{
    oaki_lua *s = state_of(L);
    luaL_checkstack(L, 6, "oak_lua_collect");
    size_t begin = s->objects;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t changes = s->changes;
        size_t objects = s->objects;
        lua_gc(L, LUA_GCCOLLECT);
        oak_collect();
        run_finalizers();
        empty_released(L, s);
        lua_gc(L, LUA_GCCOLLECT);
        if (objects == s->objects && changes == s->changes) break;
    }
    oak_collect();
    return begin > s->objects ? begin - s->objects : 0;
}
