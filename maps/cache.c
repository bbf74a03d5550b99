/* cache.c - a bounded cache: creation, lookups, puts, a walk over its entries.
 *
 * Owns: the calling thread's calls of callbacks, the number of forks.
 * Owner of caches, invariants and lock: cache.h. */
#include "cache.h"

#include "runtime/contract.h"
#include "runtime/os.h"
#include "runtime/zone.h"
#include <errno.h>
#include <oakum/heap.h>

typedef oaki_cache_node node;
typedef oaki_cache_slot slot;

/* Steps of the wheel for each put: as many as an entry takes over its life, so that puts alone keep
 * up. */
#define PUT_STEPS OAKI_WHEEL_LEVELS

static uint64_t clock_now(const oak_cache *c)
{
    return c->config.clock ? c->config.clock(c->config.ctx) : oaki_os_now_ns();
}

uint64_t oaki_cache_now(const oak_cache *c)
{
    return oaki_cache_wheel(c) ? clock_now(c) : 0;
}

/* ---- making one ---- */

static bool make_wheel(oak_cache *c, uint64_t now)
{
    if (oaki_cache_wheel(c)) return true;
    oaki_wheel *w = OAKI_IN_ZONE_OF(c, oak_alloc_noscan(sizeof *w));
    if (!w) return false;
    oaki_wheel_init(w, now);
    AO_store_release(&c->wheel, (AO_t)w);
    return true;
}

oak_cache *oak_cache_new(const oak_cache_config *config)
{
    if (!config || !config->keys || !oaki_cache_bounded(config) ||
        (config->flags & ~(unsigned)OAK_CACHE_LOCKED) != 0) {
        errno = EINVAL;
        return NULL;
    }
    bool locked = (config->flags & OAK_CACHE_LOCKED) != 0;
    bool scans = (config->keys->flags & OAK_MAP_SCAN_KEY) != 0;
    size_t size = scans ? sizeof(slot) : offsetof(slot, key);
    oak_cache *c = oak_alloc(sizeof *c);
    if (!c || !oaki_inner_init(&c->in, "oak_cache", config->keys, size, locked, 0)) return NULL;
    c->config = *config;
    return c;
}

/* ---- lookups ---- */

node *oaki_cache_find(const oak_cache *c, const void *key)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    const slot *s = oak_map_get(c->in.map, key);
    return s ? s->node : NULL;
}

void *oak_cache_get(oak_cache *c, const void *key)
{
    if (!c || !key) return NULL;
    void *value = NULL;
    uint64_t now = oaki_cache_now(c);
    oaki_inner_enter(&c->in);
    node *n = oaki_cache_find(c, key);
    if (n && oaki_cache_alive(c, n, now)) {
        value = n->value;
        oaki_cache_touch(c, n);
        c->stats.hits++;
    } else {
        c->stats.misses++;
        if (n && n->era == c->era) oaki_cache_drop(c, n, OAK_CACHE_EXPIRED);
    }
    oaki_inner_leave(&c->in);
    return value;
}

void *oak_cache_peek(oak_cache *c, const void *key)
{
    if (!c || !key) return NULL;
    uint64_t now = oaki_cache_now(c);
    oaki_inner_enter(&c->in);
    node *n = oaki_cache_find(c, key);
    void *value = n && oaki_cache_alive(c, n, now) ? n->value : NULL;
    oaki_inner_leave(&c->in);
    return value;
}

/* ---- puts ---- */

typedef struct what {
    const void *key;
    void *value;
    size_t bytes;
    uint64_t now, when;
} what;

static void set(oak_cache *c, node *n, slot *s, const what *p)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    OAKI_ASSERT(s && s->node == n && n->era == c->era);
    OAKI_ASSERT(p->when == 0 || oaki_cache_wheel(c));
    oaki_wheel_remove(&n->timer);
    n->timer.when = p->when;
    if (p->when != 0) oaki_wheel_add(oaki_cache_wheel(c), &n->timer);
    c->stats.bytes += p->bytes;
    n->bytes = p->bytes;
    n->value = s->value = p->value;
}

static void replace(oak_cache *c, node *n, const what *p)
{
    void *old = n->value, *key = oaki_cache_key(c, n);
    OAKI_ASSERT(n->bytes <= c->stats.bytes);
    c->stats.bytes -= n->bytes;
    set(c, n, oak_map_get(c->in.map, p->key), p);
    oaki_cache_touch(c, n);
    if (old != p->value) oaki_cache_tell(c, key, old, OAK_CACHE_REPLACED);
}

