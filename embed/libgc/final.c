/* final.c - finalizers: registering them, and running them in the program's own threads.
 *
 * The heap decides what is ready (gc/finalizer.c), in Boehm's order. There is no finalizer thread:
 * as in libgc, the thread whose allocation or call has collected runs what is ready, or tells the
 * notifier of it when GC_finalize_on_demand is set. After a mark beside the program that is the
 * first thread to allocate.
 *
 * A finalizer may allocate, collect, and leave by longjmp; what a running one makes ready is run
 * when it has returned, not inside of it.
 * Lock: none of its own. */
#include "gc/finalizer.h"
#include "gc/follow.h"
#include "libgc.h"

#include <oakum/gc.h>

/* In the frame that runs finalizers; `self` marks it as live. */
typedef struct run {
    AO_t self;
} run;

static __thread run *running __attribute__((tls_model("initial-exec")));

/* ---- registering ---- */

static void set(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                void **ocd, int flags)
{
    oak_finalizer old = NULL;
    void *old_cd = NULL;
    lgc_ready();
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

int GC_should_invoke_finalizers(void)
{
    return oaki_finalizers_ready() > 0;
}

int GC_invoke_finalizers(void)
{
    lgc_ready();
    return (int)oak_finalizers_run();
}

/* A finalizer that left by longjmp leaves its mark behind: a frame that is not deeper proves that
 * it is gone, and a frame that no longer holds its mark. Stacks grow down. */
static bool inside_finalizer(void)
{
    run *r = running;
    return r && (char *)__builtin_frame_address(0) < (char *)r && AO_load(&r->self) == (AO_t)r;
}

/* lgc.unfinished stays set when one leaves, and the next allocation goes on with the others. It is
 * never clear while something is ready that nobody runs. */
static OAKI_NOINLINE void run_here(void)
{
    run mark;
    size_t n;
    AO_store(&mark.self, (AO_t)&mark);
    running = &mark;
    do {
        AO_store(&lgc.unfinished, 1);
        n = oak_finalizers_run();
        AO_store_full(&lgc.unfinished, 0);
    } while (n > 0 && oaki_finalizers_ready() > 0);
    AO_store(&mark.self, 0);
    running = NULL;
}

static void run_or_notify(void)
{
    if (GC_finalize_on_demand) {
        GC_finalizer_notifier_proc fn = GC_finalizer_notifier;
        if (fn) fn();
    } else if (!inside_finalizer()) {
        run_here();
    }
}

/* After a collection that has made finalizers ready, in the thread that collected, outside of the
 * runtime. */
static void ready(void)
{
    if (oaki_thread_self()->own) AO_store_full(&lgc.unfinished, 1);
    else run_or_notify();
}

void lgc_final_resume(void)
{
    if (inside_finalizer()) return;
    AO_store_full(&lgc.unfinished, 0);
    if (oaki_finalizers_ready() > 0) run_or_notify();
}

/* ---- all that are registered ---- */

#define BATCH 64

typedef struct batch {
    size_t n;
    void *obj[BATCH];
} batch;

static void gather(void *ctx, const oaki_finalizer_record *r)
{
    batch *b = ctx;
    if (!r->cleanup && !r->ready && b->n < BATCH) b->obj[b->n++] = r->obj;
}

static void next_batch(batch *b)
{
    b->n = 0;
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    oaki_finalizers_each(gather, b);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
}

/* Take its finalizer off, and run it, whether the program still reaches the object or not. */
static void run_now(void *obj)
{
    oak_finalizer fn = NULL;
    void *cd = NULL;
    if (oaki_object_base(obj) != obj) return;
    if (oak_finalizer_set_ex(obj, NULL, NULL, OAK_FINALIZER_NO_ORDER, &fn, &cd) == 0 && fn)
        fn(obj, cd);
}

void GC_finalize_all(void)
{
    batch b;
    lgc_ready();
    (void)oak_finalizers_run();
    for (next_batch(&b); b.n > 0; next_batch(&b)) {
        for (size_t i = 0; i < b.n; i++) run_now(b.obj[i]);
        (void)oak_finalizers_run();
    }
}

void lgc_final_init(void)
{
    (void)oaki_finalizers_order(OAKI_ORDERED_FIRST);
    (void)oak_finalizer_notify(ready);
    oaki_finalizers_notify_each();
}
