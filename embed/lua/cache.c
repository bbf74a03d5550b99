/* cache.c - oakum.cache: an oak_cache of Lua values.
 *
 * The cache holds records, which are objects of Oakum's; their Lua values are in anchors. Evicted
 * records go into a list. When the operation is over, the script's function is called for each of
 * them. So that function may use the cache, and raise errors.
 *
 * Owns: its cell, and the cells of the lists for pairs(), whose first user value is the cache. User
 *   value 2 is the script's function. Bound: O(1), and O(1) for each evicted record. */
#include "cell.h"
#include "structs.h"
#include "value.h"
#include <errno.h>
#include <math.h>
#include <oakum/cache.h>
#include <oakum/heap.h>
#include <string.h>

#define ENTRY_BYTES 160
#define DEFAULT_BYTES 64 /* of an entry without its strings, if the script gives no size */

typedef struct record {
    struct record *next; /* in the list of evicted records */
    oaki_lua_key key;    /* its anchor is valid until the script has been notified */
    oaki_lua_value value;
    oak_cache_reason why;
    bool out;
} record;

typedef struct cache {
    oaki_lua_cell cell;
    oak_cache *cache;
    record *out, **last_out;
} cache;

static const oak_map_type key_type = {
    .key = OAK_KEY_CUSTOM,
    .flags = OAK_MAP_SCAN_KEY,
    .key_size = sizeof(oaki_lua_key),
    .hash = oaki_lua_key_hash,
    .equal = oaki_lua_key_equal,
};

static cache *cache_at(lua_State *L)
{
    return oaki_lua_cell_at(L, 1, OAKI_LUA_CACHE);
}

/* ---- evicted records ---- */

static void evicted(oak_cache *oc, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    cache *c = ctx;
    record *r = value;
    (void)oc, (void)key;
    r->why = why;
    r->out = true;
    r->next = NULL;
    if (c->out) *c->last_out = r;
    else c->out = r;
    c->last_out = &r->next;
}

static void push_record_key(lua_State *L, const record *r)
{
    if (r->key.anchor) oaki_lua_anchor_get(L, 1, r->key.anchor);
    else oaki_lua_push_key(L, &r->key);
}

static void push_record_value(lua_State *L, const record *r)
{
    if (r->value.anchor) oaki_lua_anchor_get(L, 1, r->value.anchor);
    else oaki_lua_push_value(L, &r->value);
}

static void drop_anchors(lua_State *L, cache *c, record *r)
{
    if (r->key.anchor) oaki_lua_anchor_drop(L, 1, &c->cell.anchors, r->key.anchor);
    if (r->value.anchor) oaki_lua_anchor_drop(L, 1, &c->cell.anchors, r->value.anchor);
    r->key.anchor = r->value.anchor = 0;
}

/* Notify the script of evicted records, one at a time, as it may use or close the cache. Finalizers
 * may, too, and pushing a string may run them. So the anchors are dropped before. */
static void tell(lua_State *L)
{
    static const char *const reason[] = { "capacity", "expired", "replaced", "deleted", "cleared" };
    cache *c;
    while ((c = oaki_lua_cell_or_null(L, 1, OAKI_LUA_CACHE)) != NULL && c->out) {
        record *r = c->out;
        c->out = r->next;
        bool told = lua_getiuservalue(L, 1, 2) == LUA_TFUNCTION, anchored = r->key.anchor != 0;
        if (told && anchored) push_record_key(L, r);
        if (told) push_record_value(L, r);
        drop_anchors(L, c, r);
        oaki_lua_cell_uncharge(&c->cell, ENTRY_BYTES + r->key.len);
        if (told) {
            if (!anchored) {
                oaki_lua_push_key(L, &r->key);
                lua_insert(L, -2);
            }
            lua_pushstring(L, reason[r->why]);
            lua_call(L, 3, 0);
        } else {
            lua_pop(L, 1);
        }
    }
}

/* ---- operations ---- */

