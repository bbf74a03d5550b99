/* zone.c - the table of zones, their limits and their names (zone.h).
 *
 * Owns: the records, the list of free ones, limits and handlers.
 * Invariants: an id below oaki_zones.used has a record. pages <= limit, unless the limit was
 * lowered since. The default zone, id 0, is always open, and has neither limit nor handler.
 * Lock: oaki_zones.lock. pages is charged by compare-and-swap, before the pages are taken. */
#include "collector.h"
#include "contain.h"
#include "heap.h"
#include "meta.h"
#include "print.h"
#include <errno.h>
#include <string.h>

#define NO_LIMIT SIZE_MAX

void oaki_zones_init(void)
{
    OAKI_REQUIRES_STARTING();
    oaki_heap *h = &oaki_the_heap;
    oaki_lock_init(&h->zones.lock, OAKI_RANK_ZONES);
    AO_store(&h->zones.used, 1);
    h->zone0.state = OAKI_ZONE_OPEN;
    AO_store(&h->zone0.limit, NO_LIMIT);
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++)
        AO_store(&h->zone0.central[kind], (AO_t)(h->central0 + kind * OAKI_CLASSES));
}

/* ---- records ---- */

/* NULL with EAGAIN or ENOMEM. */
static oak_zone *new_record(void)
{
    oaki_zones *zs = &oaki_the_heap.zones;
    OAKI_REQUIRES_LOCK(&zs->lock);
    uint32_t id = zs->free;
    if (id) {
        oak_zone *z = oaki_zone_by_id(id);
        zs->free = z->next;
        return z;
    }
    id = (uint32_t)AO_load(&zs->used);
    if (id == OAKI_ZONES_MAX) {
        errno = EAGAIN;
        return NULL;
    }
    oak_zone **chunk = &zs->chunk[id / OAKI_ZONE_CHUNK];
    if (!*chunk) *chunk = oaki_meta_zalloc(OAKI_ZONE_CHUNK * sizeof **chunk, OAKI_META_OTHER);
    if (!*chunk) {
        errno = ENOMEM;
        return NULL;
    }
    oak_zone *z = &(*chunk)[id % OAKI_ZONE_CHUNK];
    z->id = id;
    AO_store_release(&zs->used, id + 1);
    return z;
}

static size_t limit_pages(size_t bytes)
{
    return bytes ? bytes >> OAKI_PAGE_SHIFT : NO_LIMIT;
}

static void open_zone(oak_zone *z, const oak_zone_options *o, size_t number)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.zones.lock);
    OAKI_ASSERT(z->id != 0 && z->state == OAKI_ZONE_FREE);
    OAKI_ASSERT(AO_load(&z->pages) == 0 && z->entries == 0 && !z->parked);
    OAKI_ASSERT(AO_load(&z->frees) == 0 && AO_load(&z->past_mallocs) == 0);
    oak_zone fresh = { .id = z->id, .state = OAKI_ZONE_OPEN };
    memcpy(fresh.central, z->central, sizeof fresh.central);
    fresh.limit_bytes = o->limit;
    AO_store(&fresh.limit, limit_pages(o->limit));
    fresh.on_full = o->on_full;
    fresh.ctx = o->ctx;
    if (o->name) oaki_format(fresh.name, sizeof fresh.name, "%s", o->name);
    else oaki_format(fresh.name, sizeof fresh.name, "zone %zu", number);
    *z = fresh;
}

oak_zone *oak_zone_new(const oak_zone_options *o)
{
    oaki_zones *zs = &oaki_the_heap.zones;
    oak_zone_options none = { 0 };
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    oaki_lock_acquire(&zs->lock);
    oak_zone *z = new_record();
    if (z) {
        open_zone(z, o ? o : &none, ++zs->serial);
        oaki_count_add(&zs->count, 1);
    }
    oaki_lock_release(&zs->lock);
    oaki_leave(t);
    return z;
}

void oaki_zone_check_use(const oak_zone *z, const char *caller)
{
    if (!z) oak_fatal("oakum: %s: the zone is NULL", caller);
    if (z->state == OAKI_ZONE_FREE || z->state == OAKI_ZONE_DEAD)
        oak_fatal("oakum: %s: zone %p was discarded", caller, (const void *)z);
}

const char *oak_zone_name(const oak_zone *z)
{
    if (!z) return "default";
    oaki_zone_check_use(z, "oak_zone_name");
    return z->name;
}

