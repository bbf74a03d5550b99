/* handshake.c - waiting until every thread has been outside of the runtime, without stopping any.
 *
 * What no thread can reach any more that comes into the runtime from now on is nobody's once those
 * that are inside have left. A stop would show that too, but a thread that blocks the stop signal,
 * or takes it by sigwait, would never let it end; and a stop interrupts what sleeps.
 *
 * oaki_enter sets in_runtime with no fence. So the fence is made for all threads at once, by
 * membarrier: afterwards a thread's in_runtime is seen, or the thread sees what we wrote before.
 * A second one makes visible what was written by those that have left since. Where the kernel has
 * no membarrier the world is stopped and started.
 *
 * A thread that waits parked inside waits for gc_lock or threads_lock, which are held here, and has
 * yet to begin.
 *
 * Lock: threads_lock, with gc_lock held by the caller. Bound: O(threads), and as long as the
 * slowest one stays inside. */
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
#define NAPS_TO_LOOK 200 /* whether the thread lives */

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
