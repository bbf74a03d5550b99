/* state.c - makes a Lua state, and has its allocator function (<oakum/lua.h>).
 *
 * All memory of Lua is pinned, in the state's zone. Lua frees its memory itself, dead objects
 * included. So Oakum's collector must not free it, but must scan it: a userdata, an upvalue or a
 * table may hold a pointer to an object of Oakum's. A pinned object is a root that lives until it
 * is freed, which has both effects.
 *
 * Objects that are reachable from the state would do as well, as Lua links all its objects. But a
 * host may keep its lua_State * where Oakum doesn't scan. And a chain of all objects is marked one
 * by one, while roots are marked in parallel.
 *
 * Owns: struct oaki_lua. Bound: an allocation is O(1), except for collections. */
#include "state.h"
#include "frame.h"
#include "object.h"
#include <errno.h>
#include <oakum/gc.h>
#include <oakum/heap.h>
#include <oakum/profile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static void count(oaki_lua *s, size_t less, size_t more)
{
    s->bytes = s->bytes - less + more;
    if (s->bytes > s->peak) s->peak = s->bytes;
}

static void *new_block(oaki_lua *s, size_t n)
{
    return oak_zone_alloc_pinned(s->zone, n);
}

/* Allocate so that a sample is recorded with the lines of the script. */
static void *with_lines(oaki_lua *s, void *p, size_t n)
{
    const oak_frame_source *old = oak_frame_source_set(&s->source);
    void *q = p ? oak_realloc(p, n) : new_block(s, n);
    oak_frame_source_set(old);
    return q;
}

static void *make(oaki_lua *s, size_t n, size_t what)
{
    void *p = OAKI_LUA_LIKELY(oak_profile_rate() == 0) ? new_block(s, n) : with_lines(s, NULL, n);
    if (OAKI_LUA_UNLIKELY(!p)) {
        s->failures++;
        return NULL;
    }
    count(s, 0, n);
    s->blocks++;
    if (OAKI_LUA_UNLIKELY(what == LUA_TTHREAD)) {
        if (!s->main_block) s->main_block = p;
        else oaki_lua_thread_made(s, p, n);
    }
    return p;
}

/* Resize a block. Lua requires that shrinking never fails. */
static void *resize(oaki_lua *s, void *p, size_t old, size_t n)
{
    void *q = OAKI_LUA_LIKELY(oak_profile_rate() == 0) ? oak_realloc(p, n) : with_lines(s, p, n);
    if (OAKI_LUA_UNLIKELY(!q)) {
        if (n > old) {
            s->failures++;
            return NULL;
        }
        q = p;
    }
    count(s, old, n);
    return q;
}

static void close_state(oaki_lua *s)
{
    oak_zone *z = s->zone;
    oaki_lua_objects_close(s);
    s->main = NULL;
    s->main_block = NULL;
    s->threads = NULL;
    s->zone = NULL;
    (void)oak_zone_discard(z);
}

static void release(oaki_lua *s, void *p, size_t n)
{
    bool last = p == s->main_block;
    if (n == s->thread_size && !last) oaki_lua_thread_freed(s, p);
    count(s, n, 0);
    s->blocks--;
    oak_free(p);
    if (last) close_state(s);
}

/* The lua_Alloc function. For a new block, `old` is the kind of its object. */
static void *allocate(void *ud, void *p, size_t old, size_t n)
{
    oaki_lua *s = ud;
    if (n == 0) {
        if (p) release(s, p, old);
        return NULL;
    }
    return p ? resize(s, p, old, n) : make(s, n, old);
}

oaki_lua *oaki_lua_of(lua_State *L)
{
    void *ud;
    return lua_getallocf(L, &ud) == allocate ? ud : NULL;
}

oak_zone *oaki_lua_zone_of(lua_State *L)
{
    const oaki_lua *s = oaki_lua_of(L);
    return s ? s->zone : NULL;
}

/* ---- states ---- */

static int panic(lua_State *L)
{
    const char *what = lua_tostring(L, -1);
    oak_fatal("oakum: Lua: unprotected error: %s", what ? what : "the error is no string");
}

/* Print a warning without a cancellation point: Lua may warn during an allocation, which is none.
 */
static void say(const char *before, const char *text, const char *after)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    fprintf(stderr, "%s%s%s", before, text, after);
    pthread_setcancelstate(cancel, &cancel);
}

/* The warning function. "@on" and "@off" are commands; other warnings come in pieces. */
static void warn(void *ud, const char *text, int more)
{
    oaki_lua *s = ud;
    if (!s->warn_more && !more && text[0] == '@') {
        if (strcmp(text, "@on") == 0) s->warn_on = true;
        if (strcmp(text, "@off") == 0) s->warn_on = false;
        return;
    }
    if (s->warn_on) say(s->warn_more ? "" : "Lua warning: ", text, more ? "" : "\n");
    s->warn_more = more != 0;
}

lua_State *oak_lua_newstate(const oak_lua_config *config)
{
    static const oak_lua_config none;
    const oak_lua_config *c = config ? config : &none;
    oak_zone_options o = { .name = c->name ? c->name : "lua", .limit = c->limit };
    oaki_lua *s = oak_zone_alloc(NULL, sizeof *s); /* the caller may discard its zone */
    if (!s) return NULL;
    s->open = 1;
    oaki_lua_lines_init(s);
    s->zone = oak_zone_new(&o);
    lua_State *L = s->zone ? lua_newstate(allocate, s) : NULL;
    if (!L) { /* its blocks are freed already */
        if (s->zone) (void)oak_zone_discard(s->zone);
        errno = ENOMEM;
        return NULL;
    }
    s->main = L;
    lua_atpanic(L, panic);
    lua_setwarnf(L, warn, s);
    return L;
}

size_t oak_lua_set_limit(lua_State *L, size_t bytes)
{
    oaki_lua *s = oaki_lua_of(L);
    return s ? oak_zone_set_limit(s->zone, bytes) : SIZE_MAX;
}

bool oak_lua_stats_read(lua_State *L, oak_lua_stats *out)
{
    oaki_lua *s = oaki_lua_of(L);
    if (!out) return s != NULL;
    memset(out, 0, sizeof *out);
    if (!s) return false;
    oak_zone_stats z;
    oak_zone_stats_read(s->zone, &z);
    *out = (oak_lua_stats){ z.limit, z.inuse, s->bytes, s->peak, s->blocks, s->failures,
                            s->pacing.external, s->objects, s->held };
    return true;
}

void oak_lua_external(lua_State *L, ptrdiff_t delta)
{
    oaki_lua *s = oaki_lua_of(L);
    if (!s) return;
    if (delta >= 0) oaki_lua_pacing_add(L, &s->pacing, (size_t)delta);
    else oaki_lua_pacing_sub(&s->pacing, (size_t)0 - (size_t)delta);
}
