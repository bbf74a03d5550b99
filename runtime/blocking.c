/* blocking.c - regions in which a thread counts as stopped: around a system call that may block.
 *
 * On entry the thread saves its registers and the stack pointer. From then on a stop neither
 * signals it nor waits for it. On exit it waits while the world is stopped (park.c has the
 * handshake). A scan covers the saved registers and the stack from the saved pointer up.
 * oak_blocking_enter returns, so that pointer is its caller's frame. It is therefore entered
 * through OAKI_SPILL_ENTRY (spill.h), and the calling frame must exist until oak_blocking_leave.
 *
 * A stop doesn't wait for a fast path inside a region, and a flush may empty the runs of the
 * thread's cache at any time. So inside a region oaki_tls_mcache is a cache whose runs are all
 * empty.
 *
 * Owns: a thread's blocking_depth, waits_for, and in_runtime == OAKI_IN_BLOCKING, which keeps out
 * the stop signal's handler and oaki_enter. Lock: none. Bound: O(1) plus the wait for the world.
 * errno is kept. */
#include "contain.h"
#include "contract.h"
#include "mcache.h"
#include "thread.h"

#include <errno.h>
#include <oakum/gc.h>
#include <string.h>

OAKI_HIDDEN void oaki_blocking_saved(oaki_thread *t,
                                                               const uintptr_t *regs);
OAKI_HIDDEN void oaki_blocking_saved_self(void *unused,
                                                                    const uintptr_t *regs);

static oaki_mcache nothing; /* next + size > end, once classes have sizes */

/* The context is saved next; no signal handler saves it meanwhile. */
static void begin(oaki_thread *t)
{
    OAKI_REQUIRES_SELF(t);
    if (t->in_runtime) oak_fatal("oakum: a blocking region was entered from inside Oakum");
    t->in_runtime = OAKI_IN_BLOCKING;
    oaki_tls_mcache = &nothing;
    AO_compiler_barrier();
}

void oaki_blocking_saved(oaki_thread *t, const uintptr_t *regs)
{
    if (t->blocking_depth++ > 0) return;
    begin(t);
    memcpy(t->regs, regs, sizeof t->regs);
    t->sp = (char *)regs[OAKI_REG_SP];
    oaki_stop_block(t);
}

void oaki_blocking_saved_self(void *unused, const uintptr_t *regs)
{
    (void)unused;
    oaki_thread *t = oaki_tls_thread;
    if (t) oaki_blocking_saved(t, regs); /* an unattached thread is never stopped */
}

OAKI_SPILL_ENTRY(oaki_blocking_begin, oaki_blocking_saved, ".hidden oaki_blocking_begin");
OAKI_SPILL_ENTRY(oak_blocking_enter, oaki_blocking_saved_self, "");

/* The handler may have noted a stop in the region. That stop may be over, may be the one waited for
 * here, or may begin now. oaki_leave parks the thread if it has to. */
void oaki_blocking_end(oaki_thread *t)
{
    if (t->blocking_depth == 0) oak_fatal("oakum: oak_blocking_leave without oak_blocking_enter");
    if (--t->blocking_depth > 0) return;
    OAKI_REQUIRES_SELF(t);
    OAKI_ASSERT(t->in_runtime == OAKI_IN_BLOCKING && oaki_tls_mcache == &nothing);
    t->waits_for = 0;
    oaki_stop_unblock(t);
    oaki_tls_mcache = t->mcache;
    oaki_leave(t);
}

void oaki_blocking_suspend(oaki_thread *t, oaki_region *r)
{
    OAKI_ASSERT(t->in_runtime == OAKI_IN_BLOCKING && t->blocking_depth > 0);
    r->sp = t->sp;
    r->depth = t->blocking_depth;
    memcpy(r->regs, t->regs, sizeof r->regs);
    t->blocking_depth = 1;
    oaki_blocking_end(t);
}

void oaki_blocking_resume(oaki_thread *t, const oaki_region *r)
{
    OAKI_ASSERT(t->blocking_depth == 0 && r->depth > 0);
    begin(t);
    memcpy(t->regs, r->regs, sizeof r->regs);
    t->sp = r->sp;
    t->blocking_depth = r->depth;
    oaki_stop_block(t);
}

void oak_blocking_leave(void)
{
    oaki_thread *t = oaki_tls_thread;
    if (t) oaki_blocking_end(t);
}

/* Called by the unwinder as it passes run_in_region: the thread is cancelled, calls pthread_exit,
 * or throws there. Handlers further up may use the heap, so the region is left. A thread that has
 * left all regions to be active is in none. A cleanup in C would need libgcc's routine, and so that
 * library. */
OAKI_UNWIND_ACTION(oaki_blocking_unwound)
{
    oaki_thread *t = oaki_tls_thread;
    if (!t) return;
    t->waits_for = 0; /* the frame that held the object is gone */
    if (t->blocking_depth > 0) oaki_blocking_end(t);
}

/* Its frame exists while fn runs, and is left only by a return or by unwinding. */
static OAKI_NOINLINE void *run_in_region(void *(*fn)(void *), void *arg)
{
    OAKI_ON_UNWIND(oaki_blocking_unwound);
    void *result = fn(arg);
    __asm__ __volatile__("" : "+r"(result));
    return result;
}

/* The frame stays, so its own registers and stack pointer suffice. */
OAKI_NOINLINE void *oak_blocking_call(void *(*fn)(void *), void *arg)
{
    oaki_thread *t = oaki_tls_thread;
    if (!fn) return errno = EINVAL, NULL;
    if (!t) return fn(arg);
    if (t->blocking_depth++ == 0) {
        begin(t);
        oaki_thread_save_context(t);
        oaki_stop_block(t);
    }
    void *result = run_in_region(fn, arg);
    oaki_blocking_end(t);
    return result;
}

/* The object stays referenced from this frame. */
OAKI_NOINLINE void *oak_blocking_wait(void *(*fn)(void *), void *arg, const void *object)
{
    oaki_thread *t = oaki_tls_thread;
    const void *const held[] = { object };
    if (!t) return oak_blocking_call(fn, arg);
    uintptr_t before = t->waits_for;
    t->waits_for = ~(uintptr_t)object;
    void *result = oak_blocking_call(fn, arg);
    t->waits_for = before;
    __asm__ __volatile__("" : : "r"(held) : "memory");
    return result;
}
