/* concurrent.c - marking while the program runs, with no write barrier in it (docs/concurrent.md).
 *
 * A thread of its own does it, in pieces (quantum.h). A full cycle is
 *   all pages protected, so that writes are noted from before anything is marked;
 *   a first stop (cycle.c): caches flushed, stacks and globals queued;
 *   M = ~A; pinned objects queued (roots.c);
 *   marking, by worker 0; then what ephemerons keep (roots.c); and looking again at the objects
 *     on written pages, in rounds, until few are left (preclean.c); what is allocated meanwhile is
 *     found in this way;
 *   a last stop: the pages written since, the roots once more, and all that a cycle decides.
 * A minor one begins with what the last cycle has marked, and with the pages written since then
 * (sticky.c): nothing is protected before it, M = M | ~A, then the same.
 *
 * While a mark is under way no memory changes its kind: pages are not freed, and objects that are
 * large, or that a function marks, are not handed out again when they are freed by hand; they lose
 * their mark in the last stop instead (deferred_free.c).
 *
 * Owns: the thread, and what is asked of it. Lock: as the pieces.
 * Bound: a piece of preparing is OAKI_CHUNK bytes of the range, one of protecting STEP. */
#include "concurrent.h"
#include "gc/contract.h"

#include "gc/debug/verify.h"
#include "gc/event.h"
#include "gc/off.h"
#include "gc/pace.h"
#include "gc/trace/trace.h"
#include "protect.h"
#include "quantum.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include <oakum/gc.h>

#define STEP ((size_t)64 << 20)       /* bytes of the range protected at a time */
#define PAGE_WORDS 128                /* as much work as protecting a page, and a fault */
#define FEW_CPUS 4                    /* another thread would take the program's */
#define WAIT_NS 250000u               /* of a thread that outruns the marker, at most, for each */
#define WAIT_BYTES ((size_t)16 << 10) /* of these that it is about to allocate, */
#define BLIND_NS 250000000u           /* but no more where nobody marks meanwhile; */
#define FIRST_NS 1000000000u          /* in case the marker waits for what the caller holds */
#define FIRST_NAP_NS 50000u
#define REFUSED_NAP_NS 500000u /* between two looks whether the program allows it now, */
#define REFUSED_NAPS 100       /* so many */
#define NAPS_A_ROUND 8         /* for the rounds of a mark that is kept */
#define REFUSALS 3             /* after so many it is done in a stop */

static struct {
    unsigned int wake;   /* AO_int, futex: counts the cycles that were asked for */
    unsigned int asked;  /* AO_int: one is to be begun */
    AO_t started;        /* 1: there is a thread, 2: nothing tells it of writes */
    AO_t clock;          /* of its processor time; 0: there was none yet */
    AO_t helped;         /* ns that others have marked for it */
    AO_t not_before;     /* oaki_heap.cycle: no thread could be had, until then none is tried */
    AO_t expected[2];    /* words that the last one looked at, full or minor */
    uint64_t begun_ns;   /* the first stop's end, */
    uint64_t took_ns;    /* and from there to the last one, of the last mark */
    bool minor;          /* it is one; before it has begun: it is to be one */
    AO_t in_any_case;    /* the one that is asked for is due, whatever the heap is like */
    AO_t forgets;        /* pages are being protected for a full one */
    AO_t telling;        /* of the end of the last one, by calls of the program's */
    unsigned naps;       /* of a mark that is kept, now or before */
    AO_t kept;           /* nothing but the last stop is left, which the program doesn't want now */
    AO_t refused;        /* so many in a row were not wanted when they were to begin, or to end */
    AO_t large;          /* bytes of large objects that have come during it */
} self;

/* ---- pieces: true when there is more to do ---- */

/* Where the heap ended at the first stop. What it grows by afterwards is prepared as it is
 * allocated. */
