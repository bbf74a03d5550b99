/* zonecache.c - entering and leaving zones: the choice of the cache from which a thread allocates.
 *
 * A cache belongs to one zone at a time. A thread that enters a zone takes one of the zone's parked
 * caches, or another free one. That becomes its current cache: oaki_tls_mcache, which the fast path
 * uses. A thread that leaves parks the cache with its runs and spans, so entering again costs no
 * search for spans. At most OAKI_ZONES_PARKED caches are parked. Beyond that, the one parked
 * longest is flushed and is free for any zone.
 *
 * Owns: the lists of parked and spare caches, and the entries of each stack. These are
 * oaki_thread.zones for the running stack, native_zones for a thread's own while it runs on a
 * fiber, and oak_fiber.zones for a suspended fiber. Each is a chain by `outer`, the latest first; a
 * thread's home is in none.
 * Invariants: t->mcache is the first of t->zones, or t->home. It equals oaki_tls_mcache, outside of
 * these functions and of blocking regions. A cache is in one chain (depth > 0), parked, spare, or
 * some thread's home. A parked one has depth 0, and is in its zone's list and in the list by age.
 * zone->entries counts the caches in chains, and those that are being made (zone->making).
 * Lock: oaki_zones.lock, inside oaki_enter or in a stop, so a stop sees no half-made change. A
 * chain belongs to its thread. Bound: O(1), and O(span classes) where a cache is flushed. */
#include "collector.h"
#include "fiber.h"
#include "heap.h"
#include <errno.h>

static oaki_zones *zones(void)
{
    return &oaki_the_heap.zones;
}

/* ---- parked and spare caches ---- */

static void unpark(oaki_mcache *mc)
{
    oaki_zones *zs = zones();
    OAKI_REQUIRES_LOCK(&zs->lock);
    OAKI_ASSERT(mc->depth == 0 && zs->nparked > 0);
    if (mc->zone_next) mc->zone_next->zone_prev = mc->zone_prev;
    if (mc->zone_prev) mc->zone_prev->zone_next = mc->zone_next;
    else mc->zone->parked = mc->zone_next;
    if (mc->older) mc->older->newer = mc->newer;
    else zs->oldest = mc->newer;
    if (mc->newer) mc->newer->older = mc->older;
    else zs->newest = mc->older;
    mc->zone_next = mc->zone_prev = mc->older = mc->newer = NULL;
    zs->nparked--;
}

/* Returns the cache's spans and counts to the zone. */
static void empty(oaki_mcache *mc)
{
    oaki_mcache_flush(mc);
    oaki_mcache_add_counts(mc);
    OAKI_REQUIRES_LOCK(&zones()->lock);
    mc->zone = &oaki_the_heap.zone0;
}

static void make_spare(oaki_mcache *mc)
{
    unpark(mc);
    empty(mc);
    mc->thread = NULL;
    mc->outer = zones()->spare;
    zones()->spare = mc;
}

static void park(oaki_mcache *mc)
{
    oaki_zones *zs = zones();
    OAKI_REQUIRES_LOCK(&zs->lock);
    OAKI_ASSERT(mc->depth > 0 || mc->outer || mc->thread); /* it is in a chain */
    OAKI_ASSERT(mc->zone->entries > 0);
    mc->depth = 0;
    mc->outer = NULL;
    mc->fiber = NULL;
    mc->zone->entries--;
    mc->zone_next = mc->zone->parked;
    if (mc->zone_next) mc->zone_next->zone_prev = mc;
    mc->zone->parked = mc;
    mc->older = zs->newest;
    if (mc->older) mc->older->newer = mc;
    else zs->oldest = mc;
    zs->newest = mc;
    if (++zs->nparked > OAKI_ZONES_PARKED) make_spare(zs->oldest);
}

/* A parked or spare cache for z. NULL: a new one must be made. */
static oaki_mcache *find_cache(oak_zone *z)
{
    oaki_zones *zs = zones();
    OAKI_REQUIRES_LOCK(&zs->lock);
    oaki_mcache *mc = z->parked;
    if (mc) {
        unpark(mc);
    } else if ((mc = zs->spare) != NULL) {
        zs->spare = mc->outer;
    }
    if (mc) mc->zone = z;
    return mc;
}

/* ---- entering ---- */

