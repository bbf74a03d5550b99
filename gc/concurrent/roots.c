/* roots.c - what a mark beside the program marks before its last stop, though no stack and no
 * global leads to it: pinned objects, those that are held by hand, what large registered ranges
 * refer to, values of ephemerons, and what hangs on objects whose function wants the world to
 * stand, as fibers.
 *
 * The last stop goes over all of them again: what is marked by then costs it a look, and not all
 * that hangs on it; and of tables only what they are not sure of (objtable.h). A value whose key
 * dies in between stays for one cycle more.
 *
 * Owns: `table`, `place`. Lock: worker 0 is the caller's; of tables finalizer_lock, of registered
 * ranges roots_lock. Bound: a piece is PAGES of the heap, SOME objects, RECORDS of a table, BYTES
 * of a range or STOP_NS of a stop; and what is marked from there. */
#include "quantum.h"

#include "gc/contract.h"
#include "gc/host.h"
#include "gc/refs/link.h"
#include "gc/refs/objtable.h"
#include "gc/trace/trace.h"
#include "runtime/markbits.h"
#include "runtime/os.h"

#define PAGES ((size_t)16384) /* looked at for pinned objects in a piece, */
#define SOME ((size_t)4096)   /* or so many are queued */
#define RECORDS ((size_t)512)
#define BYTES ((size_t)16 << 10) /* of a range */
#define STOP_NS 700000u
#define PASSES 8 /* over the pairs, each of which may lead to keys of others */

typedef uint32_t ask_fn(uint32_t from, unsigned most);

static ask_fn *table; /* whose records are asked about */
static oaki_root_place place;

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

/* Those that begin on a page, of class and kind e. Returns how many. */
static size_t queue_page(size_t page, oaki_pte e)
{
    OAKI_REQUIRES_WORKER_ZERO();
    const oaki_heap *h = &oaki_the_heap;
    unsigned cls = e & OAKI_PTE_CLASS;
    size_t n = 0;
    if (cls == OAKI_CLASS_LARGE) return queue_large(page);
    const uint64_t *starts =
        oaki_class_starts[cls] + (e >> OAKI_PTE_OFFSET_SHIFT) * OAKI_PAGE_WORDS;
    for (size_t w = 0, at = page * OAKI_PAGE_WORDS; w < OAKI_PAGE_WORDS; w++, at++) {
        uint64_t x = h->alloc[at] & starts[w];
        if (x) x &= ~oaki_mark_gather(at);
        for (; x; x &= x - 1, n++)
            oaki_mark_pointer((char *)h->base + ((at * 64 + oaki_ctz(x)) << OAKI_GRANULE_SHIFT));
    }
    return n;
}

static bool is_pinned(oaki_pte e)
{
    return (e & OAKI_PTE_CLASS) && oaki_pte_kind(e) == OAKI_PINNED;
}

void oaki_pinned_mark(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, left = AO_load(&h->npinned);
    for (size_t page = 0; page < end && left > 0; page++) {
        if (!is_pinned(h->pte[page])) continue;
        size_t n = h->spans[page].npages;
        bool large = (h->pte[page] & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE;
        for (size_t i = 0; i < (large ? 1 : n); i++) (void)queue_page(page + i, h->pte[page + i]);
        page += n - 1;
        left--;
    }
    OAKI_ASSERT(left == 0); /* npinned counts them */
}

/* Page by page, as spans come and go meanwhile. */
static bool pinned_piece(oaki_progress *s)
{
    OAKI_REQUIRES_MARKING();
    oaki_heap *h = &oaki_the_heap;
    size_t page = s->at >> OAKI_PAGE_SHIFT, end = s->end >> OAKI_PAGE_SHIFT, n = 0;
    if (page >= end || AO_load(&h->npinned) == 0) return false;
    end = OAKI_MIN(end, page + PAGES);
    for (; page < end && n < SOME; page++) {
        oaki_pte e = AO_int_load(&h->pte[page]);
        if (is_pinned(e)) n += queue_page(page, e);
    }
    s->at = page << OAKI_PAGE_SHIFT;
    if (n >= SOME) (void)oaki_quantum_mark(s);
    return true;
}

/* ---- tables: a step goes through the numbers of records ---- */

static bool table_piece(oaki_progress *s)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_MARKING();
    s->at = table((uint32_t)s->at, RECORDS);
    return s->at != OAKI_RECORD_NONE;
}

static bool ask_table(ask_fn *t)
{
    table = t;
    return oaki_quanta_locked(table_piece, &oaki_the_heap.finalizer_lock);
}

/* Those that keep something alive come first, and once more when it is marked. */
static bool ask_tables(void)
{
    return ask_table(oaki_held_note_certain) && ask_table(oaki_finalizers_note_certain) &&
           ask_table(oaki_weak_note_certain) && ask_table(oaki_short_links_note_certain) &&
           ask_table(oaki_long_links_note_certain);
}

/* ---- registered ranges ---- */

static void sift_root(const oaki_root *r, void *m)
{
    oaki_trace_sift(m, (const uintptr_t *)r->lo, (const uintptr_t *)r->hi);
}

static bool ranges_piece(oaki_progress *s)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    OAKI_REQUIRES_MARKING();
    bool more = oaki_roots_visit_some(&place, BYTES, sift_root, oaki_worker(0));
    if (more) (void)oaki_quantum_mark(s);
    return more;
}

/* ---- objects whose function wants the world to stand ---- */

static bool waiting_piece(oaki_progress *s)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARKING();
    OAKI_ASSERT(s->at <= s->end);
    size_t page = s->at >> OAKI_PAGE_SHIFT;
    oaki_workers_extend();
    oaki_mark_left_out_until(oaki_worker(0), &page, s->end >> OAKI_PAGE_SHIFT,
                             oaki_os_now_ns() + STOP_NS);
    s->at = page << OAKI_PAGE_SHIFT;
    return s->at < s->end;
}

bool oaki_concurrent_waiting(void)
{
    if (!oaki_mark_leaves_out()) return true;
    return oaki_quanta_stopped(waiting_piece, 1) && oaki_quanta(oaki_quantum_mark);
}

/* ---- */

bool oaki_concurrent_ranges(void)
{
    place = (oaki_root_place){ 0 };
    return oaki_quanta_locked(ranges_piece, &oaki_the_heap.roots_lock);
}

bool oaki_concurrent_roots(void)
{
    return oaki_quanta(pinned_piece) && ask_table(oaki_held_note_certain) &&
           ask_table(oaki_finalizers_note_certain) && oaki_concurrent_ranges();
}

bool oaki_concurrent_values(void)
{
    for (unsigned n = 0; n < PASSES; n++) {
        size_t queued = oaki_ephemerons_queued();
        if (!ask_table(oaki_ephemerons_note_certain)) return false;
        if (oaki_ephemerons_queued() == queued) break;
        if (!oaki_quanta(oaki_quantum_mark)) return false;
    }
    return ask_tables() && oaki_quanta(oaki_quantum_mark);
}
