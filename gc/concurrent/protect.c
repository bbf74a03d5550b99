/* protect.c - which pages are protected (protect.h).
 *
 * Owns: nothing; the page table and the bits are the heap's. Lock: gc_lock or the driver's lock, so
 *   that no other thread protects or releases pages. Invariant: no page is protected for a cycle to
 *   come once its mark has begun.
 * Bound: linear in the page table's entries, and for oaki_unprotect_sparse in the bits of the
 * pages. The world runs, so entries may be out of date. That costs faults, or a rescan for
 * nothing. It misses no write: each round, and the final pause, ask about the page anew. */
#include "protect.h"

#include "concurrent.h"
#include "gc/contract.h"
#include "gc/gc.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "runtime/dirty.h"

/* Calls fn for each run of pages for which `is` is true. Gaps of fewer than `gap` pages belong to
 * the run. fn ends the walk by returning false. */
OAKI_INLINE bool each_run(size_t from, size_t to, size_t gap, bool (*is)(size_t page),
                          bool (*fn)(size_t from, size_t to, void *ctx), void *ctx)
{
    OAKI_ASSERT((to & (OAKI_PAGE - 1)) == 0 && to <= AO_load(&oaki_the_heap.used));
    size_t page = from >> OAKI_PAGE_SHIFT, end = to >> OAKI_PAGE_SHIFT, first = 0, last = 0;
    for (; page < end; page++) {
        if (is(page)) {
            if (last == 0) first = page;
            last = page + 1;
        } else if (last > 0 && page - last >= gap) {
            if (!fn(first << OAKI_PAGE_SHIFT, last << OAKI_PAGE_SHIFT, ctx)) return false;
            last = 0;
        }
    }
    return last == 0 || fn(first << OAKI_PAGE_SHIFT, last << OAKI_PAGE_SHIFT, ctx);
}

static bool is_scanned(size_t page)
{
    oaki_pte e = AO_int_load(&oaki_the_heap.pte[page]);
    unsigned kind = oaki_pte_kind(e);
    return (e & OAKI_PTE_CLASS) != 0 && kind != OAKI_NOSCAN;
}

/* ---- protecting, and finding dirty pages ---- */

static bool protect(size_t from, size_t to, void *ctx)
{
    (void)ctx;
    return oaki_dirty_protect(from, to);
}

void oaki_protect_scanned(size_t from, size_t to)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_REQUIRES_NO_MARK();
    (void)each_run(from, to, OAKI_TUNE_GAP, is_scanned, protect, NULL);
}

typedef struct taking {
    void (*fn)(size_t from, size_t to, void *ctx);
    void *ctx;
    size_t left;  /* most pages to find */
    size_t floor; /* where the search began: a page of the system's may be a part of one here */
    size_t at;    /* where it ended */
    bool refused;
} taking;

static bool take(size_t from, size_t to, void *ctx)
{
    taking *t = ctx;
    t->at = OAKI_MAX(from, t->floor);
    if (t->at >= to) return true;
    size_t n = oaki_dirty_take_some(&t->at, to, t->left, t->fn, t->ctx);
    t->refused = n == SIZE_MAX;
    OAKI_ASSERT(t->refused || n <= t->left);
    if (!t->refused) t->left -= n;
    return !t->refused && t->left > 0;
}

size_t oaki_protect_again(size_t *from, size_t to, size_t most,
                       void (*fn)(size_t from, size_t to, void *ctx), void *ctx)
{
    taking t = { .fn = fn, .ctx = ctx, .left = most, .floor = *from };
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_PHASE(PRECLEAN);
    bool all = each_run(*from, to, OAKI_TUNE_GAP, is_scanned, take, &t);
    *from = all || t.refused ? to : t.at;
    return t.refused ? SIZE_MAX : most - t.left;
}

/* ---- between two cycles ---- */

