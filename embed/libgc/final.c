/* final.c - registers finalizers, and runs them on the program's own threads.
 *
 * The heap decides which finalizers are ready (gc/refs/decide.c), in Boehm's order. There is no
 * finalizer thread. As in libgc, the thread whose allocation or call has collected runs them. If
 * GC_finalize_on_demand is set, it calls the notifier instead. After a concurrent collection, that
 * is the first thread that allocates.
 *
 * A finalizer may allocate, collect, and leave by longjmp. Finalizers that become ready meanwhile
 * are run inside of it, as in libgc, but the more rarely the deeper they nest, to limit the stack.
 * A skipped one is left to the next allocation of any thread that needs fresh memory. A finalizer
 * that has left by longjmp counts as long as the stack is below its frame.
 *
 * Lock: none of its own. */
#include "gc/debug/edges.h"
#include "gc/pace.h"
#include "gc/refs/finalizer.h"
#include "gc/settings.h"
#include "libgc.h"

#include <oakum/gc.h>

#define NESTED 16 /* nested runs that are counted */

/* The frames of this thread that run finalizers, the outermost first; and how often the thread has
 * skipped ready finalizers since it last ran some. */
static __thread struct {
    const char *frame[NESTED];
    unsigned n, passed;
} runs __attribute__((tls_model("initial-exec")));

/* ---- registration ---- */

static void set(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                void **ocd, int flags);
LGC_OUTSIDE(void, set,
            (void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, void **ocd,
             int flags),
            (obj, fn, cd, ofn, ocd, flags))

static void set(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                void **ocd, int flags)
{
    oak_finalizer old = NULL;
    void *old_cd = NULL;
    lgc_ready();
    if (lgc_is_blocked()) {
        set_outside(obj, fn, cd, ofn, ocd, flags);
        return;
    }
    if (GC_find_leak) return;
    if (oaki_object_base(obj) == obj && obj &&
        oaki_finalizer_set(obj, fn, cd, flags, &old, &old_cd) != 0) {
        (void)lgc_out_of_memory(sizeof(void *));
        return;
    }
    if (ofn) *ofn = old;
    if (ocd) *ocd = old_cd;
}

void GC_register_finalizer(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                           void **ocd)
{
    set(obj, fn, cd, ofn, ocd, OAK_FINALIZER_ORDERED);
}

void GC_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd,
                                       GC_finalization_proc *ofn, void **ocd)
{
    set(obj, fn, cd, ofn, ocd, OAK_FINALIZER_IGNORE_SELF);
}

void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd,
                                    GC_finalization_proc *ofn, void **ocd)
{
    set(obj, fn, cd, ofn, ocd, OAK_FINALIZER_NO_ORDER);
}

void GC_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd,
                                       GC_finalization_proc *ofn, void **ocd)
{
    set(obj, fn, cd, ofn, ocd, OAK_FINALIZER_UNREACHABLE);
}

/* ---- running ---- */

void GC_set_await_finalize_proc(GC_await_finalize_proc fn)
{
    lgc.await_finalize = fn;
    oaki_finalizers_on_queued(fn);
}

GC_await_finalize_proc GC_get_await_finalize_proc(void)
{
    return lgc.await_finalize;
}

int GC_should_invoke_finalizers(void)
{
    return oaki_finalizers_ready() > 0;
}

LGC_OUTSIDE(int, GC_invoke_finalizers, (void), ())

int GC_invoke_finalizers(void)
{
    lgc_ready();
    if (lgc_is_blocked()) return GC_invoke_finalizers_outside();
    return (int)oak_finalizers_run();
}

/* The number of runs around this frame. A run whose frame is below this one has been left by
 * longjmp, as stacks grow down. */
static unsigned depth(const char *here)
{
    while (runs.n > 0 && runs.frame[runs.n - 1] <= here) runs.n--;
    return runs.n;
}

static bool is_turn(void)
{
    unsigned n = depth(__builtin_frame_address(0));
    if (n > 0 && ++runs.passed < 1u << n) return false;
    runs.passed = 0;
    return true;
}

