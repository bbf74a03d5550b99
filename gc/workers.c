/* workers.c - the threads that mark together: work stealing, and the end of a drain.
 *
 * Worker 0 is the thread that collects. Helpers sleep until it has work to donate, so a small heap
 * never wakes them. Idle workers steal what is donated: segments of the worklist, ranges (ranges.c)
 * and, in the final pause, parts of the heap with dirty pages. A drain is over when none is busy.
 *
 * A quantum of a concurrent mark is a drain that ends when its time is over, or a pause waits for
 * worker 0. Helpers then donate all they have, and are at rest before it ends. A quarter of the
 * workers takes part, and one more for each throttled mutator.
 *
 * Owns: `shared`. Lock: shared.lock, a spin lock, guards donated segments and the seats of a drain.
 * Without memory for segments, objects are marked only; the drain traces all marked ones again. */
#include "contract.h"
#include "gc/concurrent/protect.h"
#include "gc/debug/verify.h"
#include "gc/plan.h"
#include "gc/trace/spin.h"
#include "gc/trace/trace.h"
#include "runtime/crew.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/waker.h"
#include "settings.h"
#include "tuning.h"

static struct {
    oaki_spin lock;
    unsigned int idle;    /* AO_int: workers, asleep or idle, without work */
    unsigned int busy;    /* AO_int: workers that have work */
    unsigned int awake;   /* AO_int: helpers that take part in this drain */
    unsigned int open;    /* AO_int: more may join; lock */
    unsigned seats;       /* helpers that may join this drain */
    bool quantum;         /* the drain is a quantum of a concurrent mark */
    oaki_waker drains;    /* that woke the helpers */
    unsigned int waiting; /* AO_int: donated segments not taken yet; lock */
    oaki_mark_segment *donated;
    AO_t rescan_at;          /* offset of the next rescan task */
    size_t rescan_bytes;     /* of a task */
    size_t rescan_end;       /* there are no tasks from here on */
    unsigned int overflowed; /* AO_int */
    size_t wake_after;       /* words that worker 0 traces in a drain before it wakes helpers */
    bool called;             /* worker 0 has woken the helpers for this drain; its own */
    size_t from;             /* m->scanned at the drain's begin; its own */
    unsigned nworkers;       /* of this mark, worker 0 included */
    unsigned nhelpers;       /* threads started: the most ever wanted */
    oak_marker workers[OAKI_WORKERS_MAX];
} shared;

static bool has_nothing(const oak_marker *m)
{
    return m->head == m->tail && m->first == m->last && !m->full && (!m->top || !m->top->n) &&
           m->range_lo >= m->range_hi;
}

#ifdef OAKI_DEBUG
bool oaki_workers_are_at_rest(void)
{
    return !AO_int_load(&shared.open) && !AO_int_load(&shared.awake) && !shared.called;
}

bool oaki_workers_have_nothing(void)
{
    bool none = !shared.donated && !AO_int_load(&shared.waiting) && !oaki_ranges_any();
    for (unsigned i = 0; i < shared.nworkers; i++) none = none && has_nothing(&shared.workers[i]);
    return none;
}
#endif

/* ---- donating ---- */

static void donate(oaki_mark_segment *c)
{
    OAKI_ASSERT(c->n > 0 && c->n <= OAKI_SEGMENT_ENTRIES);
    oaki_spin_lock(&shared.lock);
    c->next = shared.donated;
    shared.donated = c;
    AO_int_store(&shared.waiting, shared.waiting + 1);
    oaki_spin_unlock(&shared.lock);
}

size_t oaki_mark_stack_bytes(void)
{
    return oaki_segments_mapped() + oaki_ranges_mapped() + sizeof shared;
}

void oaki_mark_release(void)
{
    OAKI_REQUIRES_COLLECTOR();
    for (unsigned i = 0; i < shared.nworkers; i++) {
        OAKI_ASSERT(has_nothing(&shared.workers[i]));
        shared.workers[i].top = NULL;
    }
    oaki_segments_release();
}

void oaki_workers_discard(void)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_REQUIRES_NO_HELPER();
    for (unsigned i = 0; i < shared.nworkers; i++) {
        oak_marker *m = &shared.workers[i];
        m->top = m->full = NULL;
        m->head = m->tail = m->first = m->last = 0;
        m->range_lo = m->range_hi = NULL;
    }
    shared.donated = NULL;
    AO_int_store(&shared.waiting, 0);
    oaki_ranges_forget();
    shared.rescan_end = 0;
    AO_int_store(&shared.overflowed, 0);
    oaki_mark_release();
}

