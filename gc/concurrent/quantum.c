/* quantum.c - running one quantum of the concurrent mark, and counting what it costs.
 *
 * Any driver may run the next quantum, and any thread may end the mark with a pause of its own. So
 * the phase, the cycle's number and the stage are read anew under the driver's lock.
 *
 * Owns: the progress of oaki_gc.concurrent. Lock: while mutators run, `driver`, which also guards
 * worker 0. In a pause, gc_lock. */
#include "quantum.h"

#include "gc/contract.h"
#include "gc/pace.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "runtime/contain.h"
#include "runtime/os.h"

static oaki_concurrent *const self = &oaki_gc.concurrent;

/* ---- cost ---- */

void oaki_quanta_cost(uint64_t cpu_ns)
{
    oaki_count_add(&self->worked_ns, cpu_ns);
}

uint64_t oaki_quanta_worked(void)
{
    OAKI_ASSERT(AO_load(&self->worked_ns) >= self->worked_before_ns);
    return AO_load(&self->worked_ns) - self->worked_before_ns;
}

size_t oaki_quanta_done(void)
{
    return AO_load(&self->done);
}

void oaki_concurrent_record(oaki_cycle *c)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    c->between = self->pauses_ns;
    c->longest_between = self->longest_ns;
    c->longest_failed = OAKI_MAX(c->longest_failed, self->failed_ns);
    c->first += c->between;
    c->concurrent_cpu = AO_load(&self->worked_ns);
    /* not a store, as the release of pages may add to it meanwhile */
    oaki_count_sub(&self->worked_ns, c->concurrent_cpu);
    oaki_preclean_record(c);
}

static void note_pause(uint64_t ns, oaki_failed_stops failed)
{
    self->pauses_ns += ns;
    self->longest_ns = OAKI_MAX(self->longest_ns, ns);
    self->failed_ns = OAKI_MAX(self->failed_ns, failed.longest_ns);
}

/* ---- one quantum ---- */

static oaki_stage stage_now(void)
{
    return (oaki_stage)AO_load(&self->stage);
}

void oaki_stage_enter(oaki_stage stage)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&self->driver);
    self->progress = (oaki_progress){ 0, AO_load(&oaki_the_heap.used) };
    AO_store(&self->stage, (AO_t)stage);
}

/* No thread has ended the mark or this stage meanwhile. */
static bool is_current(oaki_stage stage)
{
    return oaki_is_marking_concurrently() && stage_now() == stage &&
           AO_load(&oaki_the_heap.cycle) == AO_load(&self->number);
}

/* Mark functions may have cancellation points. */
static void work(const oaki_stage_plan *plan, const oaki_driver *d)
{
    OAKI_NO_CANCEL;
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_NO_HELPER();
    uint64_t cpu = oaki_os_thread_cpu_ns(), helped = AO_load(&oaki_gc.worktime.helped);
    bool more = plan->quantum(&self->progress, d);
    helped = AO_load(&oaki_gc.worktime.helped) - helped; /* all are at rest between two quanta */
    oaki_quanta_cost(oaki_os_thread_cpu_ns() - cpu + helped);
    if (!more) oaki_stage_enter(plan->next());
}

static void run_running(oaki_driver *d, oaki_stage stage)
{
    const oaki_stage_plan *plan = &oaki_stages[stage];
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    (void)oaki_enter();
    if (plan->lock) oaki_lock_acquire(plan->lock);
    oaki_lock_acquire(&self->driver);
    if (is_current(stage)) work(plan, d);
    oaki_lock_release(&self->driver);
    bool waited = plan->lock && oaki_lock_is_awaited(plan->lock);
    if (plan->lock) oaki_lock_release(plan->lock);
    oaki_leave(d->thread);
    if (waited) d->nap_ns = OAKI_TUNE_TURN_NS;
}

/* Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE void run_paused(oaki_driver *d, oaki_stage stage)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    oaki_thread *t = oaki_gc_stop_begin();
    unsigned part = t ? oaki_gc.preclean.part : OAKI_TUNE_PART;
    uint64_t began = oaki_os_now_ns(), asked = t ? oaki_world_asked_ns() : began;
    if (t && is_current(stage)) work(&oaki_stages[stage], d);
    uint64_t now = oaki_os_now_ns(), worked = now - began;
    if (t) note_pause(now - asked, oaki_world_failed());
    if (t) oaki_gc_stop_end(t);
    d->nap_ns = OAKI_MIN(worked / part, OAKI_TUNE_BETWEEN_MOST_NS);
    d->nap_ns = OAKI_MAX(d->nap_ns, OAKI_TUNE_BETWEEN_LEAST_NS);
}

void oaki_quantum_run(oaki_driver *d)
{
    oaki_stage stage = stage_now();
    OAKI_REQUIRES_OUTSIDE();
    if (stage == OAKI_STAGE_READY) return;
    if (oaki_stages[stage].paused) run_paused(d, stage);
    else run_running(d, stage);
}

/* ---- tracing ---- */

void oaki_workers_extend(void)
{
    size_t used = AO_load(&oaki_the_heap.used);
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_ASSERT(used >= oaki_worker(0)->used); /* the range doesn't shrink in a mark */
    for (unsigned i = 0; i < oaki_workers_count(); i++) oaki_worker(i)->used = used;
}

/* end_ns: 0, or when to end. It is a time, as words differ in cost. Once pages were protected, a
 * virtual machine may need microseconds for the first access to a page. With end_ns there are no
 * helpers: a mutator would wait for one that has lost its processor. */
static bool trace(unsigned helpers, uint64_t end_ns)
{
    oak_marker *m = oaki_worker(0);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    OAKI_REQUIRES_RUNNING();
    oaki_workers_extend();
    m->end_ns = end_ns;
    m->soon = end_ns != 0;
    m->stop = &oaki_thread_self()->stop_pending;
    bool more = helpers ? oaki_trace_together(m, OAKI_TUNE_QUANTUM_SHARED_NS, helpers)
                        : oaki_trace_some(m, OAKI_TUNE_QUANTUM_WORDS);
    m->stop = NULL;
    m->soon = false;
    m->end_ns = 0;
    AO_store(&self->done, oaki_workers_scanned());
    return more;
}

/* A throttled mutator leaves a processor to a helper. */
bool oaki_quantum_trace(oaki_progress *s, const oaki_driver *d)
{
    unsigned waiting = (unsigned)AO_load(&oaki_gc.background.waiting);
    (void)s;
    return trace(d->end_ns ? 0 : oaki_workers_helping(waiting), d->end_ns);
}

/* Traces in every stage. An assist ends no stage. */
bool oaki_quantum_assist(const oaki_driver *d)
{
    OAKI_REQUIRES_INSIDE();
    if (!oaki_lock_try(&self->driver)) return false;
    bool more = false;
    if (oaki_is_marking_concurrently()) {
        OAKI_NO_CANCEL;
        uint64_t cpu = oaki_os_thread_cpu_ns();
        more = trace(0, d->end_ns);
        oaki_quanta_cost(oaki_os_thread_cpu_ns() - cpu);
    }
    oaki_lock_release(&self->driver);
    return more;
}

#ifdef OAKI_DEBUG
bool oaki_is_collector(void)
{
    return oaki_lock_is_mine(&self->driver) || oaki_lock_is_mine(&oaki_the_heap.gc_lock) ||
           oaki_fork_is_ours();
}

bool oaki_worker_zero_is_mine(void)
{
    bool stopped = oaki_world_stopped() && oaki_lock_is_mine(&oaki_the_heap.gc_lock);
    return stopped || oaki_lock_is_mine(&self->driver);
}
#endif

void oaki_concurrent_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_lock_reset(&self->driver);
    self->protecting = false;
    AO_store(&self->unprotect, 0);
    AO_store(&self->final_refused, 0);
}
