/* roots.c - quanta that queue objects to which no stack and no global leads.
 *
 * These are: pinned objects; objects that records keep alive in any case; objects that large
 * registered ranges refer to; values of ephemerons; and objects that are reached only by mark
 * functions that want a stopped world, as those of fibers.
 *
 * The final pause goes over all of them again. An object that is marked by then costs it a test of
 * a bit, and no tracing. Of tables it examines only records that are not certain (objtable.h). A
 * value whose key dies in between stays for one more cycle.
 *
 * Lock: the driver's; for tables also finalizer_lock, for registered ranges roots_lock.
 * Bound: a quantum is PINNED_PAGES of the heap, PINNED_OBJECTS, RECORDS of a table, ROOT_BYTES of a
 * range or SLICE_NS of a pause (gc/tuning.h). The tracing from there is added. */
#include "gc/contract.h"
#include "gc/host.h"
#include "gc/refs/link.h"
#include "gc/refs/objtable.h"
#include "gc/refs/tables.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "quantum.h"
#include "runtime/markbits.h"
#include "runtime/os.h"

/* ---- pinned ---- */

static size_t queue_large(size_t page)
{
    const oaki_heap *h = &oaki_the_heap;
    if (oaki_page_first(page) != page) return 0;
    size_t slot = oaki_span_slot(&h->spans[page]);
    if (!oaki_bit_get(h->alloc, slot) || oaki_mark_get(slot)) return 0;
    oaki_mark_pointer((char *)h->base + slot);
    return 1;
}

/* Queues the unmarked objects that begin on a page. e: the page's entry. Returns their number. */
static size_t queue_page(size_t page, oaki_pte e)
{
    OAKI_REQUIRES_WORKER_ZERO();
    size_t n = 0;
    if ((e & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE) return queue_large(page);
    const uint64_t *starts = oaki_page_starts(e);
    for (size_t w = 0, at = page * OAKI_PAGE_WORDS; w < OAKI_PAGE_WORDS; w++, at++) {
        uint64_t x = oaki_objects_in(at, starts[w]);
        for (x ^= oaki_marked_of(at, x); x; x &= x - 1, n++)
            oaki_mark_pointer((char *)oaki_the_heap.base + oaki_slot_of(at, x));
    }
    return n;
}

static bool is_pinned(oaki_pte e)
{
    return (e & OAKI_PTE_CLASS) && oaki_pte_kind(e) == OAKI_PINNED;
}

void oaki_pinned_mark(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, left = AO_load(&h->npinned);
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    for (size_t page = 0; page < end && left > 0; page++) {
        if (!is_pinned(h->pte[page])) continue;
        size_t n = h->spans[page].npages;
        bool large = (h->pte[page] & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE;
        for (size_t i = 0; i < (large ? 1 : n); i++) (void)queue_page(page + i, h->pte[page + i]);
        page += n - 1;
        left--;
    }
    OAKI_ASSERT(left == 0); /* npinned counts the spans */
}

/* Page by page, as spans come and go between two quanta. */
bool oaki_quantum_pinned(oaki_progress *s, const oaki_driver *d)
{
    oaki_heap *h = &oaki_the_heap;
    size_t page = s->at >> OAKI_PAGE_SHIFT, end = s->end >> OAKI_PAGE_SHIFT, n = 0;
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    if (page >= end || AO_load(&h->npinned) == 0) return false;
    end = OAKI_MIN(end, page + OAKI_TUNE_PINNED_PAGES);
    for (; page < end && n < OAKI_TUNE_PINNED_OBJECTS; page++) {
        oaki_pte e = AO_int_load(&h->pte[page]);
        if (is_pinned(e)) n += queue_page(page, e);
    }
    s->at = page << OAKI_PAGE_SHIFT;
    if (n >= OAKI_TUNE_PINNED_OBJECTS) (void)oaki_quantum_trace(s, d);
    return true;
}

/* ---- tables: progress goes through the numbers of records ---- */

/* One table after the other. all: every table, not only those whose records keep objects alive. */
static bool note_certain(oaki_progress *s, bool all)
{
    size_t *table = &oaki_gc.concurrent.table;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    s->at = oaki_tables_note_certain(*table, all, (uint32_t)s->at, OAKI_TUNE_RECORDS);
    if (s->at != OAKI_RECORD_NONE) return true;
    s->at = 0;
    return ++*table < OAKI_TABLES;
}

bool oaki_quantum_kept(oaki_progress *s, const oaki_driver *d)
{
    (void)d;
    return note_certain(s, false);
}

bool oaki_quantum_certain(oaki_progress *s, const oaki_driver *d)
{
    (void)d;
    return note_certain(s, true);
}

bool oaki_quantum_values(oaki_progress *s, const oaki_driver *d)
{
    (void)d;
    s->at = oaki_ephemerons_note_certain((uint32_t)s->at, OAKI_TUNE_RECORDS);
    return s->at != OAKI_RECORD_NONE;
}

/* ---- registered ranges ---- */

static void sift_root(const oaki_root *r, void *m)
{
    oaki_trace_sift_as(m, (const uintptr_t *)r->lo, (const uintptr_t *)r->hi, oaki_tags.n > 0);
}

bool oaki_quantum_ranges(oaki_progress *s, const oaki_driver *d)
{
    oaki_root_place *place = &oaki_gc.concurrent.place;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    bool more = oaki_roots_visit_some(place, OAKI_TUNE_ROOT_BYTES, sift_root, oaki_worker(0));
    if (more) (void)oaki_quantum_trace(s, d);
    return more;
}

/* ---- objects whose mark functions want a stopped world ---- */

bool oaki_quantum_waiting(oaki_progress *s, const oaki_driver *d)
{
    size_t page = s->at >> OAKI_PAGE_SHIFT;
    (void)d;
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(PRECLEAN);
    OAKI_ASSERT(s->at <= s->end);
    oaki_workers_extend();
    oaki_mark_left_out_until(oaki_worker(0), &page, s->end >> OAKI_PAGE_SHIFT,
                             oaki_os_now_ns() + OAKI_TUNE_SLICE_NS);
    s->at = page << OAKI_PAGE_SHIFT;
    return s->at < s->end;
}