/* Excludes idle workers that a donated segment waits for already: a helper may be late. */
bool oaki_workers_idle(void)
{
    return AO_int_load(&shared.idle) > AO_int_load(&shared.waiting);
}

static void wake_helpers(void)
{
    OAKI_REQUIRES_WORKER_ZERO();
    unsigned n = shared.seats;
    if (shared.called || n == 0) return;
    shared.called = true;
    if (!shared.quantum) oaki_worktime_drain(true);
    for (unsigned i = 0; i < shared.nworkers; i++) shared.workers[i].shared_bits = true;
    AO_int_store(&shared.idle, n);
    AO_int_store(&shared.busy, 1);
    AO_int_store_release(&shared.open, 1);
    /* if some helpers are not in this mark, wakes all: it is not known which ones would wake up */
    oaki_waker_wake(&shared.drains, (int)(shared.nhelpers < shared.nworkers ? n : shared.nhelpers));
}

/* A helper joins if it arrives while there is work. On a busy machine it may run long after it
 * was woken, and no thread waits for it until it has joined. */
static bool join_drain(oak_marker *m)
{
    oaki_spin_lock(&shared.lock);
    bool open = AO_int_load_acquire(&shared.open); /* and so sees shared_bits, set before */
    open = open && AO_int_load(&shared.awake) < shared.seats && m->id < shared.nworkers;
    if (open) {
        OAKI_ASSERT(has_nothing(m));
        AO_store(&m->until, SIZE_MAX);
        unsigned others = AO_int_fetch_and_add_full(&shared.awake, 1);
        AO_store(&oaki_gc.plan.joined, OAKI_MAX(AO_load(&oaki_gc.plan.joined), (AO_t)others + 2));
        AO_int_fetch_and_add_full(&shared.busy, 1);
        AO_int_fetch_and_add_full(&shared.idle, -1u);
    }
    oaki_spin_unlock(&shared.lock);
    return open;
}

static void close_drain(void)
{
    OAKI_REQUIRES_WORKER_ZERO();
    oaki_spin_lock(&shared.lock);
    AO_int_store(&shared.open, 0);
    oaki_spin_unlock(&shared.lock);
    for (unsigned i = 1; shared.quantum && i < shared.nworkers; i++)
        AO_store(&shared.workers[i].until, 0);
    for (unsigned n = 0; AO_int_load_acquire(&shared.awake); n++) oaki_spin_wait(n);
}

/* Worker 0 starts alone, and wakes helpers once it has seen much work. */
static bool anybody_there(oak_marker *m)
{
    if (m->id != 0 || shared.called) return true;
    if (m->scanned - shared.from < shared.wake_after) return false;
    wake_helpers();
    return true;
}

void oaki_overflow_note(void)
{
    AO_int_store(&shared.overflowed, 1);
}

void oaki_worklist_donate(oak_marker *m)
{
    if (OAKI_UNLIKELY(m->record != NULL)) {
        m->record(m->record_ctx, m);
        return;
    }
    OAKI_REQUIRES_WORKER(m);
    oaki_mark_segment *c = oaki_segment_new(), *old = m->top;
    if (!c) {
        for (size_t keep = old ? old->n / 2 : 0; old && old->n > keep;)
            oaki_overflow_mark(m, old->entry[--old->n]);
        return;
    }
    m->top = c;
    if (!old) return;
    /* Wakes no helper: the calling loop may set bits without atomic instructions. */
    if (oaki_workers_idle() && (m->id != 0 || shared.called)) {
        donate(old);
        return;
    }
    old->next = m->full;
    m->full = old;
}

void oaki_worklist_share(oak_marker *m)
{
    OAKI_REQUIRES_WORKER(m);
    if (!anybody_there(m)) return;
    oaki_mark_segment *c = m->full;
    if (c) {
        m->full = c->next;
        donate(c);
        return;
    }
    size_t half = m->top ? (m->top->n + 1) / 2 : 0;
    if (half == 0 || !(c = oaki_segment_new())) return;
    /* The lower half was pushed earlier and is likely to lead to more. */
    oaki_copy_without_trace(c->entry, m->top->entry, half * sizeof c->entry[0]);
    oaki_copy_without_trace(m->top->entry, m->top->entry + half,
                            (m->top->n - half) * sizeof c->entry[0]);
    c->n = half;
    m->top->n -= half;
    donate(c);
}