static int look(lua_State *L, void *(*find)(oak_cache *c, const void *key))
{
    cache *c = cache_at(L);
    oaki_lua_key k;
    const record *r = oaki_lua_key_at(L, 2, &k) ? find(c->cache, &k) : NULL;
    if (r) push_record_value(L, r);
    else lua_pushnil(L);
    tell(L);
    return 1;
}

static int get(lua_State *L)
{
    lua_settop(L, 2);
    return look(L, oak_cache_get);
}

static int peek(lua_State *L)
{
    lua_settop(L, 2);
    return look(L, oak_cache_peek);
}

/* Seconds in nanoseconds; a number that is too large stands for ever. */
static uint64_t nanoseconds(lua_State *L, lua_Number s)
{
    if (!(s > 0)) luaL_error(L, "oakum: a time to live must be positive");
    return s < 1e9 ? (uint64_t)ceil(s * 1e9) : OAK_CACHE_FOREVER;
}

static size_t string_bytes(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TSTRING ? (size_t)lua_rawlen(L, idx) : 0;
}

static void entry_options(lua_State *L, size_t *bytes, uint64_t *ttl)
{
    *bytes = DEFAULT_BYTES + string_bytes(L, 2) + string_bytes(L, 3);
    *ttl = 0;
    if (lua_isnoneornil(L, 4)) return;
    luaL_checktype(L, 4, LUA_TTABLE);
    if (lua_getfield(L, 4, "bytes") != LUA_TNIL) {
        lua_Integer n = luaL_checkinteger(L, -1);
        if (n <= 0) luaL_error(L, "oakum: an entry's bytes must be positive");
        *bytes = (size_t)n;
    }
    if (lua_getfield(L, 4, "ttl") != LUA_TNIL) *ttl = nanoseconds(L, luaL_checknumber(L, -1));
    lua_pop(L, 2);
}

static uint32_t anchor(lua_State *L, cache *c, int idx, int type)
{
    if (!oaki_lua_needs_anchor(type)) return 0;
    uint32_t a = oaki_lua_anchor_take(&c->cell.anchors);
    lua_pushvalue(L, idx);
    oaki_lua_anchor_set(L, 1, a);
    return a;
}

static record *make_record(lua_State *L, cache *c, oaki_lua_key *k)
{
    oaki_lua_key_keep(L, k);
    record *r = OAKI_LUA_ALLOC(L, (record *)oak_alloc(sizeof *r));
    if (!r) oaki_lua_no_memory(L);
    r->value = oaki_lua_value_at(L, 3);
    r->value.anchor = anchor(L, c, 3, lua_type(L, 3));
    if (k->type != LUA_TSTRING) k->anchor = anchor(L, c, 2, (int)k->type);
    r->key = *k;
    return r;
}

static int add_entry(lua_State *L, cache *c, record *r, size_t bytes, uint64_t ttl)
{
    oaki_lua_alloc_begin(L);
    int status = oak_cache_put_ex(c->cache, &r->key, r, bytes, ttl);
    oaki_lua_alloc_end();
    return status;
}

/* c:put(key, value [, { ttl = seconds, bytes = n }]): true, or false if it is too large */
static int put(lua_State *L)
{
    (void)cache_at(L);
    size_t bytes;
    uint64_t ttl;
    lua_settop(L, 4);
    oaki_lua_key k = oaki_lua_check_key(L, 2);
    if (lua_isnil(L, 3)) luaL_error(L, "oakum: a cache holds no nil: use delete");
    entry_options(L, &bytes, &ttl);
    cache *c = cache_at(L); /* metamethods of the options may have closed it */
    oaki_lua_anchors_reserve(L, 1, &c->cell.anchors);
    c = cache_at(L); /* finalizers may have run */
    record *r = make_record(L, c, &k);
    int status = add_entry(L, c, r, bytes, ttl), error = errno;
    if (status != 0 && error != E2BIG) {
        oaki_lua_make_room(L);
        status = add_entry(L, c, r, bytes, ttl), error = errno;
    }
    if (status == 0) c->cell.charged += ENTRY_BYTES + r->key.len;
    else drop_anchors(L, c, r);
    tell(L);
    if (status != 0 && error != E2BIG) oaki_lua_no_memory(L);
    lua_pushboolean(L, status == 0);
    if (status == 0 && (c = oaki_lua_cell_or_null(L, 1, OAKI_LUA_CACHE)) != NULL)
        oaki_lua_pacing_add(L, c->cell.pacing, ENTRY_BYTES + k.len);
    return 1;
}