static bool prepare_piece(oaki_progress *s)
{
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_BEGUN();
    OAKI_ASSERT(s->at % OAKI_CHUNK == 0);
    oaki_heap *h = &oaki_the_heap;
    size_t words = OAKI_CHUNK / OAKI_GRANULE / 64, c = s->at / OAKI_CHUNK;
    if (s->at >= oaki_worker(0)->used) return false;
    if (h->chunk_inuse[c]) oaki_mark_prepare_concurrent(c * words, words, self.minor);
    s->at += OAKI_CHUNK;
    return true;
}

/* ---- a cycle ---- */

/* Did it happen? */
typedef enum answer { NOT_NEEDED, DONE, REFUSED } answer;

/* What the program refuses now is tried again for a while. */
static answer try_again(answer (*fn)(oaki_thread *t), oaki_thread *t)
{
    OAKI_REQUIRES_OUTSIDE();
    answer a = REFUSED;
    for (int n = 0; a == REFUSED && n < REFUSED_NAPS; n++) {
        oaki_os_sleep_ns(REFUSED_NAP_NS);
        a = fn(t);
    }
    if (a == REFUSED) AO_fetch_and_add1(&self.refused);
    return a;
}

/* Asks the host, too. */
static answer due(oaki_thread *t)
{
    t->bare = false;
    bool refused = oaki_gc_refuses(OAKI_GC_DUE);
    t->bare = true;
    if (refused) return REFUSED;
    return AO_load(&self.in_any_case) || oaki_pace_due() ? DONE : NOT_NEEDED;
}

static bool is_due(oaki_thread *t)
{
    answer a = due(t);
    return (a == REFUSED ? try_again(due, t) : a) == DONE;
}

/* Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE answer begin(oaki_thread *t)
{
    oaki_heap *h = &oaki_the_heap;
    answer a = DONE;
    (void)oaki_enter();
    for (bool done = false; !done;) {
        oaki_roots_refresh(t);
        oaki_lock_acquire_parked(t, &h->gc_lock);
        oaki_thread_save_context(t);
        a = due(t);
        done = a != DONE || oaki_cycle_init_pause(t);
        oaki_lock_release(&h->gc_lock);
    }
    oaki_leave(t);
    return a;
}

/* From here on what the marker sees stays true, or is told. */
static bool start_marking(oaki_progress *s)
{
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_BEGUN();
    oaki_verify_rule(oaki_worklist_check);
    (void)s;
    AO_store_release(&oaki_the_heap.preparing, 0);
    oaki_workers_concurrent(true);
    oaki_quanta_set_state(OAKI_CONCURRENT_MARKING);
    return false;
}

/* As if it had not begun. What was freed by hand is left to the next one. */
static void forget(void)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_ASSERT(oaki_concurrent_state() != OAKI_CONCURRENT_NONE);
    oaki_workers_discard();
    AO_store(&oaki_the_heap.marking, 0);
    AO_store(&oaki_the_heap.preparing, 0);
    oaki_quanta_set_state(OAKI_CONCURRENT_NONE);
    oaki_cycle_aborted();
}

/* The program wants no collection. */
static bool drop(oaki_progress *s)
{
    OAKI_REQUIRES_MARKING();
    (void)s;
    forget();
    return false;
}

static answer end(oaki_thread *t)
{
    (void)oaki_enter();
    answer a = NOT_NEEDED;
    if (oaki_quanta_continue()) a = oaki_cycle_final_pause(t, oaki_quanta_cycle()) ? DONE : REFUSED;
    oaki_leave(t);
    return a;
}

/* What the program writes meanwhile is looked at, or the last stop would have all of it. */
static answer end_later(oaki_thread *t)
{
    if (++self.naps % NAPS_A_ROUND == 0 && !oaki_preclean(self.begun_ns)) return NOT_NEEDED;
    return end(t);
}

/* Where the program wants no collection now it is kept for a while: who allocates when there may be
 * one again ends it, as that may be over before this thread could. */
static void finish(oaki_thread *t)
{
    answer a = end(t);
    if (a == REFUSED) {
        AO_store(&self.kept, 1);
        a = try_again(end_later, t);
        AO_store(&self.kept, 0);
    }
    if (a == REFUSED) (void)oaki_quanta(drop);
    else AO_store(&self.refused, 0);
}

