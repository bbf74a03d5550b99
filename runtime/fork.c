/* fork.c - makes fork safe: in the child the heap is whole and works, with the one remaining
 * thread.
 *
 * Before the fork no thread may be halfway through a change. The forking thread does the following:
 *   - it takes gc_lock, so that no collection is in progress;
 *   - it closes a gate, so that no thread enters the runtime;
 *   - it waits until all threads have left the runtime (handshake.c), and until the runtime's own
 *     threads have finished their step (oaki_fork_hold);
 *   - it takes every lock that may be waited for inside (for_each_lock). The others are free, as
 *     nobody is inside.
 *
 * The world runs all the time: libc takes the locks of malloc and stdio, which a stopped thread may
 * hold.
 *
 * Owns: oaki_fork_gate, struct forking. gc_lock guards it, from prepare to the end of parent or
 * child.
 * Invariant: once the gate is closed, threads in oaki_fork_hold may still enter until they are out,
 * as a fork waits for them. Then only the forking thread is between oaki_enter and oaki_leave, or
 * between oaki_fork_hold and _release. The exception is a thread that waits for one of the locks
 * that are taken. No thread has the loader's lock on Oakum's behalf, if that can be reached in
 * 0.2 s.
 * Bound: O(threads + span classes); threads that want to enter meanwhile sleep. vfork, posix_spawn
 * and clone run no handlers: their child must not touch the heap. The same holds once the library's
 * destructor has run: libc drops the handlers then, even in the middle of a fork. */
#include "contract.h"
#include "crew.h"
#include "dirty.h"
#include "heap.h"
#include "meta.h"
#include "os.h"
#include "park.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <signal.h>

unsigned int oaki_fork_gate;

#define CHILD_MAX 32
#define STOP_FIRST_NS 20000 /* until a helper checks again whether a stop waits */
#define LOADER_NS 200000000u /* wait for threads that use the loader */
/* wait for threads that delay a fork, before it releases stdio's lock */
#define PATIENCE_NS 10000000u
#define LAST_NS UINT64_C(2000000000) /* wait for forks under way, in the destructor */
#define GATE_FOR_EVER UINT_MAX /* in a child that was forked from inside the runtime */

static struct forking {
    unsigned int held_off; /* AO_int: threads that a fork waits for */
    unsigned int asking;   /* AO_int: threads that have the loader's lock, or wait for it */
    unsigned int busy;     /* AO_int: forks between prepare and the end of parent */
    unsigned int over;     /* AO_int: 1: the destructor has run; the handlers do nothing */
    AO_t child[CHILD_MAX]; /* void (*)(void), or 0; no place after an empty one is taken */
} forking;

/* State of the forking thread after prepare. */
enum { FORK_NONE, FORK_ALL, FORK_UNSTARTED, FORK_INSIDE };
static __thread int forked __attribute__((tls_model("initial-exec")));

/* A signal handler may interrupt the calling thread, and fork. nested counts such forks in the
 * middle of a fork; held counts nested sections that a fork waits for. */
static __thread unsigned nested __attribute__((tls_model("initial-exec")));
static __thread unsigned held __attribute__((tls_model("initial-exec")));
/* How many of held are counted in held_off. While there are any, the thread passes the gate;
 * otherwise thread and fork would wait for each other. libdw, between hold and release, calls a
 * malloc that may be Oakum's. */
static __thread unsigned counted __attribute__((tls_model("initial-exec")));
static __thread uint64_t mask_before __attribute__((tls_model("initial-exec")));

/* ---- the gate ---- */

/* Is the gate open to the calling thread? */
static bool is_open(unsigned int gate)
{
    return gate == 0 || (counted > 0 && gate != GATE_FOR_EVER);
}

static void pass_gate(unsigned int gate)
{
    if (gate == GATE_FOR_EVER)
        oak_fatal("oakum: the heap can't be used in a child forked from inside it");
    if (gate == (unsigned int)oaki_os_tid())
        oak_fatal("oakum: called from a handler of pthread_atfork");
    oaki_futex_wait(&oaki_fork_gate, gate, 0);
}

OAKI_COLD oaki_thread *oaki_enter_at_gate(oaki_thread *t)
{
    for (;;) {
        unsigned int gate = AO_int_load_acquire(&oaki_fork_gate);
        if (is_open(gate)) return t;
        oaki_leave(t); /* waits outside, where a stop can reach it */
        pass_gate(gate);
        t->in_runtime = OAKI_IN_RUNTIME;
        AO_compiler_barrier();
    }
}

static void count_out(unsigned int *count)
{
    OAKI_ASSERT(AO_int_load(count) > 0);
    AO_int_fetch_and_sub1_full(count);
    if (OAKI_UNLIKELY(AO_int_load_acquire(&oaki_fork_gate) != 0)) oaki_futex_wake(count, 1);
}

