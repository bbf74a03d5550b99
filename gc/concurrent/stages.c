/* stages.c - the stages of MARK and PRECLEAN: the work of each one, and which one follows.
 *
 * MARK: objects to which no stack leads are queued, and all is traced. Then values of ephemerons
 * are traced, and tables note which records are certain.
 * PRECLEAN: dirty pages are rescanned in rounds (preclean.c). Between rounds, the roots and the
 * values of ephemerons are queued once more. Then short pauses call the mark functions that want a
 * stopped world.
 *
 * Owns only the order. Lock: `next` runs under the driver's lock, or in a pause. */
#include "concurrent.h"
#include "gc/contract.h"
#include "gc/refs/finalizer.h"
#include "gc/refs/tables.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "quantum.h"

static oaki_stage after_pinned(void)
{
    oaki_gc.concurrent.table = 0;
    return OAKI_STAGE_KEPT;
}

static oaki_stage after_kept(void)
{
    oaki_gc.concurrent.place = (oaki_root_place){ 0 };
    return OAKI_STAGE_RANGES;
}

static oaki_stage after_ranges(void)
{
    return OAKI_STAGE_TRACE;
}

static oaki_stage pass(void)
{
    oaki_gc.preclean.queued = oaki_ephemerons_queued();
    return OAKI_STAGE_VALUES;
}

/* Values of ephemerons are traced before tables note what is certain. */
static oaki_stage after_trace(void)
{
    oaki_gc.preclean.passes = 0;
    return pass();
}

static oaki_stage certain(void)
{
    oaki_gc.concurrent.table = 0;
    return OAKI_STAGE_CERTAIN;
}

static oaki_stage after_values(void)
{
    return oaki_ephemerons_queued() == oaki_gc.preclean.queued ? certain()
                                                               : OAKI_STAGE_VALUES_TRACE;
}

static oaki_stage after_values_trace(void)
{
    return ++oaki_gc.preclean.passes < OAKI_TUNE_EPHEMERON_PASSES ? pass() : certain();
}

static oaki_stage after_certain(void)
{
    return OAKI_STAGE_CERTAIN_TRACE;
}

static oaki_stage after_certain_trace(void)
{
    if (oaki_phase_now() == OAKI_PHASE_MARK) {
        oaki_cycle_enter(OAKI_PHASE_PRECLEAN);
        return oaki_preclean_start();
    }
    return oaki_mark_leaves_out() ? OAKI_STAGE_WAITING : oaki_preclean_after_roots();
}

static oaki_stage after_round(void)
{
    return OAKI_STAGE_ROUND_TRACE;
}

static oaki_stage after_waiting(void)
{
    return OAKI_STAGE_WAITING_TRACE;
}

#define FINALIZER_LOCK &oaki_the_heap.finalizer_lock
#define ROOTS_LOCK &oaki_the_heap.roots_lock

const oaki_stage_plan oaki_stages[OAKI_STAGES] = {
    [OAKI_STAGE_PINNED] = { oaki_quantum_pinned, NULL, false, after_pinned },
    [OAKI_STAGE_KEPT] = { oaki_quantum_kept, FINALIZER_LOCK, false, after_kept },
    [OAKI_STAGE_RANGES] = { oaki_quantum_ranges, ROOTS_LOCK, false, after_ranges },
    [OAKI_STAGE_TRACE] = { oaki_quantum_trace, NULL, false, after_trace },
    [OAKI_STAGE_VALUES] = { oaki_quantum_values, FINALIZER_LOCK, false, after_values },
    [OAKI_STAGE_VALUES_TRACE] = { oaki_quantum_trace, NULL, false, after_values_trace },
    [OAKI_STAGE_CERTAIN] = { oaki_quantum_certain, FINALIZER_LOCK, false, after_certain },
    [OAKI_STAGE_CERTAIN_TRACE] = { oaki_quantum_trace, NULL, false, after_certain_trace },
    [OAKI_STAGE_ROUND] = { oaki_quantum_round, NULL, false, after_round },
    [OAKI_STAGE_ROUND_TRACE] = { oaki_quantum_trace, NULL, false, oaki_preclean_after_round },
    [OAKI_STAGE_ROOTS] = { oaki_quantum_roots, NULL, true, after_kept },
    [OAKI_STAGE_WAITING] = { oaki_quantum_waiting, NULL, true, after_waiting },
    [OAKI_STAGE_WAITING_TRACE] = { oaki_quantum_trace, NULL, false, oaki_preclean_after_roots },
    [OAKI_STAGE_PAUSED_ROUND] = { oaki_quantum_paused_round, NULL, true,
                                  oaki_preclean_after_paused_round },
};

/* READY: the final pause. The program may refuse it now. Until it allows the pause, dirty pages are
 * rescanned now and then, so that the pause has few of them. */
static oaki_stepped end(oaki_driver *d)
{
    oaki_concurrent *c = &oaki_gc.concurrent;
    (void)oaki_enter();
    bool ended = !oaki_is_marking_concurrently() ||
                 oaki_cycle_final_pause(d->thread, AO_load(&c->number));
    /* another thread may have ended the mark: in a pause, which waits from here to oaki_leave, or
     * by giving it up, under the driver's lock */
    oaki_lock_acquire(&c->driver);
    bool refused = !ended && oaki_is_marking_concurrently();
    if (refused) AO_store(&c->final_refused, 1);
    oaki_lock_release(&c->driver);
    oaki_leave(d->thread);
    if (refused) return OAKI_STEP_REFUSED;
    AO_store(&oaki_gc.background.refusals, 0);
    if (d->end_ns) d->nap_ns = 1; /* that was a pause */
    return OAKI_STEP_MORE;
}

static bool rounds_are_due(void)
{
    oaki_concurrent *c = &oaki_gc.concurrent;
    if (!AO_load(&c->final_refused)) return false;
    return (AO_fetch_and_add1(&c->naps) + 1) % OAKI_TUNE_NAPS_A_ROUND == 0;
}

static void start_again(oaki_driver *d)
{
    (void)oaki_enter();
    oaki_lock_acquire(&oaki_gc.concurrent.driver);
    if (oaki_phase_now() == OAKI_PHASE_PRECLEAN) oaki_stage_enter(oaki_preclean_start());
    oaki_lock_release(&oaki_gc.concurrent.driver);
    oaki_leave(d->thread);
}

oaki_stepped oaki_step_mark(oaki_driver *d)
{
    if (d->paused) {
        oaki_mark_in_pause(d);
        return OAKI_STEP_MORE;
    }
    if (d->assists) return oaki_quantum_assist(d) ? OAKI_STEP_MORE : OAKI_STEP_OVER;
    if (AO_load(&oaki_gc.concurrent.stage) != OAKI_STAGE_READY) {
        oaki_quantum_run(d);
        return OAKI_STEP_MORE;
    }
    if (rounds_are_due()) {
        start_again(d);
        return OAKI_STEP_MORE;
    }
    return end(d);
}
