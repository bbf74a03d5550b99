/* stacks.c - the ends of stacks, and regions of GC_do_blocking.
 *
 * A program that switches stacks itself announces it: it assigns GC_stackbottom for the first
 * thread, or calls GC_set_stackbottom. The heap reads the word in each pause
 * (oaki_thread_stack_bottom).
 *
 * Owns: each thread's word. Lock: none; only the thread itself changes its record. */
#include "libgc.h"
#include "runtime/os.h"
#include "runtime/ownstack.h"

#include <oakum/gc.h>
#include <unistd.h>

/* The stack's end of the calling thread, unless it is the first. NULL: the thread's own stack. */
static __thread char *bottom __attribute__((tls_model("initial-exec")));

/* Set GC_stackbottom to the end of the first thread's stack, unless the program has set it. */
void lgc_stacks_init(void)
{
    oaki_thread *t = oaki_thread_self();
    if (!t || t->tid != oaki_os_pid()) return;
    if (!GC_stackbottom) GC_stackbottom = t->stack_hi;
    oaki_thread_stack_bottom(t, &GC_stackbottom);
}

int GC_get_stack_base(struct GC_stack_base *base)
{
    char *lo, *hi;
    oaki_ownstack(oaki_os_tid(), &lo, &hi);
    base->mem_base = hi;
    return hi ? GC_SUCCESS : GC_UNIMPLEMENTED;
}

/* From here on the heap reads this thread's word. */
void *GC_get_my_stackbottom(struct GC_stack_base *base)
{
    lgc_ready();
    oaki_thread *t = oaki_thread_self();
    if (!t) {
        (void)GC_get_stack_base(base);
        return NULL;
    }
    if (!t->bottom) oaki_thread_stack_bottom(t, &bottom);
    base->mem_base = *t->bottom ? *t->bottom : t->stack_hi;
    return t;
}

void GC_set_stackbottom(void *thread, const struct GC_stack_base *base)
{
    oaki_thread *t = thread ? thread : oaki_thread_self();
    if (!AO_load_acquire(&lgc.started) || !t) {
        GC_stackbottom = base->mem_base;
        return;
    }
    if (!t->bottom && t == oaki_thread_self()) oaki_thread_stack_bottom(t, &bottom);
    char **where = (char **)(uintptr_t)t->bottom;
    if (where) *where = base->mem_base;
}

/* No tail call: this frame has to stay until fn returns. */
OAKI_NOINLINE void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg)
{
    struct GC_stack_base base = { .mem_base = __builtin_frame_address(0) };
    void *result = fn(&base, arg);
    __asm__ __volatile__("" : : "r"(&base) : "memory");
    return result;
}

typedef struct call {
    GC_fn_type fn;
    void *arg;
} call;

/* Call fn in a region. A longjmp or an exception, for example out of a finalizer, may leave a call
 * that runs outside of the region (LGC_OUTSIDE). It may also leave a nested region. Then fn goes on
 * outside, or in the nested region. In both cases this region ends here. */
static void *in_region(void *arg)
{
    const call *c = arg;
    oaki_thread *t = oaki_thread_self(); /* NULL: no region, but fn may attach the thread */
    unsigned depth = t ? t->blocking_depth : 0;
    void *result = c->fn(c->arg);
    if (!t) return result;
    if (!oaki_thread_self()) lgc_region_lost();
    if (!lgc_is_blocked()) oaki_blocking_begin(t);
    t->blocking_depth = depth;
    return result;
}

void *GC_do_blocking(GC_fn_type fn, void *arg)
{
    call c = { fn, arg };
    lgc_ready();
    return oak_blocking_call(in_region, &c);
}

LGC_OUTSIDE(void *, GC_call_with_gc_active, (GC_fn_type fn, void *arg), (fn, arg))

void *GC_call_with_gc_active(GC_fn_type fn, void *arg)
{
    return lgc_is_blocked() ? GC_call_with_gc_active_outside(fn, arg) : fn(arg);
}
