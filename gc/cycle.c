/* cycle.c - the phase machine: which phase follows which, and what the next step of a cycle is.
 *
 * Owns: oaki_heap.phase and struct oaki_collector.
 * Lock: a phase is entered with the world stopped, under gc_lock, or under the driver's lock inside
 *   oaki_enter. SWEEP is ended by a thread that finds the last span swept.
 * Invariants: a mark begins in a pause, and ends in one unless it is given up. The thread that ends
 *   a cycle holds gc_lock until RECLAIM is over, so no other holder of gc_lock sees a flagged
 *   record. Giving up is a transition to IDLE, or from PROTECT to SWEEP while spans are unswept. */
#include "cycle.h"

#include "contract.h"
#include "gc/concurrent/concurrent.h"
#include "gc/concurrent/sticky.h"
#include "gc/debug/verify.h"
#include "gc/refs/finalizer.h"
#include "gc/refs/tables.h"
#include "gc/trace/trace.h"
#include "pace.h"
#include "runtime/os.h"
#include "sweep.h"
#include "tuning.h"

oaki_collector oaki_gc; /* all zero in the file: an empty program touches few of its pages */

#define BIT(phase) OAKI_PHASE_BIT(phase)

/* A stopped cycle may come in any phase in which mutators run. It ends a concurrent mark, begins in
 * PROTECT, and gives a cycle in PREPARE up. */
static const unsigned may_follow[OAKI_PHASES] = {
    [OAKI_PHASE_IDLE] = BIT(PROTECT) | BIT(INIT_PAUSE),
    [OAKI_PHASE_PROTECT] = BIT(INIT_PAUSE) | BIT(SWEEP) | BIT(IDLE),
    [OAKI_PHASE_INIT_PAUSE] = BIT(PREPARE),
    [OAKI_PHASE_PREPARE] = BIT(MARK) | BIT(IDLE),
    [OAKI_PHASE_MARK] = BIT(PRECLEAN) | BIT(FINAL_PAUSE) | BIT(IDLE),
    [OAKI_PHASE_PRECLEAN] = BIT(FINAL_PAUSE) | BIT(IDLE),
    [OAKI_PHASE_FINAL_PAUSE] = BIT(RECLAIM),
    [OAKI_PHASE_RECLAIM] = BIT(SWEEP),
    [OAKI_PHASE_SWEEP] = BIT(IDLE) | BIT(PROTECT) | BIT(INIT_PAUSE),
};

OAKI_UNUSED static bool is_pause(oaki_phase phase)
{
    return phase == OAKI_PHASE_INIT_PAUSE || phase == OAKI_PHASE_FINAL_PAUSE;
}

#ifdef OAKI_DEBUG
static bool all_is_swept(void)
{
    return !AO_load(&oaki_gc.sweeper.waiting);
}

/* Writes since the last cycle are forgotten from now on. */
static bool no_marks_are_kept(void)
{
    return !AO_load(&oaki_the_heap.sticky);
}

static bool mark_bits_are_made(void)
{
    return oaki_world_stopped() ||
           (AO_load(&oaki_gc.concurrent.stage) == OAKI_STAGE_PINNED &&
            oaki_gc.concurrent.progress.at >= oaki_worker(0)->used);
}

static bool all_is_handled(void)
{
    return oaki_gc.disclaim.detached == 0 && !oaki_tables_any_flagged();
}

typedef struct rule {
    bool (*holds)(void);
    const char *what; /* of a breach */
} rule;

/* What must hold where a phase begins. */
static const rule rules[OAKI_PHASES] = {
    [OAKI_PHASE_IDLE] = { all_is_swept, "spans are unswept in IDLE" },
    [OAKI_PHASE_PROTECT] = { no_marks_are_kept, "marks are kept in PROTECT" },
    [OAKI_PHASE_INIT_PAUSE] = { all_is_swept, "spans are unswept when a cycle begins" },
    [OAKI_PHASE_MARK] = { mark_bits_are_made, "MARK begins before M is made" },
    [OAKI_PHASE_PRECLEAN] = { oaki_workers_have_nothing, "PRECLEAN begins before all is traced" },
    [OAKI_PHASE_RECLAIM] = { oaki_workers_have_nothing, "M is final before all is traced" },
    [OAKI_PHASE_SWEEP] = { all_is_handled, "RECLAIM has left records or spans" },
};
#endif

static void check_entry(oaki_phase next)
{
    (void)next;
#ifdef OAKI_DEBUG
    const rule *r = &rules[next];
    if (r->holds) OAKI_INVARIANT(r->holds(), r->what);
#endif
}

/* With verify=1: the rules of the collector's structures, where the phase changes. Those of the
 * heap are checked in each stop (runtime/stop.c). Tables have no flagged record once RECLAIM is
 * over; an aborted cycle enters SWEEP under the driver's lock, which ranks above theirs. */
static void check_rules(oaki_phase now, oaki_phase next)
{
    if (next == OAKI_PHASE_PREPARE || next == OAKI_PHASE_FINAL_PAUSE)
        oaki_verify_rule(oaki_worklist_check);
    if (next == OAKI_PHASE_PREPARE) oaki_verify_rule(oaki_sweep_check);
    if (now == OAKI_PHASE_RECLAIM) oaki_verify_rule(oaki_tables_check);
}

