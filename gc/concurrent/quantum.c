/* quantum.c - the pieces of a mark beside the program: a tenth of a millisecond each, inside
 * oaki_enter, so that every stop finds the marker at rest between two of them, and a fork too.
 * Whoever else collects meanwhile ends the mark with its own stop; it is found out before the next
 * piece.
 *
 * Owns: how far the mark has come that is under way, and what it has cost.
 * Lock: `marker` for worker 0 while the world runs. */
#include "quantum.h"

#include "gc/contract.h"
#include "gc/pace.h"
#include "gc/trace/trace.h"
#include "runtime/contain.h"
#include "runtime/os.h"

#define WORDS ((size_t)8192) /* marked at a time */
#define INSTEAD_NS 200000u   /* by a thread of the program, at most, which has other things to do */
#define SHARED_NS 500000u    /* with helpers, as it costs something to wake them; a stop ends it
                              * sooner */
#define LONG_NS 2000000u     /* the program has no more between two stops, */
#define LEAST_NS 40000u      /* and no less */
#define NAP_NS 100000u       /* of a thread that waits for the marker, for each that does, */
#define TURN_NS 50000u       /* for who waits for a table, which would be taken again before that */
#define NAP_MOST 5000000u    /* as to wake up is work for the processors, too */

static struct {
    unsigned int state; /* AO_int: oaki_concurrent */
    AO_t cycle;         /* oaki_heap.cycle of the one that is under way */
    AO_t worked;        /* nanoseconds of processors, by whoever, since the last one was over */
    AO_t done;          /* words that have been looked at */
    AO_t waiting;       /* threads that wait for the marker */
    uint64_t stops_ns, longest_ns; /* in stops between the first and the last, and in one */
    uint64_t vain_ns;              /* in one of these that was given up */
    AO_t before;                   /* of `worked`, before this mark */
    oaki_lock marker;
} self = { .marker = OAKI_LOCK_INIT(OAKI_RANK_MARKER) };

oaki_concurrent oaki_concurrent_state(void)
{
    return (oaki_concurrent)AO_int_load_acquire(&self.state);
}

void oaki_quanta_set_state(oaki_concurrent state)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_INVARIANT(state == OAKI_CONCURRENT_NONE || state == oaki_concurrent_state() + 1u,
                   "a concurrent mark has left out a state");
    if (state == OAKI_CONCURRENT_NONE) AO_store(&self.done, 0);
    AO_int_store_release(&self.state, (unsigned)state);
}

void oaki_quanta_begin(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    AO_store(&self.cycle, AO_load(&oaki_the_heap.cycle));
    AO_store(&self.done, 0);
    self.before = AO_load(&self.worked);
    self.stops_ns = self.longest_ns = self.vain_ns = 0;
    oaki_quanta_set_state(OAKI_CONCURRENT_BEGUN);
}

size_t oaki_quanta_cycle(void)
{
    return AO_load(&self.cycle);
}

bool oaki_quanta_continue(void)
{
    return oaki_concurrent_state() != OAKI_CONCURRENT_NONE &&
           AO_load(&oaki_the_heap.cycle) == AO_load(&self.cycle);
}

void oaki_concurrent_record(oaki_cycle *c)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    c->between = self.stops_ns;
    c->longest_between = self.longest_ns;
    c->longest_vain = OAKI_MAX(c->longest_vain, self.vain_ns);
    c->first += c->between;
    c->beside = AO_load(&self.worked);
    oaki_count_sub(&self.worked, c->beside); /* releasing pages may add to it meanwhile */
    oaki_preclean_record(c);
}

size_t oaki_quanta_done(void)
{
    return AO_load(&self.done);
}

void oaki_quanta_cost(uint64_t cpu_ns)
{
    oaki_count_add(&self.worked, cpu_ns);
}

uint64_t oaki_quanta_worked(void)
{
    OAKI_ASSERT(AO_load(&self.worked) >= self.before);
    return AO_load(&self.worked) - self.before;
}

/* ---- a step ---- */

static oaki_progress whole(void)
{
    return (oaki_progress){ 0, AO_load(&oaki_the_heap.used) };
}

/* Mark functions may have cancellation points. */
static bool work(oaki_quantum *piece, oaki_progress *s)
{
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_REST();
    OAKI_NO_CANCEL;
    uint64_t cpu = oaki_os_thread_cpu_ns(), helped = oaki_workers_helped();
    bool more = piece(s);
    helped = oaki_workers_helped() - helped; /* all are at rest between two pieces */
    oaki_quanta_cost(oaki_os_thread_cpu_ns() - cpu + helped);
    return more;
}

static bool work_running(oaki_quantum *piece, oaki_progress *s, oaki_lock *first, bool *more)
{
    oaki_thread *t = oaki_enter();
    bool mine = oaki_quanta_continue();
    if (first) oaki_lock_acquire(first);
    oaki_lock_acquire(&self.marker);
    *more = mine && work(piece, s);
    oaki_lock_release(&self.marker);
    bool waited = first && oaki_lock_is_awaited(first);
    if (first) oaki_lock_release(first);
    oaki_leave(t);
    if (waited) oaki_os_sleep_ns(TURN_NS);
    return mine;
}