/* Enters the zone; `called`: for an object of it. 0, EBUSY, or EINVAL when there is no such
 * zone. */
static int come_in(oak_zone *z, oaki_mcache **mc, bool called)
{
    oaki_lock_acquire(&zones()->lock);
    int e = z->state == OAKI_ZONE_OPEN ? 0 : z->state == OAKI_ZONE_CLOSING ? EBUSY : EINVAL;
    if (e == EBUSY && called) {
        z->called = true;
        e = 0;
    }
    if (e == 0) {
        z->entries++;
        *mc = find_cache(z);
        z->making += !*mc;
    }
    oaki_lock_release(&zones()->lock);
    return e;
}

static void made(oaki_thread *t, bool enters)
{
    oak_zone *z = t->comes;
    t->comes = NULL;
    oaki_lock_acquire(&zones()->lock);
    OAKI_ASSERT(z->making > 0 && z->entries > 0);
    z->making--;
    z->entries -= !enters;
    oaki_lock_release(&zones()->lock);
}

/* The thread has entered the zone, so it stays. */
static oaki_mcache *make_cache(oaki_thread *t, oak_zone *z)
{
    oaki_heap *h = &oaki_the_heap;
    t->comes = z;
    oaki_lock_acquire_parked(t, &h->threads_lock);
    oaki_mcache *mc = oaki_mcache_new(t, z);
    oaki_lock_release(&h->threads_lock);
    made(t, mc != NULL);
    return mc;
}

static void set_current(oaki_thread *t)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_ASSERT(!t->zones || (t->zones->thread == t && t->zones->depth > 0));
    t->mcache = t->zones ? t->zones : t->home;
    oaki_tls_mcache = t->mcache;
}

/* 0 or an error number. */
static int enter(oaki_thread *t, oak_zone *z, bool called)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    oaki_mcache *mc = t->zones;
    if (mc && mc->zone == z) {
        mc->depth++;
        return 0;
    }
    int e = come_in(z, &mc, called);
    if (e != 0) return e;
    if (!mc) mc = make_cache(t, z);
    if (!mc) return ENOMEM;
    mc->thread = t;
    mc->depth = 1;
    mc->outer = t->zones;
    t->zones = mc;
    set_current(t);
    return 0;
}

static int come_and_say(oak_zone *z, bool called)
{
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    int e = enter(t, z ? z : &oaki_the_heap.zone0, called);
    oaki_leave(t);
    if (e == 0) return 0;
    if (e == EINVAL) oak_fatal("oakum: oak_zone_enter: zone %p was discarded", (void *)z);
    errno = e;
    return -1;
}

int oak_zone_enter(oak_zone *z)
{
    return come_and_say(z, false);
}

static void leave(oaki_thread *t)
{
    oaki_mcache *mc = t->zones;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(mc->thread == t && mc->depth > 0 && t->mcache == mc);
    if (--mc->depth > 0) return;
    t->zones = mc->outer;
    set_current(t);
    oaki_lock_acquire(&zones()->lock);
    park(mc);
    oaki_lock_release(&zones()->lock);
}

void oak_zone_leave(oak_zone *z)
{
    oaki_thread *t = oaki_enter();
    bool in = t && t->zones && t->zones->zone == (z ? z : &oaki_the_heap.zone0);
    if (in) leave(t);
    if (t) oaki_leave(t);
    if (!in) oak_fatal("oakum: oak_zone_leave: zone %p is not the latest entry", (void *)z);
}

oak_zone *oak_zone_current(void)
{
    /* through the thread, whose cache is valid in a blocking region too */
    const oaki_thread *t = oaki_tls_thread;
    oak_zone *z = t ? t->mcache->zone : NULL;
    return z && z->id ? z : NULL;
}

size_t oak_zone_depth(void)
{
    size_t n = 0;
    const oaki_thread *t = oaki_tls_thread;
    for (const oaki_mcache *mc = t ? t->zones : NULL; mc; mc = mc->outer) n += mc->depth;
    return n;
}

void oak_zone_unwind(size_t depth)
{
    size_t n = oak_zone_depth();
    oaki_thread *t = n > depth ? oaki_enter() : NULL;
    if (!t) return;
    for (; n > depth; n--) leave(t);
    oaki_leave(t);
}

/* ---- allocating in a zone ---- */

