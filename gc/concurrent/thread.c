/* thread.c - the collector's own thread.
 *
 * It drives each requested concurrent cycle from the first step to the last.
 * Its frames are roots only while it calls functions of the program.
 * Owns: oaki_gc.background. Lock: none; its fields are atomic, and any thread uses them. */
#include "concurrent.h"
#include "gc/contract.h"
#include "gc/off.h"
#include "gc/pace.h"
#include "gc/tuning.h"
#include "quantum.h"
#include "runtime/contain.h"
#include "runtime/crew.h"
#include "runtime/dirty.h"
#include "runtime/os.h"

static oaki_background *const self = &oaki_gc.background;

/* ---- driving ---- */

/* Between two quanta, the pages of a large heap's growth are touched ahead (runtime/ahead.c). Past
 * the goal this gets little time: allocating threads wait for the mark's end. */
static void between_steps(const oaki_driver *d)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_ahead_led_step(AO_load(&oaki_the_heap.live) >= oaki_pace_goal());
    if (d->nap_ns) oaki_os_sleep_exactly_ns(d->nap_ns);
}

/* The program allows no pause: the cycle is given up. */
static void give_up(oaki_thread *t)
{
    AO_fetch_and_add1(&self->refusals);
    (void)oaki_enter();
    oaki_lock_acquire(&oaki_gc.concurrent.driver);
    if (!oaki_cycle_is_at_rest()) oaki_cycle_abort();
    oaki_lock_release(&oaki_gc.concurrent.driver);
    oaki_leave(t);
}

/* Drives one cycle to its end, which also answers requests that come meanwhile. Was there one? When
 * the thread is to end it leaves the cycle as it is: any driver may go on with it. */
static bool drive(oaki_thread *t)
{
    oaki_driver d = { .thread = t, .why = OAKI_GC_DUE };
    bool any = false;
    unsigned refused = 0;
    do {
        if (oaki_crew_ends()) return any;
        oaki_stepped stepped = oaki_collector_step(&d);
        if (stepped == OAKI_STEP_OVER) return any;
        if (stepped == OAKI_STEP_MORE) {
            any = true;
            if (!AO_load(&oaki_gc.concurrent.final_refused)) refused = 0;
            between_steps(&d);
        } else if (++refused > OAKI_TUNE_REFUSED_NAPS) {
            give_up(t);
            if (!oaki_concurrent_has_work()) return any;
            refused = 0;
        } else {
            oaki_os_sleep_ns(OAKI_TUNE_REFUSED_NAP_NS);
        }
    } while (!any || oaki_concurrent_has_work());
    return true;
}

/* The program's functions may take long, or wait for mutators. Meanwhile mutators collect in pauses
 * of their own. */
static void report(oaki_thread *t)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    AO_store(&self->reporting, 1);
    oaki_event_over(t);
    AO_store(&self->reporting, 0);
    (void)oaki_enter();
    (void)oaki_dirty_start(); /* again, if such a function has forked and this is the child */
    oaki_leave(t);
}

/* Before pages are first protected the host is measured. It may turn out to be one on which the
 * cycle is better stopped. */
static bool is_wanted(void)
{
    if (oaki_debug_switches.beside || AO_load(&self->forced)) return true;
    oaki_plan_probe();
    return oaki_plan_is_concurrent();
}

static void cycle(oaki_thread *t)
{
    if (!is_wanted()) return;
    if (oaki_heap_cpus() <= OAKI_TUNE_FEW_CPUS) oaki_ahead_lead(true);
    bool any = drive(t);
    oaki_ahead_lead(false);
    if (!any) return;
    report(t);
    oaki_deferred_release(0);
}

/* A function of the program has ended the thread; the next need starts another. */
OAKI_UNWIND_ACTION(oaki_gc_thread_left)
{
    AO_store(&self->reporting, 0);
    AO_store(&self->forced, 0);
    AO_store(&self->clock, 0);
    AO_int_store_release(&self->requested, 0);
    AO_store_release(&self->started, 0);
}

static void *collector(void *arg)
{
    OAKI_ON_UNWIND(oaki_gc_thread_left);
    unsigned seen = 0;
    oaki_thread *t = oaki_thread_attach_own();
    if (!t) {
        AO_store(&self->started, 0); /* the next need tries again */
        return arg;
    }
    AO_store(&self->clock, (AO_t)oaki_os_thread_clock());
    for (bool goes_on = true; goes_on;) {
        oaki_blocking_begin(oaki_thread_self());
        goes_on = oaki_crew_wait(&self->waker, &seen);
        oaki_blocking_end(oaki_thread_self());
        if (goes_on) cycle(t);
        AO_store(&self->forced, 0);
        AO_int_store_release(&self->requested, 0);
    }
    AO_store(&self->clock, 0);
    AO_store_release(&self->started, 0);
    return arg;
}

/* ---- starting it ---- */

/* Starting a thread takes locks of the host, so it is done outside of oaki_enter. Without a thread,
 * or without dirty-page tracking for it, mutators collect in pauses. After the next collection
 * another try is made. */
static OAKI_COLD bool spawn(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    AO_t next = AO_load(&oaki_the_heap.cycle) + 1;
    if (AO_load(&self->not_before) == next) return false;
    if (!AO_compare_and_swap_full(&self->started, 0, 1)) return AO_load(&self->started) == 1;
    bool tracked = oaki_dirty_start(), here = tracked && oaki_dirty_here();
    oaki_leave(t);
    bool runs = here && oaki_thread_spawn("oakum/gc", collector, NULL, false) == 0;
    (void)oaki_enter();
    if (!runs) AO_store(&self->not_before, next);
    if (!runs) AO_store_release(&self->started, tracked ? 0 : 2);
    return runs;
}

bool oaki_concurrent_may(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    if (!oaki_gc_may_be_concurrent() || oaki_gc_refuses(OAKI_GC_DUE)) return false;
    if (!oaki_debug_switches.beside && !oaki_plan_is_concurrent()) return false;
    AO_t started = AO_load(&self->started);
    return (started == 1 || (started == 0 && spawn(t))) && oaki_dirty_may();
}

bool oaki_concurrent_may_step(uint64_t budget_ns)
{
    OAKI_REQUIRES_INSIDE();
    if (oaki_concurrent_has_work()) return true;
    if (!oaki_gc_may_be_concurrent() || oaki_gc_refuses(OAKI_GC_DUE)) return false;
    bool large = oaki_debug_switches.beside || oaki_plan_is_concurrent();
    if (!large && oaki_plan_pause_ns() <= budget_ns) return false;
    return oaki_dirty_start() && oaki_dirty_here() && oaki_dirty_may();
}

bool oaki_concurrent_requested(void)
{
    return AO_int_load_acquire(&self->requested) != 0;
}

void oaki_background_wake(void)
{
    if (oaki_concurrent_requested()) return;
    if (!AO_int_compare_and_swap_full(&self->requested, 0, 1)) return;
    oaki_waker_wake(&self->waker, 1);
}

/* Where a function called by the collector's thread forks, that thread is the child's only one. */
void oaki_background_reset(void)
{
    OAKI_REQUIRES_FORKED();
    const oaki_thread *t = oaki_thread_self();
    bool own = t && t->own;
    AO_store(&self->started, own);
    AO_store(&self->clock, own ? (AO_t)oaki_os_thread_clock() : 0);
    AO_store(&self->not_before, 0);
    if (!own) AO_store(&self->reporting, 0); /* else it is still calling that function */
    AO_store(&self->refusals, 0);
    AO_store(&self->waiting, 0);
    AO_store(&self->forced, 0);
    AO_int_store(&self->requested, 0);
}
