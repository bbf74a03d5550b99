/* finalrun.c - running ready finalizers: their thread, oak_finalizers_run, and the notifier.
 *
 * Owns: oaki_gc.finalrun. The first registration starts the finalizer thread, in a forked child the
 *   first need. The thread sleeps in a blocking region.
 *
 * Invariants: a finalizer runs outside oaki_enter, with no lock held. The record's object and ctx
 *   go to the call in a frame of run_one. The collector scans it, as the thread is attached.
 * Lock: none; what is shared is atomic. `runner` is the finalizer thread's, and its child's after a
 *   fork. */
#include "finalizer.h"
#include "gc/collector.h"
#include "gc/contract.h"
#include "gc/host.h"
#include "gc/settings.h"
#include "gc/tuning.h"
#include "runtime/contain.h"
#include "runtime/crew.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/scrub.h"
#include "runtime/waker.h"
#include "tables.h"
#include <errno.h>
#include <string.h>

enum { THREAD_NONE = 0, THREAD_STARTED };

static oaki_finalrun *const self = &oaki_gc.finalrun;

/* ---- running ---- */

/* A call of run_all, on the stack: what to put back when it ends. */
typedef struct run {
    AO_t *since; /* its place among the start times, or NULL */
    bool nested; /* the thread ran finalizers before it */
    struct run *outer;
} run;

/* The calling thread's innermost one. */
static __thread run *innermost __attribute__((tls_model("initial-exec")));

/* A place for the start times of the finalizers that a thread runs, or NULL. Between two of them it
 * keeps the time of the last one, so that a thread that waits for all of them sees no gap. */
static AO_t *clock_take(void)
{
    AO_t now = (AO_t)oaki_os_lately_ns();
    for (unsigned i = 0; i < OAKI_RUNNERS; i++)
        if (AO_load(&self->since[i]) == 0 && AO_compare_and_swap_full(&self->since[i], 0, now))
            return &self->since[i];
    return NULL;
}

/* Run the first of the queue. False when there was none. */
static OAKI_NOINLINE bool run_one(AO_t *since)
{
    oaki_ready r;
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    AO_t *zone = since ? &self->zone[since - self->since] : NULL;
    if (since) { /* before: see oaki_finalizers_running */
        AO_store(zone, OAKI_ANY_ZONE);
        AO_store(since, (AO_t)oaki_os_lately_ns());
    }
    bool found = oaki_finalizers_pop(&r);
    if (found && zone) AO_store(zone, r.zone);
    oaki_leave(t);
    if (!found) return false;
    OAKI_REQUIRES_NO_LOCK();
    if (r.obj)
        r.fn.finalizer(r.obj, r.ctx);
    else
        r.fn.cleanup(r.ctx);
    oaki_count_add(&self->ran, 1);
    return true;
}

static void end_run(run *r)
{
    oaki_thread *t = oaki_thread_self();
    if (t) t->finalizes = r->nested;
    innermost = r->outer;
    if (r->since) AO_store(r->since, 0);
}

/* A finalizer has not returned: an exception, or the end of the thread, leaves it. */
OAKI_UNWIND_ACTION(oaki_finalizer_left)
{
    end_run(innermost);
}

/* At most so many; on their thread, as long as there is to be one. */
static OAKI_NOINLINE size_t run_all(size_t most, bool on_thread)
{
    OAKI_ON_UNWIND(oaki_finalizer_left);
    size_t n = 0;
    if (oaki_finalizers_ready() == 0) return 0;
    oaki_thread *t = oaki_enter(); /* attaches, so that `finalizes` is noted */
    if (!t) return 0;
    oaki_leave(t);
    run r = { .since = clock_take(), .nested = t->finalizes, .outer = innermost };
    innermost = &r;
    t->finalizes = true;
    while (n < most && (!on_thread || (oaki_gc_has_finalizer_thread() && !oaki_crew_ends())) &&
           run_one(r.since))
        n++;
    end_run(&r);
    if (n > 0) oaki_scrub(); /* or words of these frames would keep objects alive */
    return n;
}

size_t oak_finalizers_run(void)
{
    return run_all(SIZE_MAX, false);
}

size_t oaki_finalizers_run_most(size_t most)
{
    return run_all(most, false);
}

uint64_t oak_finalizer_running_ns(void)
{
    AO_t first = 0;
    for (unsigned i = 0; i < OAKI_RUNNERS; i++) {
        AO_t t = AO_load(&self->since[i]);
        if (t != 0 && (first == 0 || t < first)) first = t;
    }
    if (first == 0) return 0;
    uint64_t now = oaki_os_lately_ns();
    return now > first ? now - first : 1;
}

unsigned oaki_finalizers_running(const oak_zone *z, uint64_t since_ns)
{
    unsigned n = 0;
    for (unsigned i = 0; i < OAKI_RUNNERS; i++) {
        AO_t t = AO_load(&self->since[i]), zone = AO_load(&self->zone[i]);
        n += t != 0 && t <= since_ns && (!z || zone == OAKI_ANY_ZONE || zone == z->id);
    }
    return n;
}

/* Does their thread run those that are ready? */
static bool will_run(void)
{
    return AO_int_load(&self->thread) == THREAD_STARTED && oaki_gc_has_finalizer_thread();
}

/* ---- waiting for others ---- */

