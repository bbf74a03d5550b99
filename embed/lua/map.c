/* map.c - oakum.map: a map of Lua values that grows and shrinks in small steps.
 *
 * It is an oak_map from keys to values (value.h); their objects and strings are in anchors. So the
 * map contains no references that Oakum's collector needs. A key that is a string has the address
 * of Lua's bytes, which don't move. Calls that may raise an error or run Lua code come before or
 * after a change of the map, never in the middle.
 *
 * Owns: its cell. Bound: an operation is O(1), as the map's, and uses at most two anchors. */
#include "cell.h"
#include "structs.h"
#include "value.h"
#include <errno.h>
#include <oakum/map.h>
#include <string.h>

#define ENTRY_BYTES 72 /* about the size of an entry */

typedef struct map {
    oaki_lua_cell cell;
    oak_map *map;
} map;

static const oak_map_type map_type = {
    .key = OAK_KEY_CUSTOM,
    .key_size = sizeof(oaki_lua_key),
    .value_size = sizeof(oaki_lua_value),
    .value_offset = sizeof(oaki_lua_key),
    .entry_size = sizeof(oaki_lua_key) + sizeof(oaki_lua_value),
    .hash = oaki_lua_key_hash,
    .equal = oaki_lua_key_equal,
    .name = OAKI_LUA_MAP,
};

static map *map_at(lua_State *L)
{
    return oaki_lua_cell_at(L, 1, OAKI_LUA_MAP);
}

/* ---- reading ---- */

static void push_value(lua_State *L, int owner, const oaki_lua_value *v)
{
    if (v->anchor) oaki_lua_anchor_get(L, owner, v->anchor);
    else oaki_lua_push_value(L, v);
}

static int get(lua_State *L)
{
    map *m = map_at(L);
    oaki_lua_key k;
    const oaki_lua_value *v = oaki_lua_key_at(L, 2, &k) ? oak_map_get(m->map, &k) : NULL;
    if (v) push_value(L, 1, v);
    else lua_pushnil(L);
    return 1;
}

static int length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)oak_map_len(map_at(L)->map));
    return 1;
}

ptrdiff_t oaki_lua_map_length(lua_State *L, int idx)
{
    map *const *m = luaL_testudata(L, idx, OAKI_LUA_MAP);
    return m && *m ? (ptrdiff_t)oak_map_len((*m)->map) : -1;
}

/* Pushing may run finalizers, which may change the map. So an entry is copied first. */
static int next(lua_State *L, int owner, oak_map_iter *it)
{
    (void)oaki_lua_cell_at(L, owner, OAKI_LUA_MAP);
    if (!oak_map_iter_next(it)) {
        if (errno == ENOMEM) return oaki_lua_no_memory(L);
        return 0;
    }
    oaki_lua_key k = *(const oaki_lua_key *)it->key;
    oaki_lua_value v = *(const oaki_lua_value *)it->value;
    if (v.anchor) oaki_lua_anchor_get(L, owner, v.anchor);
    if (k.anchor) oaki_lua_anchor_get(L, owner, k.anchor);
    else oaki_lua_push_key(L, &k);
    if (v.anchor) lua_insert(L, -2);
    else oaki_lua_push_value(L, &v);
    return 2;
}

static int pairs(lua_State *L)
{
    return oaki_lua_iterator_new(L, map_at(L)->map, next);
}

/* ---- writing ---- */

static void replace(lua_State *L, map *m, oaki_lua_value *slot, oaki_lua_value v, bool anchored)
{
    if (anchored) v.anchor = slot->anchor ? slot->anchor : oaki_lua_anchor_take(&m->cell.anchors);
    else if (slot->anchor) oaki_lua_anchor_drop(L, 1, &m->cell.anchors, slot->anchor);
    *slot = v;
    if (!anchored) return;
    lua_pushvalue(L, 3);
    oaki_lua_anchor_set(L, 1, v.anchor);
}

static uint32_t anchor(lua_State *L, map *m, int idx)
{
    uint32_t a = oaki_lua_anchor_take(&m->cell.anchors);
    lua_pushvalue(L, idx);
    oaki_lua_anchor_set(L, 1, a);
    return a;
}

static void insert(lua_State *L, map *m, oaki_lua_key *k, oaki_lua_value v, bool anchored)
{
    if (anchored) v.anchor = anchor(L, m, 3);
    if (oaki_lua_needs_anchor((int)k->type)) k->anchor = anchor(L, m, 2);
    oaki_lua_value *slot = OAKI_LUA_ALLOC(L, (oaki_lua_value *)oak_map_put(m->map, k));
    if (slot) {
        *slot = v;
        return;
    }
    if (v.anchor) oaki_lua_anchor_drop(L, 1, &m->cell.anchors, v.anchor);
    if (k->anchor) oaki_lua_anchor_drop(L, 1, &m->cell.anchors, k->anchor);
    oaki_lua_no_memory(L);
}

