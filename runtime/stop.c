/* stop.c - stopping the world, and starting it again.
 *
 * A stop has a number, `epoch`: odd while threads are to stand, even while they run. The one thread
 * that stops the others (it holds gc_lock) counts it up, signals every thread that is not in a
 * blocking region, and waits for each in turn until that has answered with the number, or is seen
 * to be in a blocking region, or is dead. What they do is in park.c.
 *
 * Where some don't answer soon, as in a long call of the system, the stop is given up, and the
 * world runs until it is tried again. Those that were late stand from when they can on, until the
 * stop has come about: they may be late again otherwise, each at another time, and it never would.
 * But not for long while the world runs: another one that is late may need what they hold.
 *
 * Owns: struct stopper; of a thread late, lateness, signalled (which the handler clears, and who
 * blocks the signal sets).
 * Lock: threads_lock is held from the first signal to the restart, so the list stands still.
 * Bound: O(threads), and as long as the slowest thread takes to leave the runtime. Reaches no
 * malloc, stdio or lock of the host.
 *
 * docs/threads.md goes through the races. */
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
#define LOOK_NS 5000000u        /* then sleep, and look every so often whether the thread lives */
#define COUNTS_NS 100000000u    /* what a sleep counts for at most, as processes are suspended */
#define RESEND_NS 100000000u    /* a signal was lost */
#define COMPLAIN_NS 2000000000u /* the program blocks the signal, or took it */
#define PATIENCE_NS 10000000u   /* others stand for one that doesn't: at first; then twice as */
#define MOST_NS 640000000u      /* long, up to this; */
#define REST 15                 /* in between they run so many times as long, or until it */
#define REST_NAP_NS 2000000u    /* stands, looking so often */
#define HOLD 4                  /* so many times as long one stands meanwhile that was late */
#define TURN_NS 20000u          /* for threads that sleep still after the last stop: at a time, */
#define TURNS_NS 300000u        /* and in all; or an eighth of what the stop took, */
#define TURNS_MOST_NS 5000000u  /* up to this */
#define HASTY 32                /* stops in a row that found some asleep and waited for none: */
#define HASTY_NS 1000000u       /* then once for so long */

static struct stopper {
    unsigned int stopped; /* AO_int: 1 while all stand */
    oaki_thread *gone;    /* off the list, to be freed when the world runs; threads_lock */
    uint64_t asked_ns;    /* when all were asked to stand, gc_lock; */
    uint64_t stood_ns;    /* when all stood, ... threads_lock */
    uint64_t started_ns;  /* ... and had been let go; likewise */
    uint64_t turns_ns;    /* how long they are waited for from then on; likewise */
    unsigned hasty;       /* likewise */
    size_t number;        /* of the stop, whether it has come about or not; gc_lock */
    bool again;           /* the next one is for the same, as the loaded objects had changed */
    oaki_vain vain;       /* gc_lock */
    uint64_t mask;        /* the stopping thread's own; gc_lock */
    bool masked;
} stopper;

/* ---- one thread ---- */

/* false when the thread is dead. One signal is on its way at most, as real-time signals queue up
 * where standard ones merge. One that could not be sent is tried again in await. */
static bool signal_thread(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    if (AO_int_load_acquire(&t->signalled)) return !oaki_stopsignal_gone(t->tid);
    AO_int_store(&t->signalled, OAKI_SIGNAL_SENT);
    AO_nop_full(); /* with let_signal_pass: it sees 1, or we see that it is blocked */
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

enum waiting { STANDS, DEAD, LATE };

static oaki_lateness *lateness_of(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    oaki_lateness *l = &t->lateness;
    if (l->stop != stopper.number)
        *l = (oaki_lateness){ .stop = stopper.number, .resend_ns = RESEND_NS };
    return l;
}

/* A thread that isn't attached got its signal, now or in a rest. */
static bool is_another(oaki_thread *t)
{
    oaki_lateness *l = lateness_of(t);
    l->gone |= AO_int_load_acquire(&oaki_the_stop.stray) == (unsigned int)t->tid;
    return l->gone;
}

/* It has been waited for so much longer. false: it is dead. */
static bool press(oaki_thread *t, uint64_t ns)
{
    oaki_lateness *l = lateness_of(t);
    l->waited_ns += ns;
    if (l->waited_ns >= l->resend_ns) {
        l->resend_ns *= 2;
        AO_int_store(&t->signalled, OAKI_SIGNAL_NONE);
    }
    if (l->waited_ns >= COMPLAIN_NS && !l->complained) {
        l->complained = true;
        oaki_stopsignal_complain(t->tid);
    }
    return signal_thread(t);
}

/* Wait until t stands, is dead, or *left nanoseconds are over, which become fewer. Time is summed
 * up from short sleeps, so that a process that was suspended doesn't find everybody late. */
static enum waiting await(oaki_thread *t, unsigned int epoch, uint64_t *left)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_ASSERT(epoch & 1);
    for (int i = 0; i < SPINS; i++) {
        if (answered(t, epoch)) return STANDS;
        oaki_pause();
    }
    AO_store(&oaki_the_stop.awaited, (AO_t)t);
    AO_nop_full();
    uint64_t waited = 0, last = oaki_os_now_ns();
    for (;;) {
        unsigned int seen = AO_int_load_acquire(&t->stop_epoch);
        if (answered(t, epoch)) return STANDS;
        if (*left == 0) return LATE;
        oaki_futex_wait(&t->stop_epoch, seen, OAKI_MIN(LOOK_NS, *left));
        uint64_t now = oaki_os_now_ns(), slept = OAKI_MIN(now - last, COUNTS_NS);
        last = now;
        waited += slept;
        *left -= OAKI_MIN(slept, *left);
        if (waited < LOOK_NS) continue;
        if (answered(t, epoch)) return STANDS;
        if (oaki_stopsignal_dead(t->tid)) return DEAD;
        if (is_another(t) || !press(t, waited)) return DEAD;
        waited = 0;
    }
}

