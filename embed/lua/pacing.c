/* pacing.c - reports external bytes to Lua's collector (pacing.h).
 *
 * Owns: nothing. Bound: a call is O(1), and may make a step of Lua's collector. */
#include "pacing.h"

static size_t lua_bytes(lua_State *L)
{
    return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
}

/* Report the due bytes. lua_gc returns -1 while Lua runs finalizers. */
static void tell(lua_State *L, oaki_lua_pacing *p)
{
    if (lua_gc(L, LUA_GCISRUNNING) != 1) return;
    double own = (double)lua_bytes(L), outside = (double)p->external;
    p->due += (double)p->untold * (own / (own + outside));
    p->untold = 0;
    if (p->due < 1024) return;
    int kib = p->due / 1024 < 1 << 20 ? (int)(p->due / 1024) : 1 << 20;
    p->due = 0;
    lua_gc(L, LUA_GCSTEP, kib);
}

void oaki_lua_pacing_add(lua_State *L, oaki_lua_pacing *p, size_t bytes)
{
    p->external += bytes;
    p->untold += bytes;
    if (p->untold >= OAKI_LUA_PACING_STEP) tell(L, p);
}

void oaki_lua_pacing_sub(oaki_lua_pacing *p, size_t bytes)
{
    p->external -= OAKI_LUA_MIN(bytes, p->external);
    p->untold -= OAKI_LUA_MIN(bytes, p->untold);
}
