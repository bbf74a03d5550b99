/* pauses.c - the pauses of a cycle.
 *
 * A concurrent cycle has an init pause and a final pause. A stopped cycle has a single pause, in
 * which it takes all steps from INIT_PAUSE to FINAL_PAUSE.
 *
 * Lock: gc_lock, from before the world stops until it runs again; from a final pause on, until
 * RECLAIM is over. */
#include "contract.h"
#include "cycle.h"
#include "gc/concurrent/concurrent.h"
#include "gc/concurrent/sticky.h"
#include "gc/debug/verify.h"
#include "gc/refs/tables.h"
#include "gc/trace/trace.h"
#include "host.h"
#include "off.h"
#include "pace.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "runtime/room.h"
#include "sweep.h"
#include "tuning.h"
#include <string.h>

/* ---- steps in a pause ---- */

/* Another thread runs this phase, in its pause or under gc_lock. */
static oaki_stepped wait_for_other(oaki_driver *d)
{
    d->nap_ns = OAKI_TUNE_DRIVER_WAIT_NS;
    return OAKI_STEP_MORE;
}

/* In a concurrent cycle this step queues the roots, and the world runs after it. */
oaki_stepped oaki_step_init_pause(oaki_driver *d)
{
    if (!d->paused) return wait_for_other(d);
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_PHASE(INIT_PAUSE);
    oaki_tables_reclaim(); /* records that an aborted mark has found certain */
    oaki_hooks_call(&oaki_gc.before);
    oaki_workers_begin();
    if (oaki_gc.mode == OAKI_CONCURRENT) {
        oaki_roots_mark(false);
        oaki_concurrent_begin();
    }
    oaki_cycle_enter(OAKI_PHASE_PREPARE);
    return OAKI_STEP_MORE;
}

/* M = ~A in all chunks with spans; in a minor cycle, M = M | ~A. */
void oaki_prepare_in_pause(oaki_driver *d)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(PREPARE);
    oaki_mark_prepare_all(oaki_gc.kind == OAKI_MINOR);
    oaki_record_part(OAKI_PART_PREPARE, &d->at_ns);
    oaki_cycle_enter(OAKI_PHASE_MARK);
}

/* Pinned objects, or the old ones of a minor cycle, have been queued before. */
static void mark_from_roots(oaki_driver *d)
{
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    oaki_roots_mark(true);
    oaki_record_part(OAKI_PART_ROOTS, &d->at_ns);
    oaki_mark_drain();
    oaki_record_part(OAKI_PART_DRAIN, &d->at_ns);
}

void oaki_mark_in_pause(oaki_driver *d)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(MARK);
    if (oaki_gc.kind == OAKI_MINOR) oaki_sticky_rescan();
    else oaki_pinned_mark();
    mark_from_roots(d);
    oaki_cycle_enter(OAKI_PHASE_FINAL_PAUSE);
}

static void decide_refs(void)
{
    oaki_disclaim_protect();
    oaki_ephemerons_fixpoint(false);
    oaki_tables_clear(false);
    oaki_finalizers_decide();
    oaki_ephemerons_fixpoint(true);
    oaki_tables_clear(true);
}

/* Its time does not count as the cycle's, so that pacing is as without verify=1. */
static void verify(bool whole, uint64_t *t)
{
    oaki_cycle *c = &oaki_gc.figures;
    if (!oaki_debug_switches.verify) return;
    uint64_t cpu = oaki_os_cpu_ns();
    oaki_verify(whole);
    c->verify_cpu = oaki_os_cpu_ns() - cpu;
    uint64_t now = oaki_os_now_ns();
    c->verify = now - *t;
    *t = now;
}

/* In a minor cycle it is unknown how many old objects were freed by hand. */
static size_t live_bytes(bool minor)
{
    size_t live = oaki_workers_bytes();
    live -= OAKI_MIN(oaki_deferred_marked(), live);
    live += oaki_external_marked(minor);
    return minor ? OAKI_MIN(live + oaki_pace_live(), AO_load(&oaki_the_heap.live)) : live;
}

