/* park.c - parking a thread while the world is stopped (stop.c), and waiting for things that a stop
 * may delay.
 *
 * A thread parks in one of three places, and sleeps there until the world runs. From user code, it
 * parks in the signal's handler. From the runtime, where the handler only sets stop_pending, it
 * parks in oaki_thread_park. From a blocking region, it parks at the region's end (blocking.c).
 *
 * Owns: a thread's state, stop_epoch, stop_pending, sp, pc and related fields; the order in which
 * gc_lock is taken.
 * Invariants: a thread that has answered the current epoch, or is blocked, changes nothing that the
 * collector reads until the epoch moves. The thread alone writes stop_epoch, so an answer counts
 * once, however many signals come. */
#include "park.h"

#include "contract.h"
#include "dirty.h"
#include "heap.h"
#include "os.h"
#include "ownmask.h"
#include "sigframe.h"
#include "stopsignal.h"

#include <errno.h>
#include <ucontext.h>

#define RED_ZONE 128   /* bytes, of x86-64 */
#define TURN_NS 20000u /* for which a thread lets earlier waiting ones take gc_lock first */
#define BARGES 1024    /* times that gc_lock is taken ahead of waiting threads */

oaki_stopping oaki_the_stop;

static struct {
    unsigned int queue;  /* AO_int: threads that wait for gc_lock */
    unsigned int barges; /* AO_int: times in a row that it was taken ahead of them; approximate */
} self;

/* Dekker with await. The stopper publishes the thread that it waits for, then reads that thread's
 * answer again. This thread answers, then reads the thread waited for. */
static void answer(oaki_thread *t, unsigned int epoch)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_ASSERT(epoch & 1);
    if (t->stop_epoch == epoch) return;
    AO_int_store_release(&t->stop_epoch, epoch);
    AO_nop_full();
    if (AO_load(&oaki_the_stop.awaited) == (AO_t)t) oaki_futex_wake(&t->stop_epoch, 1);
}

/* Must the thread park? Yes in a stop. Also when a stop was abandoned because this thread was late:
 * until the stop is complete, or the thread has parked for a while. */
static bool must_park(oaki_thread *t, unsigned int epoch)
{
    return (epoch & 1) || AO_int_load_acquire(&t->late);
}

/* Parks until the world runs. The caller's sp and registers are saved, and the handler can't come
 * between. The state is reset as at the end of a blocking region. So no stop waits for a thread
 * that sleeps on through a restart and the next stop. */
static void park(oaki_thread *t)
{
    unsigned int epoch;
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_STOPPABLE();
    OAKI_ASSERT(AO_int_load(&t->state) == OAKI_THREAD_RUNNING);
    while (must_park(t, AO_int_load_acquire(&oaki_the_stop.epoch))) {
        AO_int_store_release(&t->state, OAKI_THREAD_STOPPED);
        while (must_park(t, epoch = AO_int_load_acquire(&oaki_the_stop.epoch))) {
            if (epoch & 1) answer(t, epoch);
            oaki_futex_wait(&oaki_the_stop.epoch, epoch, 0);
        }
        AO_int_store(&t->state, OAKI_THREAD_RUNNING);
        AO_nop_full();
    }
}

/* Waits until the thread is no longer suspended. Its sp and registers are saved, and it holds
 * nothing of the runtime's. Meanwhile it counts as blocked: no stop waits for it. */
static OAKI_COLD void stay(oaki_thread *t)
{
    while (AO_int_load_acquire(&t->suspended)) {
        AO_int_store_release(&t->state, OAKI_THREAD_BLOCKED);
        AO_nop_full(); /* Dekker with the stopper, as in oaki_stop_block */
        unsigned int epoch = AO_int_load_acquire(&oaki_the_stop.epoch);
        if (epoch & 1) answer(t, epoch);
        while (AO_int_load_acquire(&t->suspended)) oaki_futex_wait(&t->suspended, 1, 0);
        AO_int_store(&t->state, OAKI_THREAD_RUNNING);
        AO_nop_full();
        if (AO_int_load_acquire(&oaki_the_stop.epoch) & 1) park(t);
    }
}

