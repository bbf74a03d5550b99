/* stop.c - stopping the world, and starting it again.
 *
 * A stop has a number, `epoch`: odd while threads are to stand, even while they run. The one thread
 * that stops the others (it holds gc_lock) counts it up, signals every thread that is not in a
 * blocking region, and waits for each in turn until that has answered with the number, or is seen
 * to be in a blocking region, or is dead. A thread answers in one of three places, and sleeps there
 * until the number moves on: in the signal's handler, when it was in user code; in
 * oaki_thread_park, when the handler found it in the runtime and only took note; at the end of a
 * blocking region (blocking.c).
 *
 * Owns: struct stopper; of a thread stop_epoch, stop_pending, signalled, sp, pc.
 * Invariants: a thread that has answered the current epoch, or is blocked, changes nothing that the
 *             collector reads until the epoch moves. stop_epoch is written by the thread alone, so
 *             that an answer counts once however many signals come.
 * Lock: threads_lock is held from the first signal to the restart, so the list stands still.
 * Bound: O(threads), and as long as the slowest thread takes to leave the runtime; but where one
 * doesn't stop, as in a long call of the system, the others run meanwhile. Reaches no malloc, stdio
 * or lock of the host.
 *
 * docs/threads.md goes through the races. */
#include "heap.h"
#include "os.h"
#include "ownmask.h"
#include "roots.h"
#include "sigframe.h"
#include "stopsignal.h"
#include "thread.h"
#include "written.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#define SPINS 200                /* a thread in user code on another core answers in microseconds */
#define LOOK_NS 5000000u         /* then sleep, and look every so often whether the thread lives */
#define RESEND_NS 100000000u     /* a signal was lost */
#define COMPLAIN_NS 2000000000u  /* the program blocks the signal, or took it */
#define TURN_NS 20000u           /* for threads that sleep still after the last stop: at a time, */
#define TURNS_NS 300000u         /* and in all; or an eighth of what the stop took, */
#define TURNS_MOST_NS 5000000u   /* up to this */
#define HASTY 32                 /* stops in a row that found some asleep and waited for none: */
#define HASTY_NS 1000000u        /* then once for so long */
#define RED_ZONE 128             /* bytes, of x86-64 */
#define PATIENCE_NS 10000000u    /* others stand for one that doesn't: at first; then twice as */
#define MOST_NS 640000000u       /* long, up to this; */
#define REST 15                  /* in between they run so many times as long, or until it is */
#define REST_NAP_NS 1000000u     /* found that it would stop now, looking so often */
#define BARGES 1024              /* times that gc_lock is taken ahead of those who wait */

static struct stopper {
    unsigned int epoch;    /* AO_int */
    unsigned int stopped;  /* AO_int: 1 while all stand */
    unsigned int stray;    /* AO_int: id of a thread that got the signal and is not attached */
    AO_t awaited;          /* the thread whose answer the stopper sleeps for */
    unsigned int queue;    /* AO_int: threads that wait for gc_lock */
    unsigned int barges;   /* AO_int: times that it was taken ahead of them in a row; approximate */
    oaki_thread *gone;     /* off the list, to be freed when the world runs; threads_lock */
    uint64_t asked_ns;     /* when all were asked to stand, gc_lock; */
    uint64_t stood_ns;     /* when all stood, ... threads_lock */
    uint64_t started_ns;   /* ... and had been let go; likewise */
    uint64_t turns_ns;     /* how long they are waited for from then on; likewise */
    unsigned hasty;        /* likewise */
    struct lateness {      /* of the thread that is waited for, in all tries; gc_lock */
        const oaki_thread *whom; /* may be gone */
        uint64_t waited_ns, looked_ns, resend_ns;
        bool complained;
    } late;
    uint64_t rest_cpu_ns;  /* of the process while it was waited for with the world running */
    uint64_t mask;         /* the stopping thread's own; gc_lock */
    bool masked;
} stopper;

/* What a thread's `signalled` says of the stop signal. */
enum {
    SIGNAL_NONE, /* the handler has seen the last one */
    SIGNAL_SENT,
    SIGNAL_HELD  /* for long: the thread blocks it */
};