static void note_stop(uint64_t ns, oaki_vain vain)
{
    self.stops_ns += ns;
    self.longest_ns = OAKI_MAX(self.longest_ns, ns);
    self.vain_ns = OAKI_MAX(self.vain_ns, vain.longest_ns);
}

/* Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE bool work_stopped(oaki_quantum *piece, oaki_progress *s, bool *more,
                                       unsigned part)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool mine = t && oaki_quanta_continue();
    uint64_t began = oaki_os_now_ns(), asked = t ? oaki_world_asked_ns() : began;
    *more = mine && work(piece, s);
    uint64_t now = oaki_os_now_ns(), worked = now - began;
    note_stop(now - asked, t ? oaki_world_vain() : (oaki_vain){ 0 });
    if (t) oaki_gc_stop_end(t);
    if (*more) oaki_os_sleep_exactly_ns(OAKI_MAX(OAKI_MIN(worked / part, LONG_NS), LEAST_NS));
    return mine;
}

/* Past the goal who allocates may wait for nothing, and only the mark's end helps. */
void oaki_quanta_prefault(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_ahead_led_step(AO_load(&oaki_the_heap.live) >= oaki_pace_goal());
}

bool oaki_quanta_locked(oaki_quantum *piece, oaki_lock *lock)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    oaki_progress s = whole();
    for (bool more = true; more; oaki_quanta_prefault())
        if (!work_running(piece, &s, lock, &more)) return false;
    return true;
}

bool oaki_quanta(oaki_quantum *piece)
{
    return oaki_quanta_locked(piece, NULL);
}

bool oaki_quanta_stopped(oaki_quantum *piece, unsigned part)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    oaki_progress s = whole();
    for (bool more = true; more; oaki_quanta_prefault())
        if (!work_stopped(piece, &s, &more, part)) return false;
    return true;
}

/* ---- marking ---- */

void oaki_workers_extend(void)
{
    size_t used = AO_load(&oaki_the_heap.used);
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_ASSERT(used >= oaki_worker(0)->used); /* the range doesn't shrink in a mark */
    for (unsigned i = 0; i < oaki_workers_count(); i++) oaki_worker(i)->used = used;
}

static bool mark(unsigned helpers)
{
    OAKI_REQUIRES_MARKING();
    OAKI_REQUIRES_RUNNING();
    oak_marker *m = oaki_worker(0);
    oaki_workers_extend();
    m->stop = &oaki_thread_self()->stop_pending;
    bool more = helpers ? oaki_trace_together(m, SHARED_NS, helpers) : oaki_trace_some(m, WORDS);
    m->stop = NULL;
    AO_store(&self.done, oaki_workers_scanned());
    return more;
}

/* Who waits leaves a processor to a helper. */
bool oaki_quantum_mark(oaki_progress *s)
{
    (void)s;
    return mark(oaki_workers_helping((unsigned)AO_load(&self.waiting)));
}

/* Helpers might lose their processors, and the program would wait for them. By the clock, too:
 * after pages were protected each is looked up anew, which takes some virtual machines 4 us for a
 * word. */
static bool mark_alone(oaki_progress *s)
{
    oak_marker *m = oaki_worker(0);
    (void)s;
    m->end_ns = oaki_os_now_ns() + INSTEAD_NS;
    m->soon = true;
    bool more = mark(0);
    m->soon = false;
    m->end_ns = 0;
    return more;
}

bool oaki_assist_mark(void)
{
    OAKI_REQUIRES_INSIDE();
    if (oaki_concurrent_state() != OAKI_CONCURRENT_MARKING || !oaki_lock_try(&self.marker))
        return false;
    bool more = oaki_concurrent_state() == OAKI_CONCURRENT_MARKING && work(mark_alone, NULL);
    oaki_lock_release(&self.marker);
    return more;
}

size_t oaki_throttle(void)
{
    OAKI_REQUIRES_OUTSIDE();
    size_t n = AO_fetch_and_add1(&self.waiting) + 1;
    oaki_os_sleep_ns(OAKI_MIN(n * NAP_NS, NAP_MOST));
    n = AO_load(&self.waiting);
    if (n) AO_fetch_and_sub1(&self.waiting); /* not in a child of meanwhile */
    return n;
}

#ifdef OAKI_DEBUG
bool oaki_is_collector(void)
{
    return oaki_lock_is_mine(&self.marker) || oaki_lock_is_mine(&oaki_the_heap.gc_lock) ||
           oaki_fork_is_ours();
}

bool oaki_worker_zero_is_mine(void)
{
    bool stopped = oaki_world_stopped() && oaki_lock_is_mine(&oaki_the_heap.gc_lock);
    return stopped || oaki_lock_is_mine(&self.marker);
}
#endif

static void after_fork(void)
{
    AO_store(&self.waiting, 0);
    oaki_lock_reset(&self.marker);
}

OAKI_AT_START void oaki_quanta_init(void)
{
    oaki_fork_register(after_fork);
}