/* What is called may take its time, or wait for who allocates, who collect themselves meanwhile. */
static void tell(oaki_thread *t)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    AO_store(&self.telling, 1);
    oaki_event_over(t);
    AO_store(&self.telling, 0);
    (void)oaki_enter();
    (void)oaki_dirty_start(); /* in a child, if it has forked */
    oaki_leave(t);
}

static void in_steps(void (*fn)(size_t from, size_t to))
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_IDLE();
    uint64_t cpu = oaki_os_thread_cpu_ns();
    size_t end = AO_load(&oaki_the_heap.used);
    for (size_t at = 0; at < end; at += STEP) {
        oaki_thread *t = oaki_enter();
        fn(at, OAKI_MIN(at + STEP, end));
        oaki_leave(t);
        oaki_quanta_prefault();
    }
    oaki_quanta_cost(oaki_os_thread_cpu_ns() - cpu);
}

static void release(size_t from, size_t to)
{
    if (AO_load(&oaki_the_heap.sticky)) oaki_unprotect_sparse(from, to);
    else oaki_unprotect(from, to);
}

/* What was written before is forgotten by protecting. So whoever collects in a stop meanwhile keeps
 * no marks, and the next cycle is a full one, whether this one comes to its end or not. A minor one
 * takes it in its first round; until then pages are as they have been since the last cycle. */
static void run(oaki_thread *t)
{
    (void)oaki_enter();
    self.minor = AO_load(&oaki_the_heap.sticky) != 0;
    AO_store(&self.forgets, !self.minor);
    oaki_leave(t);
    if (!self.minor) in_steps(oaki_protect_scanned);
    answer begun = begin(t);
    if (begun == REFUSED) begun = try_again(begin, t);
    AO_store(&self.forgets, 0);
    if (begun == DONE && oaki_quanta(prepare_piece) && oaki_quanta(start_marking) &&
        oaki_concurrent_roots() &&
        oaki_quanta(oaki_quantum_mark) && oaki_concurrent_values() && oaki_preclean(self.begun_ns))
        finish(t);
    in_steps(release);
    tell(t);
    oaki_deferred_release();
}

static void *collector(void *arg)
{
    unsigned seen = 0;
    oaki_thread *t = oaki_thread_attach_own();
    if (!t) {
        AO_store(&self.started, 0); /* the next need tries again */
        return arg;
    }
    AO_store(&self.clock, (AO_t)oaki_os_thread_clock());
    for (;;) {
        unsigned now;
        oaki_blocking_begin(oaki_thread_self());
        while ((now = AO_int_load_acquire(&self.wake)) == seen)
            oaki_futex_wait(&self.wake, seen, 0);
        oaki_blocking_end(oaki_thread_self());
        seen = now;
        if (is_due(t) && oaki_dirty_begin()) {
            if (oaki_os_cpus() <= FEW_CPUS) oaki_ahead_lead(true);
            run(t);
            oaki_ahead_lead(false);
        }
        AO_store(&self.in_any_case, 0);
        AO_int_store_release(&self.asked, 0);
    }
    return NULL;
}

/* ---- for those who allocate ---- */

/* A thread is started outside of oaki_enter, as that takes locks of the host. Where there is none
 * to be had now, or it would have nothing that tells it, the program collects itself, and the next
 * collection tries again. */
static OAKI_COLD bool spawn(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    AO_t next = AO_load(&oaki_the_heap.cycle) + 1;
    if (AO_load(&self.not_before) == next) return false;
    if (!AO_compare_and_swap_full(&self.started, 0, 1)) return AO_load(&self.started) == 1;
    bool told = oaki_dirty_start(), here = told && oaki_dirty_here();
    oaki_leave(t);
    bool runs = here && oaki_thread_spawn("oakum/gc", collector, NULL, false) == 0;
    (void)oaki_enter();
    if (!runs) AO_store(&self.not_before, next);
    if (!runs) AO_store_release(&self.started, told ? 0 : 2);
    return runs;
}

