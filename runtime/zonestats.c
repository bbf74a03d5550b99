/* zonestats.c - the accounts of zones, read in one stop.
 *
 * A zone counts its frees and its memory. Its allocations are the sum of its caches' counts, for
 * its present and its former caches. The default zone counts nothing: its account is the heap's
 * less all others.
 * Owns: mallocs and bytes of zones, which are valid only in such a stop. Lock: gc_lock, the world
 * stopped. Bound: O(zones + caches * span classes). */
#include "collector.h"
#include "heap.h"
#include "print.h"
#include <string.h>

static void add_cache(const oaki_mcache *mc)
{
    oak_zone *z = mc->zone;
    if (z->id == 0) return;
    for (unsigned c = 1; c < OAKI_CLASSES; c++) z->mallocs += mc->mallocs[c];
    for (unsigned c = 1; c < oaki_nclasses; c++) z->bytes += mc->mallocs[c] * oaki_classes[c].size;
    z->bytes += mc->large_bytes;
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++)
        for (uint64_t set = mc->active[kind]; set; set &= set - 1) {
            unsigned c = oaki_ctz(set);
            size_t left = oaki_mcache_left(mc, OAKI_SPANCLASS(kind, c));
            z->mallocs -= left / oaki_classes[c].size;
            z->bytes -= left;
        }
}

static void count(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t n = AO_load(&h->zones.used);
    OAKI_REQUIRES_STOPPED();
    for (uint32_t id = 1; id < n; id++) {
        oak_zone *z = oaki_zone_by_id(id);
        z->mallocs = AO_load(&z->past_mallocs);
        z->bytes = AO_load(&z->past_bytes);
    }
    for (const oaki_mcache *mc = h->mcaches; mc; mc = mc->next) add_cache(mc);
}

static void add(oak_zone_stats *to, const oak_zone *z)
{
    to->inuse += oaki_zone_own_pages(z) << OAKI_PAGE_SHIFT;
    to->external += AO_load(&z->external);
    to->total_alloc += z->bytes;
    to->mallocs += z->mallocs;
    to->total_freed += AO_load(&z->free_bytes);
    to->frees += AO_load(&z->frees);
}

static void finish(oak_zone_stats *s)
{
    OAKI_ASSERT(s->total_alloc >= s->total_freed && s->mallocs >= s->frees);
    s->live_bytes = s->total_alloc - s->total_freed;
    s->live_objects = s->mallocs - s->frees;
}

static void read_zone(oak_zone_stats *out, oak_zone *z)
{
    memset(out, 0, sizeof *out);
    out->zone = z;
    memcpy(out->name, z->name, sizeof out->name);
    out->limit = z->limit_bytes;
    out->collections = AO_load(&z->collections);
    out->failures = AO_load(&z->failures);
    out->entries = z->entries;
    add(out, z);
    finish(out);
}

static void read_gone(oak_zone_stats *out)
{
    const oaki_zones *zs = &oaki_the_heap.zones;
    memset(out, 0, sizeof *out);
    oaki_format(out->name, sizeof out->name, "discarded");
    out->total_alloc = out->total_freed = zs->past_bytes;
    out->mallocs = out->frees = zs->past_mallocs;
    for (uint32_t id = 1; id < AO_load(&zs->used); id++) {
        const oak_zone *z = oaki_zone_by_id(id);
        if (z->state == OAKI_ZONE_DEAD) add(out, z);
    }
    finish(out);
}

/* The default zone's account: m less `others`, the sum of all other zones. */
static void read_default(oak_zone_stats *out, const oak_memstats *m, const oak_zone_stats *others)
{
    memset(out, 0, sizeof *out);
    oaki_format(out->name, sizeof out->name, "default");
    out->inuse = m->heap_inuse - others->inuse;
    out->total_alloc = m->total_alloc - others->total_alloc;
    out->mallocs = m->mallocs - others->mallocs;
    out->total_freed = m->total_alloc - m->heap_alloc - others->total_freed;
    out->frees = m->frees - others->frees;
    out->external = m->external - others->external;
    out->entries = oaki_the_heap.zone0.entries;
    finish(out);
}

