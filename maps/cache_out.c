/* cache_out.c - how entries leave a cache: evicted, expired, deleted, cleared.
 *
 * Owner, invariants and lock: cache.h. An entry has left before its callback is called. */
#include "cache.h"

#include "map.h"
#include <errno.h>

typedef oaki_cache_node node;

#define NESTED_MAX 1000   /* callbacks in each other, where the stack has room for them */
#define NESTED_FEW 4      /* so many are tried on any stack */
#define STACK_LEAST ((size_t)8 << 10) /* for the callback's own calls, and for the message */

/* ---- the order of use ---- */

static void order_remove(oak_cache *c, node *n)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    OAKI_ASSERT((n->newer ? n->newer->older : c->newest) == n);
    OAKI_ASSERT((n->older ? n->older->newer : c->oldest) == n);
    for (oaki_cache_walk *w = *oaki_cache_walks(c); w; w = w->others)
        if (w->next == n) w->next = n->older;
    *(n->newer ? &n->newer->older : &c->newest) = n->older;
    *(n->older ? &n->older->newer : &c->oldest) = n->newer;
    n->newer = n->older = NULL;
}

void oaki_cache_order_add(oak_cache *c, node *n)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    OAKI_ASSERT(!n->newer && !n->older && n->era == c->era);
    n->older = c->newest;
    *(n->older ? &n->older->newer : &c->oldest) = n;
    c->newest = n;
}

void oaki_cache_touch(oak_cache *c, node *n)
{
    if (c->newest == n) return;
    order_remove(c, n);
    oaki_cache_order_add(c, n);
}

/* ---- out ---- */

static void count_out(oak_cache *c, const node *n, oak_cache_reason why)
{
    OAKI_ASSERT(c->stats.entries > 0 && n->bytes <= c->stats.bytes);
    c->stats.entries--;
    c->stats.bytes -= n->bytes;
    c->stats.evictions += why == OAK_CACHE_CAPACITY;
    c->stats.expirations += why == OAK_CACHE_EXPIRED;
}

/* The callback was left, and the frames that called it. The entry has left the cache already. What
 * else these frames had to evict is left to the next put. */
static void left_evicted(oaki_cache_call *call)
{
    oak_cache *c = call->cache;
    oaki_inner_take(&c->in);
    c->callbacks--;
    c->left = true;
    oaki_inner_leave(&c->in);
}

static OAKI_NOINLINE void call_evicted(oak_cache *c, unsigned nested, const void *key, void *value,
                                       oak_cache_reason why)
{
    OAKI_ON_UNWIND(oaki_cache_unwound);
    oaki_cache_call self;
    oaki_cache_call_begin(&self, c, left_evicted);
    self.nested = nested;
    c->config.evicted(c, key, value, why, c->config.ctx);
    oaki_cache_call_end(&self);
}

/* Would one more callback overrun the stack, if it takes as much as the one around this call? */
static bool is_deep(const oaki_cache_call *around)
{
    const char *here = __builtin_frame_address(0);
    if (!around || around->nested + 1 < NESTED_FEW || here >= (const char *)around) return false;
    return oaki_stack_left() < (size_t)((const char *)around - here) + STACK_LEAST;
}

void oaki_cache_tell(oak_cache *c, const void *key, void *value, oak_cache_reason why)
{
    if (!c->config.evicted) return;
    const oaki_cache_call *around = oaki_cache_innermost(left_evicted);
    unsigned nested = around ? around->nested : 0;
    if (OAKI_UNLIKELY(nested >= NESTED_MAX || is_deep(around)))
        oak_fatal("oakum: oak_cache: %u evicted callbacks in each other: each evicts again",
                  nested);
    OAKI_REQUIRES_ENTERED(&c->in);
    c->callbacks++;
    oaki_inner_leave(&c->in);
    call_evicted(c, nested + 1, key, value, why);
    oaki_inner_enter(&c->in);
    OAKI_ASSERT(c->callbacks > 0);
    c->callbacks--;
}

void oaki_cache_drop(oak_cache *c, node *n, oak_cache_reason why)
{
    void *value = n->value, *key = oaki_cache_key(c, n);
    if (n->era == c->era)
        count_out(c, n, why);
    else
        why = OAK_CACHE_CLEARED;
    order_remove(c, n);
    oaki_wheel_remove(&n->timer);
    oaki_inner_remove(&c->in, key);
    oaki_cache_tell(c, key, value, why);
}

static bool over(const oak_cache *c)
{
    const oak_cache_config *f = &c->config;
    return (f->max_entries != 0 && c->stats.entries > f->max_entries) ||
           (f->max_bytes != 0 && c->stats.bytes > f->max_bytes);
}

void oaki_cache_trim(oak_cache *c)
{
    /* only entries of this era count, and they come first in the order */
    OAKI_ASSERT(!over(c) || (c->oldest && c->newest->era == c->era));
    while (over(c)) oaki_cache_drop(c, c->oldest, OAK_CACHE_CAPACITY);
}