static bool may(oaki_thread *t)
{
    const oak_config *cfg = &oaki_the_heap.config;
    if (!cfg->concurrent || oaki_gc_refuses(OAKI_GC_DUE)) return false;
    if (!oaki_debug_switches.beside && !oaki_pace_is_large()) return false;
    AO_t started = AO_load(&self.started);
    return (started == 1 || (started == 0 && spawn(t))) && oaki_dirty_may();
}

bool oaki_concurrent_requested(void)
{
    return AO_int_load_acquire(&self.asked) != 0;
}

static void ask(void)
{
    if (oaki_concurrent_requested() || !AO_int_compare_and_swap_full(&self.asked, 0, 1)) return;
    AO_int_fetch_and_add_full(&self.wake, 1);
    oaki_futex_wake(&self.wake, 1);
}

static void ask_in_any_case(void)
{
    AO_store(&self.in_any_case, 1);
    ask();
}

static bool is_ahead(size_t bytes)
{
    return oaki_pace_outran(bytes, oaki_quanta_done(), AO_load(&self.expected[self.minor]));
}

/* What the marker and all that helped it have had of processors, about. 0: not known. */
static uint64_t marking_ns(void)
{
    int clock = (int)AO_load(&self.clock);
    return clock ? oaki_os_clock_ns(clock) + AO_load(&self.helped) : 0;
}

/* marking: what marking_ns was when it began to wait. A marker that is only being started has had
 * nothing. */
static bool waits(uint64_t begun, uint64_t marking, uint64_t most)
{
    uint64_t now = marking_ns(), marked = marking && now >= marking ? now - marking : 0;
    return oaki_pace_waits(oaki_os_now_ns() - begun, marked, most, BLIND_NS);
}

static bool mark_instead(void)
{
    uint64_t begun = oaki_os_now_ns();
    if (!oaki_assist_mark()) return false;
    (void)AO_fetch_and_add(&self.helped, oaki_os_now_ns() - begun);
    return true;
}

/* The program has reached its goal before the mark is over: it marks itself, and where it allocates
 * faster than all mark, it waits until the mark is as far as it is, or over. Not for ever: what the
 * marker waits for may be held by who allocates. What is allocated by many that wait is what one
 * would: they are many for few processors, and each that runs takes the marker's. */
static void help(oaki_thread *t, size_t bytes)
{
    uint64_t begun = oaki_os_now_ns(), marking = 0, most;
    AO_t cycle = AO_load(&oaki_the_heap.cycle);
    do {
        ask(); /* the marker may have been at the end of the last one */
        bool marked = mark_instead();
        if (!is_ahead(bytes) || AO_load(&oaki_the_heap.cycle) != cycle) return;
        if (!marking) marking = marking_ns();
        most = (bytes / WAIT_BYTES + 1) * WAIT_NS;
        if (marked && !t->stop_pending) continue;
        oaki_leave(t);
        most *= oaki_throttle();
        (void)oaki_enter();
    } while (waits(begun, marking, most));
}

/* Now there may be a collection, and in a moment perhaps not, or the marker has other things to do:
 * this thread is to do it. */
static bool is_mine(void)
{
    if (AO_load(&self.refused) < REFUSALS) return AO_load(&self.kept) || AO_load(&self.telling);
    AO_store(&self.refused, 0);
    return true;
}

bool oaki_concurrent_request(oaki_thread *t, size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    if (!may(t) || is_mine()) return false;
    if (AO_load(&oaki_the_heap.live) + bytes >= oaki_pace_goal()) help(t, bytes);
    else ask();
    return true;
}

bool oaki_concurrent_force(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    if (!oaki_debug_switches.beside || !may(t)) return false;
    ask_in_any_case();
    return true;
}

