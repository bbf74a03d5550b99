/* stacks.c - where stacks end, and regions in which a thread is not looked at.
 *
 * A program that switches stacks by itself tells the collector by assigning GC_stackbottom (the
 * first thread), or by GC_set_stackbottom: the heap reads the word in each stop
 * (oaki_thread_stack_bottom).
 *
 * Owns: each thread's own word. Lock: none; a thread's record is changed by the thread. */
#include "libgc.h"
#include "runtime/os.h"
#include "runtime/ownstack.h"

#include <oakum/gc.h>
#include <unistd.h>

/* Of the calling thread, unless it is the first. NULL: its own stack. */
static __thread char *bottom __attribute__((tls_model("initial-exec")));

/* The first thread's, once it is here: its own end, unless the program has said another. */
void lgc_stacks_init(void)
{
    oaki_thread *t = oaki_thread_self();
    if (!t || t->tid != (int)getpid()) return;
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

/* Its word is where the heap looks from here on. */
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

/* The frame stays: what is returned is used after the call. */
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

/* A longjmp or an exception, as out of a finalizer, may have left what was done outside of the
 * region (LGC_OUTSIDE) for a frame of fn's, which went on outside, or a region in this one, which
 * then went on. Either way this one ends in here. */
static void *in_region(void *arg)
{
    const call *c = arg;
    oaki_thread *t = oaki_thread_self(); /* NULL: in no region, though it may be attached in fn */
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