static bool insert(oak_cache *c, const what *p)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    size_t size = c->in.type.key_size;
    bool scanned = oaki_cache_scans_keys(c);
    size_t room = sizeof(node) + (scanned ? sizeof(void *) : size);
    node *n = OAKI_IN_ZONE_OF(c, oak_alloc_noscan(room));
    void *key = n && scanned ? OAKI_IN_ZONE_OF(c, oak_alloc(size)) : n ? n->key : NULL;
    slot *s = key ? oak_map_put(c->in.map, p->key) : NULL;
    if (!s) return false;
    memcpy(key, p->key, size);
    if (scanned) *(void **)(void *)n->key = s->key = key;
    s->node = n;
    n->era = c->era;
    c->stats.entries++;
    set(c, n, s, p);
    oaki_cache_order_add(c, n);
    return true;
}

/* Does an entry of so many bytes fit, if all others are evicted? */
static bool fits(const oak_cache *c, const node *old, size_t bytes)
{
    OAKI_ASSERT(!old || (old->era == c->era && old->bytes <= c->stats.bytes));
    size_t others = c->stats.bytes - (old ? old->bytes : 0);
    return (c->config.max_bytes == 0 || bytes <= c->config.max_bytes) && bytes <= SIZE_MAX - others;
}

static int put(oak_cache *c, const what *p)
{
    node *n;
    oaki_cache_expire(c, p->now, PUT_STEPS);
    while ((n = oaki_cache_find(c, p->key)) != NULL && !oaki_cache_alive(c, n, p->now))
        oaki_cache_drop(c, n, OAK_CACHE_EXPIRED);
    if (!fits(c, n, p->bytes)) {
        errno = E2BIG;
        return -1;
    }
    if (p->when != 0 && !make_wheel(c, p->now)) return -1;
    if (n)
        replace(c, n, p);
    else if (!insert(c, p))
        return -1;
    oaki_cache_trim(c);
    return 0;
}

static int put_sized(oak_cache *c, const void *key, void *value, size_t bytes, uint64_t ttl)
{
    what p = { key, value, bytes, 0, 0 };
    if (ttl == 0) ttl = c->config.ttl;
    bool timed = ttl != 0 && ttl != OAK_CACHE_FOREVER;
    if (timed || oaki_cache_wheel(c)) p.now = clock_now(c);
    if (timed) p.when = ttl < UINT64_MAX - p.now ? p.now + ttl : UINT64_MAX;
    int result;
    oaki_held_forget();
    do {
        oaki_inner_enter(&c->in);
        if (OAKI_UNLIKELY(c->left)) oaki_cache_go_on(c);
        if (c->callbacks == 0) OAKI_REQUIRES_SOUND_ONCE(c, oaki_cache_check_inside(c));
        result = put(c, &p);
        oaki_inner_leave(&c->in);
    } while (oaki_held_retry(c, result != 0));
    return result;
}

static bool takes(const oak_cache *c, const void *key, const void *value)
{
    if (!c) oak_fatal("oakum: oak_cache_put: NULL is no cache");
    if (value) return oaki_inner_takes(&c->in, key);
    errno = EINVAL;
    return false;
}

int oak_cache_put(oak_cache *c, const void *key, void *value)
{
    if (!takes(c, key, value)) return -1;
    const oak_cache_config *f = &c->config;
    size_t bytes = f->size ? f->size(key, value, f->ctx) : oak_usable_size(value);
    return put_sized(c, key, value, bytes, 0);
}

int oak_cache_put_ex(oak_cache *c, const void *key, void *value, size_t bytes, uint64_t ttl)
{
    return takes(c, key, value) ? put_sized(c, key, value, bytes, ttl) : -1;
}

/* ---- calls of callbacks ---- */

static __thread oaki_cache_call *calls __attribute__((tls_model("initial-exec")));

oaki_cache_call *oaki_cache_innermost(void (*left)(oaki_cache_call *))
{
    const oak_fiber *here = oak_fiber_current();
    oaki_cache_call *call = calls;
    while (call && (call->fiber != here || (left && call->left != left))) call = call->outer;
    return call;
}

static void leave_call(oaki_cache_call *call)
{
    oaki_cache_call_end(call);
    call->left(call);
}