static bool is_current(const oak_zone *z)
{
    const oak_zone *here = oaki_tls_mcache->zone; /* NULL: not attached */
    return here ? here == (z ? z : &oaki_the_heap.zone0) : !z;
}

/* Leaves z and returns p, the result of a call made there. Keeps errno. */
static void *out_of(oak_zone *z, void *p)
{
    int saved = errno;
    oak_zone_leave(z);
    errno = saved;
    return p;
}

void *oak_zone_alloc(oak_zone *z, size_t n)
{
    if (is_current(z)) return oak_alloc(n);
    if (oak_zone_enter(z) != 0) return NULL;
    return out_of(z, oak_alloc(n));
}

void *oak_zone_alloc_noscan(oak_zone *z, size_t n)
{
    if (is_current(z)) return oak_alloc_noscan(n);
    if (oak_zone_enter(z) != 0) return NULL;
    return out_of(z, oak_alloc_noscan(n));
}

void *oak_zone_alloc_pinned(oak_zone *z, size_t n)
{
    if (is_current(z)) return oak_alloc_pinned(n);
    if (oak_zone_enter(z) != 0) return NULL;
    return out_of(z, oak_alloc_pinned(n));
}

void *oak_zone_alloc_typed(oak_zone *z, const oak_type *type, size_t count)
{
    if (is_current(z)) return oak_alloc_typed(type, count);
    if (oak_zone_enter(z) != 0) return NULL;
    return out_of(z, oak_alloc_typed(type, count));
}

int oaki_zone_go(const void *owner)
{
    const oak_zone *here = oaki_tls_mcache->zone;
    uint32_t id = oaki_zone_id_of(owner);
    if (OAKI_LIKELY(id == (here ? here->id : 0))) return 0;
    return come_and_say(id ? oaki_zone_by_id(id) : NULL, true) == 0 ? 1 : -1;
}

void oaki_zone_back(void)
{
    int saved = errno;
    oaki_thread *t = oaki_enter();
    leave(t);
    oaki_leave(t);
    errno = saved;
}

/* ---- ends of threads and fibers ---- */

static void leave_chain(oaki_mcache **chain)
{
    if (!*chain) return;
    oaki_lock_acquire(&zones()->lock);
    for (oaki_mcache *mc = *chain, *outer; mc; mc = outer) {
        outer = mc->outer;
        park(mc);
    }
    oaki_lock_release(&zones()->lock);
    *chain = NULL;
}

/* From here on its current cache is a parked one, and must not be used. */
void oaki_zones_leave_all(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    leave_chain(&t->zones);
    leave_chain(&t->native_zones);
    if (t->comes) made(t, false);
    t->mcache = t->home;
}

void oaki_zones_flush(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    oaki_mcache_flush(t->home);
    for (oaki_mcache *mc = t->zones; mc; mc = mc->outer) oaki_mcache_flush(mc);
    for (oaki_mcache *mc = t->native_zones; mc; mc = mc->outer) oaki_mcache_flush(mc);
}

static void set_owner(oaki_mcache *mc, oaki_thread *t, oak_fiber *f)
{
    for (; mc; mc = mc->outer) {
        mc->thread = t;
        mc->fiber = f;
    }
}

/* Takes the lock, as oak_zone_threads reads the owner of an entry. */
void oaki_zones_switch(oaki_thread *t, oak_fiber *from, oak_fiber *to)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(from == t->fiber);
    oaki_mcache **in = to ? &to->zones : &t->native_zones, *now = *in;
    if (OAKI_LIKELY(!t->zones && !now)) return;
    oaki_lock_acquire(&zones()->lock);
    if (from) set_owner(t->zones, NULL, from);
    if (to) set_owner(now, t, NULL);
    *(from ? &from->zones : &t->native_zones) = t->zones;
    *in = NULL;
    t->zones = now;
    oaki_lock_release(&zones()->lock);
    set_current(t);
}

void oaki_zones_drop_fiber(oak_fiber *f)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(AO_load(&f->thread) == 0);
    leave_chain(&f->zones);
}

/* The fiber's memory still exists: it is swept later. */
void oaki_zones_drop_fibers(bool (*marked)(const void *obj))
{
    OAKI_REQUIRES_STOPPED();
    for (oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next)
        if (mc->fiber && !marked(mc->fiber)) oaki_zones_drop_fiber(mc->fiber);
}