/* Dekker's protocol with close_gate: the thread is counted, or waits until no fork is in
 * progress. */
static void count_in(unsigned int *count)
{
    for (;;) {
        AO_int_fetch_and_add_full(count, 1);
        unsigned int gate = AO_int_load_acquire(&oaki_fork_gate);
        if (OAKI_LIKELY(is_open(gate))) return;
        count_out(count);
        pass_gate(gate);
    }
}

void oaki_fork_inside(bool on)
{
    AO_compiler_barrier();
    held += on ? 1 : -1u;
    AO_compiler_barrier();
}

void oaki_fork_hold(void)
{
    oaki_fork_inside(true);
    count_in(&forking.held_off);
    AO_compiler_barrier();
    counted++;
}

void oaki_fork_release(void)
{
    OAKI_ASSERT(counted > 0 && held > 0);
    counted--;
    AO_compiler_barrier();
    count_out(&forking.held_off);
    oaki_fork_inside(false);
}

bool oaki_fork_is_held(void)
{
    return counted != 0;
}

/* A fork waits for these threads only a limited time. The holder of the loader's lock may itself be
 * at the gate: the program may iterate over loaded objects, and allocate there. */
void oaki_loader_begin(oaki_thread *t)
{
    OAKI_REQUIRES_STOPPABLE();
    if (t) oaki_stop_block(t);
    count_in(&forking.asking);
}

void oaki_loader_end(oaki_thread *t)
{
    count_out(&forking.asking);
    if (t) oaki_stop_unblock(t);
}

/* A handler that has interrupted the runtime or a fork can't wait. */
int oaki_loader_each(int (*fn)(struct dl_phdr_info *info, size_t size, void *ctx), void *ctx)
{
    const oaki_thread *t = oaki_thread_self();
    bool waits = !oaki_fork_is_ours() && (!t || t->in_runtime == 0);
    if (waits) oaki_loader_begin(NULL);
    int result = dl_iterate_phdr(fn, ctx);
    if (waits) oaki_loader_end(NULL);
    return result;
}

/* ---- helpers ---- */

/* Stops that wait for helpers. A helper with many steps would retake the lock before the waiting
 * thread wakes up, so it lets stops go first. */
static AO_t stops_waiting;

static unsigned int helpers_held; /* AO_int: 1 between hold and release */

void oaki_helper_begin(void)
{
    OAKI_REQUIRES_STOPPABLE();
    while (OAKI_UNLIKELY(AO_load(&stops_waiting) != 0)) oaki_os_sleep_ns(STOP_FIRST_NS);
    oaki_fork_hold();
    oaki_lock_acquire(&oaki_the_heap.helper_lock);
}

bool oaki_helper_try(void)
{
    OAKI_REQUIRES_INSIDE();
    return AO_load(&stops_waiting) == 0 && oaki_lock_try(&oaki_the_heap.helper_lock);
}

void oaki_helper_end(void)
{
    oaki_lock_release(&oaki_the_heap.helper_lock);
    oaki_fork_release();
}

void oaki_helpers_hold(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    AO_fetch_and_add1_full(&stops_waiting);
    oaki_lock_acquire(&oaki_the_heap.helper_lock);
    AO_fetch_and_sub1_full(&stops_waiting);
    AO_int_store(&helpers_held, 1);
}

bool oaki_helpers_are_held(void)
{
    return AO_int_load(&helpers_held) != 0;
}

void oaki_helpers_release(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_ASSERT(oaki_helpers_are_held());
    AO_int_store(&helpers_held, 0);
    oaki_lock_release(&oaki_the_heap.helper_lock);
}

/* ---- closing the gate ---- */

/* Waits until the count is 0, or for ns. Is it 0? */
static bool await_none(unsigned int *count, uint64_t ns)
{
    unsigned int n;
    uint64_t now, until = oaki_os_now_ns() + ns;
    while ((n = AO_int_load_acquire(count)) != 0 && (now = oaki_os_now_ns()) < until)
        oaki_futex_wait(count, n, until - now);
    return n == 0;
}

/* Returns false when the threads waited for take long. */
static bool close_gate(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_ASSERT(AO_int_load(&oaki_fork_gate) == 0);
    AO_int_store_release(&oaki_fork_gate, (unsigned int)oaki_os_tid());
    AO_nop_full();
    oaki_world_handshake(t);
    if (!await_none(&forking.held_off, PATIENCE_NS)) return false;
    (void)await_none(&forking.asking, LOADER_NS);
    return true;
}

static void open_gate(void)
{
    OAKI_ASSERT(AO_int_load(&oaki_fork_gate) == (unsigned int)oaki_os_tid());
    AO_int_store_release(&oaki_fork_gate, 0);
    oaki_futex_wake(&oaki_fork_gate, INT_MAX);
}

