/* stop.c - stopping the world, and starting it again.
 *
 * A stop has a number, `epoch`: odd while threads must park, even while they run. The stopping
 * thread, which holds gc_lock, increments it and signals every thread that is not in a blocking
 * region. Then it waits for each thread in turn, until the thread has answered with the number, is
 * in a blocking region, or is dead. The threads' part is in park.c.
 *
 * If some threads don't answer soon, as in a long system call, the stop is abandoned. The world
 * runs until the next try. The late threads park as soon as they can, until the stop is complete.
 * Otherwise each might be late again at another time, and the stop would never succeed. While the
 * world runs they park only briefly: another late thread may need a resource that they hold.
 *
 * Owns: struct stopper; a thread's late, lateness and signalled. The handler clears signalled; a
 * thread that blocks the signal sets it.
 * Lock: threads_lock is held from the first signal to the restart, so the list does not change.
 * Bound: O(threads), and as long as the slowest thread takes to leave the runtime. Uses no malloc,
 * stdio or lock of the host.
 *
 * docs/threads.md explains the races. */
#include "contract.h"
#include "heap.h"
#include "os.h"
#include "park.h"
#include "roots.h"
#include "stopsignal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#define SPINS 200               /* a thread in user code on another core answers in microseconds */
#define LOOK_NS 5000000u        /* then sleep; each time check whether the thread is alive */
#define COUNTS_NS 100000000u    /* most that one sleep counts for, as a process may be suspended */
#define RESEND_NS 100000000u    /* resend: a signal was lost */
#define COMPLAIN_NS 2000000000u /* warn: the host blocks the signal or took it */
#define PATIENCE_NS 10000000u   /* length of the first try to stop: others park for late threads; */
#define MOST_NS 640000000u      /* it doubles with each try, up to this */
#define REST 15                 /* between tries the world runs so many times as long, */
#define REST_NAP_NS 2000000u    /* or until the late threads park, checked at this interval */
#define HOLD 4 /* meanwhile a late thread that has parked stays for at most so many times the try */
#define TURN_NS 20000u          /* one wait for threads still asleep after the last stop; */
#define TURNS_NS 300000u        /* all such waits; or an eighth of that stop's length, */
#define TURNS_MOST_NS 5000000u  /* up to this */
#define HASTY 32                /* after so many stops in a row that found threads asleep and */
#define HASTY_NS 1000000u       /* didn't wait: one wait of this length */

static struct stopper {
    unsigned int stopped; /* AO_int: 1 while all are parked */
    oaki_thread *gone;    /* off the list, freed when the world runs; threads_lock */
    uint64_t asked_ns;    /* when all were asked to park; gc_lock */
    uint64_t parked_ns;   /* when all were parked; threads_lock */
    uint64_t started_ns;  /* when they were released; threads_lock */
    uint64_t turns_ns;    /* most time from then on to wait for sleeping ones; threads_lock */
    unsigned hasty;       /* stops in a row, see HASTY; threads_lock */
    size_t number;        /* number of the stop, complete or not; gc_lock */
    bool again;           /* the next stop repeats this one, as the loaded objects had changed */
    oaki_failed_stops failed; /* gc_lock */
    uint64_t mask;        /* the stopping thread's own mask; gc_lock */
    bool masked;
} stopper;

/* ---- one thread ---- */

/* false when the thread is dead. At most one signal is on its way, as real-time signals queue up
 * where standard ones merge. await retries a signal that could not be sent. */
static bool signal_thread(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    if (AO_int_load_acquire(&t->signalled)) return !oaki_stopsignal_gone(t->tid);
    AO_int_store(&t->signalled, OAKI_SIGNAL_SENT);
    AO_nop_full(); /* Dekker with let_signal_pass: t sees SENT, or is seen as blocked here */
    if (AO_int_load(&t->state) == OAKI_THREAD_BLOCKED) {
        AO_int_store(&t->signalled, OAKI_SIGNAL_NONE);
        return true;
    }
    int e = oaki_stopsignal_send(t->tid);
    if (e != 0) AO_int_store(&t->signalled, OAKI_SIGNAL_NONE);
    return e != ESRCH;
}

OAKI_INLINE bool answered(oaki_thread *t, unsigned int epoch)
{
    return AO_int_load_acquire(&t->stop_epoch) == epoch ||
           AO_int_load_acquire(&t->state) != OAKI_THREAD_RUNNING;
}

enum waiting { PARKED, DEAD, LATE };