size_t oak_zone_threads(const oak_zone *z, int *tids, size_t max)
{
    oaki_heap *h = &oaki_the_heap;
    size_t n = 0;
    if (!z) oak_fatal("oakum: oak_zone_threads: the zone is NULL");
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire_parked(t, &h->threads_lock);
    oaki_lock_acquire(&h->zones.lock);
    for (const oaki_mcache *mc = h->mcaches; mc; mc = mc->next) {
        if (mc->zone != z || mc->depth == 0) continue;
        if (tids && n < max) tids[n] = mc->fiber ? 0 : mc->thread->tid;
        n++;
    }
    oaki_lock_release(&h->zones.lock);
    oaki_lock_release(&h->threads_lock);
    oaki_leave(t);
    return n;
}

/* ---- slots taken and not handed out ---- */

static bool has_unused(const oaki_mcache *mc, const oaki_span *s, const void *p)
{
    unsigned sc = OAKI_SPANCLASS(s->kind, s->cls);
    return mc->span[sc] == s && (const char *)p >= mc->run[sc].next &&
           (const char *)p < mc->run_end[sc];
}

static bool chain_has_unused(const oaki_mcache *mc, const oaki_span *s, const void *p)
{
    for (; mc; mc = mc->outer)
        if (has_unused(mc, s, p)) return true;
    return false;
}

bool oaki_zones_hold_back(const oaki_span *s, const void *p)
{
    OAKI_REQUIRES_INSIDE();
    const oaki_thread *t = oaki_tls_thread;
    if (s->cls == OAKI_CLASS_LARGE) return false;
    if (t && ((t->home && has_unused(t->home, s, p)) || chain_has_unused(t->zones, s, p) ||
              chain_has_unused(t->native_zones, s, p)))
        return true;
    if (s->zone == 0) return false;
    bool found = false;
    oaki_lock_acquire(&zones()->lock);
    for (const oaki_mcache *mc = oaki_zone_by_id(s->zone)->parked; mc && !found; mc = mc->zone_next)
        found = has_unused(mc, s, p);
    oaki_lock_release(&zones()->lock);
    return found;
}

/* ---- the end of a zone ---- */

int oaki_zone_shut(oak_zone *z, oaki_zone_state to)
{
    int e = 0;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(z->id != 0 && (to == OAKI_ZONE_CLOSING || to == OAKI_ZONE_DEAD));
    oaki_lock_acquire(&zones()->lock);
    if (z->state == OAKI_ZONE_FREE || z->state == OAKI_ZONE_DEAD) {
        e = EINVAL;
    } else if (z->state == OAKI_ZONE_CLOSING || z->entries > 0) {
        e = EBUSY;
    } else {
        while (z->parked) make_spare(z->parked);
        z->state = to;
        z->called = false;
        z->closer = oaki_tls_thread;
    }
    oaki_lock_release(&zones()->lock);
    return e;
}

void oaki_zone_check_begin(oak_zone *z)
{
    oaki_lock_acquire(&zones()->lock);
    z->called = z->entries > 0;
    oaki_lock_release(&zones()->lock);
}

bool oaki_zone_decide(oak_zone *z, oaki_zone_state to)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(to == OAKI_ZONE_OPEN || to == OAKI_ZONE_DEAD);
    oaki_lock_acquire(&zones()->lock);
    OAKI_INVARIANT(z->state == OAKI_ZONE_CLOSING, "a zone is decided on that does not close");
    if (z->called || z->entries > 0) to = OAKI_ZONE_OPEN;
    while (to != OAKI_ZONE_OPEN && z->parked) make_spare(z->parked);
    z->state = to;
    oaki_lock_release(&zones()->lock);
    return to != OAKI_ZONE_OPEN;
}

size_t oaki_zones_reopen(void)
{
    OAKI_REQUIRES_FORKED();
    size_t left = 0, n = AO_load(&zones()->used);
    oaki_lock_acquire(&zones()->lock);
    for (uint32_t id = 1; id < n; id++) {
        oak_zone *z = oaki_zone_by_id(id);
        if (z->state != OAKI_ZONE_CLOSING) continue;
        if (z->closer == oaki_tls_thread) left++;
        else z->state = OAKI_ZONE_OPEN;
    }
    oaki_lock_release(&zones()->lock);
    return left;
}