void oaki_workers_rescan_begin(size_t end)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_HELPER();
    for (unsigned i = 0; i < shared.nworkers; i++) {
        shared.workers[i].whole = SIZE_MAX;
        shared.workers[i].rescanned = 0;
        shared.workers[i].rescans = true;
    }
    AO_store(&shared.rescan_at, 0);
    size_t bytes = OAKI_MIN(end / OAKI_TUNE_RESCAN_TASKS, OAKI_TUNE_RESCAN_MOST);
    bytes = OAKI_MAX(bytes, OAKI_TUNE_RESCAN_LEAST);
    shared.rescan_bytes = OAKI_ALIGN_DOWN(bytes, OAKI_TUNE_RESCAN_LEAST);
    shared.rescan_end = end;
}

size_t oaki_workers_rescan_words(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < shared.nworkers; i++) n += shared.workers[i].rescanned;
    return n;
}

/* ---- stealing ---- */

static oaki_mark_segment *take_donated(void)
{
    oaki_spin_lock(&shared.lock);
    oaki_mark_segment *c = shared.donated;
    if (c) {
        OAKI_INVARIANT(shared.waiting > 0, "more segments of the mark stack than were donated");
        shared.donated = c->next;
        AO_int_store(&shared.waiting, shared.waiting - 1);
    }
    oaki_spin_unlock(&shared.lock);
    return c;
}

static bool rescan_in_sight(void)
{
    return AO_load(&shared.rescan_at) < shared.rescan_end;
}

static bool take_rescan(oak_marker *m)
{
    OAKI_ASSERT(!rescan_in_sight() || oaki_world_stopped());
    if (!rescan_in_sight()) return false;
    size_t from = AO_fetch_and_add(&shared.rescan_at, shared.rescan_bytes);
    if (from >= shared.rescan_end) return false;
    if (m->id == 0 && from >= OAKI_TUNE_RESCAN_ALONE) wake_helpers();
    oaki_rescan_dirty(m, from, OAKI_MIN(from + shared.rescan_bytes, shared.rescan_end));
    return true;
}

bool oaki_worklist_steal(oak_marker *m)
{
    OAKI_REQUIRES_WORKER(m);
    oaki_mark_segment *c = m->full;
    if (c) m->full = c->next;
    else c = take_donated();
    if (c) {
        if (m->top) oaki_segment_free(m->top);
        c->next = NULL;
        m->top = c;
        return true;
    }
    oaki_range r;
    if (!oaki_ranges_take(&r)) return take_rescan(m);
    if (oaki_workers_idle()) (void)anybody_there(m);
    oaki_trace_range_later(m, r.lo, r.hi, r.typed);
    return true;
}

/* ---- a drain ---- */

static bool work_in_sight(void)
{
    oaki_spin_lock(&shared.lock);
    bool any = shared.donated != NULL;
    oaki_spin_unlock(&shared.lock);
    return any || oaki_ranges_any() || rescan_in_sight();
}

/* The worker has no work left. Returns false when no worker has any, or its quantum is over. */
static bool wait_for_work(oak_marker *m)
{
    uint64_t since = 0;
    bool found = false;
    AO_int_fetch_and_add_full(&shared.idle, 1);
    OAKI_ASSERT(AO_int_load(&shared.busy) > 0);
    AO_int_fetch_and_add_full(&shared.busy, -1u);
    for (unsigned spins = 0; !found && !oaki_trace_is_over(m); spins++) {
        if (work_in_sight()) {
            AO_int_fetch_and_add_full(&shared.busy, 1);
            AO_int_fetch_and_add_full(&shared.idle, -1u);
            found = true;
        } else if (AO_int_load_acquire(&shared.busy) == 0) break;
        else if (spins == OAKI_TUNE_SPINS_UNCOUNTED) since = oaki_os_thread_cpu_ns();
        else oaki_spin_wait(spins);
    }
    if (since) oaki_worktime_waited(since);
    return found;
}

static void mark_alone(oak_marker *m)
{
    do oaki_trace_local(m);
    while (!oaki_trace_is_over(m) && oaki_worklist_steal(m));
}

static void work(oak_marker *m)
{
    do {
        mark_alone(m);
        if (oaki_trace_is_over(m)) {
            AO_int_fetch_and_add_full(&shared.busy, -1u);
            break;
        }
    } while (wait_for_work(m));
}

