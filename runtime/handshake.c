/* handshake.c - waits until every thread has been outside the runtime once, without stopping any.
 *
 * A structure that threads entering the runtime from now on can't reach is unused once all threads
 * that are inside have left. A stop would show the same. But a thread that blocks the stop signal,
 * or takes it by sigwait, would never let the stop end. And a stop interrupts sleeping system
 * calls.
 *
 * oaki_enter sets in_runtime without a fence, so membarrier makes the fence for all threads at
 * once. After it either the thread's in_runtime is seen here, or the thread sees the earlier writes
 * of the caller. A second membarrier makes visible the writes of threads that have left since.
 * Where the kernel has no membarrier, the world is stopped and started.
 *
 * A thread that is parked inside waits for gc_lock or threads_lock, which are held here, and has
 * not begun its work.
 *
 * Lock: threads_lock, with gc_lock held by the caller. Bound: O(threads), plus the stay of the
 * slowest thread inside. */
#include "contract.h"
#include "heap.h"
#include "os.h"
#include "stopsignal.h"
#include "thread.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 200
#define NAP_NS 50000u
#define NAPS_TO_LOOK 200 /* between checks that the thread still exists */

static bool barrier(enum membarrier_cmd command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

static bool is_inside(const oaki_thread *t)
{
    return AO_int_load(&t->in_runtime) == OAKI_IN_RUNTIME &&
           AO_int_load(&t->state) != OAKI_THREAD_BLOCKED;
}

static void await_leave(const oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    for (unsigned i = 1; is_inside(t); i++) {
        if (i < SPINS) oaki_pause();
        else oaki_os_sleep_ns(NAP_NS);
        if (i % NAPS_TO_LOOK == 0 && oaki_stopsignal_dead(t->tid)) return;
    }
}

void oaki_world_handshake(oaki_thread *self)
{
    oaki_heap *h = &oaki_the_heap;
    int saved = errno;
    OAKI_REQUIRES_LOCK(&h->gc_lock);
    OAKI_REQUIRES_RUNNING();
    if (!barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) ||
        !barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
        oaki_world_halt(self);
        oaki_world_start(self);
        errno = saved;
        return;
    }
    oaki_lock_acquire(&h->threads_lock);
    oaki_stopsignal_refresh();
    for (const oaki_thread *t = h->threads; t; t = t->next)
        if (t != self) await_leave(t);
    (void)barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    oaki_lock_release(&h->threads_lock);
    errno = saved;
}
