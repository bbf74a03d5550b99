/* weakmap.c - oakum.weakmap: maps with weak keys, weak values or both, without long pauses.
 *
 * The pairs are in weak tables of Lua's, with up to 256 pairs each (anchor.h). So Lua's collector
 * decides which are alive, ephemerons included. An oak_map has the chunk of each key. Once a pair
 * is dead, its entry is treated as absent. It is removed when its chunk is swept: each TURN
 * operations, one chunk is swept. A new object at the address of a dead one takes over its entry.
 *
 * Owns: its cell. Bound: an operation is O(1), except when a chunk's table is rebuilt by Lua or
 * swept: then it is O(256). */
#include "cell.h"
#include "structs.h"
#include "value.h"
#include <oakum/heap.h>
#include <string.h>

#define ENTRY_BYTES 120
#define TURN 64

typedef struct weakmap {
    oaki_lua_cell cell;
    oak_map *map;         /* from keys to anchors */
    oaki_lua_key **key;   /* of each chunk's slots; type 0: the slot is free */
    size_t nkey;
    uint32_t turn;        /* the next chunk to sweep */
    unsigned operations;
} weakmap;

static const char mode_k = 0, mode_v = 0, mode_kv = 0;

static const oak_map_type weak_type = {
    .key = OAK_KEY_CUSTOM,
    .flags = OAK_MAP_SCAN_KEY,
    .key_size = sizeof(oaki_lua_key),
    .value_size = sizeof(uint64_t),
    .hash = oaki_lua_key_hash,
    .equal = oaki_lua_key_equal,
    .name = OAKI_LUA_WEAKMAP,
};

static oaki_lua_key *key_of(const weakmap *m, uint32_t anchor)
{
    return &m->key[(anchor - 1) / OAKI_LUA_CHUNK][(anchor - 1) % OAKI_LUA_CHUNK];
}

/* ---- entries ---- */

static uint32_t find(const weakmap *m, const oaki_lua_key *k)
{
    const uint64_t *slot = oak_map_get(m->map, k);
    return slot ? (uint32_t)*slot : 0;
}

static void forget(lua_State *L, int owner, weakmap *m, uint32_t anchor)
{
    oaki_lua_key *k = key_of(m, anchor);
    (void)oak_map_delete(m->map, k);
    oaki_lua_cell_uncharge(&m->cell, ENTRY_BYTES + k->len);
    memset(k, 0, sizeof *k);
    oaki_lua_anchor_drop(L, owner, &m->cell.anchors, anchor);
}

/* Sweep a chunk: remove its dead entries. Runs no Lua code, and allocates nothing. A chunk may have
 * a table but no room for keys: while it is reserved, or if memory was short. Then it has no pairs.
 */
static void look_through(lua_State *L, int owner, weakmap *m, uint32_t chunk)
{
    bool alive[OAKI_LUA_CHUNK] = { false };
    uint32_t first = chunk * OAKI_LUA_CHUNK + 1;
    oaki_lua_key k;
    if (chunk >= m->nkey || !m->cell.anchors.chunk[chunk]->made) return;
    oaki_lua_anchor_push_chunk(L, owner, first);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        uint32_t a = oaki_lua_key_at(L, -1, &k) ? find(m, &k) : 0;
        if (a >= first && a < first + OAKI_LUA_CHUNK) alive[a - first] = true;
    }
    lua_pop(L, 1);
    for (uint32_t i = 0; i < OAKI_LUA_CHUNK; i++)
        if (!alive[i] && m->key[chunk][i].type != 0) forget(L, owner, m, first + i);
}

static void take_turn(lua_State *L, int owner, weakmap *m)
{
    if (++m->operations % TURN != 0 || m->cell.anchors.nchunks == 0) return;
    if (m->turn >= m->cell.anchors.nchunks) m->turn = 0;
    look_through(L, owner, m, m->turn++);
}

static weakmap *weakmap_at(lua_State *L)
{
    return oaki_lua_cell_at(L, 1, OAKI_LUA_WEAKMAP);
}

/* ---- operations ---- */