static oaki_lateness *lateness_of(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    oaki_lateness *l = &t->lateness;
    if (l->stop != stopper.number)
        *l = (oaki_lateness){ .stop = stopper.number, .resend_ns = RESEND_NS };
    return l;
}

/* Does the id belong to another thread by now? Yes if an unattached thread got the signal for it,
 * now or in a rest. */
static bool is_another(oaki_thread *t)
{
    oaki_lateness *l = lateness_of(t);
    l->gone |= AO_int_load_acquire(&oaki_the_stop.stray) == (unsigned int)t->tid;
    return l->gone;
}

/* Accounts for ns more of waiting, and sends the signal again where needed. false: the thread is
 * dead. */
static bool press(oaki_thread *t, uint64_t ns)
{
    oaki_lateness *l = lateness_of(t);
    l->waited_ns += ns;
    if (l->waited_ns >= l->resend_ns) {
        l->resend_ns *= 2;
        oaki_stopsignal_refresh();
        AO_int_store(&t->signalled, OAKI_SIGNAL_NONE);
    }
    if (l->waited_ns >= COMPLAIN_NS && !l->complained) {
        l->complained = true;
        oaki_stopsignal_complain(t->tid);
    }
    return signal_thread(t);
}

/* Waits until t is parked or dead, or *left nanoseconds are over. *left decreases. The time is a
 * sum of short sleeps, so that not all threads seem late after the process was suspended. */
static enum waiting await(oaki_thread *t, unsigned int epoch, uint64_t *left)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_ASSERT(epoch & 1);
    for (int i = 0; i < SPINS; i++) {
        if (answered(t, epoch)) return PARKED;
        oaki_pause();
    }
    AO_store(&oaki_the_stop.awaited, (AO_t)t);
    AO_nop_full();
    uint64_t waited = 0, last = oaki_os_now_ns();
    for (;;) {
        unsigned int seen = AO_int_load_acquire(&t->stop_epoch);
        if (answered(t, epoch)) return PARKED;
        if (*left == 0) return LATE;
        oaki_futex_wait(&t->stop_epoch, seen, OAKI_MIN(LOOK_NS, *left));
        uint64_t now = oaki_os_now_ns(), slept = OAKI_MIN(now - last, COUNTS_NS);
        last = now;
        waited += slept;
        *left -= OAKI_MIN(slept, *left);
        if (waited < LOOK_NS) continue;
        if (answered(t, epoch)) return PARKED;
        if (oaki_stopsignal_dead(t->tid)) return DEAD;
        if (is_another(t) || !press(t, waited)) return DEAD;
        waited = 0;
    }
}

/* ---- all ---- */

/* Takes a dead thread off the list: its stack may be unmapped, and must not be read. */
static void put_aside(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_REQUIRES_RUNNING();
    oaki_thread_unlink(t);
    t->next = stopper.gone;
    stopper.gone = t;
}

static void flush_gone(void)
{
    OAKI_REQUIRES_STOPPED();
    for (oaki_thread *t = stopper.gone; t; t = t->next) oaki_zones_flush(t);
}

/* Finds dead threads that get no signal, while the world still runs. One system call per blocked
 * thread. */
static void find_dead(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    oaki_thread *next;
    for (oaki_thread *t = oaki_the_heap.threads; t; t = next) {
        next = t->next;
        bool running = AO_int_load_acquire(&t->state) == OAKI_THREAD_RUNNING;
        if (!running && oaki_stopsignal_gone(t->tid)) put_aside(t);
    }
}

static bool any_asleep(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (AO_int_load_acquire(&t->state) == OAKI_THREAD_STOPPED && !AO_int_load(&t->late))
            return true;
    return false;
}

static bool is_soon(void)
{
    return oaki_os_now_ns() - stopper.started_ns < stopper.turns_ns;
}

/* A stop right after another would find the other threads still asleep. Waking takes some
 * microseconds, and much longer on a processor that was idle. Stop after stop, they would never
 * run. With more threads than processors, some sleep for many milliseconds, and each nap here may
 * last as long. So the criterion is the time since they were woken. Only now and then it is whether
 * they are awake. */
static void let_others_run(void)
{
    bool asleep = any_asleep(), waited = false;
    for (; asleep && is_soon(); asleep = any_asleep()) {
        oaki_os_sleep_ns(TURN_NS);
        waited = true;
    }
    if (waited && is_soon()) oaki_os_sleep_ns(TURN_NS); /* time for them to run, too */
    stopper.hasty = asleep && !waited ? stopper.hasty + 1 : 0;
    if (stopper.hasty < HASTY) return;
    oaki_os_sleep_ns(HASTY_NS);
    stopper.hasty = 0;
}

