/* park.c - what a thread does that is to stand while the world is stopped (stop.c), or that waits
 * for what a stop may delay.
 *
 * A thread stands in one of three places, and sleeps there until the world runs: in the signal's
 * handler, when it was in user code; in oaki_thread_park, when the handler found it in the runtime
 * and only took note; at the end of a blocking region (blocking.c).
 *
 * Owns: of a thread state, stop_epoch, stop_pending, sp, pc and those with it; the order in which
 * gc_lock is taken.
 * Invariants: a thread that has answered the current epoch, or is blocked, changes nothing that the
 *             collector reads until the epoch moves. stop_epoch is written by the thread alone, so
 *             that an answer counts once however many signals come. */
#include "park.h"

#include "contract.h"
#include "dirty.h"
#include "heap.h"
#include "os.h"
#include "ownmask.h"
#include "sigframe.h"

#include <errno.h>
#include <ucontext.h>

#define RED_ZONE 128   /* bytes, of x86-64 */
#define TURN_NS 20000u /* that others who wait for gc_lock are let go first */
#define BARGES 1024    /* times that it is taken ahead of those who wait */

oaki_stopping oaki_the_stop;

static struct {
    unsigned int queue;  /* AO_int: threads that wait for gc_lock */
    unsigned int barges; /* AO_int: times that it was taken ahead of them in a row; approximate */
} self;

/* Dekker with await: it says whom it waits for and looks at the answer once more, we answer and
 * look whom it waits for. */
static void answer(oaki_thread *t, unsigned int epoch)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_ASSERT(epoch & 1);
    if (t->stop_epoch == epoch) return;
    AO_int_store_release(&t->stop_epoch, epoch);
    AO_nop_full();
    if (AO_load(&oaki_the_stop.awaited) == (AO_t)t) oaki_futex_wake(&t->stop_epoch, 1);
}

/* All are to; or this one, until the stop that was given up for its sake comes about, or it has
 * stood for a while. */
static bool is_to_stand(oaki_thread *t, unsigned int epoch)
{
    return (epoch & 1) || AO_int_load_acquire(&t->late);
}

/* Stand still until the world runs. The caller's sp and registers are saved, and the handler can't
 * come between. The state is set back as at the end of a blocking region: a thread that sleeps on
 * through a restart and the next stop is not waited for. */
static void stand(oaki_thread *t)
{
    unsigned int epoch;
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_STOPPABLE();
    OAKI_ASSERT(AO_int_load(&t->state) == OAKI_THREAD_RUNNING);
    while (is_to_stand(t, AO_int_load_acquire(&oaki_the_stop.epoch))) {
        AO_int_store_release(&t->state, OAKI_THREAD_STOPPED);
        while (is_to_stand(t, epoch = AO_int_load_acquire(&oaki_the_stop.epoch))) {
            if (epoch & 1) answer(t, epoch);
            oaki_futex_wait(&oaki_the_stop.epoch, epoch, 0);
        }
        AO_int_store(&t->state, OAKI_THREAD_RUNNING);
        AO_nop_full();
    }
}

static void not_interrupted(oaki_thread *t)
{
    t->pc = NULL;
    t->interrupted_sp = t->alt_lo = t->alt_hi = NULL;
}

/* A noninline frame, so that what the caller's callers keep in registers is pushed here or still in
 * them. The loop is for a signal that comes after the restart and before in_runtime is 0. */
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
        stand(t);
        AO_compiler_barrier();
        t->in_runtime = 0;
        AO_compiler_barrier();
    } while (t->stop_pending);
}

#define PASS_NS 10000000u

/* A signal that was on its way when the thread became blocked would interrupt what it blocks in. A
 * call of the system lets it in. Not for ever: the program may block the signal, and then that is
 * found out once. */
static OAKI_COLD void let_signal_pass(oaki_thread *t)
{
    uint64_t start = oaki_os_now_ns();
    while (AO_int_load_acquire(&t->signalled) == OAKI_SIGNAL_SENT) {
        oaki_os_yield();
        if (oaki_os_now_ns() - start < PASS_NS) continue;
        (void)AO_int_compare_and_swap(&t->signalled, OAKI_SIGNAL_SENT, OAKI_SIGNAL_HELD);
    }
}

/* Dekker with the stopper: it sets the epoch and then reads the state, we set the state and then
 * read the epoch. Either it sees us blocked, or we see the stop and answer; the answer also ends
 * its wait when it saw us running. */
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
    if (OAKI_UNLIKELY(AO_int_load_acquire(&oaki_the_stop.epoch) & 1)) stand(t);
    if (OAKI_UNLIKELY(AO_int_load_acquire(&t->late))) t->stop_pending = 1; /* it may hold a lock */
}

/* Who has just let go of gc_lock is awake, and would take it again before the first waiter is: so
 * whoever finds others waiting lets them go first. */
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

/* Everything of the interrupted code lies above this frame: its red zone, and the kernel's frame
 * with all registers. All signals are blocked in here, so it doesn't nest. */
void oaki_park_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    oaki_thread *t = oaki_tls_thread;
    if (t) {
        AO_int_store(&t->signalled, OAKI_SIGNAL_NONE);
        AO_nop_full(); /* with signal_thread: it sees 0, or we see its epoch */
    }
    unsigned int epoch = AO_int_load_acquire(&oaki_the_stop.epoch);
    if (!t) AO_int_store_release(&oaki_the_stop.stray, (unsigned int)oaki_os_tid());
    if (!t || !is_to_stand(t, epoch)) return; /* late, or not ours */
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
    char *alt = uc->uc_stack.ss_sp; /* as the kernel had it, which saves a call of sigaltstack */
    if (!(uc->uc_stack.ss_flags & SS_DISABLE) && here >= alt && here < alt + uc->uc_stack.ss_size) {
        t->alt_lo = alt;
        t->alt_hi = alt + uc->uc_stack.ss_size;
        if (top < alt || top >= t->alt_hi) top = t->alt_hi;
    }
    oaki_sigframe_clear(context, top);
    bool faults = oaki_dirty_faults();
    if (faults) oaki_ownmask_enter(oaki_os_mask_of(uc));
    stand(t);
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