static void not_interrupted(oaki_thread *t)
{
    t->pc = NULL;
    t->interrupted_sp = t->alt_lo = t->alt_hi = NULL;
}

/* Not inlined: the registers of the caller's callers are then pushed in this frame, or still in
 * place. The loop is for a signal that comes after the restart and before in_runtime is 0. */
OAKI_NOINLINE void oaki_thread_park(oaki_thread *t)
{
    OAKI_REQUIRES_SELF(t);
    do {
        OAKI_ASSERT(t->in_runtime == 0);
        t->in_runtime = OAKI_IN_RUNTIME;
        AO_compiler_barrier();
        t->stop_pending = 0;
        not_interrupted(t);
        oaki_thread_save_context(t);
        park(t);
        if (OAKI_UNLIKELY(AO_int_load_acquire(&t->suspended))) stay(t);
        AO_compiler_barrier();
        t->in_runtime = 0;
        AO_compiler_barrier();
    } while (t->stop_pending);
}

#define PASS_NS 10000000u

/* A stop signal still on its way would interrupt the system call in which the thread blocks. A
 * system call made here lets it in first. The wait ends after PASS_NS, as the host may block the
 * signal; `signalled` then records that. */
static OAKI_COLD void let_signal_pass(oaki_thread *t)
{
    uint64_t start = oaki_os_now_ns();
    while (AO_int_load_acquire(&t->signalled) == OAKI_SIGNAL_SENT) {
        oaki_os_yield();
        if (oaki_os_now_ns() - start < PASS_NS) continue;
        (void)AO_int_compare_and_swap(&t->signalled, OAKI_SIGNAL_SENT, OAKI_SIGNAL_HELD);
    }
}

/* Dekker with the stopper. The stopper sets the epoch and then reads the state; this thread sets
 * the state and then reads the epoch. So either the stopper sees the thread blocked, or the thread
 * sees the stop and answers. The answer also ends the stopper's wait if it saw the thread
 * running. */
void oaki_stop_block(oaki_thread *t)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_ASSERT(AO_int_load(&t->state) == OAKI_THREAD_RUNNING);
    OAKI_ASSERT(t->in_runtime != 0); /* else a signal would save another context */
    not_interrupted(t);
    AO_int_store_release(&t->state, OAKI_THREAD_BLOCKED);
    AO_nop_full();
    unsigned int epoch = AO_int_load_acquire(&oaki_the_stop.epoch);
    if (OAKI_UNLIKELY(epoch & 1)) answer(t, epoch);
    if (OAKI_UNLIKELY(AO_int_load_acquire(&t->signalled) == OAKI_SIGNAL_SENT)) let_signal_pass(t);
}

void oaki_stop_unblock(oaki_thread *t)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_ASSERT(AO_int_load(&t->state) == OAKI_THREAD_BLOCKED);
    AO_int_store(&t->state, OAKI_THREAD_RUNNING);
    AO_nop_full();
    if (OAKI_UNLIKELY(AO_int_load_acquire(&oaki_the_stop.epoch) & 1)) park(t);
    if (OAKI_UNLIKELY(AO_int_load_acquire(&t->late) || AO_int_load_acquire(&t->suspended)))
        t->stop_pending = 1; /* the thread may hold a lock, and so parks later */
}

/* A thread that has just released gc_lock is awake, and would take it again before the first
 * waiting thread wakes. So a thread that finds others waiting lets them go first. */
static void acquire_in_turn(oaki_lock *l)
{
    if (AO_int_fetch_and_add_full(&self.queue, 1) > 0) oaki_os_sleep_ns(TURN_NS);
    oaki_lock_acquire(l);
    (void)AO_int_fetch_and_sub1_full(&self.queue);
}

