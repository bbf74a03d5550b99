/* memstats.c - Go's MemStats, from the counters of all layers, read in one stop.
 *
 * Owns nothing. gc_lock keeps other stops away. The world is stopped while the counters are read,
 * so that they agree. */
#include "collector.h"
#include "fiber.h"
#include "heap.h"
#include "meta.h"
#include "os.h"
#include <oakum/heap.h>
#include <string.h>

/* Bytes of the page table and the two bitmaps for the used part of the range. */
static uint64_t tables_bytes(uint64_t used)
{
    return used / OAKI_PAGE * sizeof(oaki_pte) + 2 * (used / 128);
}

/* Slots that threads have taken but not handed out don't count as mallocs. */
static void read_classes(oak_memstats *out)
{
    const oaki_heap *h = &oaki_the_heap;
    for (unsigned c = 1; c < oaki_nclasses; c++) {
        oak_size_stats *s = &out->by_size[c - 1];
        s->size = oaki_classes[c].size;
        s->frees = AO_load(&h->frees[c]);
        s->mallocs = AO_load(&h->past_mallocs[c]);
    }
    for (const oaki_mcache *mc = h->mcaches; mc; mc = mc->next) {
        for (unsigned c = 1; c < oaki_nclasses; c++) out->by_size[c - 1].mallocs += mc->mallocs[c];
        for (unsigned kind = 0; kind < OAKI_KINDS; kind++)
            for (uint64_t set = mc->active[kind]; set; set &= set - 1) {
                unsigned c = oaki_ctz(set);
                size_t left = oaki_mcache_left(mc, OAKI_SPANCLASS(kind, c));
                out->by_size[c - 1].mallocs -= left / oaki_classes[c].size;
            }
    }
}

/* All sizes: the classes, already read, and large objects. */
static void read_objects(oak_memstats *out)
{
    const oaki_heap *h = &oaki_the_heap;
    uint64_t freed = AO_load(&h->large_free_bytes);
    out->mallocs = AO_load(&h->past_mallocs[OAKI_CLASS_LARGE]);
    out->total_alloc = AO_load(&h->past_large_bytes);
    out->frees = AO_load(&h->frees[OAKI_CLASS_LARGE]);
    for (const oaki_mcache *mc = h->mcaches; mc; mc = mc->next) {
        out->mallocs += mc->mallocs[OAKI_CLASS_LARGE];
        out->total_alloc += mc->large_bytes;
        out->mcache_inuse += sizeof *mc;
    }
    for (unsigned c = 1; c < oaki_nclasses; c++) {
        const oak_size_stats *s = &out->by_size[c - 1];
        out->mallocs += s->mallocs;
        out->frees += s->frees;
        out->total_alloc += s->mallocs * s->size;
        freed += s->frees * s->size;
    }
    OAKI_ASSERT(out->mallocs >= out->frees && out->total_alloc >= freed);
    out->heap_objects = out->mallocs - out->frees;
    out->heap_alloc = out->alloc = out->total_alloc - freed;
}

static size_t above(const char *lo, const char *hi, const char *sp)
{
    return sp && sp >= lo && sp < hi ? (size_t)(hi - sp) : 0;
}

size_t oaki_thread_stack_inuse(const oaki_thread *t)
{
    OAKI_REQUIRES_STOPPED();
    size_t own = above(t->stack_lo, t->stack_hi, t->sp);
    if (own > 0) return own;
    const oak_fiber *f = t->fiber, *left = t->fiber_left;
    size_t fiber = f ? above(f->lo, f->hi, t->sp) : 0;
    if (fiber == 0 && left) fiber = above(left->lo, left->hi, t->sp);
    return fiber + above(t->stack_lo, t->stack_hi, t->native_sp);
}

static void read_heap(oak_memstats *out)
{
    oaki_heap *h = &oaki_the_heap;
    uint64_t used = AO_load(&h->used);
    out->heap_sys = used;
    out->heap_inuse = (uint64_t)AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT;
    out->heap_idle = (uint64_t)AO_load(&h->pages_free) << OAKI_PAGE_SHIFT;
    out->heap_released = (uint64_t)AO_load(&h->pages_released) << OAKI_PAGE_SHIFT;
    out->heap_retained = out->heap_idle - out->heap_released;
    out->heap_reserved = h->reserved;
    out->next_gc = AO_load(&h->trigger);
    out->mspan_inuse = AO_load(&h->nspans) * sizeof(oaki_span) + oaki_meta_in_use(OAKI_META_MSPAN);
    out->mspan_sys = used / OAKI_PAGE * sizeof(oaki_span) + oaki_meta_in_use(OAKI_META_MSPAN);
    out->mcache_sys = oaki_meta_in_use(OAKI_META_MCACHE);
    out->buck_hash_sys = oaki_meta_in_use(OAKI_META_BUCKHASH);
    out->gc_sys += tables_bytes(used) + oaki_meta_in_use(OAKI_META_GC);
    for (const oaki_thread *t = h->threads; t; t = t->next) {
        if (t->own) continue;
        out->threads++;
        out->stack_inuse += oaki_thread_stack_inuse(t);
    }
}

static void read_zones(oak_memstats *out)
{
    const oaki_zones *zs = &oaki_the_heap.zones;
    size_t pages = 0;
    for (uint32_t id = 1; id < AO_load(&zs->used); id++)
        pages += oaki_zone_own_pages(oaki_zone_by_id(id));
    out->zones = AO_load(&zs->count);
    out->zones_inuse = (uint64_t)pages << OAKI_PAGE_SHIFT;
}

/* The back end holds more than it has handed out; the unused rest counts as other. */
static void add_up(oak_memstats *out)
{
    uint64_t meta = oaki_meta_mapped();
    uint64_t named = oaki_meta_in_use(OAKI_META_MSPAN) + oaki_meta_in_use(OAKI_META_MCACHE) +
                     oaki_meta_in_use(OAKI_META_BUCKHASH) + oaki_meta_in_use(OAKI_META_GC);
    out->meta_sys = meta;
    out->other_sys = meta > named ? meta - named : 0;
    out->sys = out->heap_sys + out->stack_sys + out->mspan_sys + out->mcache_sys +
               out->buck_hash_sys + out->gc_sys + out->other_sys;
}

void oaki_memstats_in_stop(oak_memstats *out)
{
    OAKI_REQUIRES_STOPPED();
    memset(out, 0, sizeof *out);
    read_classes(out);
    read_objects(out);
    read_heap(out);
    read_zones(out);
    oaki_gc_stats(out);
    add_up(out);
}

void oak_memstats_read(oak_memstats *out)
{
    if (!out) return;
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) {
        memset(out, 0, sizeof *out);
        return;
    }
    oaki_memstats_in_stop(out);
    oaki_gc_stop_end(t);
}

size_t oak_set_memory_limit(size_t bytes)
{
    oaki_heap *h = &oaki_the_heap;
    size_t old = AO_load(&h->memory_limit);
    if (bytes == SIZE_MAX || !oaki_heap_ready()) return old;
    AO_store(&h->memory_limit, bytes);
    oaki_gc_settings_changed();
    oaki_thread *t = oaki_enter();
    if (!t) return old;
    oaki_scavenge_for(0);
    oaki_leave(t);
    return old;
}

size_t oak_set_heap_max(size_t bytes)
{
    oaki_heap *h = &oaki_the_heap;
    if (!oaki_heap_ready()) return 0;
    size_t old = AO_load(&h->heap_max);
    AO_store(&h->heap_max, bytes);
    return old;
}
