/* begin.c - a concurrent cycle until its mark begins, and the release of the pages' protection when
 * the cycle is over.
 *
 * The steps are: is a cycle due, PROTECT, the way into the init pause, PREPARE.
 * Pages are protected before anything is marked, so writes are noted from then on. In a minor cycle
 * they are protected already. Protecting forgets which pages were dirty before. So a stopped cycle
 * that comes meanwhile keeps no marks for a minor one.
 *
 * Lock: the driver's, inside oaki_enter, for PROTECT and PREPARE. gc_lock for the way into the init
 * pause.
 * Bound: a quantum of PROTECT is OAKI_TUNE_PROTECT_STEP bytes of the range, one of PREPARE is
 * OAKI_CHUNK. */
#include "concurrent.h"
#include "gc/contract.h"
#include "gc/off.h"
#include "gc/pace.h"
#include "gc/sweep.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "protect.h"
#include "quantum.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/zone.h"
#include "sticky.h"

static oaki_concurrent *const self = &oaki_gc.concurrent;

/* ---- is a cycle due? ---- */

typedef enum answer { NOT_NEEDED, DUE, REFUSED } answer;

static bool is_due(const oaki_driver *d)
{
    if (AO_load(&oaki_gc.background.forced) || oaki_pace_due()) return true;
    return d->end_ns && oaki_pace_nears();
}

/* Calls the host's function, too (oaki_gc_unless), so no lock is held. It may hold references, so
 * this thread's frames are roots then. */
static answer due(const oaki_driver *d)
{
    oaki_thread *t = d->thread;
    bool bare = t->bare;
    t->bare = false;
    bool refused = oaki_gc_refuses(OAKI_GC_DUE);
    t->bare = bare;
    if (refused) return REFUSED;
    return is_due(d) ? DUE : NOT_NEEDED;
}

/* ---- quanta of pages ---- */

static void lock(void)
{
    (void)oaki_enter();
    oaki_lock_acquire(&self->driver);
}

static void unlock(const oaki_driver *d)
{
    oaki_lock_release(&self->driver);
    oaki_leave(d->thread);
}

/* The next pages of a step. true when all are done. */
static bool advance(oaki_progress *p, const oaki_driver *d, void (*fn)(size_t from, size_t to))
{
    size_t step = d->end_ns ? OAKI_TUNE_PROTECT_BUDGET_STEP : OAKI_TUNE_PROTECT_STEP;
    size_t to = OAKI_MIN(p->at + step, p->end);
    uint64_t cpu = oaki_os_thread_cpu_ns();
    OAKI_REQUIRES_LOCK(&self->driver);
    OAKI_REQUIRES_NO_MARK();
    OAKI_ASSERT(p->at <= p->end);
    if (p->at < to) fn(p->at, to);
    p->at = to;
    oaki_quanta_cost(oaki_os_thread_cpu_ns() - cpu);
    return to == p->end;
}

/* If the next cycle may be minor, pages of old objects stay protected. */
static void unprotect(size_t from, size_t to)
{
    if (AO_load(&oaki_the_heap.sticky)) oaki_unprotect_sparse(from, to);
    else oaki_unprotect(from, to);
}

static oaki_stepped release_pages(oaki_driver *d)
{
    bool over = true;
    lock();
    if (oaki_cycle_is_at_rest() && AO_load(&self->unprotect)) {
        if (!self->released.end) self->released.end = AO_load(&oaki_the_heap.used);
        over = advance(&self->released, d, unprotect);
        if (over) {
            self->protecting = false;
            AO_store(&self->unprotect, 0);
        }
    }
    unlock(d);
    return over ? OAKI_STEP_OVER : OAKI_STEP_MORE;
}

/* Once the cycle is over, the pages that it has protected are released. */
static void release_later(void)
{
    self->released = (oaki_progress){ 0, 0 };
    AO_store(&self->unprotect, 1);
}

/* ---- the init pause ---- */

/* Is this the PROTECT that the driver has ended? A stopped cycle may have ended that one since, and
 * another driver may have begun the next. */