/* The only place that writes the phase. false: another thread has changed it meanwhile. */
static bool change(oaki_phase now, oaki_phase next)
{
    OAKI_INVARIANT(may_follow[now] & 1u << next, "a phase follows one that it may not follow");
    OAKI_ASSERT(!is_pause(next) || oaki_world_stopped());
    check_entry(next);
    check_rules(now, next);
    if (!AO_compare_and_swap_full(&oaki_the_heap.phase, now, next)) return false;
    AO_store(&oaki_gc.entered_ns[next], (AO_t)oaki_os_now_ns());
    return true;
}

void oaki_cycle_enter(oaki_phase next)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_ASSERT(!AO_load(&oaki_the_heap.sticky) || !oaki_gc.concurrent.protecting);
    while (!change(oaki_phase_now(), next)) continue;
}

oaki_phase oaki_cycle_at_rest(void)
{
    return AO_load(&oaki_gc.sweeper.waiting) ? OAKI_PHASE_SWEEP : OAKI_PHASE_IDLE;
}

bool oaki_cycle_is_at_rest(void)
{
    return oaki_phase_is_one(OAKI_PHASE_SET(IDLE, SWEEP));
}

/* Several threads may find the last span swept, and PROTECT may begin meanwhile. As the caller is
 * inside, no cycle ends meanwhile, so no span becomes unswept. */
void oaki_cycle_swept(void)
{
    OAKI_REQUIRES_INSIDE();
    AO_nop_full();
    if (AO_load(&oaki_gc.sweeper.waiting) || !oaki_phase_is_one(OAKI_PHASE_SET(SWEEP))) return;
    (void)change(OAKI_PHASE_SWEEP, OAKI_PHASE_IDLE);
}

/* ---- the driver ---- */

oaki_stepped oaki_collector_step(oaki_driver *d)
{
    d->nap_ns = 0;
    OAKI_REQUIRES_SELF(d->thread);
    OAKI_ASSERT(d->paused || d->assists || !d->thread->in_runtime);
    oaki_phase phase = oaki_phase_now(); /* read once: it may change meanwhile */
    if (d->assists && !oaki_phase_is_concurrent_mark(phase)) return OAKI_STEP_OVER;
    switch (phase) {
    case OAKI_PHASE_IDLE:
    case OAKI_PHASE_SWEEP: return oaki_step_begin(d);
    case OAKI_PHASE_PROTECT: return oaki_step_protect(d);
    case OAKI_PHASE_INIT_PAUSE: return oaki_step_init_pause(d);
    case OAKI_PHASE_PREPARE: return oaki_step_prepare(d);
    case OAKI_PHASE_MARK:
    case OAKI_PHASE_PRECLEAN: return oaki_step_mark(d);
    case OAKI_PHASE_FINAL_PAUSE: return oaki_step_final_pause(d);
    case OAKI_PHASE_RECLAIM: return oaki_step_reclaim(d);
    case OAKI_PHASES: break;
    }
    oak_fatal("oakum: internal error: the collector is in no phase");
}

/* ---- the start hooks ---- */

void oaki_cycle_report_start(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (!AO_load(&oaki_gc.start_reported)) oaki_hooks_call(&oaki_gc.start);
    AO_store(&oaki_gc.start_reported, 1);
}

void oaki_cycle_forget_start(void)
{
    OAKI_REQUIRES_COLLECTOR();
    AO_store(&oaki_gc.start_reported, 0);
}

/* ---- giving up ---- */

void oaki_cycle_drop_marks(void)
{
    OAKI_REQUIRES_COLLECTOR();
    oaki_sticky_set(false);
    AO_store(&oaki_gc.concurrent.final_refused, 0);
    oaki_cycle_forget_start();
}

void oaki_cycle_abort(void)
{
    OAKI_REQUIRES_COLLECTOR();
    oaki_phase now = oaki_phase_now();
    if (now != OAKI_PHASE_PROTECT && !oaki_is_marking()) return;
    oaki_cycle_drop_marks();
    if (now == OAKI_PHASE_PROTECT) {
        oaki_gc.concurrent.protecting = false;
        oaki_cycle_enter(oaki_cycle_at_rest());
        oaki_cycle_swept(); /* the last span may have been swept in between */
    } else {
        OAKI_ASSERT(!is_pause(now));
        oaki_workers_discard();
        AO_store(&oaki_gc.concurrent.done, 0);
        oaki_cycle_enter(OAKI_PHASE_IDLE);
    }
}

OAKI_AT_START void oaki_collector_init(void)
{
    OAKI_REQUIRES_STARTING();
    oaki_lock_init(&oaki_gc.concurrent.driver, OAKI_RANK_MARKER);
    oaki_gc.sticky.skip = oaki_gc.sticky.next_skip = OAKI_TUNE_STICKY_UNPROVEN;
    oaki_gc.totals.start_ns = oaki_os_now_ns();
}

void oaki_collector_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_workers_reset();
    oaki_concurrent_reset();
    oaki_background_reset();
    oaki_events_reset();
    oaki_settings_reset();
    oaki_plan_reset();
    oaki_pace_reset();
    oaki_sweep_reset();
    oaki_deferred_reset();
    oaki_finalrun_reset();
    oaki_zones_reset();
    oaki_cycle_abort();
    oaki_cycle_drop_marks(); /* the child has no dirty-page tracking */
}
