/* zonedrop.c - giving back the memory of dead zones: by a background thread, or by the collector
 * before its next mark.
 *
 * Discarding a zone takes its caches' spans and drops the records that others keep of its objects.
 * Then it puts the zone into the list of the dead, and its caller waits for no more. After that
 * span after span goes back to the page heap. When the last one has gone, the zone's number is free
 * again. A collection gives back the rest before its mark. So no mark meets a zone that was dead
 * when the cycle began. A zone that dies during a cycle stays whole until the next.
 *
 * Owns: the list of dead zones, the reaper. Lock: oaki_zones.lock for the list; helper_lock for
 * taking spans from the zones in it. A span that a thread is sweeping is in no list. It comes back
 * into one, or is freed; the zone waits for it. */
#include "collector.h"
#include "crew.h"
#include "guard.h"
#include "heap.h"
#include "markbits.h"
#include "os.h"
#include "phase.h"
#include "track.h"
#include "waker.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

#define QUANTUM 64 /* spans in one quantum, before the next check for waiting threads */
#define WAIT_NS 200000 /* wait for a span that a thread is sweeping */
#define POISON 0xdb

static struct {
    oaki_waker waker;  /* a zone has died */
    unsigned int started; /* AO_int: the thread was started */
} reaper;

/* ---- one span ---- */

static void forget_samples(const oaki_span *s)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t off = oaki_span_slot(s);
    size_t slots = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
    for (size_t i = 0; i < slots; i++, off += s->size)
        if (oaki_bit_get(h->alloc, off)) h->sampler.on.freed((char *)h->base + off);
}

/* The part of the span's bytes that the last mark has counted, while its marks are there. */
static size_t marked_bytes(const oaki_span *s, size_t bytes)
{
    size_t off = oaki_span_slot(s), words = (size_t)s->npages * OAKI_PAGE_WORDS;
    if (s->cls == OAKI_CLASS_LARGE) return oaki_mark_get(off) ? bytes : 0;
    return oaki_mark_count(off >> 10, words, oaki_class_starts[s->cls]) * s->size;
}

static void poison(const oaki_span *s)
{
    size_t bytes = (size_t)s->npages << OAKI_PAGE_SHIFT;
    oaki_track_alloc(oaki_span_start(s), bytes); /* ASan knows of objects that were freed */
    memset(oaki_span_start(s), POISON, bytes);
}

/* Gives back a span that is in no list and no cache. */
static void give_back(oak_zone *z, oaki_span *s)
{
    oaki_heap *h = &oaki_the_heap;
    bool large = s->cls == OAKI_CLASS_LARGE;
    OAKI_ASSERT(s->list == OAKI_LIST_NONE && s->zone == z->id && z->state == OAKI_ZONE_DEAD);
    if (OAKI_UNLIKELY(s->guarded)) oaki_guard_drop(s);
    size_t objects = AO_int_load(&s->nalloc);
    size_t bytes = large ? s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT) : objects * s->size;
    if (OAKI_UNLIKELY(AO_char_load(&s->sampled) != 0)) forget_samples(s);
    if (oaki_debug_switches.poison && !large) poison(s);
    if (objects > 0) oaki_count_add(&h->frees[s->cls], objects);
    if (large) oaki_count_add(&h->large_free_bytes, bytes);
    oaki_zone_count_frees(z->id, objects, bytes);
    bool waits = s->swept != (uint32_t)AO_load(&h->cycle);
    size_t marked = waits || AO_load(&h->sticky) != 0 ? marked_bytes(s, bytes) : bytes;
    oaki_count_sub_most(&h->live, waits ? marked : bytes);
    z->dropped += marked;
    if (s->types && !large) oaki_span_free_types(s);
    if (oaki_debug_switches.verify)
        oaki_gc_note_freed(oaki_span_slot(s), (size_t)s->npages << OAKI_PAGE_SHIFT);
    oaki_pages_free(s);
}

/* ---- zones ---- */

void oaki_zone_drop(oak_zone *z)
{
    oaki_zones *zs = &oaki_the_heap.zones;
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&zs->lock);
    OAKI_ASSERT(z->state == OAKI_ZONE_DEAD && z->entries == 0 && !z->parked);
    z->next = 0;
    if (zs->dead) oaki_zone_by_id(zs->last_dead)->next = z->id;
    else zs->dead = z->id;
    zs->last_dead = z->id;
    oaki_count_sub(&zs->count, 1);
    oaki_count_add(&zs->ndead, 1);
    oaki_lock_release(&zs->lock);
}