static bool is_protected(void)
{
    return oaki_phase_now() == OAKI_PHASE_PROTECT && self->progress.at >= self->progress.end;
}

/* Where the system has refused to protect pages, the cycle is given up, and the due one is stopped.
 * Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE answer try_pause(oaki_driver *d, bool minor)
{
    oaki_heap *h = &oaki_the_heap;
    answer a = due(d);
    (void)oaki_enter();
    for (bool done = a != DUE; !done;) {
        bool can = oaki_roots_refresh(d->thread);
        oaki_lock_acquire_parked(d->thread, &h->gc_lock);
        oaki_thread_save_context(d->thread);
        bool current = minor ? oaki_cycle_is_at_rest() && oaki_sticky_may_begin()
                             : is_protected();
        if (!current || !oaki_dirty_may() || !is_due(d)) a = NOT_NEEDED;
        else if (!can || oaki_gc_is_off()) a = REFUSED;
        done = a != DUE || oaki_init_pause(d->thread, minor ? OAKI_MINOR : OAKI_FULL);
        if (a != DUE && !oaki_is_marking()) oaki_cycle_forget_start();
        oaki_lock_release(&h->gc_lock);
    }
    oaki_leave(d->thread);
    return a;
}

static oaki_stepped begin_mark(oaki_driver *d, bool minor)
{
    answer a = try_pause(d, minor);
    if (a == REFUSED) return OAKI_STEP_REFUSED;
    if (a == NOT_NEEDED) {
        lock();
        if (oaki_phase_now() == OAKI_PHASE_PROTECT) oaki_cycle_abort();
        unlock(d);
    }
    if (a == DUE && d->end_ns) d->nap_ns = 1; /* that was a pause */
    return OAKI_STEP_MORE;
}

/* For a driver with a budget: a part of the work that must be done before the first pause, which
 * would do all of it at once. true: there may be more. */
static bool clear_up(const oaki_driver *d)
{
    if (AO_load(&oaki_the_heap.zones.ndead) > 0 && oaki_zones_reap_some()) return true;
    (void)oaki_enter();
    bool more = oaki_sweep_until(d->end_ns);
    oaki_leave(d->thread);
    return more;
}

/* Without concurrent marking, a due cycle is one pause. oaki_gc_collect saves the context. */
static oaki_stepped pause_if_due(const oaki_driver *d)
{
    (void)oaki_enter();
    if (oaki_pace_due()) (void)oaki_gc_collect(d->thread, OAKI_GC_DUE);
    oaki_leave(d->thread);
    return OAKI_STEP_OVER;
}

/* ---- steps ---- */

oaki_stepped oaki_step_begin(oaki_driver *d)
{
    OAKI_REQUIRES_OUTSIDE();
    if (AO_load(&self->unprotect)) return release_pages(d);
    if (d->end_ns && clear_up(d)) return OAKI_STEP_MORE;
    if (d->stopped_only) return pause_if_due(d);
    answer a = due(d);
    if (a != DUE) return a == REFUSED ? OAKI_STEP_REFUSED : OAKI_STEP_OVER;
    if (!oaki_dirty_begin()) return OAKI_STEP_OVER;
    lock();
    bool mine = oaki_cycle_is_at_rest(), minor = oaki_sticky_may_begin();
    if (mine && !minor) {
        oaki_sticky_set(false); /* kept marks serve a minor cycle alone */
        release_later();
        self->protecting = true;
        self->progress = (oaki_progress){ 0, AO_load(&oaki_the_heap.used) };
        oaki_cycle_enter(OAKI_PHASE_PROTECT);
    }
    unlock(d);
    return mine && minor ? begin_mark(d, true) : OAKI_STEP_MORE;
}

oaki_stepped oaki_step_protect(oaki_driver *d)
{
    bool over = false;
    OAKI_REQUIRES_OUTSIDE();
    lock();
    if (oaki_phase_now() == OAKI_PHASE_PROTECT)
        over = advance(&self->progress, d, oaki_protect_scanned);
    unlock(d);
    return over ? begin_mark(d, false) : OAKI_STEP_MORE;
}