static void note_late(oaki_thread *self, unsigned int epoch)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_REQUIRES_RUNNING();
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (t != self && !answered(t, epoch)) {
            lateness_of(t)->held_ns = 0;
            AO_int_store_release(&t->late, 1);
        }
}

static void forgive(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (AO_int_load(&t->late)) AO_int_store_release(&t->late, 0);
}

/* false: a thread didn't stop in time, and others may be parked until oaki_world_start. */
static bool halt(oaki_thread *self, uint64_t limit_ns)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->gc_lock);
    OAKI_REQUIRES_RUNNING();
    OAKI_ASSERT(!stopper.gone); /* those of the last stop are freed */
    int saved = errno;
    oaki_lock_acquire(&h->threads_lock);
    oaki_stopsignal_refresh();
    find_dead();
    let_others_run();
    stopper.asked_ns = oaki_os_now_ns();
    AO_int_store(&oaki_the_stop.stray, 0);
    unsigned int epoch = AO_int_load(&oaki_the_stop.epoch) + 1;
    OAKI_ASSERT(epoch & 1);
    AO_int_store_release(&oaki_the_stop.epoch, epoch);
    AO_nop_full();
    oaki_thread *next;
    for (oaki_thread *t = h->threads; t; t = next) {
        next = t->next;
        if (t == self || AO_int_load_acquire(&t->state) != OAKI_THREAD_RUNNING) continue;
        if (!signal_thread(t)) put_aside(t);
    }
    enum waiting w = PARKED;
    uint64_t left = limit_ns;
    for (oaki_thread *t = h->threads; t && w != LATE; t = next) {
        next = t->next;
        if (t == self) continue;
        w = await(t, epoch, &left);
        if (w == DEAD) put_aside(t);
    }
    stopper.parked_ns = oaki_os_now_ns();
    if (w == LATE) {
        note_late(self, epoch);
    } else {
        AO_int_store_release(&stopper.stopped, 1);
        forgive();
        flush_gone();
        if (OAKI_UNLIKELY(oaki_debug_switches.verify)) oaki_heap_check();
    }
    errno = saved;
    return w != LATE;
}

void oaki_world_halt(oaki_thread *self)
{
    stopper.number++;
    (void)halt(self, UINT64_MAX);
}

/* Blocks the stopping thread's signals too. A handler of the host's that ran meanwhile could move
 * pointers without the marker's notice. Signals that the thread causes itself stay unblocked. */
static void mask_signals(void)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < OAKI_COUNT(own); i++) sigdelset(&all, own[i]);
    uint64_t set;
    memcpy(&set, &all, sizeof set); /* no set of libc's contains libc's own signals */
    stopper.mask = oaki_os_block_signals(set);
    stopper.masked = true;
}

/* last: this is the last try, after which no thread parks because it was late. */
static int stop_within(oaki_thread *self, uint64_t limit_ns, bool last)
{
    OAKI_ASSERT(!stopper.masked);
    mask_signals();
    bool all = halt(self, limit_ns);
    if (all && oaki_roots_consistent()) return 0;
    if (last) forgive();
    oaki_world_start(self);
    uint64_t stood = stopper.started_ns - stopper.asked_ns;
    stopper.failed.longest_ns = OAKI_MAX(stopper.failed.longest_ns, stood);
    return all ? EAGAIN : EBUSY;
}

/* The state of a rest: vain_ns is the length of the try before it, rested_ns that of the rest so
 * far. */
typedef struct resting {
    uint64_t vain_ns, rested_ns;
    bool late;     /* some late threads still run, so another try would be in vain */
    bool held;     /* the system holds all of these */
    bool released; /* some parked long enough, and were released */
} resting;

static void check_late(oaki_thread *t, uint64_t slept_ns, resting *r)
{
    if (AO_int_load_acquire(&t->state) == OAKI_THREAD_STOPPED) {
        oaki_lateness *l = lateness_of(t);
        l->held_ns += slept_ns;
        if (l->held_ns < r->vain_ns * HOLD) return;
        AO_int_store_release(&t->late, 0);
        r->released = true;
        return;
    }
    if (AO_int_load_acquire(&t->state) != OAKI_THREAD_RUNNING) return;
    if (is_another(t) || !press(t, slept_ns)) return;
    r->late = true;
    r->held = r->held && oaki_stopsignal_held(t->tid);
}