/* Ends the first dead zone, which has no memory any more. */
static void bury(oak_zone *z)
{
    oaki_zones *zs = &oaki_the_heap.zones;
    oaki_gc_dropped(z->dropped);
    oaki_lock_acquire(&zs->lock);
    OAKI_ASSERT(zs->dead == z->id && AO_load(&z->pages) == 0);
    OAKI_ASSERT(AO_load(&z->frees) == AO_load(&z->past_mallocs));
    OAKI_ASSERT(AO_load(&z->free_bytes) == AO_load(&z->past_bytes));
    zs->past_mallocs += AO_load(&z->past_mallocs);
    zs->past_bytes += AO_load(&z->past_bytes);
    AO_store(&z->past_mallocs, 0);
    AO_store(&z->past_bytes, 0);
    AO_store(&z->frees, 0);
    AO_store(&z->free_bytes, 0);
    z->state = OAKI_ZONE_FREE;
    zs->dead = z->next;
    z->next = zs->free;
    zs->free = z->id;
    oaki_count_sub(&zs->ndead, 1);
    oaki_lock_release(&zs->lock);
}

static oak_zone *first_dead(void)
{
    oaki_zones *zs = &oaki_the_heap.zones;
    if (AO_load(&zs->ndead) == 0) return NULL;
    oaki_lock_acquire(&zs->lock);
    uint32_t id = zs->dead;
    oaki_lock_release(&zs->lock);
    return id ? oaki_zone_by_id(id) : NULL;
}

bool oaki_zones_reap(size_t spans)
{
    oak_zone *z;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.helper_lock);
    OAKI_ASSERT(!oaki_is_marking());
    while ((z = first_dead()) != NULL) {
        unsigned sc = 0; /* from the start: a span that was being swept may be back in any list */
        oaki_span *s = NULL;
        oaki_guard_leave_begin();
        for (; spans > 0 && (s = oaki_central_pop_any(z, &sc)) != NULL; spans--) give_back(z, s);
        oaki_guard_leave_end();
        if (spans == 0) return true;
        if (AO_load_acquire(&z->pages) != 0) return false;
        bury(z);
    }
    return false;
}

int oak_zone_discard(oak_zone *z)
{
    if (!z) oak_fatal("oakum: oak_zone_discard: the zone is NULL");
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    int e = oaki_zone_shut(z, OAKI_ZONE_DEAD);
    if (e == 0) {
        oaki_gc_zone_forget(z->id, AO_load(&z->special) != 0);
        oaki_zone_drop(z);
    }
    oaki_leave(t);
    if (e == EINVAL) oak_fatal("oakum: oak_zone_discard: zone %p was discarded", (void *)z);
    if (e == 0) oaki_zones_reaper_wake();
    errno = e ? e : errno;
    return e ? -1 : 0;
}

/* ---- the thread ---- */

/* Gives nothing back during a mark: the mark knows these spans. */
bool oaki_zones_reap_some(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_helper_begin();
    bool more = !oaki_is_marking() && oaki_zones_reap(QUANTUM);
    oaki_helper_end();
    return more;
}

static void *thread_main(void *arg)
{
    unsigned seen = 0;
    oaki_os_prefer_others();
    while (oaki_crew_wait(&reaper.waker, &seen)) {
        while (AO_load(&oaki_the_heap.zones.ndead) && !oaki_crew_ends()) {
            if (oaki_zones_reap_some()) continue;
            if (AO_load(&oaki_the_heap.zones.ndead)) oaki_os_sleep_ns(WAIT_NS);
        }
        oaki_scavenger_spawn();
    }
    AO_int_store(&reaper.started, 0);
    return arg;
}

static void after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    AO_int_store(&reaper.started, 0);
}

int oaki_zones_reaper_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}

/* Without a thread, the next collection gives the zones back. The thread begins with `seen` 0, so
 * it doesn't sleep through the death that started it. */
void oaki_zones_reaper_wake(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_waker_wake(&reaper.waker, 1);
    if (OAKI_LIKELY(AO_int_load(&reaper.started)) ||
        !AO_int_compare_and_swap_full(&reaper.started, 0, 1))
        return;
    if (oaki_thread_spawn("oakum/zones", thread_main, NULL, false) != 0)
        AO_int_store(&reaper.started, 0);
}