/* At the end of a quantum: a helper donates all that it has. */
static void hand_over(oak_marker *m)
{
    for (; m->first != m->last; m->first++)
        oaki_trace_noted(m, (char *)m->base + oaki_line_slot(m->line[m->first % OAKI_LINE]));
    if (m->range_lo < m->range_hi && !oaki_ranges_add(m->range_lo, m->range_hi, m->range_typed))
        oaki_trace_words(m, m->range_lo, m->range_hi);
    m->range_lo = m->range_hi = NULL;
    for (bool room = true; m->head != m->tail; m->head++) {
        if (room && (!m->top || m->top->n == OAKI_SEGMENT_ENTRIES)) oaki_worklist_donate(m);
        room = m->top && m->top->n < OAKI_SEGMENT_ENTRIES;
        if (room) m->top->entry[m->top->n++] = m->queue[m->head];
        else oaki_overflow_mark(m, m->queue[m->head]);
    }
    for (oaki_mark_segment *c; (c = m->full) != NULL; donate(c)) m->full = c->next;
    if (m->top && m->top->n > 0) donate(m->top);
    else if (m->top) oaki_segment_free(m->top);
    m->top = NULL;
}

static void help(oak_marker *m)
{
    oaki_stretch s = oaki_stretch_begin();
    work(m);
    if (shared.quantum) hand_over(m);
    else oaki_stretch_present(s);
    oaki_stretch_helped(s);
}

static void *helper(void *arg)
{
    oak_marker *m = arg;
    unsigned seen = m->drain;
    oaki_worker_own(m);
    while (oaki_crew_wait(&shared.drains, &seen)) {
        if (!join_drain(m)) continue;
        help(m);
        AO_int_fetch_and_add_full(&shared.awake, -1u);
    }
    return NULL;
}

/* Worker 0 starts alone. Sleeping helpers count as idle, so that it offers work. */
static void begin_drain(oak_marker *m, bool quantum, unsigned seats)
{
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_NO_HELPER();
    OAKI_ASSERT(seats < shared.nworkers);
    shared.quantum = quantum;
    shared.seats = seats;
    shared.from = m->scanned;
    if (!quantum) oaki_worktime_drain(false);
    AO_int_store(&shared.idle, seats);
}

static void end_drain(void)
{
    if (!shared.quantum) oaki_worktime_drained();
    shared.called = false;
    AO_int_store(&shared.idle, 0);
    OAKI_REQUIRES_NO_HELPER();
}

bool oaki_trace_some(oak_marker *m, size_t words)
{
    OAKI_REQUIRES_WORKER(m);
    OAKI_REQUIRES_NO_HELPER();
    if (has_nothing(m) && !oaki_worklist_steal(m)) return false; /* also if its time is over */
    AO_store(&m->until, m->scanned + words);
    mark_alone(m);
    bool more = oaki_trace_is_over(m);
    AO_store(&m->until, SIZE_MAX);
    return more;
}

bool oaki_trace_together(oak_marker *m, uint64_t ns, unsigned helpers)
{
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_ASSERT(m == oaki_worker(0) && helpers < shared.nworkers);
    m->end_ns = oaki_os_now_ns() + ns;
    begin_drain(m, true, helpers);
    if (work_in_sight()) wake_helpers();
    mark_alone(m);
    if (shared.called) {
        work(m);
        close_drain();
    }
    end_drain();
    bool more = oaki_trace_is_over(m) || work_in_sight();
    m->end_ns = 0;
    return more;
}

static void drain_once(oak_marker *m)
{
    OAKI_REQUIRES_STOPPED();
    begin_drain(m, false, shared.nworkers - 1);
    for (;;) {
        mark_alone(m);
        if (!shared.called) break;
        work(m);
        close_drain();
        if (!work_in_sight()) break;
        AO_int_store(&shared.busy, 1); /* alone, with work left by the last helpers to leave */
    }
    shared.rescan_end = 0;
    for (unsigned i = 0; i < shared.nworkers; i++) shared.workers[i].shared_bits = false;
    end_drain();
}

void oaki_workers_rescan_finish(void)
{
    if (rescan_in_sight()) oaki_mark_drain();
}

void oaki_mark_drain(void)
{
    oak_marker *m = &shared.workers[0];
    drain_once(m);
    while (AO_int_load(&shared.overflowed)) {
        AO_int_store(&shared.overflowed, 0);
        oaki_overflow_rescan(m);
        drain_once(m);
    }
    oaki_verify_rule(oaki_worklist_check);
    OAKI_ASSERT(oaki_workers_have_nothing());
}