/* ---- the locks ---- */

/* Taken by hand: they are more than the order check can hold, and two mcentrals' locks are never
 * taken at a time otherwise. */
static void take(oaki_lock *l)
{
    while (!AO_int_compare_and_swap_acquire(&l->word, 0, 1)) oaki_os_sleep_ns(20000);
}

static void give(oaki_lock *l)
{
    OAKI_ASSERT(AO_int_load(&l->word) != 0);
    if (AO_int_compare_and_swap_release(&l->word, 1, 0)) return;
    AO_int_store_release(&l->word, 0);
    oaki_futex_wake(&l->word, INT_MAX);
}

/* The locks of oaki_heap but gc_lock, helper_lock and the mcentrals' of zones. With no thread and
 * no helper inside, the last two kinds are free. There may be thousands of mcentrals. */
static void for_each_lock(void (*fn)(oaki_lock *l))
{
    oaki_heap *h = &oaki_the_heap;
    fn(&h->threads_lock);
    fn(&h->zones.lock);
    fn(&h->roots_lock);
    fn(&h->finalizer_lock);
    fn(&h->types_lock);
    fn(&h->observe_lock);
    fn(&h->bits_lock);
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) fn(&h->central0[sc].lock);
    fn(&h->pages_lock);
}

/* ---- stdio ---- */

/* glibc's functions for the lock of the list of all files; they are in no header. fork takes that
 * lock after Oakum's handler. A thread that holds it may call malloc or Oakum: fflush(NULL), for a
 * file in memory or one of the program (fopencookie). So a fork takes it before it closes the gate.
 * It is recursive. */
#ifdef HAVE__IO_LIST_LOCK
void _IO_list_lock(void);
void _IO_list_unlock(void);
void _IO_list_resetlock(void);
#else /* musl has none for others: there a file's own functions must not wait for a fork */
#define _IO_list_lock() ((void)0)
static void _IO_list_unlock(void) {}
static void _IO_list_resetlock(void) {}
#endif

static __thread bool has_files __attribute__((tls_model("initial-exec")));

static void take_files(void)
{
    has_files = !oaki_os_alone();
    if (has_files) _IO_list_lock();
}

static void give_files(void (*fn)(void))
{
    if (has_files) fn();
    has_files = false;
}

/* ---- the handlers of pthread_atfork ---- */

static void take_gc_lock(oaki_thread *t)
{
    oaki_lock *l = &oaki_the_heap.gc_lock;
    if (t && t->in_runtime != OAKI_IN_BLOCKING) oaki_lock_acquire_parked(oaki_enter(), l);
    else oaki_lock_acquire(l); /* no stop waits for this thread */
}

static void leave(oaki_thread *t)
{
    if (t && t->in_runtime == OAKI_IN_RUNTIME) oaki_leave(t);
}

static void mask_signals(void)
{
    mask_before = oaki_os_mask_signals(oaki_dirty_faults() ? SIGSEGV : 0);
}

static void give_all(void)
{
    OAKI_ASSERT(forked == FORK_ALL || forked == FORK_UNSTARTED);
    if (forked == FORK_ALL) {
        open_gate();
        oaki_lock_release(&oaki_the_heap.gc_lock);
        leave(oaki_tls_thread);
    }
    oaki_heap_fork(1);
    give_files(_IO_list_unlock);
}

/* Once gc_lock is taken, no stop comes that would need a signal. Fork handlers registered before
 * Oakum's may write to a protected page. Returns false, with nothing taken, when a thread that a
 * fork waits for takes long: the unwinder or libdw may want to open a file. */
static bool take_all(oaki_thread *t)
{
    take_files();
    oaki_heap_fork(0);
    forked = FORK_UNSTARTED;
    if (AO_load(&oaki_the_heap.started)) {
        forked = FORK_ALL;
        take_gc_lock(t);
    }
    mask_signals();
    if (forked == FORK_UNSTARTED || close_gate(t)) return true;
    give_all();
    oaki_os_unmask_signals(mask_before);
    forked = FORK_INSIDE;
    return false;
}

/* In a signal handler that interrupted the runtime, waiting would never end. Inside another fork
 * all is taken already, and stays so until that fork is over. No signal handler runs while fork
 * handlers of others hold their locks, jemalloc's for one. Handlers registered before Oakum's run
 * after it here, and before it after the fork. */