void *oak_zone_context(const oak_zone *z)
{
    oaki_zone_check_use(z, "oak_zone_context");
    return z->ctx;
}

oak_zone *oak_zone_of(const void *p)
{
    const void *obj = oaki_object_base(p);
    uint32_t id = obj ? oaki_zone_id_of(obj) : 0;
    return id ? oaki_zone_by_id(id) : NULL;
}

/* Two threads may make them at once: one of the arrays is used. */
oaki_central *oaki_zone_make_centrals(oak_zone *z, oaki_kind kind)
{
    size_t bytes = OAKI_CLASSES * sizeof(oaki_central);
    oaki_central *c = (oaki_central *)AO_load_acquire(&z->central[kind]);
    if (OAKI_LIKELY(c != NULL)) return c;
    c = oaki_meta_zalloc(bytes, OAKI_META_MSPAN);
    if (!c) return NULL;
    for (size_t i = 0; i < OAKI_CLASSES; i++) oaki_lock_init(&c[i].lock, OAKI_RANK_CENTRAL);
    if (AO_compare_and_swap_full(&z->central[kind], 0, (AO_t)c)) return c;
    oaki_meta_free(c, bytes, OAKI_META_MSPAN);
    return (oaki_central *)AO_load_acquire(&z->central[kind]);
}

/* ---- the limit ---- */

bool oaki_zone_charge(oak_zone *z, size_t pages)
{
    AO_t old;
    if (z->id == 0) return true;
    do {
        size_t limit = AO_load(&z->limit);
        old = AO_load(&z->pages);
        if (old > limit || pages > limit - old) {
            errno = ENOMEM;
            return false;
        }
    } while (!AO_compare_and_swap(&z->pages, old, old + pages));
    return true;
}

/* A full barrier: the thread that frees an empty zone's record reads 0 in pages, and only then the
 * record's other words. */
void oaki_zone_uncharge(uint32_t id, size_t pages)
{
    if (!id) return;
    AO_t had = AO_fetch_and_add_full(&oaki_zone_by_id(id)->pages, (AO_t)0 - pages);
    (void)had;
    OAKI_ASSERT(had >= pages);
}

void oaki_zone_count_frees(uint32_t id, size_t objects, size_t bytes)
{
    if (OAKI_LIKELY(id == 0)) return;
    oak_zone *z = oaki_zone_by_id(id);
    oaki_count_add(&z->frees, objects);
    oaki_count_add(&z->free_bytes, bytes);
}

size_t oak_zone_set_limit(oak_zone *z, size_t bytes)
{
    oaki_zone_check_use(z, "oak_zone_set_limit");
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire(&oaki_the_heap.zones.lock);
    size_t old = z->limit_bytes;
    if (bytes != SIZE_MAX) {
        z->limit_bytes = bytes;
        AO_store(&z->limit, limit_pages(bytes));
    }
    oaki_lock_release(&oaki_the_heap.zones.lock);
    oaki_leave(t);
    return old;
}

/* ---- out of memory ---- */

/* Resets in_full, so that the next failure calls the handler again. */
OAKI_UNWIND_ACTION(oaki_zone_full_left)
{
    if (oaki_tls_thread) oaki_tls_thread->in_full = false;
    oaki_cancel_give_back();
}

/* The handler runs with cancellation held off: an allocation is no cancellation point. */
static OAKI_NOINLINE bool call_full(oak_zone *z, size_t n)
{
    OAKI_NO_CANCEL_NOTED;
    OAKI_ON_UNWIND(oaki_zone_full_left);
    bool again = z->on_full(z, n, z->ctx);
    OAKI_STAY();
    return again;
}

bool oaki_zone_full(size_t n)
{
    OAKI_REQUIRES_OUTSIDE();
    oak_zone *z = oaki_tls_mcache->zone;
    oaki_thread *t = oaki_tls_thread;
    errno = ENOMEM;
    if (!t || !z || z->id == 0) return false;
    if (OAKI_UNLIKELY(oaki_held_full(&t->held))) {
        if (!t->in_full) t->held.full = n; /* a write in the handler that finds no room asks none */
        return false;
    }
    bool again = false;
    if (z->on_full && !t->in_full) {
        t->in_full = true;
        again = call_full(z, n);
        t->in_full = false;
        errno = ENOMEM;
    }
    if (!again) oaki_count_add(&z->failures, 1);
    return again;
}