static int get(lua_State *L)
{
    weakmap *m = weakmap_at(L);
    oaki_lua_key k;
    lua_settop(L, 2);
    take_turn(L, 1, m);
    uint32_t a = oaki_lua_key_at(L, 2, &k) ? find(m, &k) : 0;
    if (!a) return 0;
    oaki_lua_anchor_push_chunk(L, 1, a);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

/* Make room for the keys of all chunks. */
static void reserve(lua_State *L, weakmap *m)
{
    oaki_lua_anchors_reserve(L, 1, &m->cell.anchors);
    size_t n = m->cell.anchors.nchunks;
    if (OAKI_LUA_LIKELY(n == m->nkey)) return;
    size_t bytes = m->cell.anchors.room * sizeof *m->key;
    oaki_lua_key **more = OAKI_LUA_ALLOC(L, oak_realloc(m->key, bytes));
    if (more) m->key = more;
    for (; more && m->nkey < n; m->nkey++) {
        m->key[m->nkey] = OAKI_LUA_ALLOC(L, oak_alloc(OAKI_LUA_CHUNK * sizeof(oaki_lua_key)));
        if (!m->key[m->nkey]) break;
    }
    if (m->nkey < n) oaki_lua_no_memory(L);
}

/* Store the pair of the values at 2 and 3; the latter may be nil. */
static void put_pair(lua_State *L, uint32_t anchor)
{
    oaki_lua_anchor_push_chunk(L, 1, anchor);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static void insert(lua_State *L, weakmap *m, oaki_lua_key *k)
{
    oaki_lua_key_keep(L, k);
    uint32_t a = oaki_lua_anchor_take(&m->cell.anchors);
    uint64_t *slot = OAKI_LUA_ALLOC(L, (uint64_t *)oak_map_put(m->map, k));
    if (!slot) {
        oaki_lua_anchor_drop(L, 1, &m->cell.anchors, a);
        oaki_lua_no_memory(L);
        return;
    }
    *slot = a;
    *key_of(m, a) = *k;
    put_pair(L, a); /* if it fails, the entry is dead */
    oaki_lua_cell_charge(L, &m->cell, ENTRY_BYTES + k->len);
}

static int set(lua_State *L)
{
    weakmap *m = weakmap_at(L);
    lua_settop(L, 3);
    oaki_lua_key k = oaki_lua_check_key(L, 2);
    take_turn(L, 1, m);
    if (lua_isnil(L, 3)) {
        uint32_t a = find(m, &k);
        if (a) {
            put_pair(L, a);
            forget(L, 1, m, a);
        }
        return 0;
    }
    reserve(L, m);
    uint32_t a = find(m, &k);
    if (a) put_pair(L, a);
    else insert(L, m, &k);
    return 0;
}

static int length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)oak_map_len(weakmap_at(L)->map));
    return 1;
}

/* ---- pairs: the keys of one chunk at a time are kept alive; dead entries are skipped ---- */

typedef struct walk {
    uint32_t chunk;
    lua_Integer at, n; /* position and number in the keys of the previous chunk */
} walk;

static bool next_chunk(lua_State *L, const weakmap *m, walk *w)
{
    while (w->chunk < m->cell.anchors.nchunks) {
        uint32_t c = w->chunk++;
        if (!m->cell.anchors.chunk[c]->made) continue;
        lua_createtable(L, OAKI_LUA_CHUNK, 0); /* may run finalizers */
        if (!oaki_lua_cell_or_null(L, 1, OAKI_LUA_WEAKMAP)) return false;
        w->at = w->n = 0;
        if (c < m->cell.anchors.nchunks && m->cell.anchors.chunk[c]->made) {
            oaki_lua_anchor_push_chunk(L, 1, c * OAKI_LUA_CHUNK + 1);
            lua_pushnil(L);
            while (lua_next(L, -2)) {
                lua_pop(L, 1);
                lua_pushvalue(L, -1);
                lua_rawseti(L, -4, ++w->n);
            }
            lua_pop(L, 1);
        }
        lua_setiuservalue(L, lua_upvalueindex(1), 1);
        if (w->n > 0) return true;
    }
    return false;
}

