/* zone.c - zones in the collector: drops the records of a discarded zone's objects, and finds
 * out whether a zone is referred to.
 *
 * One mark covers all zones. It reaches no object of a zone that nothing outside refers to. So a
 * zone may be destroyed if a mark has found no object in it. During that check the zone is
 * closed: no thread is in it, so objects that the mark didn't find stay unreachable. A thread
 * that allocates next to an object of the zone enters it nevertheless; that shows that the zone
 * is reachable.
 *
 * Owns: oak_zone.survivor, oaki_gc.closing. Lock: the world is stopped, or the thread that closed
 * the zone reads them. Bound: dropping records is O(records of the process), checking a zone O(its
 * spans). */
#include "contract.h"
#include "gc.h"
#include "gc/concurrent/concurrent.h"
#include "gc/refs/finalizer.h"
#include "gc/refs/link.h"
#include "gc/refs/tables.h"
#include "host.h"
#include "runtime/collector.h"
#include "runtime/contain.h"
#include "runtime/os.h"
#include "runtime/scrub.h"
#include "tuning.h"
#include <errno.h>
#include <string.h>

void oaki_gc_zone_forget(uint32_t zone, bool special)
{
    OAKI_REQUIRES_INSIDE();
    oaki_deferred_forget_zone(zone);
    if (!special) return; /* the tables may be long */
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    oaki_tables_forget_zone(zone);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

/* ---- is anything of it alive? ---- */

/* Offset of the first marked object of the span, or 0, which is no object's. */
static size_t marked_in(const oaki_span *s)
{
    size_t base = oaki_span_slot(s), first = base >> 10;
    if (s->cls == OAKI_CLASS_LARGE) return oaki_mark_get(base) ? base : 0;
    const uint64_t *starts = oaki_class_starts[s->cls];
    for (size_t w = 0; w < (size_t)s->npages * OAKI_PAGE_WORDS; w++) {
        uint64_t x = oaki_marked_of(first + w, oaki_objects_in(first + w, starts[w]));
        if (x) return oaki_slot_of(first + w, x);
    }
    return 0;
}

static bool note_survivor(oaki_span *s, void *ctx)
{
    size_t *survivor = ctx;
    *survivor = marked_in(s);
    return *survivor == 0;
}

static bool is_marked(const void *obj)
{
    return oaki_is_marked(obj);
}

void oaki_zones_marked(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    oaki_zones_drop_fibers(is_marked);
    if (AO_load(&oaki_gc.closing.zones) == 0) return;
    AO_store(&oaki_gc.closing.ready, oaki_finalizers_ready());
    size_t n = AO_load(&oaki_the_heap.zones.used);
    for (uint32_t id = 1; id < n; id++) {
        oak_zone *z = oaki_zone_by_id(id);
        if (z->state != OAKI_ZONE_CLOSING) continue;
        z->survivor = 0;
        oaki_central_each(z, note_survivor, &z->survivor);
    }
}

bool oaki_zones_closing(void)
{
    return AO_load(&oaki_gc.closing.zones) != 0;
}

/* ---- destroying ---- */

static bool collect(void)
{
    oaki_thread *t = oaki_enter();
    bool done = t && oaki_gc_collect(t, OAKI_GC_ASKED);
    if (t) oaki_leave(t);
    return done;
}

/* Runs the finalizers that the mark found ready, or waits for the finalizer thread to run them.
 * false: there was none. */
static bool finalizers_ran(void)
{
    if (AO_load(&oaki_gc.closing.ready) == 0) return false;
    (void)oaki_finalizers_run_most(AO_load(&oaki_gc.closing.ready));
    for (unsigned i = 0; i < OAKI_TUNE_ZONE_POLLS && oak_finalizer_running_ns() > 0; i++)
        oaki_os_sleep_ns(OAKI_TUNE_FINALIZE_POLL_NS);
    oaki_scrub();
    return true;
}

/* Collects until a mark finds nothing in the zone. 0, EBUSY, EAGAIN. */
static int find_survivors(oak_zone *z)
{
    for (unsigned round = 0;; round++) {
        oaki_zone_check_begin(z);
        if (!collect()) return EAGAIN;
        if (z->survivor == 0) return 0;
        if (round == OAKI_TUNE_FINALIZE_ROUNDS || !finalizers_ran()) return EBUSY;
    }
}

static int shut(oak_zone *z)
{
    oaki_thread *t = oaki_enter();
    if (!t) return ENOMEM;
    int e = oaki_zone_shut(z, OAKI_ZONE_CLOSING);
    oaki_leave(t);
    return e;
}

/* Destroys the zone if it may go and was not entered; otherwise reopens it. Is it gone? */
static bool decide(oak_zone *z, bool may_go)
{
    oaki_thread *t = oaki_enter();
    bool gone = oaki_zone_decide(z, may_go ? OAKI_ZONE_DEAD : OAKI_ZONE_OPEN);
    if (gone) oaki_deferred_forget_zone(z->id);
    if (gone) oaki_zone_drop(z);
    oaki_leave(t);
    if (gone) oaki_zones_reaper_wake();
    return gone;
}

/* A call of destroy, on the stack. */
typedef struct closing {
    oak_zone *z;
    struct closing *outer;
} closing;

/* The calling thread's innermost one. */
static __thread closing *innermost __attribute__((tls_model("initial-exec")));

static void end_closing(void)
{
    innermost = innermost->outer;
    (void)AO_fetch_and_add_full(&oaki_gc.closing.zones, (AO_t)-1);
}

/* A finalizer or the notifier has not returned: the zone stays. */
OAKI_UNWIND_ACTION(oaki_zone_destroy_left)
{
    oak_zone *z = innermost->z;
    end_closing();
    (void)decide(z, false);
}

static OAKI_NOINLINE int close_zone(oak_zone *z)
{
    OAKI_ON_UNWIND(oaki_zone_destroy_left);
    closing c = { z, innermost };
    innermost = &c;
    (void)AO_fetch_and_add_full(&oaki_gc.closing.zones, 1);
    int e = find_survivors(z);
    end_closing();
    return e;
}

int oaki_zone_destroy(oak_zone *z, size_t *survivor)
{
    OAKI_REQUIRES_OUTSIDE();
    *survivor = 0;
    if (!z) oak_fatal("oakum: oak_zone_destroy: the zone is NULL");
    int e = shut(z);
    if (e == EINVAL) oak_fatal("oakum: oak_zone_destroy: zone %p was discarded", (void *)z);
    if (e == 0) {
        e = close_zone(z);
        if (e == EBUSY) *survivor = z->survivor;
        if (!decide(z, e == 0) && e == 0) e = EBUSY;
    }
    if (e == 0) return 0;
    errno = e;
    return -1;
}

void oaki_zones_reset(void)
{
    OAKI_REQUIRES_FORKED();
    AO_store(&oaki_gc.closing.zones, oaki_zones_reopen());
}