/* Run all ready finalizers. If one leaves by longjmp, lgc.unfinished stays set, and the next
 * allocation goes on with the others. It is never clear while finalizers are ready and no thread
 * runs them. */
static OAKI_NOINLINE void run_here(void)
{
    const char *here = __builtin_frame_address(0);
    unsigned outer = OAKI_MIN(depth(here), NESTED - 1u);
    size_t n;
    runs.frame[outer] = here;
    runs.n = outer + 1;
    do {
        AO_store(&lgc.unfinished, 1);
        n = oak_finalizers_run();
        AO_store_full(&lgc.unfinished, 0);
    } while (n > 0 && oaki_finalizers_ready() > 0);
    if (oaki_finalizers_ready() > 0) AO_store_full(&lgc.unfinished, 1);
    runs.n = OAKI_MIN(runs.n, outer);
}

static void run_or_notify(void)
{
    if (GC_finalize_on_demand) {
        GC_finalizer_notifier_proc fn = GC_finalizer_notifier;
        if (fn) fn();
    } else if (is_turn()) {
        run_here();
    } else {
        AO_store_full(&lgc.unfinished, 1);
    }
}

/* Called after a collection that has made finalizers ready, on the thread that collected, outside
 * of the runtime. */
static void ready(void)
{
    if (oaki_thread_self()->own) AO_store_full(&lgc.unfinished, 1);
    else run_or_notify();
}

void lgc_final_resume(void)
{
    AO_store_full(&lgc.unfinished, 0);
    if (oaki_finalizers_ready() > 0) run_or_notify();
}

/* ---- all registered finalizers ---- */

#define FEW 64 /* length of a list if there is no memory for a longer one */

/* A list of objects, which keeps them alive. */
typedef struct list {
    size_t n, max;
    void **obj;
} list;

static bool is_registered(const oaki_finalizer_record *r)
{
    return !r->cleanup && !r->ready;
}

static void count(void *ctx, const oaki_finalizer_record *r)
{
    size_t *n = ctx;
    *n += is_registered(r);
}

static void gather(void *ctx, const oaki_finalizer_record *r)
{
    list *l = ctx;
    if (is_registered(r) && l->n < l->max) l->obj[l->n++] = r->obj;
}

static void each(void (*fn)(void *ctx, const oaki_finalizer_record *r), void *ctx)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    oaki_finalizers_each(fn, ctx);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
}

/* Remove and run an object's finalizer, even if the object is reachable. */
static void run_now(void *obj)
{
    oak_finalizer fn = NULL;
    void *cd = NULL;
    if (oaki_object_base(obj) != obj) return;
    if (oak_finalizer_set_ex(obj, NULL, NULL, OAK_FINALIZER_NO_ORDER, &fn, &cd) == 0 && fn)
        fn(obj, cd);
}

/* Run all finalizers that are registered now, and those that are then ready. Returns how many. */
static size_t run_those(void)
{
    void *few[FEW];
    list l = { 0 };
    each(count, &l.max);
    l.obj = l.max > FEW ? lgc_try(l.max * sizeof(void *), OAKI_SCAN, 0) : NULL;
    if (!l.obj) {
        l.obj = few;
        l.max = FEW;
    }
    each(gather, &l);
    for (size_t i = 0; i < l.n; i++) run_now(l.obj[i]);
    return l.n + oak_finalizers_run();
}

LGC_OUTSIDE(void, GC_finalize_all, (void), ())

void GC_finalize_all(void)
{
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_finalize_all_outside();
        return;
    }
    (void)oak_finalizers_run();
    while (run_those() > 0) {}
}

void lgc_final_init(void)
{
    (void)oaki_finalizers_order(OAKI_ORDERED_FIRST);
    (void)oak_finalizer_notify(ready);
    oaki_gc_set_notify_each(true);
    oaki_gc_set_pace_by_finalizers(true);
}