/* One chunk, up to the heap's end at the init pause. Memory by which the heap grows afterwards is
 * prepared when it is allocated. true when all chunks are done. */
static bool prepare_chunk(void)
{
    oaki_progress *p = &self->progress;
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_PHASE(PREPARE);
    OAKI_ASSERT(p->at % OAKI_CHUNK == 0);
    if (p->at >= oaki_worker(0)->used) return true;
    oaki_mark_prepare_chunk(p->at / OAKI_CHUNK, oaki_gc.kind == OAKI_MINOR);
    p->at += OAKI_CHUNK;
    return false;
}

/* From MARK on, each word that the mark has read stays as it is, or its page is dirty. */
oaki_stepped oaki_step_prepare(oaki_driver *d)
{
    if (d->paused) {
        oaki_prepare_in_pause(d);
        return OAKI_STEP_MORE;
    }
    OAKI_REQUIRES_OUTSIDE();
    lock();
    uint64_t cpu = oaki_os_thread_cpu_ns();
    if (oaki_phase_now() == OAKI_PHASE_PREPARE && prepare_chunk()) {
        oaki_workers_concurrent(true);
        oaki_cycle_enter(OAKI_PHASE_MARK);
        oaki_stage_enter(OAKI_STAGE_PINNED);
    }
    oaki_quanta_cost(oaki_os_thread_cpu_ns() - cpu);
    unlock(d);
    return OAKI_STEP_MORE;
}

/* ---- in the pauses ---- */

void oaki_concurrent_begin(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(INIT_PAUSE);
    OAKI_ASSERT(oaki_gc.kind == OAKI_MINOR || self->progress.at >= self->progress.end);
    release_later();
    AO_store(&self->large, 0);
    oaki_preclean_begin(oaki_gc.kind == OAKI_MINOR);
    AO_store(&self->number, AO_load(&oaki_the_heap.cycle));
    AO_store(&self->done, 0);
    OAKI_ASSERT(!AO_load(&self->final_refused));
    self->worked_before_ns = AO_load(&self->worked_ns);
    self->pauses_ns = self->longest_ns = self->failed_ns = 0;
    self->protecting = false;
    oaki_stage_enter(OAKI_STAGE_PINNED); /* the first of MARK; its progress is that of PREPARE */
    self->begun_ns = oaki_os_now_ns();
}

/* oaki_rescan_begin queues pinned objects once more, as some were allocated since. */
void oaki_concurrent_final_pause(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(FINAL_PAUSE);
    OAKI_ASSERT(oaki_gc.mode == OAKI_CONCURRENT);
    OAKI_REQUIRES_NO_HELPER();
    self->took_ns = oaki_os_now_ns() - self->begun_ns;
    oaki_workers_concurrent(false);
    AO_store(&self->expected[oaki_gc.kind], oaki_workers_scanned());
    oaki_workers_extend();
    oaki_rescan_begin(oaki_preclean_refusals());
}

void oaki_concurrent_end(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    oaki_deferred_wipe();
    AO_store(&self->done, 0);
    AO_store(&self->final_refused, 0);
}

size_t oaki_concurrent_work(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_HELPER();
    return oaki_workers_scanned() + oaki_preclean_protected() * oaki_plan_page_words();
}

/* Rounds also find large objects that were allocated during the mark, so the two are not added. */
size_t oaki_concurrent_floating(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_MARK();
    size_t late = oaki_pace_floating(oaki_preclean_found(), self->took_ns, oaki_quanta_worked());
    return OAKI_MAX(AO_load(&self->large), late);
}

void oaki_gc_large_in_mark(size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    AO_fetch_and_add(&self->large, bytes);
}

void oaki_concurrent_give_up(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_cycle_abort();
    oaki_cycle_drop_marks();
}

/* ---- queries ---- */

bool oaki_concurrent_protecting(void)
{
    return self->protecting;
}

bool oaki_concurrent_has_work(void)
{
    return !oaki_cycle_is_at_rest() || AO_load(&self->unprotect) != 0;
}