static int delete(lua_State *L)
{
    cache *c = cache_at(L);
    oaki_lua_key k;
    lua_settop(L, 2);
    bool was = oaki_lua_key_at(L, 2, &k) && oak_cache_delete(c->cache, &k);
    tell(L);
    lua_pushboolean(L, was);
    return 1;
}

static int clear(lua_State *L)
{
    oak_cache_clear(cache_at(L)->cache);
    tell(L);
    return 0;
}

/* c:purge([entries]): true if more entries are due */
static int purge(lua_State *L)
{
    cache *c = cache_at(L);
    lua_Integer budget = luaL_optinteger(L, 2, 1000);
    luaL_argcheck(L, budget > 0, 2, "a number of entries");
    bool more = oak_cache_purge_expired(c->cache, (size_t)budget);
    tell(L);
    lua_pushboolean(L, more);
    return 1;
}

static size_t limit_field(lua_State *L, int table, const char *name)
{
    lua_Integer n = 0;
    if (lua_getfield(L, table, name) != LUA_TNIL) {
        n = luaL_checkinteger(L, -1);
        if (n <= 0) luaL_error(L, "oakum: %s must be positive", name);
    }
    lua_pop(L, 1);
    return (size_t)n;
}

/* c:limit{ entries = n, bytes = n } */
static int limit(lua_State *L)
{
    (void)cache_at(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t entries = limit_field(L, 2, "entries"), bytes = limit_field(L, 2, "bytes");
    if (oak_cache_set_limit(cache_at(L)->cache, entries, bytes) != 0)
        luaL_error(L, "oakum: a cache must be bounded: by entries, bytes or ttl");
    tell(L);
    return 0;
}

static int stats(lua_State *L)
{
    oak_cache_stats s;
    oak_cache_stats_read(cache_at(L)->cache, &s);
    const struct { const char *name; uint64_t value; } all[] = {
        { "entries", s.entries }, { "bytes", s.bytes },         { "hits", s.hits },
        { "misses", s.misses },   { "evictions", s.evictions }, { "expirations", s.expirations },
    };
    lua_newtable(L);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        lua_pushinteger(L, (lua_Integer)all[i].value);
        lua_setfield(L, -2, all[i].name);
    }
    return 1;
}

static int length(lua_State *L)
{
    oak_cache_stats s;
    oak_cache_stats_read(cache_at(L)->cache, &s);
    lua_pushinteger(L, (lua_Integer)s.entries);
    return 1;
}

/* ---- pairs: the entries at the time of the call, the most recently used first ---- */

typedef struct list {
    oaki_lua_cell cell;
    record **record;
    size_t at, n, room;
} list;

static int close_list(lua_State *L)
{
    const list *l = oaki_lua_cell_or_null(L, 1, OAKI_LUA_LIST);
    if (l) oaki_lua_cell_close(L, 1, OAKI_LUA_LIST);
    return 0;
}

static bool add(const void *key, void *value, void *ctx)
{
    list *l = ctx;
    (void)key;
    if (l->n < l->room) l->record[l->n++] = value;
    return l->n < l->room;
}

/* The next entry of the list's own cache; the arguments are ignored. */
static int next(lua_State *L)
{
    list *l = oaki_lua_cell_or_null(L, lua_upvalueindex(1), OAKI_LUA_LIST);
    lua_settop(L, 0);
    lua_getiuservalue(L, lua_upvalueindex(1), 1);
    (void)cache_at(L);
    while (l && l->at < l->n) {
        const record *r = l->record[l->at++];
        if (r->out) continue;
        push_record_value(L, r);
        push_record_key(L, r);
        lua_insert(L, -2);
        return 2;
    }
    return 0;
}