void oaki_concurrent_before(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    uint64_t begun = oaki_os_now_ns();
    bool asked = false;
    if (OAKI_LIKELY(!oaki_debug_switches.twice) || !may(t)) return;
    while (oaki_os_now_ns() - begun < FIRST_NS) {
        if (!oaki_concurrent_requested()) {
            if (asked) return;
            ask_in_any_case();
            asked = true;
        }
        oaki_leave(t);
        oaki_os_sleep_ns(FIRST_NAP_NS);
        (void)oaki_enter();
    }
}

/* ---- what others ask ---- */

bool oaki_concurrent_protecting(void)
{
    return AO_load(&self.forgets) != 0;
}

bool oaki_concurrent_is_minor(void)
{
    return self.minor && oaki_concurrent_state() == OAKI_CONCURRENT_MARKING;
}

void oaki_gc_large_in_mark(size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    AO_fetch_and_add(&self.large, bytes);
}

size_t oaki_concurrent_work(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_REST();
    return oaki_workers_scanned() + oaki_preclean_protected() * PAGE_WORDS;
}

/* ---- in the stops ---- */

bool oaki_concurrent_begins_minor(void)
{
    OAKI_REQUIRES_STOPPED();
    return self.minor && AO_load(&oaki_the_heap.sticky) && !oaki_zones_closing();
}

void oaki_concurrent_begin(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_IDLE();
    OAKI_ASSERT(AO_load(&oaki_the_heap.preparing)); /* from before A is read for M */
    self.minor = oaki_concurrent_begins_minor();
    AO_store(&oaki_the_heap.sticky, 0);
    AO_store(&self.large, 0);
    oaki_preclean_begin(self.minor);
    oaki_quanta_begin();
    self.begun_ns = oaki_os_now_ns();
}

/* Pinned objects once more: some have come since they were queued, or before all were. */
void oaki_concurrent_final_pause(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARKING();
    OAKI_REQUIRES_REST();
    oaki_verify_rule(oaki_worklist_check);
    self.took_ns = oaki_os_now_ns() - self.begun_ns;
    oaki_workers_concurrent(false);
    AO_store(&self.expected[self.minor], oaki_workers_scanned());
    oaki_workers_extend();
    oaki_rescan_begin(oaki_preclean_refusals());
}

/* Rounds have found large ones of that time too, so the two are not added. */
size_t oaki_concurrent_floating(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_IDLE();
    size_t late = oaki_pace_floating(oaki_preclean_found(), self.took_ns, oaki_quanta_worked());
    return OAKI_MAX(AO_load(&self.large), late);
}

void oaki_concurrent_end(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    oaki_deferred_wipe();
    oaki_quanta_set_state(OAKI_CONCURRENT_NONE);
}

void oaki_concurrent_give_up(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    AO_store(&oaki_the_heap.sticky, 0);
    if (oaki_concurrent_state() != OAKI_CONCURRENT_NONE) forget();
}

/* Where the thread has forked itself, by what it has called, it is the one that the child has. */
static void after_fork(void)
{
    const oaki_thread *t = oaki_thread_self();
    bool own = t && t->own;
    AO_store(&self.started, own);
    AO_store(&self.clock, own ? (AO_t)oaki_os_thread_clock() : 0);
    AO_store(&self.not_before, 0);
    AO_store(&oaki_the_heap.sticky, 0);
    AO_store(&self.forgets, 0);
    if (!own) AO_store(&self.telling, 0); /* it is at it still */
    AO_store(&self.kept, 0);
    AO_store(&self.refused, 0);
    AO_int_store(&self.asked, 0);
    AO_store(&self.in_any_case, 0);
    AO_store(&oaki_the_heap.preparing, 0);
    oaki_cycle_aborted();
    if (oaki_concurrent_state() == OAKI_CONCURRENT_NONE) return;
    oaki_quanta_set_state(OAKI_CONCURRENT_NONE);
    AO_store(&oaki_the_heap.marking, 0);
}

OAKI_AT_START int oaki_concurrent_init(void)
{
    oaki_quanta_init();
    oaki_fork_register(after_fork);
    oaki_deferred_init();
    return oaki_dirty_init();
}
