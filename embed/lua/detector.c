/* detector.c - oakum.detector: finds tables that grow from collection to collection, and their
 * paths.
 *
 * A scan collects, walks over all live objects (walk.h), and counts the pairs of each table and
 * each oakum.map. Each one that is large enough has a series of counts. If a series rises
 * significantly (observe/trend.h), it is reported, with the path to its object.
 *
 * Owns: its cell, with the series. User value 2 is a table with weak keys, from tables and maps to
 * the indexes of their series. Bound: a scan is O(objects of the state), and a judgement for each
 * series. */
#include "cell.h"
#include "observe/trend.h"
#include "structs.h"
#include "walk.h"
#include <oakum/heap.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 32

typedef struct series {
    oaki_trend trend;
    const void *object;
    unsigned node;  /* of the current walk */
    size_t entries;
    double growth;  /* of a rising series: entries for each scan */
    bool seen, used;
} series;

typedef struct detector {
    oaki_lua_cell cell;
    series **series;
    size_t n, room;
    size_t taken;    /* all series before this index are in use */
    size_t min;      /* the least entries of an object with a series */
    unsigned scans;  /* the least counts for a judgement */
    bool collects;
    unsigned done;   /* scans so far */
} detector;

static detector *detector_at(lua_State *L)
{
    return oaki_lua_cell_at(L, 1, OAKI_LUA_DETECTOR);
}

/* ---- series ---- */

/* Lua's collector is stopped during the walk, so charging a cell runs no finalizer. */
static size_t new_series(lua_State *L, detector *d)
{
    while (d->taken < d->n && d->series[d->taken]->used) d->taken++;
    size_t i = d->taken;
    if (i == d->room) {
        size_t room = d->room ? d->room * 2 : 64;
        series **more = OAKI_LUA_ALLOC(L, oak_realloc(d->series, room * sizeof *more));
        if (!more) oaki_lua_no_memory(L);
        oaki_lua_cell_charge(L, &d->cell, (room - d->room) * sizeof *more);
        d->series = more;
        d->room = room;
    }
    if (i == d->n) {
        d->series[i] = OAKI_LUA_ALLOC(L, oak_alloc_noscan(sizeof(series)));
        if (!d->series[i]) oaki_lua_no_memory(L);
        oaki_lua_cell_charge(L, &d->cell, sizeof(series));
        d->n++;
    }
    memset(d->series[i], 0, sizeof(series));
    oaki_trend_init(&d->series[i]->trend, WINDOW);
    d->series[i]->used = true;
    return i;
}

/* Record a count for the object at the top of the stack. Its series is found in user value 2 of the
 * detector, which is at stack index `where`. */
static void note(lua_State *L, detector *d, int where, unsigned node, size_t entries)
{
    lua_getiuservalue(L, where, 2);
    lua_pushvalue(L, -2);
    bool known = lua_rawget(L, -2) == LUA_TNUMBER;
    size_t i = known ? (size_t)lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    known = known && i < d->n && d->series[i]->used && d->series[i]->object == lua_topointer(L, -2);
    if (!known && entries >= d->min) {
        i = new_series(L, d);
        d->series[i]->object = lua_topointer(L, -2);
        lua_pushvalue(L, -2);
        lua_pushinteger(L, (lua_Integer)i);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    if (!known && entries < d->min) return;
    series *s = d->series[i];
    s->node = node;
    s->entries = entries;
    s->seen = true;
    oaki_trend_add(&s->trend, (double)entries);
}

/* ---- a scan ---- */

typedef struct scan {
    detector *d;
} scan;

/* The registry key of the scanning detector, as the walk has a stack of its own. */
static const char scanning_key = 0;

static int push_detector(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &scanning_key);
    lua_insert(L, -2); /* below the object */
    return lua_gettop(L) - 1;
}

static void note_object(oaki_lua_walk *w, unsigned number, size_t entries, const scan *s)
{
    lua_State *L = oaki_lua_walk_state(w);
    int where = push_detector(L);
    note(L, s->d, where, number, entries);
    lua_remove(L, where);
}

static void counted(oaki_lua_walk *w, unsigned number, size_t pairs, void *ctx)
{
    if (!oaki_lua_walk_is_internal(w, number)) note_object(w, number, pairs, ctx);
}