static oaki_found found(bool part)
{
    if (part) return OAKI_FOUND_SOME;
    return oaki_gc.roots.in_flight ? OAKI_FOUND_MOST : OAKI_FOUND_ALL;
}

/* M is final: the live bytes are known, and every span becomes unswept. */
static void end_mark(oaki_driver *d, bool concurrent, bool minor)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_cycle *c = &oaki_gc.figures;
    size_t live = live_bytes(minor), before = c->line.heap_end;
    size_t work = concurrent ? oaki_concurrent_work() : oaki_workers_scanned();
    c->words = oaki_workers_scanned();
    oaki_concurrent_end();
    oaki_mark_release();
    oaki_cycle_enter(OAKI_PHASE_RECLAIM);
    AO_store_release(&h->cycle, AO_load(&h->cycle) + 1);
    oaki_pace_marked(live, concurrent ? oaki_concurrent_floating() : 0, oaki_gc.roots.bytes, minor);
    bool sticky = oaki_sticky_pays(minor, work, before - OAKI_MIN(live, before), c->allocated) &&
                  (concurrent || (d->why == OAKI_GC_DUE && oaki_sticky_keep(minor)));
    oaki_sticky_set(sticky);
    c->minor = minor;
    oaki_sweep_begin(live, AO_load(&h->trigger));
    oaki_disclaim_detach();
    c->line.heap_live = live;
    oaki_room_serve(found(minor || concurrent), oaki_os_now_ns() - c->begin);
    oaki_record_part(OAKI_PART_PACE, &d->at_ns);
}

/* After a concurrent mark, oaki_concurrent_final_pause comes before the roots. It queues pinned
 * objects, and from then on words count up to the heap's end as it is now. */
oaki_stepped oaki_step_final_pause(oaki_driver *d)
{
    if (!d->paused) return wait_for_other(d);
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_PHASE(FINAL_PAUSE);
    OAKI_REQUIRES_NO_HELPER();
    bool concurrent = oaki_gc.mode == OAKI_CONCURRENT, minor = oaki_gc.kind == OAKI_MINOR;
    if (concurrent) {
        oaki_concurrent_final_pause();
        mark_from_roots(d);
    }
    decide_refs();
    oaki_record_part(OAKI_PART_FINISH, &d->at_ns);
    oaki_zones_marked();
    if (OAKI_UNLIKELY(oaki_guard.on)) oaki_guard_mark();
    oaki_hooks_call(&oaki_gc.after);
    verify(!concurrent && !minor, &d->at_ns);
    end_mark(d, concurrent, minor);
    return OAKI_STEP_MORE;
}

/* Only the holder of gc_lock takes this step; another driver waits for it. */
oaki_stepped oaki_step_reclaim(oaki_driver *d)
{
    if (!d->paused) return wait_for_other(d);
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_RUNNING();
    OAKI_REQUIRES_PHASE(RECLAIM);
    oaki_tables_reclaim();
    oaki_disclaim_sweep();
    oaki_mark_trim();
    oaki_cycle_enter(OAKI_PHASE_SWEEP);
    oaki_cycle_swept();
    return OAKI_STEP_MORE;
}

/* ---- pauses ---- */

/* A cycle begins in this pause. Marks that the last cycle has kept serve this one or none. */
static void begin_cycle(oaki_cycle_mode mode, oaki_cycle_kind kind)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_ASSERT(kind == OAKI_FULL || oaki_sticky_begins());
    oaki_gc.mode = mode;
    oaki_gc.kind = kind;
    oaki_sticky_set(false);
    oaki_cycle_enter(OAKI_PHASE_INIT_PAUSE);
}

/* From here on helper threads are held, and no span is unswept. Returns when the sweep of the last
 * ones began. No worker is started during a mark, as it would not take part in it. */
