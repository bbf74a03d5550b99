/* rootmark.c - marking from the roots, in a pause.
 *
 * Owns: oaki_gc.roots, the figures of the current mark. Lock: the world is stopped. Bound: linear
 * in the roots' words, except those of large registered ranges (roots.c). */
#include "collector.h"
#include "contract.h"
#include "gc/trace/trace.h"
#include "host.h"
#include "runtime/rootmask.h"
#include "runtime/track.h"

/* Large registered ranges are scanned while mutators run (roots.c), unless there are root masks. */
static bool is_for_later(const oaki_root *r)
{
    return r->kind == OAKI_ROOT_RANGE && (size_t)(r->hi - r->lo) >= OAKI_ROOT_LARGE &&
           AO_load(&oaki_root_masks) == 0;
}

/* Large roots become ranges for all workers only if the whole mark is in this pause. Otherwise
 * the world runs before they are scanned, and they could be unmapped then. */
static void mark_root(const oaki_root *r, void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER_ZERO();
    const bool *whole = ctx;
    if (r->hi <= r->lo) return;
    size_t n = (size_t)(r->hi - r->lo);
    if (!*whole && is_for_later(r)) return;
    oaki_gc.roots.bytes += n;
    if (r->kind == OAKI_ROOT_STACK || r->kind == OAKI_ROOT_FIBER) oaki_gc.roots.stack_bytes += n;
    if (r->kind == OAKI_ROOT_DATA) oaki_gc.roots.data_bytes += n;
    if (r->past_end) {
        oaki_mark_range_ambiguous(oaki_worker(0), r->lo, r->hi);
        oaki_gc.roots.in_flight |= oaki_caches_keep_in_flight(r);
    } else if (!*whole || n < OAKI_PAGE || !oaki_ranges_add(r->lo, r->hi, false)) {
        oaki_trace_range(oaki_worker(0), r->lo, r->hi);
    }
}

void oaki_roots_mark(bool whole)
{
    oaki_gc.roots = (oaki_root_sums){ .in_flight = false };
    oaki_roots_visit(mark_root, &whole);
    if (!whole) return; /* roots.c marks the objects that tables keep */
    oaki_host_mark_roots();
    oaki_finalizers_mark_roots();
}

/* Caches are not flushed: slots that a thread is about to take count as allocated for the mark. */
static void queue_root(const oaki_root *r, void *ctx)
{
    oak_marker *m = ctx;
    if (r->hi <= r->lo || is_for_later(r)) return;
    if (r->past_end) oaki_mark_range_ambiguous(m, r->lo, r->hi);
    else oaki_trace_range(m, r->lo, r->hi);
}

void oaki_roots_queue(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    OAKI_REQUIRES_WORKER_ZERO();
    oaki_roots_visit(queue_root, oaki_worker(0));
}