OAKI_NOINLINE void oaki_lock_acquire_parked(oaki_thread *t, oaki_lock *l)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_STOPPABLE();
    bool in_turn = l == &oaki_the_heap.gc_lock;
    if (!(in_turn && AO_int_load(&self.queue)) && oaki_lock_try(l)) return;
    oaki_thread_save_context(t);
    oaki_stop_block(t);
    if (in_turn) acquire_in_turn(l);
    else oaki_lock_acquire(l);
    oaki_stop_unblock(t);
}

OAKI_NOINLINE void oaki_gc_lock_barge(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock *l = &oaki_the_heap.gc_lock;
    unsigned int n = AO_int_load(&self.barges);
    if (n < BARGES && oaki_lock_try(l)) {
        AO_int_store(&self.barges, AO_int_load(&self.queue) > 0 ? n + 1 : 0);
        return;
    }
    oaki_lock_acquire_parked(t, l);
    AO_int_store(&self.barges, 0);
}

#if defined(__x86_64__)
#define CONTEXT_PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
#define CONTEXT_SP(uc) ((uc)->uc_mcontext.gregs[REG_RSP])
#elif defined(__aarch64__)
#define CONTEXT_PC(uc) ((uc)->uc_mcontext.pc)
#define CONTEXT_SP(uc) ((uc)->uc_mcontext.sp)
#endif

/* All data of the interrupted code lies above this frame: its red zone, and the kernel's frame with
 * all registers. All signals are blocked here, so the handler doesn't nest. */
void oaki_park_handler(int sig, siginfo_t *info, void *context)
{
    oaki_thread *t = oaki_tls_thread;
    if (!t || AO_int_load(&t->signalled) == OAKI_SIGNAL_NONE)
        oaki_stopsignal_pass_on(sig, info, context);
    if (t) {
        AO_int_store(&t->signalled, OAKI_SIGNAL_NONE);
        AO_nop_full(); /* Dekker with signal_thread: either it sees 0, or its epoch is seen here */
    }
    unsigned int epoch = AO_int_load_acquire(&oaki_the_stop.epoch);
    if (!t) AO_int_store_release(&oaki_the_stop.stray, (unsigned int)oaki_os_tid());
    if (!t || !must_park(t, epoch)) return; /* a late signal, or one for another thread */
    OAKI_ASSERT(t->in_runtime <= OAKI_IN_BLOCKING);
    if (t->in_runtime) {
        t->stop_pending = 1;
        return;
    }
    int saved = errno;
    const ucontext_t *uc = context;
    const char *top = (char *)CONTEXT_SP(uc) - RED_ZONE;
    char *here = __builtin_frame_address(0);
    t->sp = here;
    t->pc = (const void *)CONTEXT_PC(uc);
    t->interrupted_sp = (char *)CONTEXT_SP(uc);
    t->alt_lo = t->alt_hi = NULL;
    char *alt = uc->uc_stack.ss_sp; /* from the kernel's frame, which saves a call of sigaltstack */
    if (!(uc->uc_stack.ss_flags & SS_DISABLE) && here >= alt && here < alt + uc->uc_stack.ss_size) {
        t->alt_lo = alt;
        t->alt_hi = alt + uc->uc_stack.ss_size;
        if (top < alt || top >= t->alt_hi) top = t->alt_hi;
    }
    oaki_sigframe_clear(context, top);
    bool faults = oaki_dirty_faults();
    if (faults) oaki_ownmask_enter(oaki_os_mask_of(uc));
    park(t);
    if (OAKI_UNLIKELY(AO_int_load_acquire(&t->suspended))) stay(t);
    if (faults) oaki_ownmask_leave();
    not_interrupted(t);
    errno = saved;
}

void oaki_park_child(void)
{
    OAKI_REQUIRES_FORKED();
    if (oaki_tls_thread) AO_int_store(&oaki_tls_thread->late, 0);
    AO_int_store(&self.queue, 0);
}