static uint64_t prepare_pause(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_RUNNING();
    oaki_cycle_report_start();
    bool none = !oaki_is_marking();
    if (none) oaki_workers_spawn(oaki_gc.processors = oaki_heap_cpus());
    oaki_sweep_spawn();
    oaki_helpers_hold();
    uint64_t at = oaki_os_now_ns();
    if (none) (void)oaki_zones_reap(SIZE_MAX);
    oaki_gc_sweep_all();
    if (OAKI_UNLIKELY(oaki_guard.on)) oaki_guard_check_all("a collection");
    return at;
}

/* A full cycle's pages are protected by now. A minor one relies on marks that were kept, which a
 * zone that closes meanwhile forbids. */
bool oaki_init_pause(oaki_thread *t, oaki_cycle_kind kind)
{
    oaki_driver d = { .thread = t, .paused = true, .why = OAKI_GC_DUE };
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_NO_MARK();
    oaki_record_begin(t, OAKI_GC_DUE, prepare_pause());
    bool stopped = oaki_world_stop(t), can = stopped && (kind == OAKI_FULL || oaki_sticky_begins());
    if (stopped && !can) oaki_world_start(t);
    if (!can) {
        oaki_helpers_release();
        return false;
    }
    oaki_record_stopped(t);
    oaki_gc.figures.first_begin = oaki_world_asked_ns();
    oaki_caches_flush();
    begin_cycle(OAKI_CONCURRENT, kind);
    (void)oaki_collector_step(&d);
    oaki_gc.figures.first = oaki_os_now_ns() - oaki_gc.figures.first_begin;
    oaki_world_start(t);
    oaki_helpers_release();
    return true;
}

/* Stops the world, unless the program has disabled collections meanwhile. Then the next try calls
 * the start hooks again. */
static bool stop_to_end(oaki_thread *t)
{
    if (!oaki_world_stop(t)) return false;
    if (!oaki_gc_is_off()) return true;
    oaki_cycle_forget_start();
    oaki_world_start(t);
    return false;
}

/* A concurrent mark that is under way ends in this pause. A cycle in PREPARE is given up, and one
 * in PROTECT begins here. */
static void enter_pause(oaki_gc_why why, uint64_t *at_ns)
{
    OAKI_REQUIRES_STOPPED();
    oaki_caches_flush();
    if (oaki_is_marking_concurrently()) {
        oaki_record_part(OAKI_PART_PREPARE, at_ns);
        oaki_cycle_enter(OAKI_PHASE_FINAL_PAUSE);
        return;
    }
    if (oaki_is_marking()) oaki_cycle_abort();
    begin_cycle(OAKI_STOPPED,
                why == OAKI_GC_DUE && oaki_sticky_begins() ? OAKI_MINOR : OAKI_FULL);
}

bool oaki_pause_to_end(oaki_thread *t, oaki_gc_why why)
{
    oaki_driver d = { .thread = t, .paused = true, .why = why };
    oaki_cycle *c = &oaki_gc.figures;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_record_begin(t, why, prepare_pause());
    uint64_t cpu0 = oaki_os_cpu_ns();
    if (!stop_to_end(t)) {
        oaki_helpers_release();
        return false;
    }
    oaki_record_stopped(t);
    cpu0 += oaki_world_failed().rest_cpu_ns;
    c->begin = d.at_ns = oaki_world_asked_ns();
    oaki_record_part(OAKI_PART_STOP, &d.at_ns);
    uint64_t cpu1 = oaki_os_cpu_ns();
    enter_pause(why, &d.at_ns);
    while (oaki_phase_now() != OAKI_PHASE_RECLAIM) (void)oaki_collector_step(&d);
    uint64_t cpu2 = oaki_os_cpu_ns();
    c->end = d.at_ns;
    oaki_world_start(t);
    oaki_record_part(OAKI_PART_START, &c->end);
    oaki_helpers_release();
    (void)oaki_collector_step(&d);
    c->stop_cpu = cpu1 - cpu0;
    c->cpu_end = oaki_os_cpu_ns();
    c->cpu = c->cpu_end - cpu0 - c->verify_cpu;
    oaki_record_end(cpu2 - cpu1 - c->verify_cpu);
    oaki_cycle_forget_start();
    oaki_event_note(c);
    return true;
}