static void prepare(void)
{
    int saved = errno;
    oaki_thread *t = oaki_tls_thread;
    if (forked != FORK_NONE) {
        nested++;
        return;
    }
    AO_int_fetch_and_add1_full(&forking.busy);
    if (AO_int_load(&forking.over)) {
        AO_int_fetch_and_sub1_full(&forking.busy);
        return;
    }
    forked = FORK_INSIDE;
    if (held || (t && t->in_runtime == OAKI_IN_RUNTIME)) {
        mask_signals();
        return;
    }
    while (!take_all(t)) oaki_os_sleep_ns(PATIENCE_NS);
    if (forked == FORK_ALL) {
        for_each_lock(take);
        oaki_meta_fork(0);
    }
    errno = saved;
}

static void let_signals_come(void)
{
    uint64_t mask = mask_before; /* a handler may fork */
    forked = FORK_NONE;
    oaki_os_unmask_signals(mask);
}

static void parent(void)
{
    int saved = errno;
    if (forked == FORK_NONE) return; /* prepare did nothing */
    if (nested > 0) {
        nested--;
        return;
    }
    if (forked == FORK_ALL) {
        oaki_meta_fork(1);
        for_each_lock(give);
    }
    if (forked != FORK_INSIDE) give_all();
    AO_int_fetch_and_sub1_full(&forking.busy);
    let_signals_come();
    errno = saved;
}

static void drop_other_threads(const oaki_thread *self)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *next;
    OAKI_REQUIRES_LOCK(&h->threads_lock);
    for (oaki_thread *t = h->threads; t; t = next) {
        next = t->next;
        if (t == self) continue;
        oaki_thread_unlink(t);
        oaki_thread_free(t);
    }
    OAKI_ASSERT(h->threads == self && (!self || !self->next));
}

static void child_of_all(void)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_tls_thread;
    oaki_meta_fork(2);
    for_each_lock(oaki_lock_reset);
    if (t) {
        t->tid = oaki_os_tid();
        AO_int_store(&t->signalled, 0); /* a pending signal is not inherited */
    }
    oaki_lock_acquire(&h->threads_lock);
    drop_other_threads(t);
    oaki_lock_release(&h->threads_lock);
    oaki_park_child();
    oaki_crew_child();
    AO_int_store(&forking.held_off, 0);
    AO_int_store(&forking.asking, 0);
    AO_int_store_release(&oaki_fork_gate, 0);
    oaki_lock_reset(&h->gc_lock);
    leave(t);
    for (size_t i = 0; i < CHILD_MAX && AO_load(&forking.child[i]); i++) {
        OAKI_REQUIRES_STOPPABLE();
        ((void (*)(void))AO_load(&forking.child[i]))();
    }
}

static void child(void)
{
    int saved = errno;
    if (forked == FORK_NONE) return; /* prepare did nothing */
    AO_int_store(&forking.busy, 0);
    if (nested > 0) { /* the interrupted fork has nothing to give back here */
        nested = 0;
        forked = FORK_INSIDE;
        AO_int_store(&oaki_fork_gate, GATE_FOR_EVER);
        return;
    }
    if (forked == FORK_INSIDE) AO_int_store(&oaki_fork_gate, GATE_FOR_EVER);
    else oaki_heap_fork(2);
    if (forked == FORK_ALL) child_of_all();
    give_files(_IO_list_resetlock);
    let_signals_come();
    errno = saved;
}

bool oaki_fork_is_ours(void)
{
    return forked != FORK_NONE;
}

/* Takes no lock, which a child could find locked: a place is taken once, and never given back. A
 * start that is retried after a failure registers again. */
void oaki_fork_register(void (*fn)(void))
{
    for (size_t i = 0; i < CHILD_MAX; i++) {
        (void)AO_compare_and_swap_full(&forking.child[i], 0, (AO_t)fn);
        if (AO_load(&forking.child[i]) == (AO_t)fn) return;
    }
    OAKI_INVARIANT(false, "too many fork handlers");
}

bool oaki_fork_stays;

void oaki_fork_at(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
#ifdef __GLIBC__
    int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *object);
    if (oaki_fork_stays) {
        (void)__register_atfork(before, in_parent, in_child, NULL);
        return;
    }
#endif
    (void)pthread_atfork(before, in_parent, in_child);
}

/* Runs as the program is loaded, so a fork never finds a start half done. Handlers that the program
 * registers later may allocate, as they run outside Oakum's. */
static __attribute__((constructor)) void register_handlers(void)
{
    oaki_fork_at(prepare, parent, child);
}

/* As the library is unloaded, or the program ends: libc takes the handlers off its list next. A
 * fork that has begun would give nothing back, and its child would have all signals blocked. */
static __attribute__((destructor)) void end_handlers(void)
{
    if (oaki_fork_stays || forked != FORK_NONE || held) return;
    AO_int_fetch_and_add1_full(&forking.over);
    uint64_t end = oaki_os_now_ns() + LAST_NS;
    while (AO_int_load(&forking.busy) && oaki_os_now_ns() < end) oaki_os_sleep_ns(STOP_FIRST_NS);
}