size_t oaki_gc_finalizers_ran(void)
{
    return oaki_count_get(&self->ran);
}

/* Are there any that another thread runs, or is about to? One that ran before the wait began may be
 * waiting for what the caller holds. */
static bool are_under_way(uint64_t waited_ns)
{
    uint64_t running = oak_finalizer_running_ns();
    if (running > 0) return running < waited_ns + OAKI_TUNE_LATELY_NS;
    return oaki_finalizers_ready() > 0 && will_run();
}

bool oaki_gc_await_finalizers(oaki_thread *t, size_t *ran)
{
    OAKI_REQUIRES_INSIDE();
    uint64_t begun = oaki_os_now_ns(), waited = 0;
    while (!t->finalizes && waited < OAKI_TUNE_AWAIT_NS && are_under_way(waited)) {
        oaki_leave(t);
        oaki_os_sleep_ns(OAKI_TUNE_AWAIT_NAP_NS);
        (void)oaki_enter();
        waited = oaki_os_now_ns() - begun;
    }
    size_t before = *ran;
    *ran = oaki_gc_finalizers_ran();
    return *ran != before;
}

/* ---- the thread ---- */

/* The next need starts another. The record may be another thread's soon. */
static void thread_ends(void)
{
    self->runner = NULL;
    AO_int_store_release(&self->thread, THREAD_NONE);
}

/* A finalizer has ended it. */
OAKI_UNWIND_ACTION(oaki_finalizer_thread_left)
{
    thread_ends();
}

static void *thread_main(void *arg)
{
    OAKI_ON_UNWIND(oaki_finalizer_thread_left);
    oaki_thread *t = oaki_thread_attach_self();
    if (!t) {
        thread_ends();
        return arg;
    }
    self->runner = t;
    for (bool goes_on = true; goes_on;) {
        unsigned seen = oaki_waker_calls(&self->waker);
        run_all(SIZE_MAX, true);
        oaki_blocking_begin(t);
        goes_on = oaki_crew_wait(&self->waker, &seen);
        oaki_blocking_end(t);
    }
    thread_ends();
    return arg;
}

/* Ready finalizers wait. Once: each later collection tries again. */
static void tell_refused(int error)
{
    if (error == ECANCELED || AO_load(&self->notify) ||
        !AO_int_compare_and_swap_full(&self->told, 0, 1))
        return;
    oaki_log("oakum: no thread for finalizers can be started (%s): until one can, they run in "
             "oak_finalizers_run alone\n",
             oaki_error_text(error));
}

void oaki_finalizer_thread_ensure(void)
{
    OAKI_REQUIRES_OUTSIDE();
    if (!oaki_gc_has_finalizer_thread() || AO_int_load(&self->thread) == THREAD_STARTED ||
        !AO_int_compare_and_swap_full(&self->thread, THREAD_NONE, THREAD_STARTED))
        return;
    int error = oaki_thread_spawn("oakum/finalizer", thread_main, NULL, true);
    if (error == 0) return;
    AO_int_store_release(&self->thread, THREAD_NONE);
    if (oaki_finalizers_ready() > 0) tell_refused(error);
}

bool oak_set_finalizer_thread(bool on)
{
    bool before = oaki_gc_set_finalizer_thread(on);
    if (on && oaki_finalizers_registered() > 0) oaki_finalizer_thread_ensure();
    if (on) oaki_finalizers_wake();
    return before;
}

/* The child has the thread that called fork, and no other. */
void oaki_finalrun_reset(void)
{
    OAKI_REQUIRES_FORKED();
    const oaki_thread *t = oaki_thread_self();
    if (!t || t != self->runner) thread_ends(); /* or it had not begun */
    for (unsigned i = 0; i < OAKI_RUNNERS; i++) AO_store(&self->since[i], 0);
}

/* ---- after a collection ---- */

void (*oak_finalizer_notify(void (*fn)(void)))(void)
{
    for (;;) {
        AO_t old = AO_load(&self->notify);
        if (AO_compare_and_swap_full(&self->notify, old, (AO_t)fn)) return (void (*)(void))old;
    }
}

static void end_notify(void)
{
    oaki_thread *t = oaki_thread_self();
    if (t && t->notifies > 0) t->notifies--;
}

OAKI_UNWIND_ACTION(oaki_notifier_left)
{
    end_notify();
}

static OAKI_NOINLINE void notify(void (*fn)(void))
{
    OAKI_ON_UNWIND(oaki_notifier_left);
    oaki_thread *t = oaki_thread_self();
    if (t) t->notifies++;
    fn();
    end_notify();
}

void oaki_finalizers_wake(void)
{
    if (oaki_finalizers_ready() > 0 && will_run()) oaki_waker_wake(&self->waker, 1);
}

static void wake_or_notify(bool fresh)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_finalizer_thread_ensure();
    if (will_run()) {
        oaki_waker_wake(&self->waker, 1);
        return;
    }
    void (*fn)(void) = (void (*)(void))AO_load_acquire(&self->notify);
    if (fn && (fresh || oaki_gc_notifies_each())) notify(fn);
}

void oaki_finalizers_dispatch(void)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_tables_trim();
    oaki_leave(t);
    bool fresh = oaki_finalizers_fresh();
    if (oaki_finalizers_ready() > 0) wake_or_notify(fresh);
}