/* ---- the thread that is stopped ---- */

/* Dekker with await: it says whom it waits for and looks at the answer once more, we answer and
 * look whom it waits for. */
static void answer(oaki_thread *t, unsigned int epoch)
{
    if (t->stop_epoch == epoch) return;
    AO_int_store_release(&t->stop_epoch, epoch);
    AO_nop_full();
    if (AO_load(&stopper.awaited) == (AO_t)t) oaki_futex_wake(&t->stop_epoch, 1);
}

/* Stand still until the world runs. The caller's sp and registers are saved, and the handler can't
 * come between. The state is set back as at the end of a blocking region: a thread that sleeps on
 * through a restart and the next stop is not waited for. */
static void stand(oaki_thread *t)
{
    unsigned int epoch;
    while ((epoch = AO_int_load_acquire(&stopper.epoch)) & 1) {
        AO_int_store_release(&t->state, OAKI_THREAD_STOPPED);
        answer(t, epoch);
        while ((epoch = AO_int_load_acquire(&stopper.epoch)) & 1)
            oaki_futex_wait(&stopper.epoch, epoch, 0);
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
    do {
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
    while (AO_int_load_acquire(&t->signalled) == SIGNAL_SENT) {
        oaki_os_yield();
        if (oaki_os_now_ns() - start < PASS_NS) continue;
        (void)AO_int_compare_and_swap(&t->signalled, SIGNAL_SENT, SIGNAL_HELD);
    }
}

/* Dekker with the stopper: it sets the epoch and then reads the state, we set the state and then
 * read the epoch. Either it sees us blocked, or we see the stop and answer; the answer also ends
 * its wait when it saw us running. */
void oaki_stop_block(oaki_thread *t)
{
    not_interrupted(t);
    AO_int_store_release(&t->state, OAKI_THREAD_BLOCKED);
    AO_nop_full();
    unsigned int epoch = AO_int_load_acquire(&stopper.epoch);
    if (OAKI_UNLIKELY(epoch & 1)) answer(t, epoch);
    if (OAKI_UNLIKELY(AO_int_load_acquire(&t->signalled) == SIGNAL_SENT)) let_signal_pass(t);
}

void oaki_stop_unblock(oaki_thread *t)
{
    AO_int_store(&t->state, OAKI_THREAD_RUNNING);
    AO_nop_full();
    if (OAKI_UNLIKELY(AO_int_load_acquire(&stopper.epoch) & 1)) stand(t);
}

/* Who has just let go of gc_lock is awake, and would take it again before the first waiter is: so
 * whoever finds others waiting lets them go first. */
static void acquire_in_turn(oaki_lock *l)
{
    if (AO_int_fetch_and_add_full(&stopper.queue, 1) > 0) oaki_os_sleep_ns(TURN_NS);
    oaki_lock_acquire(l);
    (void)AO_int_fetch_and_sub1_full(&stopper.queue);
}

OAKI_NOINLINE void oaki_lock_acquire_parked(oaki_thread *t, oaki_lock *l)
{
    bool in_turn = l == &oaki_the_heap.gc_lock;
    if (!(in_turn && AO_int_load(&stopper.queue)) && oaki_lock_try(l)) return;
    oaki_thread_save_context(t);
    oaki_stop_block(t);
    if (in_turn) acquire_in_turn(l);
    else oaki_lock_acquire(l);
    oaki_stop_unblock(t);
}

OAKI_NOINLINE void oaki_gc_lock_barge(oaki_thread *t)
{
    oaki_lock *l = &oaki_the_heap.gc_lock;
    unsigned int n = AO_int_load(&stopper.barges);
    if (n < BARGES && oaki_lock_try(l)) {
        AO_int_store(&stopper.barges, AO_int_load(&stopper.queue) > 0 ? n + 1 : 0);
        return;
    }
    oaki_lock_acquire_parked(t, l);
    AO_int_store(&stopper.barges, 0);
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
static void handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    oaki_thread *t = oaki_tls_thread;
    if (t) {
        AO_int_store(&t->signalled, SIGNAL_NONE);
        AO_nop_full(); /* with signal_thread: it sees 0, or we see its epoch */
    }
    if (!(AO_int_load_acquire(&stopper.epoch) & 1)) return; /* late, or not ours */
    if (!t) {
        AO_int_store_release(&stopper.stray, (unsigned int)oaki_os_tid());
        return;
    }
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
    bool faults = oaki_written_faults();
    if (faults) oaki_ownmask_enter(oaki_os_mask_of(uc));
    stand(t);
    if (faults) oaki_ownmask_leave();
    not_interrupted(t);
    errno = saved;
}

/* ---- the thread that stops ---- */

/* false when the thread is dead. One signal is on its way at most, as real-time signals queue up
 * where standard ones merge. One that could not be sent is tried again in await. */
static bool signal_thread(oaki_thread *t)
{
    if (AO_int_load_acquire(&t->signalled)) return !oaki_stopsignal_gone(t->tid);
    AO_int_store(&t->signalled, SIGNAL_SENT);
    AO_nop_full(); /* with let_signal_pass: it sees 1, or we see that it is blocked */
    if (AO_int_load(&t->state) == OAKI_THREAD_BLOCKED) {
        AO_int_store(&t->signalled, SIGNAL_NONE);
        return true;
    }
    int e = oaki_stopsignal_send(t->tid);
    if (e != 0) AO_int_store(&t->signalled, SIGNAL_NONE);
    return e != ESRCH;
}

OAKI_INLINE bool answered(oaki_thread *t, unsigned int epoch)
{
    return AO_int_load_acquire(&t->stop_epoch) == epoch ||
           AO_int_load_acquire(&t->state) != OAKI_THREAD_RUNNING;
}

enum waiting { STANDS, DEAD, LATE };

static struct lateness *lateness_of(const oaki_thread *t)
{
    struct lateness *l = &stopper.late;
    if (l->whom != t) *l = (struct lateness){ .whom = t, .resend_ns = RESEND_NS };
    return l;
}

static void complain(int tid)
{
    if (stopper.late.waited_ns < COMPLAIN_NS || stopper.late.complained) return;
    stopper.late.complained = true;
    oaki_stopsignal_complain(tid);
}

/* Wait until t stands, is dead, or *left nanoseconds are over, which become fewer. Time is summed
 * up from short sleeps, so that a process that was suspended doesn't find everybody late. */
static enum waiting await(oaki_thread *t, unsigned int epoch, uint64_t *left)
{
    for (int i = 0; i < SPINS; i++) {
        if (answered(t, epoch)) return STANDS;
        oaki_pause();
    }
    AO_store(&stopper.awaited, (AO_t)t);
    AO_nop_full();
    struct lateness *l = lateness_of(t);
    uint64_t last = oaki_os_now_ns();
    for (;;) {
        unsigned int seen = AO_int_load_acquire(&t->stop_epoch);
        if (answered(t, epoch)) return STANDS;
        oaki_futex_wait(&t->stop_epoch, seen, LOOK_NS);
        uint64_t now = oaki_os_now_ns(), slept = OAKI_MIN(now - last, 2 * LOOK_NS);
        l->waited_ns += slept;
        *left -= OAKI_MIN(slept, *left);
        last = now;
        if (l->waited_ns - l->looked_ns < LOOK_NS) continue;
        l->looked_ns = l->waited_ns;
        if (answered(t, epoch)) return STANDS;
        if (oaki_stopsignal_dead(t->tid)) return DEAD;
        if (AO_int_load_acquire(&stopper.stray) == (unsigned int)t->tid) return DEAD;
        if (*left == 0) return LATE;
        if (l->waited_ns >= l->resend_ns) {
            l->resend_ns *= 2;
            AO_int_store(&t->signalled, SIGNAL_NONE);
        }
        if (!AO_int_load(&t->signalled) && !signal_thread(t)) return DEAD;
        complain(t->tid);
    }
}

/* Off the list, so that nobody looks at its stack, which may be unmapped. */
static void put_aside(oaki_thread *t)
{
    oaki_thread_unlink(t);
    t->next = stopper.gone;
    stopper.gone = t;
}

static void flush_gone(void)
{
    for (oaki_thread *t = stopper.gone; t; t = t->next) oaki_zones_flush(t);
}

/* Those whose death no signal would tell, while the world still runs: a call of the system for
 * each blocked thread. */
static void find_dead(void)
{
    oaki_thread *next;
    for (oaki_thread *t = oaki_the_heap.threads; t; t = next) {
        next = t->next;
        bool running = AO_int_load_acquire(&t->state) == OAKI_THREAD_RUNNING;
        if (!running && oaki_stopsignal_gone(t->tid)) put_aside(t);
    }
}

static bool any_asleep(void)
{
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (AO_int_load_acquire(&t->state) == OAKI_THREAD_STOPPED) return true;
    return false;
}

static bool is_soon(void)
{
    return oaki_os_now_ns() - stopper.started_ns < stopper.turns_ns;
}

/* A stop right after another would find the others asleep still, as it takes them some microseconds
 * to wake, and a processor that was idle for long more; one after the other, they would never run.
 * With more threads than processors some sleep for many milliseconds, and each nap of ours may last
 * as long: so what counts is when they were woken, and only now and then whether they are awake. */
static void let_others_run(void)
{
    bool asleep = any_asleep(), waited = false;
    for (; asleep && is_soon(); asleep = any_asleep()) {
        oaki_os_sleep_ns(TURN_NS);
        waited = true;
    }
    if (waited && is_soon()) oaki_os_sleep_ns(TURN_NS); /* time to run, too */
    stopper.hasty = asleep && !waited ? stopper.hasty + 1 : 0;
    if (stopper.hasty < HASTY) return;
    oaki_os_sleep_ns(HASTY_NS);
    stopper.hasty = 0;
}

bool oaki_world_halt(oaki_thread *self, uint64_t limit_ns)
{
    oaki_heap *h = &oaki_the_heap;
    int saved = errno;
    oaki_lock_acquire(&h->threads_lock);
    oaki_stopsignal_refresh();
    find_dead();
    let_others_run();
    stopper.asked_ns = oaki_os_now_ns();
    AO_int_store(&stopper.stray, 0);
    unsigned int epoch = AO_int_load(&stopper.epoch) + 1;
    AO_int_store_release(&stopper.epoch, epoch);
    AO_nop_full();
    oaki_thread *next;
    for (oaki_thread *t = h->threads; t; t = next) {
        next = t->next;
        if (t == self || AO_int_load_acquire(&t->state) != OAKI_THREAD_RUNNING) continue;
        if (!signal_thread(t)) put_aside(t);
    }
    enum waiting w = STANDS;
    uint64_t left = limit_ns ? limit_ns : UINT64_MAX;
    for (oaki_thread *t = h->threads; t && w != LATE; t = next) {
        next = t->next;
        if (t == self) continue;
        w = await(t, epoch, &left);
        if (w == DEAD) put_aside(t);
    }
    stopper.stood_ns = oaki_os_now_ns();
    if (w != LATE) {
        AO_int_store_release(&stopper.stopped, 1);
        flush_gone();
    }
    errno = saved;
    return w != LATE;
}

/* The stopping thread's signals wait too: a handler of the program's that ran meanwhile could move
 * pointers about behind the marker's back. Not those that the thread causes itself. */
static void mask_signals(void)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < OAKI_COUNT(own); i++) sigdelset(&all, own[i]);
    uint64_t set;
    memcpy(&set, &all, sizeof set); /* libc's own signals are in no set of libc's */
    stopper.mask = oaki_os_block_signals(set);
    stopper.masked = true;
}