static bool is_there(const oak_zone *z)
{
    return z->state == OAKI_ZONE_OPEN || z->state == OAKI_ZONE_CLOSING;
}

static size_t read_all(oak_zone_stats *out, size_t max, const oak_memstats *m)
{
    const oaki_zones *zs = &oaki_the_heap.zones;
    oak_zone_stats gone, first, others = { 0 };
    size_t n = 2;
    count();
    read_gone(&gone);
    for (uint32_t id = 1; id < AO_load(&zs->used); id++) {
        oak_zone *z = oaki_zone_by_id(id);
        if (!is_there(z)) continue;
        if (n < max) read_zone(&out[n], z);
        add(&others, z);
        n++;
    }
    others.inuse += gone.inuse;
    others.total_alloc += gone.total_alloc;
    others.mallocs += gone.mallocs;
    others.total_freed += gone.total_freed;
    others.frees += gone.frees;
    others.external += gone.external;
    read_default(&first, m, &others);
    if (max > 0) out[0] = first;
    if (max > 1) out[1] = gone;
    return n;
}

size_t oak_zones_read(oak_zone_stats *out, size_t max, oak_memstats *m)
{
    static oak_memstats nobodys; /* under gc_lock; too large for a small stack */
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return 0;
    if (!m) m = &nobodys;
    oaki_memstats_in_stop(m);
    size_t n = read_all(out, out ? max : 0, m);
    oaki_gc_stop_end(t);
    return n;
}

void oak_zone_stats_read(const oak_zone *z, oak_zone_stats *out)
{
    if (!out) return;
    memset(out, 0, sizeof *out);
    if (!z) {
        (void)oak_zones_read(out, 1, NULL);
        return;
    }
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return;
    bool there = is_there(z);
    if (there) {
        count();
        read_zone(out, oaki_zone_by_id(z->id));
    }
    oaki_gc_stop_end(t);
    if (!there) oak_fatal("oakum: oak_zone_stats_read: zone %p was discarded", (const void *)z);
}

/* ---- checking ---- */

static const char *check_spans(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, n = AO_load(&h->zones.used);
    for (uint32_t id = 1; id < n; id++) oaki_zone_by_id(id)->seen = 0;
    for (size_t page = 0; page < end; page += h->spans[page].npages) {
        const oaki_span *s = &h->spans[page];
        if ((h->pte[page] & OAKI_PTE_CLASS) == 0 || s->zone == 0) continue;
        if (s->zone >= n) return "zone: a span's zone has a record";
        size_t head = s->cls == OAKI_CLASS_LARGE ? s->cursor : 0;
        oaki_zone_by_id(s->zone)->seen += s->npages - head;
    }
    for (uint32_t id = 1; id < n; id++) {
        const oak_zone *z = oaki_zone_by_id(id);
        if (z->seen != oaki_zone_own_pages(z)) return "zone: pages counts those of its spans";
        if (z->state == OAKI_ZONE_FREE && z->seen > 0) return "zone: a free record has no spans";
    }
    return NULL;
}

static const char *check_caches(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t parked = 0, n = AO_load(&h->zones.used);
    for (uint32_t id = 0; id < n; id++) {
        const oak_zone *z = oaki_zone_by_id(id);
        uint32_t entries = 0;
        for (const oaki_mcache *mc = z->parked; mc; mc = mc->zone_next) {
            if (mc->zone != z || mc->depth != 0) return "zone: a parked cache is nobody's";
            parked++;
        }
        for (const oaki_mcache *mc = h->mcaches; mc; mc = mc->next)
            entries += mc->zone == z && mc->depth > 0;
        if (entries + z->making != z->entries)
            return "zone: entries counts the caches that are in use";
        bool shut = z->state != OAKI_ZONE_OPEN && z->state != OAKI_ZONE_CLOSING;
        if (shut && (entries > 0 || z->parked)) return "zone: one that is shut has no caches";
        if (z->state == OAKI_ZONE_CLOSING && entries > 0 && !z->called)
            return "zone: one that closes is entered for an object of it alone";
    }
    if (parked != h->zones.nparked) return "zone: nparked counts the parked caches";
    return NULL;
}

const char *oaki_zones_check(void)
{
    const char *broken = check_spans();
    return broken ? broken : check_caches();
}
