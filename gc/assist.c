/* assist.c - the share of allocating mutators in a concurrent cycle.
 *
 * A mutator requests the cycle when it is due. Past the heap goal it marks, and is throttled while
 * it outpaces the mark.
 *
 * Called inside oaki_enter, with no lock held. */
#include "contract.h"
#include "gc/concurrent/concurrent.h"
#include "gc/concurrent/quantum.h"
#include "off.h"
#include "pace.h"
#include "runtime/os.h"
#include "tuning.h"

static oaki_background *const self = &oaki_gc.background;

static void force(void)
{
    AO_store(&self->forced, 1);
    oaki_background_wake();
}

/* ---- past the goal ---- */

static bool is_ahead(size_t bytes)
{
    size_t whole = AO_load(&oaki_gc.concurrent.expected[oaki_gc.kind]);
    return oaki_pace_outran(bytes, oaki_quanta_done(), whole);
}

/* Approximate processor time of the collector's thread and all assists. 0: unknown. */
static uint64_t marking_ns(void)
{
    int clock = (int)AO_load(&self->clock);
    return clock ? oaki_os_clock_ns(clock) + AO_load(&self->assisted_ns) : 0;
}

/* For how long the mark has neither had processor time nor traced a word. */
static uint64_t stalled_ns(uint64_t marking, uint64_t now)
{
    AO_t progress = (AO_t)marking + oaki_quanta_done();
    if (AO_load(&self->progress) == progress)
        return oaki_os_since(AO_load(&self->progress_ns), now);
    AO_store(&self->progress_ns, (AO_t)now);
    AO_store(&self->progress, progress);
    return 0;
}

/* Is the wait to go on? marking: marking_ns when the wait began. While the collector's thread is
 * being started, it has had no processor time. */
static bool waits(uint64_t begun, uint64_t marking, uint64_t most)
{
    uint64_t now = oaki_os_now_ns(), ns = marking_ns();
    uint64_t marked = marking && ns >= marking ? ns - marking : 0;
    bool goes_on = stalled_ns(ns, now) < OAKI_TUNE_STALLED_NS
                       ? marked < most
                       : oaki_pace_waits(now - begun, marked, most, OAKI_TUNE_BLIND_NS);
    if (!goes_on) AO_fetch_and_add1(&self->given_up);
    return goes_on;
}

static bool mark(oaki_thread *t)
{
    uint64_t cpu = oaki_os_thread_cpu_ns(), end = oaki_os_now_ns() + OAKI_TUNE_ASSIST_NS;
    oaki_driver d = { .thread = t, .assists = true, .end_ns = end };
    if (oaki_collector_step(&d) != OAKI_STEP_MORE) return false;
    (void)AO_fetch_and_add(&self->assisted_ns, oaki_os_since(cpu, oaki_os_thread_cpu_ns()));
    return true;
}

/* A mutator that outpaces the mark sleeps a moment. Returns the number of such sleepers. */
static size_t throttle(void)
{
    OAKI_REQUIRES_OUTSIDE();
    size_t n = AO_fetch_and_add1(&self->waiting) + 1;
    oaki_os_sleep_ns(OAKI_MIN(n * OAKI_TUNE_NAP_NS, OAKI_TUNE_NAP_MOST_NS));
    n = AO_load(&self->waiting);
    if (n) AO_fetch_and_sub1(&self->waiting); /* 0 in the child of a fork meanwhile */
    return n;
}

/* The heap has reached its goal before the mark is over. The mutator marks. While it outpaces the
 * mark, it also waits until the mark has caught up or is over. The wait is bounded, as the mark may
 * wait for a lock of the program that this mutator holds. All waiting threads together get the
 * allocation rate of one. They may be more than the processors, and each that runs takes time from
 * the mark. */
static void assist(oaki_thread *t, size_t bytes)
{
    uint64_t begun = oaki_os_now_ns(), marking = 0, most;
    AO_t cycle = AO_load(&oaki_the_heap.cycle);
    do {
        oaki_background_wake(); /* its last cycle may just have ended */
        bool marked = mark(t);
        if (!is_ahead(bytes) || AO_load(&oaki_the_heap.cycle) != cycle) return;
        if (!marking) marking = marking_ns();
        most = (bytes / OAKI_TUNE_WAIT_BYTES + 1) * OAKI_TUNE_WAIT_NS;
        if (marked && !t->stop_pending) continue;
        oaki_leave(t);
        most *= throttle();
        (void)oaki_enter();
    } while (waits(begun, marking, most));
}

/* ---- asking for a cycle ---- */

/* The calling thread is to collect. Either the program has refused pauses lately, but allows one
 * now; or the collector's thread is busy with functions of the program. */
static bool is_mine(void)
{
    if (AO_load(&self->refusals) < OAKI_TUNE_REFUSALS)
        return AO_load(&oaki_gc.concurrent.final_refused) || AO_load(&self->reporting);
    AO_store(&self->refusals, 0);
    return true;
}

bool oaki_concurrent_request(oaki_thread *t, size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_STOPPABLE();
    OAKI_REQUIRES_RUNNING();
    if (!oaki_concurrent_may(t) || is_mine()) return false;
    if (oaki_pace_is_past(bytes)) assist(t, bytes);
    else oaki_background_wake();
    return true;
}

bool oaki_concurrent_force(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_STOPPABLE();
    OAKI_REQUIRES_RUNNING();
    if (!oaki_debug_switches.beside || !oaki_concurrent_may(t)) return false;
    force();
    return true;
}

void oaki_concurrent_before(oaki_thread *t)
{
    uint64_t begun = oaki_os_now_ns();
    bool asked = false;
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_STOPPABLE();
    OAKI_REQUIRES_RUNNING();
    if (OAKI_LIKELY(!oaki_debug_switches.twice) || !oaki_concurrent_may(t)) return;
    while (oaki_os_now_ns() - begun < OAKI_TUNE_TWICE_NS) {
        if (!oaki_concurrent_requested()) {
            if (asked) return;
            force();
            asked = true;
        }
        oaki_leave(t);
        oaki_os_sleep_ns(OAKI_TUNE_TWICE_NAP_NS);
        (void)oaki_enter();
    }
}