static bool are_late(uint64_t slept_ns, resting *r)
{
    oaki_heap *h = &oaki_the_heap;
    bool over = r->rested_ns >= r->vain_ns * REST;
    r->late = r->released = false;
    r->held = over; /* not checked before then */
    oaki_lock_acquire(&h->threads_lock);
    for (oaki_thread *t = h->threads; t; t = t->next)
        if (AO_int_load(&t->late)) check_late(t, slept_ns, r);
    OAKI_ASSERT(!(AO_int_load(&oaki_the_stop.epoch) & 1)); /* the world runs */
    if (r->released) { /* a thread about to sleep sees that the number has changed */
        AO_int_store_release(&oaki_the_stop.epoch, AO_int_load(&oaki_the_stop.epoch) + 2);
        oaki_futex_wake(&oaki_the_stop.epoch, INT_MAX);
    }
    oaki_lock_release(&h->threads_lock);
    return r->late && (r->held || !over);
}

/* Lets the world run at least as long as the vain try has stopped it. Returns for how long. */
static uint64_t rest(uint64_t vain_ns, uint64_t most_ns)
{
    resting r = { .vain_ns = vain_ns };
    uint64_t slept, cpu = oaki_os_cpu_ns();
    do {
        uint64_t before = oaki_os_now_ns();
        oaki_os_sleep_ns(REST_NAP_NS);
        slept = OAKI_MIN(oaki_os_now_ns() - before, COUNTS_NS);
        r.rested_ns += slept;
    } while ((are_late(slept, &r) || r.rested_ns < vain_ns) && r.rested_ns < most_ns);
    stopper.failed.rest_cpu_ns += oaki_os_cpu_ns() - cpu;
    return r.rested_ns;
}

/* One late thread must not keep all others parked. So they are parked for a 16th of the time, and
 * not while the system holds all late threads. Each try is longer than the last: on a busy machine
 * many threads may be slow. */
int oaki_world_try_stop(oaki_thread *self, uint64_t limit_ns)
{
    uint64_t left = limit_ns ? limit_ns : UINT64_MAX, patience = PATIENCE_NS;
    int saved = errno, error;
    if (!stopper.again) stopper.failed = (oaki_failed_stops){ 0 };
    stopper.failed.rest_cpu_ns = 0;
    stopper.number++;
    while ((error = stop_within(self, OAKI_MIN(patience, left), patience >= left)) == EBUSY &&
           patience < left) {
        left -= patience;
        left -= OAKI_MIN(rest(patience, left), left - 1);
        patience = OAKI_MIN(patience * 2, MOST_NS);
    }
    stopper.again = error == EAGAIN;
    errno = saved;
    return error;
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
    OAKI_REQUIRES_LOCK(&h->gc_lock);
    OAKI_REQUIRES_LOCK(&h->threads_lock);
    OAKI_ASSERT(AO_int_load(&oaki_the_stop.epoch) & 1);
    if (OAKI_UNLIKELY(oaki_debug_switches.verify) && oaki_world_stopped()) oaki_heap_check();
    stopper.masked = false;
    uint64_t turns = (oaki_os_now_ns() - stopper.parked_ns) / 8;
    stopper.turns_ns = OAKI_MIN(OAKI_MAX(turns, TURNS_NS), TURNS_MOST_NS);
    AO_int_store_release(&stopper.stopped, 0);
    AO_int_store_release(&oaki_the_stop.epoch, AO_int_load(&oaki_the_stop.epoch) + 1);
    oaki_futex_wake(&oaki_the_stop.epoch, INT_MAX);
    stopper.started_ns = oaki_os_now_ns();
    while (stopper.gone) {
        oaki_thread *t = stopper.gone;
        stopper.gone = t->next;
        oaki_thread_free(t);
    }
    oaki_lock_release(&h->threads_lock);
    if (masked) oaki_os_unmask_signals(mask);
}

uint64_t oaki_world_asked_ns(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    return stopper.asked_ns;
}

oaki_failed_stops oaki_world_failed(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    return stopper.failed;
}

bool oaki_world_stopped(void) { return AO_int_load_acquire(&stopper.stopped) != 0; }

int oaki_stop_init(void)
{
    return oaki_stopsignal_init(oaki_park_handler);
}