static bool is_dense(size_t page)
{
    oaki_pte e = AO_int_load(&oaki_the_heap.pte[page]);
    unsigned cls = e & OAKI_PTE_CLASS;
    if (!is_scanned(page)) return false;
    if (cls == OAKI_CLASS_LARGE)
        return oaki_mark_get(oaki_span_slot(oaki_span_of_offset(page << OAKI_PAGE_SHIFT)));
    size_t size = oaki_classes[cls].size;
    if (size > OAKI_PAGE - OAKI_TUNE_DENSE) return true; /* few slots, or a part of one */
    if (oaki_mark_none(page)) return false;
    size_t n = oaki_mark_count(page * OAKI_PAGE_WORDS, OAKI_PAGE_WORDS, oaki_page_starts(e));
    return n * size >= OAKI_TUNE_DENSE;
}

static bool protect_run(size_t from, size_t to, void *ctx)
{
    (void)ctx;
    return to - from < OAKI_TUNE_DENSE_LEAST || oaki_dirty_protect(from, to);
}

bool oaki_protect_dense(size_t from, size_t to)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_MARK();
    return each_run(from, to, 1, is_dense, protect_run, NULL);
}

static bool is_sparse(size_t page)
{
    return !is_dense(page);
}

static bool may_be_protected(size_t page)
{
    oaki_pte e = AO_int_load(&oaki_the_heap.pte[page]);
    return (e & OAKI_PTE_CLASS) == 0 || oaki_pte_kind(e) != OAKI_NOSCAN;
}

static bool release(size_t from, size_t to, void *ctx)
{
    (void)ctx;
    oaki_dirty_unprotect(from, to);
    return true;
}

void oaki_unprotect(size_t from, size_t to)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_REQUIRES_NO_MARK();
    (void)each_run(from, to, OAKI_TUNE_GAP, may_be_protected, release, NULL);
}

void oaki_unprotect_sparse(size_t from, size_t to)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_REQUIRES_NO_MARK();
    (void)each_run(from, to, OAKI_TUNE_ISLAND, is_sparse, release, NULL);
}

/* ---- in the final pause ---- */

static bool is_tracked(void)
{
    return oaki_dirty_refusals() == oaki_gc.concurrent.refusals;
}

void oaki_rescan_begin(size_t before)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER_ZERO();
    oak_marker *m = oaki_worker(0);
    oaki_gc.concurrent.refusals = before;
    oaki_pinned_mark();
    oaki_workers_rescan_begin(m->used);
    oaki_mark_left_out(m);
}

static bool rescan(size_t from, size_t to, void *m)
{
    return oaki_dirty_take(from, to, false, oaki_rescan_pages, m) != SIZE_MAX;
}

/* is_scanned for all pages of a block. It has no branch for each page, so the processor examines
 * several at once. */
static bool are_scanned(const oaki_pte *e)
{
    unsigned other = 0;
    for (size_t i = 0; i < OAKI_TUNE_BLOCK / OAKI_PAGE; i++)
        other |= (unsigned)((e[i] & OAKI_PTE_CLASS) == 0) | (oaki_pte_kind(e[i]) == OAKI_NOSCAN);
    return other == 0;
}

/* Rescans the dirty pages of [from, to). Most pages of a large heap are scanned, so whole blocks of
 * them go into one query. */
static void rescan_all(size_t from, size_t to, oak_marker *m)
{
    size_t at = from;
    for (size_t block = from, end; block < to; block = end) {
        end = OAKI_MIN(block + OAKI_TUNE_BLOCK, to);
        const oaki_pte *e = oaki_the_heap.pte + (block >> OAKI_PAGE_SHIFT);
        if (end - block == OAKI_TUNE_BLOCK && are_scanned(e))
            continue;
        if ((at < block && !rescan(at, block, m)) ||
            !each_run(block, end, OAKI_TUNE_GAP, is_scanned, rescan, m))
            return;
        at = end;
    }
    if (at < to) (void)rescan(at, to, m);
}

/* If the system refuses for one part, tracking may be restored before the next part is queried.
 * Then earlier writes to that part are not reported. So all pages are rescanned. */
void oaki_rescan_dirty(oak_marker *m, size_t from, size_t to)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_WORKER(m);
    OAKI_ASSERT(m->rescans && !m->concurrent);
    size_t before = m->scanned;
    if (is_tracked()) rescan_all(from, to, m);
    if (!is_tracked()) oaki_rescan_pages(from, to, m);
    m->rescanned += m->scanned - before;
}
