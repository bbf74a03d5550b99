/* collect.c - the ways into a collection, and the hooks that a cycle calls.
 *
 * There are three: a mutator needs or asks for a collection, a mutator is about to allocate, an
 * embedder has a budget.
 *
 * A mutator waits for gc_lock in a blocking region, as its holder may be stopping the world. */
#include "contract.h"
#include "cycle.h"
#include "gc/concurrent/concurrent.h"
#include "gc/concurrent/sticky.h"
#include "gc/refs/link.h"
#include "gc/refs/tables.h"
#include "gc/trace/trace.h"
#include "host.h"
#include "off.h"
#include "pace.h"
#include "runtime/contain.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/restore.h"
#include "runtime/room.h"
#include "runtime/scrub.h"
#include "sweep.h"
#include <oakum/gc.h>

static bool is_answered(const oaki_want *w)
{
    return w->answer != OAKI_WANT_WAITS;
}

/* Collects once, or finds that there is no need to. Returns true when the caller's reason is met.
 *
 * If pacing is the only reason, the end of cycle `number` meets it, on whichever thread. Otherwise
 * all objects that are dead now must go: a mark that began earlier does not meet that. A want is
 * met by its answer, perhaps from another thread's cycle. */
static bool one_cycle(oaki_thread *t, oaki_gc_why why, size_t number, const oaki_want *w)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (w) return is_answered(w) || (oaki_pause_to_end(t, why) && is_answered(w));
    if (why == OAKI_GC_DUE && AO_load(&oaki_the_heap.cycle) != number) return true;
    /* known only in the pause, as a concurrent mark may begin until then */
    return oaki_pause_to_end(t, why) && (why == OAKI_GC_DUE || oaki_gc.mode == OAKI_STOPPED);
}

/* Listeners hear of the end here, except from the collector's thread, which calls them between its
 * steps. Inlined in functions that are not inlined: the context is saved in their frames, which
 * hold the callers' registers until the end. One frame less has fewer stale words in it. */
OAKI_INLINE bool collect(oaki_thread *t, oaki_gc_why why, size_t number, oaki_want *w)
{
    bool off = false;
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    for (bool done = false; !done;) {
        bool can = oaki_roots_refresh(t);
        oaki_sticky_prepare();
        oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
        oaki_thread_save_context(t);
        off = !can || oaki_gc_is_off();
        done = off || one_cycle(t, why, number, w);
        if (done && !oaki_is_marking()) oaki_cycle_forget_start(); /* of a failed try */
        oaki_lock_release(&oaki_the_heap.gc_lock);
    }
    oaki_sweep_wake();
    if (w && !is_answered(w)) oaki_room_withdraw(w); /* the functions called now may never return */
    oaki_leave(t);
    if (!t->bare) oaki_event_over(t);
    if (oaki_enter() != t)
        oak_fatal("oakum: a finalizer or notifier began on one thread and ended on another");
    return !off;
}

OAKI_NOINLINE bool oaki_gc_collect(oaki_thread *t, oaki_gc_why why)
{
    OAKI_NO_CANCEL_UNLESS_LEFT; /* functions of the program may have cancellation points */
    return !oaki_gc_refuses(why) && collect(t, why, AO_load(&oaki_the_heap.cycle), NULL);
}

OAKI_NOINLINE bool oaki_gc_make_room(oaki_thread *t, oaki_want *w)
{
    OAKI_NO_CANCEL_UNLESS_LEFT;
    if (!oaki_gc_refuses(OAKI_GC_NEEDED)) return collect(t, OAKI_GC_NEEDED, 0, w);
    return oaki_room_withdraw(w), false;
}

OAKI_NOINLINE bool oaki_cycle_final_pause(oaki_thread *t, size_t number)
{
    OAKI_NO_CANCEL_UNLESS_LEFT;
    return !oaki_gc_refuses(OAKI_GC_DUE) && collect(t, OAKI_GC_DUE, number, NULL);
}