static bool met(oaki_lua_walk *w, unsigned number, int type, const void *p, void *ctx)
{
    lua_State *L = oaki_lua_walk_state(w);
    (void)p;
    ptrdiff_t n = type == LUA_TUSERDATA ? oaki_lua_map_length(L, -1) : -1;
    if (n >= 0) note_object(w, number, (size_t)n, ctx);
    return false;
}

static int compare(const void *a, const void *b)
{
    double x = (*(series *const *)a)->growth, y = (*(series *const *)b)->growth;
    return x < y ? 1 : x > y ? -1 : 0;
}

static size_t judge(detector *d, series **risen)
{
    oaki_rise rise;
    size_t n = 0;
    d->taken = 0; /* only here series become free */
    for (size_t i = 0; i < d->n; i++) {
        series *s = d->series[i];
        s->used = s->used && s->seen;
        if (!s->used || !oaki_trend_rises(&s->trend, d->scans, (double)d->min / 4, 0.05, &rise))
            continue;
        s->growth = rise.slope;
        risen[n++] = s;
    }
    qsort(risen, n, sizeof *risen, compare);
    return n;
}

static void done(oaki_lua_walk *w, unsigned found, void *ctx)
{
    const scan *s = ctx;
    lua_State *L = oaki_lua_walk_state(w);
    (void)found;
    series **risen = lua_newuserdatauv(L, (s->d->n + 1) * sizeof *risen, 0);
    size_t n = judge(s->d, risen);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 4);
        oaki_lua_walk_path(w, risen[i]->node);
        lua_setfield(L, -2, "path");
        if (!oaki_lua_walk_is_hidden(w, risen[i]->node)) {
            oaki_lua_walk_push(w, risen[i]->node);
            lua_setfield(L, -2, "object");
        }
        lua_pushinteger(L, (lua_Integer)risen[i]->entries);
        lua_setfield(L, -2, "entries");
        lua_pushnumber(L, risen[i]->growth);
        lua_setfield(L, -2, "growth");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_remove(L, -2);
}

/* d:scan(): a list of { path =, object =, entries =, growth = entries per scan }. `object` is
 * missing if the script can't reach it by itself. */
static int scan_now(lua_State *L)
{
    detector *d = detector_at(L);
    scan s = { .d = d };
    oaki_lua_visit v = { .met = met, .counted = counted, .done = done, .ctx = &s };
    if (d->collects) lua_gc(L, LUA_GCCOLLECT);
    d = s.d = detector_at(L);
    for (size_t i = 0; i < d->n; i++) d->series[i]->seen = false;
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scanning_key);
    oaki_lua_walk_all(L, &v);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scanning_key);
    d->done++;
    return 1;
}

static int close(lua_State *L)
{
    const detector *d = oaki_lua_cell_or_null(L, 1, OAKI_LUA_DETECTOR);
    if (d) oaki_lua_cell_close(L, 1, OAKI_LUA_DETECTOR);
    return 0;
}

static lua_Integer option(lua_State *L, const char *name, lua_Integer usual, lua_Integer most)
{
    lua_Integer n = usual;
    if (lua_istable(L, 1)) {
        int is_integer = 1;
        if (lua_getfield(L, 1, name) != LUA_TNIL) n = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer) luaL_error(L, "oakum: %s must be an integer", name);
        lua_pop(L, 1);
    }
    if (n < 4 || n > most) luaL_error(L, "oakum: %s must be from 4 to %I", name, most);
    return n;
}

/* oakum.detector{ scans = 8, entries = 32, collect = true } */
static int new_detector(lua_State *L)
{
    if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_Integer scans = option(L, "scans", 8, WINDOW), min = option(L, "entries", 32, INT32_MAX);
    bool collects = true;
    if (lua_istable(L, 1) && lua_getfield(L, 1, "collect") == LUA_TBOOLEAN)
        collects = lua_toboolean(L, -1);
    detector *d = oaki_lua_cell_new(L, sizeof *d, OAKI_LUA_DETECTOR, 2);
    d->scans = (unsigned)scans;
    d->min = (size_t)min;
    d->collects = collects;
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setiuservalue(L, -2, 2);
    return 1;
}

void oaki_lua_open_detector(lua_State *L)
{
    static const luaL_Reg meta[] = { { "__gc", close }, { "__close", close }, { NULL, NULL } };
    static const luaL_Reg methods[] = { { "scan", scan_now }, { "close", close }, { NULL, NULL } };
    oaki_lua_cell_type(L, OAKI_LUA_DETECTOR, meta);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, new_detector);
    lua_setfield(L, -2, "detector");
}