const char *oaki_worklist_check(void)
{
    OAKI_REQUIRES_NO_HELPER();
    size_t held = 0, donated = 0, used = AO_load(&oaki_the_heap.used);
    for (unsigned i = 0; i < shared.nworkers; i++) {
        const oak_marker *m = &shared.workers[i];
        held += m->top != NULL;
        if (m->head > m->tail || m->tail > OAKI_QUEUE) return "worklist: a queue is in its array";
        if (m->last - m->first > OAKI_LINE) return "worklist: a delay line is no longer than it is";
        for (unsigned k = m->head; k < m->tail; k++)
            if (m->queue[k] >= used) return "worklist: words in a queue lead into the heap";
        for (const oaki_mark_segment *c = m->full; c; c = c->next, held++)
            if (c->n == 0 || c->n > OAKI_SEGMENT_ENTRIES)
                return "worklist: a full segment has entries";
    }
    for (const oaki_mark_segment *c = shared.donated; c; c = c->next, donated++)
        for (size_t k = 0; k < c->n; k++)
            if (c->entry[k] >= used) return "worklist: entries of a segment lead into the heap";
    if (donated != shared.waiting) return "worklist: waiting == segments that were donated";
    const char *rule = oaki_segments_check(held + donated);
    return rule ? rule : oaki_ranges_check();
}

/* ---- start ---- */

oak_marker *oaki_worker(unsigned id)
{
    return &shared.workers[id];
}

void oaki_workers_begin(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_HELPER();
    OAKI_ASSERT(oaki_workers_have_nothing());
    shared.wake_after = oaki_plan_wake_words();
    oaki_worktime_begin();
    AO_store(&oaki_gc.plan.joined, 1);
    for (unsigned i = 0; i < shared.nworkers; i++) {
        oak_marker *m = &shared.workers[i];
        m->base = oaki_the_heap.base;
        m->used = AO_load(&oaki_the_heap.used);
        m->bytes = m->scanned = m->redone = m->looked = m->stray = 0;
        m->concurrent = m->rescans = false;
        m->whole = SIZE_MAX;
        AO_store(&m->until, SIZE_MAX);
        m->in_order = true;
        m->patience = OAKI_TUNE_PATIENCE;
    }
}

void oaki_workers_concurrent(bool concurrent)
{
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_REQUIRES_NO_HELPER();
    for (unsigned i = 0; i < shared.nworkers; i++)
        shared.workers[i].concurrent = shared.workers[i].shared_bits = concurrent;
}

unsigned oaki_workers_helping(unsigned spare)
{
    unsigned forced = (unsigned)oaki_debug_switches.markers;
    unsigned part = OAKI_TUNE_CONCURRENT_WORKERS;
    unsigned n = forced ? forced : (shared.nworkers + part - 1) / part + spare;
    return OAKI_MIN(n, shared.nworkers) - 1;
}

size_t oaki_workers_bytes(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < shared.nworkers; i++) n += shared.workers[i].bytes;
    return n;
}

size_t oaki_workers_scanned(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < shared.nworkers; i++) n += shared.workers[i].scanned;
    return n;
}

unsigned oaki_workers_count(void)
{
    return shared.nworkers;
}

/* No helper starts where the calling thread has lost dirty tracking: it would scan all in each
 * pause. */
void oaki_workers_spawn(unsigned processors)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_RUNNING();
    unsigned want = oaki_gc_markers(), most = oaki_plan_workers(processors);
    bool small = AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT < OAKI_TUNE_HELPERS_FROM;
    if (!want) want = OAKI_MIN(most, small ? shared.nhelpers + 1 : OAKI_TUNE_WORKERS);
    while (shared.nhelpers + 1 < want && !oaki_dirty_lost()) {
        oak_marker *m = &shared.workers[shared.nhelpers + 1];
        m->id = shared.nhelpers + 1;
        m->drain = oaki_waker_calls(&shared.drains);
        if (oaki_thread_spawn("oakum/mark", helper, m, false) != 0) break;
        shared.nhelpers++;
    }
    shared.nworkers = OAKI_MIN(shared.nhelpers + 1, want);
}

/* In a fork's child: drops the work of the parent's mark, while helpers still count, as theirs is
 * dropped too. The lock may have been held, as no fork waits for helpers that join late. */
void oaki_workers_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_segments_after_fork();
    oaki_ranges_after_fork();
    shared.lock = 0;
    AO_int_store(&shared.open, 0);
    AO_int_store(&shared.awake, 0);
    AO_int_store(&shared.idle, 0);
    shared.called = false;
    oaki_workers_discard();
    shared.nhelpers = 0;
    shared.nworkers = 1;
}

OAKI_AT_START int oaki_workers_init(void)
{
    shared.nworkers = 1;
    if (oaki_ranges_init() != 0) return -1;
    return oaki_roots_exclude(&shared, sizeof shared);
}