/* Remove the key's entry, with its anchors. */
static bool erase(lua_State *L, map *m, const oaki_lua_key *k)
{
    const oaki_lua_value *v = oak_map_get(m->map, k);
    if (!v) return false;
    const oaki_lua_key *stored = (const void *)((const char *)v - sizeof *stored);
    uint32_t of_value = v->anchor, of_key = stored->anchor;
    (void)oak_map_delete(m->map, k);
    if (of_value) oaki_lua_anchor_drop(L, 1, &m->cell.anchors, of_value);
    if (of_key) oaki_lua_anchor_drop(L, 1, &m->cell.anchors, of_key);
    oaki_lua_cell_uncharge(&m->cell, ENTRY_BYTES);
    return true;
}

static void put(lua_State *L, map *m)
{
    oaki_lua_key k = oaki_lua_check_key(L, 2);
    bool anchored = oaki_lua_needs_anchor(lua_type(L, 3));
    oaki_lua_anchors_reserve(L, 1, &m->cell.anchors);
    oaki_lua_value *slot = oak_map_get(m->map, &k);
    if (slot) {
        replace(L, m, slot, oaki_lua_value_at(L, 3), anchored);
        return;
    }
    insert(L, m, &k, oaki_lua_value_at(L, 3), anchored);
    oaki_lua_cell_charge(L, &m->cell, ENTRY_BYTES);
}

static int set(lua_State *L)
{
    map *m = map_at(L);
    lua_settop(L, 3);
    if (!lua_isnil(L, 3)) {
        put(L, m);
    } else {
        oaki_lua_key k = oaki_lua_check_key(L, 2);
        (void)erase(L, m, &k);
    }
    return 0;
}

/* ---- the module's functions ---- */

int oaki_lua_map_clear(lua_State *L)
{
    map *m = map_at(L);
    oak_map_clear(m->map);
    oaki_lua_anchors_clear(L, 1, &m->cell.anchors);
    oaki_lua_cell_uncharge(&m->cell, m->cell.charged);
    return 0;
}

int oaki_lua_map_close(lua_State *L)
{
    if (!oaki_lua_cell_or_null(L, 1, OAKI_LUA_MAP)) return 0;
    oaki_lua_map_clear(L);
    oaki_lua_cell_close(L, 1, OAKI_LUA_MAP);
    return 0;
}

static void field(lua_State *L, const char *name, lua_Number value)
{
    lua_Integer i;
    if (lua_numbertointeger(value, &i) && (lua_Number)i == value) lua_pushinteger(L, i);
    else lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

int oaki_lua_map_stats(lua_State *L)
{
    map *m = map_at(L);
    oak_map_stats s;
    oak_map_stats_read(m->map, &s);
    lua_newtable(L);
    field(L, "len", (lua_Number)s.len);
    field(L, "load", s.load);
    field(L, "bytes", (lua_Number)(s.array_bytes + s.old_array_bytes));
    field(L, "evacuated", s.evacuated);
    field(L, "mean_probe", s.mean_probe);
    field(L, "longest_probe", (lua_Number)s.longest_probe);
    field(L, "growths", (lua_Number)s.growths);
    field(L, "shrinks", (lua_Number)s.shrinks);
    field(L, "anchors", (lua_Number)m->cell.anchors.used);
    lua_pushboolean(L, s.resizing);
    lua_setfield(L, -2, "resizing");
    return 1;
}

static int describe(lua_State *L)
{
    const map *m = oaki_lua_cell_or_null(L, 1, OAKI_LUA_MAP);
    if (m) lua_pushfstring(L, "%s: %p (%I entries)", OAKI_LUA_MAP, lua_topointer(L, 1),
                           (lua_Integer)oak_map_len(m->map));
    else lua_pushfstring(L, "%s (closed)", OAKI_LUA_MAP);
    return 1;
}

/* oakum.map(), oakum.map(entries), oakum.map(table) */
static int new_map(lua_State *L)
{
    bool filled = lua_istable(L, 1);
    lua_Integer hint = filled ? 0 : luaL_optinteger(L, 1, 0);
    luaL_argcheck(L, hint >= 0, 1, "a number of entries, or a table");
    lua_settop(L, 1);
    map *m = oaki_lua_cell_new(L, sizeof *m, OAKI_LUA_MAP, 1);
    m->map = OAKI_LUA_ALLOC(L, oak_map_new(&map_type, (size_t)hint));
    if (!m->map) return oaki_lua_cell_failed(L, OAKI_LUA_MAP);
    if (!filled) return 1;
    lua_insert(L, 1); /* stack: the map, the table */
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pushcfunction(L, set);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -4);
        lua_pushvalue(L, -4);
        lua_call(L, 3, 0);
        lua_pop(L, 1);
    }
    lua_settop(L, 1);
    return 1;
}

void oaki_lua_open_map(lua_State *L)
{
    static const luaL_Reg meta[] = {
        { "__index", get },         { "__newindex", set },
        { "__len", length },        { "__pairs", pairs },
        { "__gc", oaki_lua_map_close }, { "__close", oaki_lua_map_close },
        { "__tostring", describe }, { NULL, NULL },
    };
    oaki_lua_cell_type(L, OAKI_LUA_MAP, meta);
    lua_pop(L, 1);
    lua_pushcfunction(L, new_map);
    lua_setfield(L, -2, "map");
}