static int pairs(lua_State *L)
{
    cache *c = cache_at(L);
    oak_cache_stats s;
    list *l = oaki_lua_cell_new(L, sizeof *l, OAKI_LUA_LIST, 1);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    oak_cache_stats_read(c->cache, &s);
    l->room = s.entries;
    size_t bytes = (s.entries + 1) * sizeof *l->record;
    l->record = OAKI_LUA_ALLOC(L, oak_alloc(bytes));
    if (!l->record) return oaki_lua_no_memory(L);
    if (l->room > 0) oak_cache_each(c->cache, add, l);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, next, 1);
    lua_insert(L, -2);
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    lua_pushnil(L);
    lua_insert(L, -2);
    oaki_lua_cell_charge(L, &l->cell, bytes);
    return 4;
}

/* ---- making and closing ---- */

/* Close the cache. The script is not notified of the entries: it closes the cache itself, or no
 * longer has it. */
static int close(lua_State *L)
{
    cache *c = oaki_lua_cell_or_null(L, 1, OAKI_LUA_CACHE);
    if (!c) return 0;
    oak_cache_clear(c->cache);
    c->out = NULL;
    oaki_lua_anchors_clear(L, 1, &c->cell.anchors);
    oaki_lua_cell_close(L, 1, OAKI_LUA_CACHE);
    return 0;
}

static int describe(lua_State *L)
{
    bool open = oaki_lua_cell_or_null(L, 1, OAKI_LUA_CACHE) != NULL;
    if (open) lua_pushfstring(L, "%s: %p", OAKI_LUA_CACHE, lua_topointer(L, 1));
    else lua_pushfstring(L, "%s (closed)", OAKI_LUA_CACHE);
    return 1;
}

/* oakum.cache{ entries = n, bytes = n, ttl = seconds, evicted = function(key, value, why) } */
static int new_cache(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    oak_cache_config config = { .keys = &key_type, .evicted = evicted };
    config.max_entries = limit_field(L, 1, "entries");
    config.max_bytes = limit_field(L, 1, "bytes");
    if (lua_getfield(L, 1, "ttl") != LUA_TNIL)
        config.ttl = nanoseconds(L, luaL_checknumber(L, -1));
    int type = lua_getfield(L, 1, "evicted");
    if (type != LUA_TNIL && type != LUA_TFUNCTION)
        return luaL_error(L, "oakum: evicted must be a function");
    bool lasts = config.ttl == 0 || config.ttl == OAK_CACHE_FOREVER;
    if (!config.max_entries && !config.max_bytes && lasts)
        return luaL_error(L, "oakum: a cache must be bounded: by entries, bytes or ttl");
    cache *c = oaki_lua_cell_new(L, sizeof *c, OAKI_LUA_CACHE, 2);
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, 2);
    config.ctx = c;
    c->cache = OAKI_LUA_ALLOC(L, oak_cache_new(&config));
    return c->cache ? 1 : oaki_lua_cell_failed(L, OAKI_LUA_CACHE);
}

void oaki_lua_open_cache(lua_State *L)
{
    static const luaL_Reg meta[] = {
        { "__len", length },  { "__pairs", pairs },       { "__gc", close },
        { "__close", close }, { "__tostring", describe }, { NULL, NULL },
    };
    static const luaL_Reg methods[] = {
        { "get", get },     { "peek", peek },   { "put", put },     { "delete", delete },
        { "clear", clear }, { "purge", purge }, { "limit", limit }, { "stats", stats },
        { "close", close }, { NULL, NULL },
    };
    static const luaL_Reg list_meta[] = { { "__gc", close_list },
                                          { "__close", close_list },
                                          { NULL, NULL } };
    oaki_lua_cell_type(L, OAKI_LUA_LIST, list_meta);
    lua_pop(L, 1);
    oaki_lua_cell_type(L, OAKI_LUA_CACHE, meta);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, new_cache);
    lua_setfield(L, -2, "cache");
}