/* The function that the loop calls, with (map, last key); its upvalue has the position. */
static int next(lua_State *L)
{
    walk *w = lua_touserdata(L, lua_upvalueindex(1));
    lua_settop(L, 1);
    for (;;) {
        const weakmap *m = weakmap_at(L);
        if (w->at == w->n && !next_chunk(L, m, w)) return 0;
        lua_getiuservalue(L, lua_upvalueindex(1), 1);
        lua_rawgeti(L, -1, ++w->at);
        lua_replace(L, 2);
        lua_settop(L, 2);
        lua_pushcfunction(L, get);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 2);
        lua_call(L, 2, 1);
        if (!lua_isnil(L, -1)) return 2;
        lua_settop(L, 1);
    }
}

static int pairs(lua_State *L)
{
    (void)weakmap_at(L);
    memset(lua_newuserdatauv(L, sizeof(walk), 1), 0, sizeof(walk));
    lua_pushcclosure(L, next, 1);
    lua_pushvalue(L, 1);
    return 2;
}

/* ---- the module's functions ---- */

int oaki_lua_weakmap_clear(lua_State *L)
{
    weakmap *m = weakmap_at(L);
    oak_map_clear(m->map);
    oaki_lua_anchors_clear(L, 1, &m->cell.anchors);
    oak_free(m->key);
    m->key = NULL;
    m->nkey = 0;
    oaki_lua_cell_uncharge(&m->cell, m->cell.charged);
    return 0;
}

int oaki_lua_weakmap_close(lua_State *L)
{
    if (!oaki_lua_cell_or_null(L, 1, OAKI_LUA_WEAKMAP)) return 0;
    oaki_lua_weakmap_clear(L);
    oaki_lua_cell_close(L, 1, OAKI_LUA_WEAKMAP);
    return 0;
}

/* Sweeps all chunks first, so the figures are exact. */
int oaki_lua_weakmap_stats(lua_State *L)
{
    weakmap *m = weakmap_at(L);
    size_t before = oak_map_len(m->map);
    for (uint32_t i = 0; i < m->cell.anchors.nchunks; i++) look_through(L, 1, m, i);
    lua_newtable(L);
    lua_pushinteger(L, (lua_Integer)oak_map_len(m->map));
    lua_setfield(L, -2, "len");
    lua_pushinteger(L, (lua_Integer)(before - oak_map_len(m->map)));
    lua_setfield(L, -2, "removed");
    return 1;
}

static int describe(lua_State *L)
{
    const weakmap *m = oaki_lua_cell_or_null(L, 1, OAKI_LUA_WEAKMAP);
    if (m) lua_pushfstring(L, "%s: %p (%I entries)", OAKI_LUA_WEAKMAP, lua_topointer(L, 1),
                           (lua_Integer)oak_map_len(m->map));
    else lua_pushfstring(L, "%s (closed)", OAKI_LUA_WEAKMAP);
    return 1;
}

/* oakum.weakmap("k" | "v" | "kv") */
static int new_weakmap(lua_State *L)
{
    static const char *const modes[] = { "k", "v", "kv", "vk", NULL };
    static const void *const keys[] = { &mode_k, &mode_v, &mode_kv, &mode_kv };
    int mode = luaL_checkoption(L, 1, NULL, modes);
    weakmap *m = oaki_lua_cell_new(L, sizeof *m, OAKI_LUA_WEAKMAP, 1);
    m->cell.anchors.pairs = true;
    m->cell.anchors.metatable = keys[mode];
    m->map = OAKI_LUA_ALLOC(L, oak_map_new(&weak_type, 0));
    return m->map ? 1 : oaki_lua_cell_failed(L, OAKI_LUA_WEAKMAP);
}

static void open_mode(lua_State *L, const void *key, const char *mode)
{
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void oaki_lua_open_weakmap(lua_State *L)
{
    static const luaL_Reg meta[] = {
        { "__index", get },
        { "__newindex", set },
        { "__len", length },
        { "__pairs", pairs },
        { "__gc", oaki_lua_weakmap_close },
        { "__close", oaki_lua_weakmap_close },
        { "__tostring", describe },
        { NULL, NULL },
    };
    open_mode(L, &mode_k, "k");
    open_mode(L, &mode_v, "v");
    open_mode(L, &mode_kv, "kv");
    oaki_lua_cell_type(L, OAKI_LUA_WEAKMAP, meta);
    lua_pop(L, 1);
    lua_pushcfunction(L, new_weakmap);
    lua_setfield(L, -2, "weakmap");
}