static void jumped(void *leaving)
{
    leave_call(((const oaki_leaving *)leaving)->of);
}

OAKI_UNWIND_ACTION(oaki_cache_unwound)
{
    oaki_cache_call *call = oaki_cache_innermost(NULL);
    if (call) leave_call(call);
}

void oaki_cache_call_begin(oaki_cache_call *call, oak_cache *c, void (*left)(oaki_cache_call *))
{
    *call = (oaki_cache_call){ .cache = c,
                               .outer = calls,
                               .fiber = oak_fiber_current(),
                               .thread = &calls,
                               .left = left };
    calls = call;
    oaki_leaving_begin(&call->leaving, jumped, call);
}

void oaki_cache_call_end(oaki_cache_call *call)
{
    oaki_cache_call **at = &calls;
    if (OAKI_UNLIKELY(call->thread != &calls))
        oak_fatal("oakum: oak_cache: a callback began on one thread and ended on another");
    while (*at != call) at = &(*at)->outer;
    *at = call->outer;
    oaki_leaving_end_among(&call->leaving);
}

/* ---- walks and statistics ---- */

static AO_t forks; /* before this process */

oaki_cache_walk **oaki_cache_walks(oak_cache *c)
{
    OAKI_REQUIRES_ENTERED(&c->in);
    if (OAKI_UNLIKELY(c->forks != AO_load(&forks))) {
        c->walks = NULL;
        c->forks = AO_load(&forks);
    }
    return &c->walks;
}

static void end_walk(oaki_cache_walk *self)
{
    oaki_cache_walk **w = oaki_cache_walks(self->call.cache);
    while (*w != self) w = &(*w)->others;
    *w = self->others;
}

static oaki_cache_walk *walk_of(oaki_cache_call *call)
{
    return (oaki_cache_walk *)(void *)((char *)call - offsetof(oaki_cache_walk, call));
}

/* The frame that is left holds a walk of the cache's list, so the walk is removed. */
static void left_each(oaki_cache_call *call)
{
    oak_cache *c = call->cache;
    oaki_inner_take(&c->in);
    end_walk(walk_of(call));
    oaki_inner_leave(&c->in);
}

/* In the child: the other threads' walks are gone, and their frames may be overwritten. Those of
 * this thread, all within a callback, go on. */
static void after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    AO_fetch_and_add1(&forks);
    for (const oaki_cache_call *call = calls; call; call = call->outer) {
        call->cache->walks = NULL;
        call->cache->forks = AO_load(&forks);
    }
    for (oaki_cache_call *call = calls; call; call = call->outer) {
        if (call->left != left_each) continue;
        walk_of(call)->others = call->cache->walks;
        call->cache->walks = walk_of(call);
    }
}

static OAKI_NOINLINE bool call_each(oaki_cache_walk *self, oak_cache *c,
                                    bool (*fn)(const void *key, void *value, void *ctx),
                                    const void *key, void *value, void *ctx)
{
    OAKI_ON_UNWIND(oaki_cache_unwound);
    oaki_cache_call_begin(&self->call, c, left_each);
    bool on = fn(key, value, ctx);
    oaki_cache_call_end(&self->call);
    return on;
}

void oak_cache_each(oak_cache *c, bool (*fn)(const void *key, void *value, void *ctx), void *ctx)
{
    if (!c || !fn) return;
    uint64_t now = oaki_cache_now(c);
    oaki_fork_register(after_fork);
    oaki_inner_enter(&c->in);
    oaki_cache_walk self = { .next = c->newest, .others = *oaki_cache_walks(c), .call.cache = c };
    c->walks = &self;
    for (bool on = true; on && self.next;) {
        node *n = self.next;
        self.next = n->older;
        if (!oaki_cache_alive(c, n, now)) continue;
        void *key = oaki_cache_key(c, n), *value = n->value;
        oaki_inner_leave(&c->in);
        on = call_each(&self, c, fn, key, value, ctx);
        oaki_inner_enter(&c->in);
    }
    end_walk(&self);
    oaki_inner_leave(&c->in);
}

void oak_cache_stats_read(oak_cache *c, oak_cache_stats *out)
{
    if (!out) return;
    *out = (oak_cache_stats){ .entries = 0 };
    if (!c) return;
    oaki_inner_enter(&c->in);
    *out = c->stats;
    oaki_inner_leave(&c->in);
}