/* ---- all ---- */

/* Off the list, so that nobody looks at its stack, which may be unmapped. */
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

/* Those whose death no signal would tell, while the world still runs: a call of the system for
 * each blocked thread. */
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

/* false: a thread didn't stop in time, and others may stand until oaki_world_start. */
static bool halt(oaki_thread *self, uint64_t limit_ns)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->gc_lock);
    OAKI_REQUIRES_RUNNING();
    OAKI_ASSERT(!stopper.gone); /* of the last stop, all are freed */
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
    enum waiting w = STANDS;
    uint64_t left = limit_ns;
    for (oaki_thread *t = h->threads; t && w != LATE; t = next) {
        next = t->next;
        if (t == self) continue;
        w = await(t, epoch, &left);
        if (w == DEAD) put_aside(t);
    }
    stopper.stood_ns = oaki_os_now_ns();
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

/* The last try: nobody is to stand for another. */
static int stop_within(oaki_thread *self, uint64_t limit_ns, bool last)
{
    OAKI_ASSERT(!stopper.masked);
    mask_signals();
    bool all = halt(self, limit_ns);
    if (all && oaki_roots_consistent()) return 0;
    if (last) forgive();
    oaki_world_start(self);
    uint64_t stood = stopper.started_ns - stopper.asked_ns;
    stopper.vain.longest_ns = OAKI_MAX(stopper.vain.longest_ns, stood);
    return all ? EAGAIN : EBUSY;
}

/* In a rest that came after so long a try, of so much until now, how it goes on. */
typedef struct resting {
    uint64_t stood_ns, rested_ns;
    bool late;     /* some run still that were late, and another try would be in vain */
    bool held;     /* by the system, all of these */
    bool released; /* some that stood have done so for long enough */
} resting;

static void look_at(oaki_thread *t, uint64_t slept_ns, resting *r)
{
    if (AO_int_load_acquire(&t->state) == OAKI_THREAD_STOPPED) {
        oaki_lateness *l = lateness_of(t);
        l->held_ns += slept_ns;
        if (l->held_ns < r->stood_ns * HOLD) return;
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
    bool over = r->rested_ns >= r->stood_ns * REST;
    r->late = r->released = false;
    r->held = over; /* until then it doesn't matter */
    oaki_lock_acquire(&h->threads_lock);
    for (oaki_thread *t = h->threads; t; t = t->next)
        if (AO_int_load(&t->late)) look_at(t, slept_ns, r);
    OAKI_ASSERT(!(AO_int_load(&oaki_the_stop.epoch) & 1)); /* the world runs */
    if (r->released) { /* who is about to sleep sees that the number has changed */
        AO_int_store_release(&oaki_the_stop.epoch, AO_int_load(&oaki_the_stop.epoch) + 2);
        oaki_futex_wake(&oaki_the_stop.epoch, INT_MAX);
    }
    oaki_lock_release(&h->threads_lock);
    return r->late && (r->held || !over);
}

/* The world runs for at least as long as it has stood in vain. How long. */
static uint64_t rest(uint64_t stood_ns, uint64_t most_ns)
{
    resting r = { .stood_ns = stood_ns };
    uint64_t slept, cpu = oaki_os_cpu_ns();
    do {
        uint64_t before = oaki_os_now_ns();
        oaki_os_sleep_ns(REST_NAP_NS);
        slept = OAKI_MIN(oaki_os_now_ns() - before, COUNTS_NS);
        r.rested_ns += slept;
    } while ((are_late(slept, &r) || r.rested_ns < stood_ns) && r.rested_ns < most_ns);
    stopper.vain.rest_cpu_ns += oaki_os_cpu_ns() - cpu;
    return r.rested_ns;
}

/* One thread that doesn't stop is no reason for all others to stand: so they do for a 16th of the
 * time, and not while the system holds that one. Longer each time, as on a machine that is busy
 * with other things they may be many that take long. */
int oaki_world_try_stop(oaki_thread *self, uint64_t limit_ns)
{
    uint64_t left = limit_ns ? limit_ns : UINT64_MAX, patience = PATIENCE_NS;
    int saved = errno, error;
    if (!stopper.again) stopper.vain = (oaki_vain){ 0 };
    stopper.vain.rest_cpu_ns = 0;
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
    uint64_t turns = (oaki_os_now_ns() - stopper.stood_ns) / 8;
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

oaki_vain oaki_world_vain(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    return stopper.vain;
}

bool oaki_world_stopped(void) { return AO_int_load_acquire(&stopper.stopped) != 0; }

int oaki_stop_init(void)
{
    return oaki_stopsignal_init(oaki_park_handler);
}
