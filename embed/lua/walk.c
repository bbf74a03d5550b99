/* walk.c - the walk over a state's objects (walk.h).
 *
 * Owns: struct oaki_lua_walk. Nodes are numbered in the order of discovery. The table at `values`
 * has each node's value at its number plus 1; the hash table maps addresses to numbers. The names
 * in nodes are Lua's own strings, in tables and functions that don't change during the walk. Bound:
 * O(objects + references). */
#include "walk.h"
#include "path.h"
#include <string.h>

#define OWN_FRAMES 2
#define FIRST 1024 /* nodes; the hash table has twice as many slots */

static void *grow(lua_State *L, int at, void *old, size_t used, size_t bytes)
{
    void *p = lua_newuserdatauv(L, bytes, 0);
    if (used) memcpy(p, old, used);
    lua_replace(L, at);
    return p;
}

/* ---- numbers by address ---- */

static unsigned *slot_of(const oaki_lua_walk *w, const void *p)
{
    uintptr_t h = (uintptr_t)p;
    size_t mask = w->room * 2 - 1, i = (size_t)((h ^ h >> 20) * 0x9e3779b97f4a7c15u >> 24);
    for (;; i++) {
        unsigned *slot = &w->hash[i & mask];
        if (*slot == 0 || w->node[*slot - 1].object == p) return slot;
    }
}

static void more_room(oaki_lua_walk *w)
{
    size_t room = w->room ? w->room * 2 : FIRST;
    if (room > UINT32_MAX / 4) luaL_error(w->L, "oakum: too many objects to look at");
    w->node = grow(w->L, w->nodes_at, w->node, w->n * sizeof *w->node, room * sizeof *w->node);
    w->hash = grow(w->L, w->hash_at, NULL, 0, room * 2 * sizeof *w->hash);
    w->room = room;
    memset(w->hash, 0, room * 2 * sizeof *w->hash);
    for (size_t i = 0; i < w->n; i++) *slot_of(w, w->node[i].object) = (unsigned)i + 1;
}

/* ---- discovery ---- */

static bool is_object(int type)
{
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA ||
           type == LUA_TTHREAD;
}

/* Process a reference to the value at the top of the stack, and pop the value. */
static void meet(oaki_lua_walk *w, oaki_lua_edge edge)
{
    lua_State *L = w->L;
    int type = lua_type(L, -1);
    const void *p = lua_topointer(L, -1);
    if (w->found != OAKI_LUA_NO_NUMBER || !p) {
        lua_pop(L, 1);
        return;
    }
    if (!is_object(type)) {
        if (w->visit->plain && w->visit->plain(L, type, p, w->visit->ctx)) {
            w->found = w->current;
            w->last = edge;
            w->has_last = true;
        }
        lua_pop(L, 1);
        return;
    }
    if (w->n == w->room) more_room(w);
    unsigned *slot = slot_of(w, p);
    if (*slot != 0) {
        lua_pop(L, 1);
        return;
    }
    w->node[w->n] = (oaki_lua_node){ p, w->current, edge };
    *slot = (unsigned)++w->n;
    if (w->visit->met(w, (unsigned)w->n - 1, type, p, w->visit->ctx)) w->found = (unsigned)w->n - 1;
    lua_rawseti(L, w->values_at, (lua_Integer)w->n);
}

/* ---- the references of each kind of object ---- */

static void meet_metatable(oaki_lua_walk *w)
{
    if (lua_getmetatable(w->L, -1)) meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_METATABLE });
}

static void weakness(lua_State *L, bool *keys, bool *values)
{
    *keys = *values = false;
    if (!lua_getmetatable(L, -1)) return;
    lua_pushliteral(L, "__mode");
    if (lua_rawget(L, -2) == LUA_TSTRING) {
        *keys = strchr(lua_tostring(L, -1), 'k') != NULL;
        *values = strchr(lua_tostring(L, -1), 'v') != NULL;
    }
    lua_pop(L, 2);
}

/* The edge of the table's value at the top of the stack; its key is below it. */
static oaki_lua_edge edge_of_key(lua_State *L)
{
    oaki_lua_edge e = { .kind = OAKI_LUA_OTHER_KEY, .type = (uint8_t)lua_type(L, -2) };
    if (lua_isinteger(L, -2)) {
        e.kind = OAKI_LUA_INDEX;
        e.as.i = lua_tointeger(L, -2);
    } else if (e.type == LUA_TNUMBER) {
        e.kind = OAKI_LUA_NUMBER;
        e.as.n = lua_tonumber(L, -2);
    } else if (e.type == LUA_TSTRING) {
        e.kind = OAKI_LUA_FIELD;
        e.as.text = lua_tostring(L, -2);
    } else if (e.type == LUA_TBOOLEAN) {
        e.as.i = lua_toboolean(L, -2);
    } else {
        e.as.p = lua_topointer(L, -2);
    }
    return e;
}

static void table(oaki_lua_walk *w)
{
    lua_State *L = w->L;
    bool weak_keys, weak_values;
    size_t pairs = 0;
    meet_metatable(w);
    weakness(L, &weak_keys, &weak_values);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        pairs++;
        if (!weak_values) {
            oaki_lua_edge e = edge_of_key(L);
            meet(w, e);
        } else {
            lua_pop(L, 1);
        }
        if (!weak_keys && is_object(lua_type(L, -1))) {
            lua_pushvalue(L, -1);
            meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_KEY });
        }
    }
    if (w->visit->counted && w->found == OAKI_LUA_NO_NUMBER)
        w->visit->counted(w, w->current, pairs, w->visit->ctx);
}

