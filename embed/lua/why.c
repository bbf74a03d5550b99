/* why.c - finds the path to a Lua value, or to an object of Oakum's that Lua keeps alive.
 *
 * Owns: nothing. Bound: O(objects of the state); for an object of Oakum's also O(bytes of all
 * userdata). */
#include "why.h"
#include "walk.h"
#include <oakum/heap.h>

typedef struct search {
    const void *p;
    int type;         /* of the value; LUA_TNONE for an object of Oakum's */
    uintptr_t lo, hi; /* the extent of that object */
} search;

static bool points_in(const search *s, uintptr_t word)
{
    return word >= s->lo && word < s->hi;
}

static bool met(oaki_lua_walk *w, unsigned number, int type, const void *p, void *ctx)
{
    const search *s = ctx;
    lua_State *L = oaki_lua_walk_state(w);
    (void)number;
    if (s->type != LUA_TNONE) return type == s->type && p == s->p;
    if (type != LUA_TUSERDATA) return false;
    const uintptr_t *word = lua_touserdata(L, -1);
    for (size_t i = 0, n = (size_t)lua_rawlen(L, -1) / sizeof *word; i < n; i++)
        if (points_in(s, word[i])) return true;
    return false;
}

static bool plain(lua_State *L, int type, const void *p, void *ctx)
{
    const search *s = ctx;
    (void)L;
    if (s->type == LUA_TNONE) return type == LUA_TLIGHTUSERDATA && points_in(s, (uintptr_t)p);
    return type == s->type && p == s->p;
}

static void done(oaki_lua_walk *w, unsigned found, void *ctx)
{
    (void)ctx;
    if (found != OAKI_LUA_NO_NUMBER) oaki_lua_walk_path(w, found);
}

static bool push(lua_State *L, search *s)
{
    oaki_lua_visit v = { .met = met, .plain = plain, .done = done, .ctx = s };
    if (s->type == LUA_TNONE ? s->lo == 0 : s->p == NULL) {
        lua_pushnil(L);
        return false;
    }
    oaki_lua_walk_all(L, &v);
    return !lua_isnil(L, -1);
}

bool oaki_lua_why(lua_State *L, int idx)
{
    search s = { .p = lua_topointer(L, idx), .type = lua_type(L, idx) };
    return push(L, &s);
}

bool oaki_lua_why_pointer(lua_State *L, const void *p)
{
    uintptr_t lo = (uintptr_t)oak_base(p);
    search s = { .type = LUA_TNONE, .lo = lo, .hi = lo + oak_usable_size(p) };
    return push(L, &s);
}
