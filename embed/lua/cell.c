/* cell.c - cells (cell.h).
 *
 * Owns: in the registry, the state's pacing. Bound: O(1). */
#include "cell.h"
#include <oakum/heap.h>
#include <string.h>

typedef struct handle {
    oaki_lua_cell *cell;
    oaki_lua_cell **pin; /* keeps the cell alive */
} handle;

static const char pacing_key = 0;

static oaki_lua_pacing *pacing(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &pacing_key) != LUA_TUSERDATA) {
        lua_pop(L, 1);
        memset(lua_newuserdatauv(L, sizeof(oaki_lua_pacing), 0), 0, sizeof(oaki_lua_pacing));
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &pacing_key);
    }
    oaki_lua_pacing *p = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return p;
}

void *oaki_lua_cell_new(lua_State *L, size_t size, const char *type, int values)
{
    luaL_checkstack(L, 10, type);
    oaki_lua_pacing *p = pacing(L);
    handle *h = lua_newuserdatauv(L, sizeof *h, values);
    *h = (handle){ NULL, NULL };
    luaL_setmetatable(L, type);
    oaki_lua_cell *c = OAKI_LUA_ALLOC(L, (oaki_lua_cell *)oak_alloc(size));
    if (c) h->pin = OAKI_LUA_ALLOC(L, oak_alloc_pinned(sizeof *h->pin));
    if (!h->pin) oaki_lua_no_memory(L);
    *h->pin = h->cell = c;
    c->pacing = p;
    return c;
}

void *oaki_lua_cell_or_null(lua_State *L, int idx, const char *type)
{
    return ((const handle *)luaL_checkudata(L, idx, type))->cell;
}

void *oaki_lua_cell_at(lua_State *L, int idx, const char *type)
{
    void *cell = oaki_lua_cell_or_null(L, idx, type);
    if (OAKI_LUA_UNLIKELY(!cell)) luaL_error(L, "oakum: the %s is closed", strchr(type, '.') + 1);
    return cell;
}

void oaki_lua_cell_close(lua_State *L, int idx, const char *type)
{
    handle *h = luaL_checkudata(L, idx, type);
    oaki_lua_cell *c = h->cell;
    oak_free(h->pin);
    *h = (handle){ NULL, NULL };
    oaki_lua_cell_uncharge(c, c->charged);
    c->pacing = NULL;
}

int oaki_lua_cell_failed(lua_State *L, const char *type)
{
    oaki_lua_cell_close(L, -1, type);
    return oaki_lua_no_memory(L);
}

void oaki_lua_cell_charge(lua_State *L, oaki_lua_cell *c, size_t bytes)
{
    if (!c->pacing) return;
    c->charged += bytes;
    oaki_lua_pacing_add(L, c->pacing, bytes);
}

void oaki_lua_cell_uncharge(oaki_lua_cell *c, size_t bytes)
{
    bytes = OAKI_LUA_MIN(bytes, c->charged);
    if (bytes == 0) return;
    c->charged -= bytes;
    oaki_lua_pacing_sub(c->pacing, bytes);
}

void oaki_lua_cell_type(lua_State *L, const char *type, const luaL_Reg *functions)
{
    luaL_newmetatable(L, type);
    luaL_setfuncs(L, functions, 0);
}