static void function(oaki_lua_walk *w)
{
    const char *name;
    for (int i = 1; (name = lua_getupvalue(w->L, -1, i)) != NULL; i++)
        meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_UPVALUE, .number = i, .as.text = name });
}

static void userdata(oaki_lua_walk *w)
{
    meet_metatable(w);
    for (int i = 1; lua_getiuservalue(w->L, -1, i) != LUA_TNONE; i++)
        meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_USER_VALUE, .number = i });
    lua_pop(w->L, 1);
}

/* Process a reference to the value at the top of a coroutine's stack, and pop the value. */
static void meet_of(oaki_lua_walk *w, lua_State *co, oaki_lua_edge e)
{
    if (co != w->L) lua_xmove(co, w->L, 1);
    meet(w, e);
}

static void frame(oaki_lua_walk *w, lua_State *co, lua_Debug *d, int level)
{
    const char *name;
    if (lua_getinfo(co, "f", d))
        meet_of(w, co, (oaki_lua_edge){ .kind = OAKI_LUA_FRAME, .number = level });
    for (int step = 1; step >= -1; step -= 2)
        for (int i = step; (name = lua_getlocal(co, d, i)) != NULL; i += step)
            meet_of(w, co, (oaki_lua_edge){ OAKI_LUA_LOCAL, 0, level, .as.text = name });
}

/* Visit a coroutine. The running one is visited last, as its locals refer to many objects that
 * other references keep, too. Its two innermost frames are skipped, those of this code and of its
 * caller: they hold the value that is looked for. A coroutine that hasn't started has no frame, but
 * its function and arguments are on its stack. */
static void thread(oaki_lua_walk *w)
{
    lua_State *co = lua_tothread(w->L, -1);
    lua_Debug d;
    int level = co == w->L ? OWN_FRAMES : 0, top = co == w->L ? 0 : lua_gettop(co);
    if (co == w->L && !w->at_last) {
        w->running = w->current;
        return;
    }
    if (!lua_checkstack(co, 4)) luaL_error(w->L, "oakum: no room on a coroutine's stack");
    for (; lua_getstack(co, level, &d); level++) frame(w, co, &d, level);
    for (int i = 1; level == 0 && i <= top; i++) {
        lua_pushvalue(co, i);
        meet_of(w, co, (oaki_lua_edge){ .kind = OAKI_LUA_STACK, .number = i });
    }
}

static void expand(oaki_lua_walk *w, unsigned number)
{
    lua_State *L = w->L;
    w->current = number;
    oaki_lua_walk_push(w, number);
    int top = lua_gettop(L);
    switch (lua_type(L, -1)) {
    case LUA_TTABLE: table(w); break;
    case LUA_TFUNCTION: function(w); break;
    case LUA_TUSERDATA: userdata(w); break;
    case LUA_TTHREAD: thread(w); break;
    default: break;
    }
    lua_settop(L, top - 1);
}

static void expand_from(oaki_lua_walk *w, unsigned first)
{
    for (unsigned i = first; i < w->n && w->found == OAKI_LUA_NO_NUMBER; i++) expand(w, i);
}

/* ---- the whole ---- */

/* Visit the roots, those with names first, so that paths begin with a name if possible. */
static void roots(oaki_lua_walk *w)
{
    lua_State *L = w->L;
    lua_pushvalue(L, LUA_REGISTRYINDEX);
    w->current = 0;
    meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_REGISTRY });
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_INDEX, .as.i = LUA_RIDX_GLOBALS });
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_FIELD, .as.text = LUA_LOADED_TABLE });
    lua_pushthread(L);
    meet(w, (oaki_lua_edge){ .kind = OAKI_LUA_THREAD });
    lua_pushliteral(L, "");
    meet_metatable(w);
    lua_pop(L, 1);
}

static int walk(lua_State *L)
{
    oaki_lua_walk w = { .L = L, .visit = lua_touserdata(L, 1), .found = OAKI_LUA_NO_NUMBER };
    luaL_checkstack(L, 20, "oakum: a walk");
    lua_settop(L, 1);
    lua_pushnil(L);
    w.nodes_at = lua_gettop(L);
    lua_pushnil(L);
    w.hash_at = lua_gettop(L);
    lua_newtable(L);
    w.values_at = lua_gettop(L);
    more_room(&w);
    roots(&w);
    expand_from(&w, 0);
    if (w.found == OAKI_LUA_NO_NUMBER && w.running) {
        unsigned next = (unsigned)w.n;
        w.at_last = true;
        expand(&w, w.running);
        expand_from(&w, next);
    }
    int top = lua_gettop(L);
    if (w.visit->done) w.visit->done(&w, w.found, w.visit->ctx);
    if (lua_gettop(L) == top) lua_pushnil(L);
    return 1;
}

void oaki_lua_walk_all(lua_State *L, const oaki_lua_visit *v)
{
    luaL_checkstack(L, 4, "oakum: a walk");
    bool running = lua_gc(L, LUA_GCISRUNNING) == 1;
    lua_pushcfunction(L, walk);
    lua_pushlightuserdata(L, (void *)v);
    lua_gc(L, LUA_GCSTOP);
    int status = oaki_lua_call_unseen(L, 1, 1); /* a hook could start the collector, or a walk */
    if (running) lua_gc(L, LUA_GCRESTART);
    if (status != LUA_OK) lua_error(L);
}

void oaki_lua_walk_push(oaki_lua_walk *w, unsigned number)
{
    lua_rawgeti(w->L, w->values_at, (lua_Integer)number + 1);
}

lua_State *oaki_lua_walk_state(const oaki_lua_walk *w)
{
    return w->L;
}