static int stop_within(oaki_thread *self, uint64_t limit_ns)
{
    mask_signals();
    bool all = oaki_world_halt(self, limit_ns);
    if (all && oaki_roots_consistent()) return 0;
    oaki_world_start(self);
    return all ? EAGAIN : EBUSY;
}

/* The one that was late; NULL: another try finds it stopped, or the signal has come through. */
static const oaki_thread *still_late(void)
{
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (t == stopper.late.whom)
            return AO_int_load_acquire(&t->state) == OAKI_THREAD_RUNNING &&
                           AO_int_load_acquire(&t->signalled) == SIGNAL_SENT &&
                           !oaki_stopsignal_gone(t->tid)
                       ? t
                       : NULL;
    return NULL;
}

/* Would another try be in vain? For how long the last one has been over. */
static bool rests_on(uint64_t stood_ns, uint64_t rested_ns)
{
    oaki_heap *h = &oaki_the_heap;
    bool on = false;
    oaki_lock_acquire(&h->threads_lock);
    const oaki_thread *t = still_late();
    if (t) complain(t->tid);
    if (t) on = rested_ns < stood_ns * REST || oaki_stopsignal_held(t->tid);
    oaki_lock_release(&h->threads_lock);
    return on;
}

/* The world runs, for at least as long as it has stood in vain. How long. */
static uint64_t rest(uint64_t stood_ns, uint64_t most_ns)
{
    uint64_t rested = 0, cpu = oaki_os_cpu_ns();
    do {
        uint64_t before = oaki_os_now_ns();
        oaki_os_sleep_ns(REST_NAP_NS);
        uint64_t slept = OAKI_MIN(oaki_os_now_ns() - before, 2 * REST_NAP_NS);
        rested += slept;
        stopper.late.waited_ns += slept;
    } while (rested < most_ns && (rested < stood_ns || rests_on(stood_ns, rested)));
    stopper.rest_cpu_ns += oaki_os_cpu_ns() - cpu;
    return rested;
}

