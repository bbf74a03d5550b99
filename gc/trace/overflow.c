/* overflow.c - marking when there is no memory for the mark stack.
 *
 * An object that can't be pushed is marked and not scanned. Later every marked object is scanned
 * again (workers.c).
 *
 * Owns nothing. Lock: as the marker that is given. Bound: a rescan is O(marked objects), plus
 * the objects that it finds. */
#include "gc/contract.h"
#include "reading.h"
#include "trace.h"

void oaki_overflow_mark(oak_marker *m, size_t off)
{
    OAKI_REQUIRES_WORKER(m);
    if (off >= m->used || !oaki_mark_counts(off)) return;
    size_t slot = oaki_slot_offset(off);
    if (slot != SIZE_MAX && oaki_mark_alone(m, slot)) oaki_overflow_note();
}

/* An old object may have the mark bits of all its granules set: only the bit of its start
 * counts. */
static void rescan_span(oak_marker *m, oaki_span *s)
{
    if (s->kind == OAKI_NOSCAN) return;
    size_t base = oaki_span_slot(s), words = (size_t)s->npages * OAKI_PAGE_WORDS;
    uint64_t large = (uint64_t)1 << (base >> OAKI_GRANULE_SHIFT) % 64; /* its only slot */
    const uint64_t *starts = oaki_class_starts[s->cls];
    if (s->cls == OAKI_CLASS_LARGE) {
        starts = &large;
        words = 1;
    }
    for (size_t w = 0; w < words; w++) {
        size_t at = (base >> (OAKI_GRANULE_SHIFT + 6)) + w;
        uint64_t set = oaki_marked_of(at, oaki_objects_in(at, starts[w]));
        for (; set; set &= set - 1) {
            oaki_trace_live((char *)oaki_the_heap.base + oaki_slot_of(at, set));
            oaki_trace_local(m);
        }
    }
}

void oaki_overflow_rescan(oak_marker *m)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER_ZERO();
    oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) rescan_span(m, &h->spans[page]);
}