static void drop_cleared(oak_cache *c, uint64_t era)
{
    while (c->oldest && c->oldest->era < era) oaki_cache_drop(c, c->oldest, OAK_CACHE_CLEARED);
}

void oaki_cache_go_on(oak_cache *c)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    c->left = false;
    drop_cleared(c, c->era);
    oaki_cache_trim(c);
}

void oaki_cache_expire(oak_cache *c, uint64_t now, size_t budget)
{
    oaki_timer *t;
    oaki_wheel *w = oaki_cache_wheel(c);
    OAKI_REQUIRES_ENTERED(&c->in);
    while (w && (t = oaki_wheel_next(w, now, &budget)) != NULL)
        oaki_cache_drop(c, (node *)(void *)((char *)t - offsetof(node, timer)), OAK_CACHE_EXPIRED);
}

/* ---- the public side ---- */

bool oak_cache_delete(oak_cache *c, const void *key)
{
    if (!c || !key) return false;
    uint64_t now = oaki_cache_now(c);
    oaki_inner_enter(&c->in);
    node *n = oaki_cache_find(c, key);
    bool there = n && oaki_cache_alive(c, n, now);
    if (n && n->era == c->era) oaki_cache_drop(c, n, there ? OAK_CACHE_DELETED : OAK_CACHE_EXPIRED);
    oaki_inner_leave(&c->in);
    return there;
}

void oak_cache_clear(oak_cache *c)
{
    if (!c) return;
    oaki_inner_enter(&c->in);
    uint64_t era = ++c->era;
    c->stats.entries = c->stats.bytes = 0;
    drop_cleared(c, era);
    if (!c->oldest) oak_map_clear(c->in.map);
    OAKI_REQUIRES_SOUND(oaki_cache_check_inside(c));
    oaki_inner_leave(&c->in);
}

int oak_cache_set_limit(oak_cache *c, size_t max_entries, size_t max_bytes)
{
    if (!c) oak_fatal("oakum: oak_cache_set_limit: NULL is no cache");
    oak_cache_config f = { .max_entries = max_entries, .max_bytes = max_bytes };
    f.ttl = c->config.ttl;
    if (!oaki_cache_bounded(&f)) {
        errno = EINVAL;
        return -1;
    }
    oaki_inner_enter(&c->in);
    c->config.max_entries = max_entries;
    c->config.max_bytes = max_bytes;
    oaki_cache_trim(c);
    OAKI_REQUIRES_SOUND(oaki_cache_check_inside(c));
    oaki_inner_leave(&c->in);
    return 0;
}

bool oak_cache_purge_expired(oak_cache *c, size_t budget)
{
    if (!c) return false;
    uint64_t now = oaki_cache_now(c);
    oaki_inner_enter(&c->in);
    oaki_cache_expire(c, now, budget);
    oaki_wheel *w = oaki_cache_wheel(c);
    bool more = w && oaki_wheel_is_due(w, now);
    oaki_inner_leave(&c->in);
    return more;
}

/* ---- the check ---- */

static bool is_in_map(const oak_cache *c, node *n)
{
    const oaki_cache_slot *s = oak_map_get(c->in.map, oaki_cache_key(c, n));
    return s && s->node == n && s->value == n->value;
}

static const char *check(const oak_cache *c, bool lookups)
{
    size_t nodes = 0, entries = 0, bytes = 0;
    const node *newer = NULL;
    for (node *n = c->newest; n; newer = n, n = n->older, nodes++) {
        if (n->newer != newer) return "cache: newer and older are inverse";
        if (lookups && !is_in_map(c, n)) return "cache: a node is in the map";
        if (!n->timer.link != !n->timer.when) return "cache: what may expire is timed";
        if (n->era > c->era || (newer && n->era > newer->era)) return "cache: eras are in order";
        entries += n->era == c->era;
        bytes += n->era == c->era ? n->bytes : 0;
    }
    if (newer != c->oldest) return "cache: oldest is the last";
    if (nodes != oak_map_len(c->in.map)) return "cache: a key has a node in the order";
    if (entries != c->stats.entries || bytes != c->stats.bytes) return "cache: entries are counted";
    if (c->callbacks == 0 && over(c)) return "cache: it is within its limits";
    return oaki_cache_wheel(c) ? oaki_wheel_check(oaki_cache_wheel(c)) : NULL;
}

const char *oaki_cache_check(oak_cache *c)
{
    oaki_inner_enter(&c->in); /* the key's functions may run */
    const char *broken = check(c, true);
    oaki_inner_leave(&c->in);
    return broken;
}

const char *oaki_cache_check_inside(const oak_cache *c)
{
    const char *broken = check(c, oaki_map_hash_is_own(&c->in.type));
    return broken ? broken : oaki_map_check_inside(c->in.map);
}