OAKI_AT_START void oaki_gc_before_alloc(oaki_thread *t, size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    oaki_sweep_assist();
    if (OAKI_UNLIKELY(oaki_pace_due()) && !oaki_concurrent_request(t, bytes))
        (void)oaki_gc_collect(t, OAKI_GC_DUE);
}

OAKI_AT_START void oaki_gc_stress(oaki_thread *t)
{
    size_t every = (size_t)oaki_debug_switches.stress;
    if (OAKI_LIKELY(!every)) return;
    if ((AO_fetch_and_add(&oaki_gc.totals.stress_count, 1) + 1) % every != 0) return;
    if (oaki_concurrent_force(t)) return;
    (void)oaki_gc_collect(t, oaki_debug_switches.minor ? OAKI_GC_DUE : OAKI_GC_NEEDED);
}

int oaki_gc_before_pause(void (*fn)(void *ctx), void *ctx)
{
    return oaki_hook_add(&oaki_gc.start, fn, ctx);
}

int oaki_gc_at_cycle(void (*fn)(void *ctx), void *ctx)
{
    return oaki_hook_add(&oaki_gc.before, fn, ctx);
}

bool oaki_gc_begins(size_t *seen, bool full)
{
    size_t cycle = AO_load(&oaki_the_heap.cycle) + 1;
    if (*seen == cycle || (full && oaki_gc.kind == OAKI_MINOR)) return false;
    *seen = cycle;
    return true;
}

int oaki_gc_after_mark(void (*fn)(void *ctx), void *ctx)
{
    return oaki_hook_add(&oaki_gc.after, fn, ctx);
}

void oak_collect(void)
{
    oaki_scrub(); /* the frames below would hold words that earlier calls have left there */
    oaki_thread *t = oaki_enter();
    if (!t) return;
    AO_fetch_and_add(&oaki_gc.totals.forced, 1); /* a listener may ask for it */
    oaki_concurrent_before(t);
    if (oaki_gc_collect(t, OAKI_GC_ASKED)) {
        oaki_gc_sweep_all();
        oaki_room_forget(t);
    } else {
        AO_fetch_and_add(&oaki_gc.totals.forced, (AO_t)-1);
    }
    oaki_leave(t);
}

/* ---- in steps ---- */

/* At most one pause a call, so that mutators run between two pauses. */
static void take_steps(oaki_driver *d)
{
    oaki_stepped stepped;
    do stepped = oaki_collector_step(d);
    while (stepped == OAKI_STEP_MORE && d->nap_ns == 0 && oaki_os_now_ns() < d->end_ns);
    if (stepped == OAKI_STEP_OVER) oaki_deferred_release(d->end_ns);
}

bool oak_collect_step(unsigned budget_us)
{
    uint64_t budget = (uint64_t)budget_us * 1000, begun = oaki_os_now_ns();
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    oaki_driver d = { .thread = t, .end_ns = begun + budget, .why = OAKI_GC_DUE };
    d.stopped_only = budget > 0 && !oaki_concurrent_may_step(budget);
    oaki_leave(t);
    if (budget > 0) take_steps(&d);
    return oaki_concurrent_has_work() || AO_load(&oaki_gc.sweeper.waiting) != 0;
}

OAKI_AT_START int oaki_gc_init(void)
{
    oaki_collector_init();
    oaki_restore_count(&oaki_gc.disabled);
    oaki_restore_setting(&oaki_gc.finalrun.notify);
    oaki_fork_register(oaki_collector_reset);
    oaki_mark_init();
    oaki_settings_init();
    oaki_plan_init();
    oaki_pace_init();
    oaki_event_init();
    oaki_tables_init();
    if (oaki_workers_init() || oaki_deferred_init() || oaki_dirty_init()) return -1;
    return oaki_roots_exclude(&oaki_gc, sizeof oaki_gc);
}