/* One thread that doesn't stop is no reason for all others to stand: so they do for a 16th of the
 * time, and not while the system holds that one. Longer each time, as on a machine that is busy
 * with other things they may be many that take long, each at another time. */
int oaki_world_try_stop(oaki_thread *self, uint64_t limit_ns)
{
    uint64_t left = limit_ns ? limit_ns : UINT64_MAX, patience = PATIENCE_NS;
    stopper.late.whom = NULL;
    stopper.rest_cpu_ns = 0;
    for (;;) {
        uint64_t most = OAKI_MIN(patience, left);
        int error = stop_within(self, most);
        if (error != EBUSY || most == left) return error;
        left -= most;
        left -= OAKI_MIN(rest(most, left), left - 1);
        patience = OAKI_MIN(patience * 2, MOST_NS);
    }
}

bool oaki_world_stop(oaki_thread *self)
{
    return oaki_world_try_stop(self, 0) == 0;
}

void oaki_world_start(oaki_thread *self)
{
    oaki_heap *h = &oaki_the_heap;
    uint64_t mask = stopper.mask;
    bool masked = stopper.masked;
    (void)self;
    stopper.masked = false;
    uint64_t turns = (oaki_os_now_ns() - stopper.stood_ns) / 8;
    stopper.turns_ns = OAKI_MIN(OAKI_MAX(turns, TURNS_NS), TURNS_MOST_NS);
    AO_int_store_release(&stopper.stopped, 0);
    AO_int_store_release(&stopper.epoch, AO_int_load(&stopper.epoch) + 1);
    oaki_futex_wake(&stopper.epoch, INT_MAX);
    stopper.started_ns = oaki_os_now_ns();
    while (stopper.gone) {
        oaki_thread *t = stopper.gone;
        stopper.gone = t->next;
        oaki_thread_free(t);
    }
    oaki_lock_release(&h->threads_lock);
    if (masked) oaki_os_unmask_signals(mask);
}

void oaki_stop_child(void)
{
    AO_int_store(&stopper.queue, 0);
}

uint64_t oaki_world_asked_ns(void)
{
    return stopper.asked_ns;
}

uint64_t oaki_world_rest_cpu_ns(void)
{
    return stopper.rest_cpu_ns;
}

bool oaki_world_stopped(void) { return AO_int_load_acquire(&stopper.stopped) != 0; }

int oaki_stop_init(void)
{
    return oaki_stopsignal_init(handler);
}
