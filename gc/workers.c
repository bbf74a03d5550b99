/* workers.c - the threads that mark together: their chunks of mark stack, stealing, and the end
 * of a drain.
 *
 * Worker 0 is the thread that collects; the others are helper threads, asleep until worker 0 has
 * work to give away, so that a small heap never wakes them. What is given away are whole chunks
 * of the mark stack, ranges, and in the last stop of a cycle looks at parts of the heap that were
 * written; who has nothing left takes from there. A drain is over when no worker is busy: a worker
 * is busy while it has, or is about to take, work.
 *
 * Owns: `shared`. Lock: shared.lock (a spin lock, held for a few instructions) guards chunks,
 * ranges and free chunks. Memory is mapped straight from the system: a stopped thread may hold a
 * lock of jemalloc's. When there is none, objects are marked without being scanned, and the
 * overflow is noted; the drain then goes over all marked objects again, until a pass has marked
 * nothing that way, so each has brought something. */
#include "mark.h"
#include "runtime/os.h"
#include "watch.h"
#include <string.h>

#define RANGES 1024
#define RANGE_PIECE ((size_t)32 << 10) /* bytes of a range taken at a time */
/* Chunks are mapped by this; who needs more than a few needs much more, and gets it in huge pages.
 * What is kept from one mark to the next need not be faulted in anew, which costs most where a
 * hypervisor has taken the memory back meanwhile. */
#define BATCH ((size_t)256 << 10)
#define KEEP_BATCHES 4
#define HUGE_BATCH ((size_t)4 << 20)
#define KEEP_SHARE 16 /* of what is live: as much is kept */
#define WAKE_AFTER 4096 /* words that worker 0 looks at in a drain before it wakes the others */
#define SPINS 2000
#define LOOK ((size_t)2 << 20) /* bytes of the heap: as many as a table of the system's pages has */
#define LOOK_ALONE (LOOK * 8)  /* that worker 0 looks at before it wakes the others */

typedef struct range {
    const char *lo, *hi;
} range;

static struct {
    unsigned int lock;     /* AO_int */
    unsigned int hungry;   /* AO_int: workers, asleep or idle, that would take work */
    unsigned int busy;     /* AO_int: workers that have work */
    unsigned int awake;    /* AO_int: helpers that take part in this drain */
    unsigned int open;     /* AO_int: more may join; lock */
    unsigned int drain;    /* AO_int, futex: counts drains that woke the helpers */
    unsigned int waiting;  /* AO_int: chunks that nobody has taken yet; lock */
    oaki_mark_chunk *chunks;
    oaki_mark_chunk *free;
    size_t nranges;
    range ranges[RANGES];
    AO_t look_at;          /* offset of the next look; */
    size_t look_end;       /* there are none from here on */
    /* all that was mapped, by the first chunk of each, which is used for nothing else; what lies
     * before place `at` of `cut` has been taken */
    oaki_mark_chunk *batches, *last, *cut;
    size_t at;
    size_t nbatches, mapped; /* bytes */
    size_t ntaken;         /* chunks that workers have, or that are given away */
    unsigned int overflowed; /* AO_int */
    bool called;           /* worker 0 has woken the helpers for this drain; its own */
    size_t from;           /* what it had looked at before; its own */
    unsigned nworkers;     /* worker 0 included */
    unsigned nhelpers;     /* threads started */
    oak_marker workers[OAKI_WORKERS_MAX];
} shared;

/* Another worker does something short; unless it has lost its processor, maybe to this one. */
static void wait_a_little(unsigned spins)
{
    oaki_pause();
    if (spins > SPINS) oaki_os_yield();
}

static void lock(void)
{
    for (unsigned n = 0; !AO_int_compare_and_swap_acquire(&shared.lock, 0, 1); n++)
        wait_a_little(n);
}

static void unlock(void)
{
    AO_int_store_release(&shared.lock, 0);
}

/* ---- chunks ---- */

static oaki_mark_chunk *map_batch(void)
{
    size_t size = shared.nbatches < KEEP_BATCHES ? BATCH : HUGE_BATCH;
    oaki_mark_chunk *batch = oaki_os_map(size);
    if (!batch) return NULL;
    if (size == HUGE_BATCH && oaki_the_heap.config.huge_pages) oaki_os_huge(batch, size, true);
    batch->n = size;
    batch->next = NULL;
    shared.mapped += size;
    shared.nbatches++;
    if (shared.last) shared.last->next = batch;
    else shared.batches = batch;
    return shared.last = batch;
}

/* The next one of the batch that is being cut, or of the one behind it. A batch's first chunk is
 * its link. */
static oaki_mark_chunk *cut_chunk(void)
{
    if (!shared.cut || (shared.at + 1) * sizeof *shared.cut > shared.cut->n) {
        oaki_mark_chunk *batch = shared.cut ? shared.cut->next : shared.batches;
        if (!batch && !(batch = map_batch())) return NULL;
        shared.cut = batch;
        shared.at = 1;
    }
    return &shared.cut[shared.at++];
}

static oaki_mark_chunk *new_chunk_locked(void)
{
    size_t limit = (size_t)oaki_debug_switches.markstack * shared.nworkers;
    if (limit && shared.ntaken >= limit) return NULL;
    oaki_mark_chunk *c = shared.free;
    if (c) shared.free = c->next;
    else c = cut_chunk();
    if (c) shared.ntaken++;
    return c;
}

static oaki_mark_chunk *new_chunk(void)
{
    lock();
    oaki_mark_chunk *c = new_chunk_locked();
    unlock();
    if (c) {
        c->next = NULL;
        c->n = 0;
    }
    return c;
}

static void free_chunk(oaki_mark_chunk *c)
{
    lock();
    c->next = shared.free;
    shared.free = c;
    shared.ntaken--;
    unlock();
}

static void give(oaki_mark_chunk *c)
{
    lock();
    c->next = shared.chunks;
    shared.chunks = c;
    AO_int_store(&shared.waiting, shared.waiting + 1);
    unlock();
}

size_t oaki_mark_stack_bytes(void)
{
    return shared.mapped + sizeof shared;
}

/* All chunks are free now: their batches are to be cut anew. */
void oaki_mark_release(void)
{
    for (unsigned i = 0; i < shared.nworkers; i++) shared.workers[i].top = NULL;
    shared.free = shared.cut = NULL;
    shared.ntaken = 0;
}

void oaki_mark_trim(void)
{
    size_t keep = OAKI_MAX(KEEP_BATCHES * BATCH, oaki_workers_bytes() / KEEP_SHARE);
    for (; shared.mapped > keep; shared.nbatches--) {
        oaki_mark_chunk *batch = shared.batches;
        shared.batches = batch->next;
        shared.mapped -= batch->n;
        oaki_os_release(batch, batch->n);
    }
    if (!shared.batches) shared.last = NULL;
}

void oaki_workers_discard(void)
{
    for (unsigned i = 0; i < shared.nworkers; i++) {
        oak_marker *m = &shared.workers[i];
        m->top = m->full = NULL;
        m->head = m->tail = m->first = m->last = 0;
        m->range_lo = m->range_hi = NULL;
    }
    shared.chunks = NULL;
    AO_int_store(&shared.waiting, 0);
    shared.nranges = 0;
    shared.look_end = 0;
    AO_int_store(&shared.overflowed, 0);
    oaki_mark_release();
}

/* ---- giving ---- */

/* Not those for whom there is a chunk already: a helper may be scheduled late. */
bool oaki_others_hungry(void)
{
    return AO_int_load(&shared.hungry) > AO_int_load(&shared.waiting);
}

static void wake_helpers(void)
{
    if (shared.called || shared.nworkers < 2) return;
    unsigned n = shared.nworkers - 1;
    shared.called = true;
    for (unsigned i = 0; i < shared.nworkers; i++) shared.workers[i].shared_bits = true;
    AO_int_store(&shared.hungry, n);
    AO_int_store(&shared.busy, 1);
    AO_int_store_release(&shared.open, 1);
    AO_int_fetch_and_add_full(&shared.drain, 1);
    oaki_futex_wake(&shared.drain, (int)n);
}

/* A helper takes part if it comes while there is something to do: on a busy machine it may be
 * scheduled long after it was woken, and nobody waits for it until it has joined. */
static bool join_drain(void)
{
    lock();
    bool open = AO_int_load_acquire(&shared.open); /* and so shared_bits, which was set before */
    if (open) {
        AO_int_fetch_and_add_full(&shared.awake, 1);
        AO_int_fetch_and_add_full(&shared.busy, 1);
        AO_int_fetch_and_add_full(&shared.hungry, -1u);
    }
    unlock();
    return open;
}

static void close_drain(void)
{
    lock();
    AO_int_store(&shared.open, 0);
    unlock();
    for (unsigned n = 0; AO_int_load_acquire(&shared.awake); n++) wait_a_little(n);
}

/* Worker 0 starts alone; others are worth waking once it has seen that there is much to do. */
static bool anybody_there(oak_marker *m)
{
    if (m->id != 0 || shared.called) return true;
    if (m->scanned - shared.from < WAKE_AFTER) return false;
    wake_helpers();
    return true;
}

void oaki_mark_overflow(void)
{
    AO_int_store(&shared.overflowed, 1);
}

void oaki_mark_offer(oak_marker *m)
{
    if (OAKI_UNLIKELY(m->record != NULL)) {
        m->record(m);
        return;
    }
    oaki_mark_chunk *c = new_chunk(), *old = m->top;
    if (!c) {
        for (size_t keep = old ? old->n / 2 : 0; old && old->n > keep;)
            oaki_mark_only(m, old->entry[--old->n]);
        return;
    }
    m->top = c;
    if (!old) return;
    /* Wakes nobody: the loop that it is called from may set bits as one that is alone. */
    if (oaki_others_hungry() && (m->id != 0 || shared.called)) {
        give(old);
        return;
    }
    old->next = m->full;
    m->full = old;
}

void oaki_mark_share(oak_marker *m)
{
    if (!anybody_there(m)) return;
    oaki_mark_chunk *c = m->full;
    if (c) {
        m->full = c->next;
        give(c);
        return;
    }
    size_t half = m->top ? (m->top->n + 1) / 2 : 0;
    if (half == 0 || !(c = new_chunk())) return;
    /* The lower half was pushed earlier and is likely to lead to more. */
    memcpy(c->entry, m->top->entry, half * sizeof c->entry[0]);
    memmove(m->top->entry, m->top->entry + half, (m->top->n - half) * sizeof c->entry[0]);
    c->n = half;
    m->top->n -= half;
    give(c);
}

void oaki_looks_begin(size_t end)
{
    for (unsigned i = 0; i < shared.nworkers; i++) {
        shared.workers[i].whole = SIZE_MAX;
        shared.workers[i].again = 0;
        shared.workers[i].looks = true;
    }
    AO_store(&shared.look_at, 0);
    shared.look_end = end;
}

size_t oaki_looks_words(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < shared.nworkers; i++) n += shared.workers[i].again;
    return n;
}

bool oaki_ranges_add(const char *lo, const char *hi)
{
    lock();
    bool room = shared.nranges < RANGES;
    if (room) shared.ranges[shared.nranges++] = (range){ lo, hi };
    unlock();
    return room;
}

/* ---- taking ---- */

static bool take_range(range *out)
{
    lock();
    bool any = shared.nranges > 0;
    if (any) {
        range *r = &shared.ranges[shared.nranges - 1];
        out->lo = r->lo;
        out->hi = (size_t)(r->hi - r->lo) > RANGE_PIECE ? r->lo + RANGE_PIECE : r->hi;
        r->lo = out->hi;
        if (r->lo >= r->hi) shared.nranges--;
    }
    unlock();
    return any;
}

static oaki_mark_chunk *take_chunk(void)
{
    lock();
    oaki_mark_chunk *c = shared.chunks;
    if (c) {
        shared.chunks = c->next;
        AO_int_store(&shared.waiting, shared.waiting - 1);
    }
    unlock();
    return c;
}

static bool look_in_sight(void)
{
    return AO_load(&shared.look_at) < shared.look_end;
}

static bool take_look(oak_marker *m)
{
    if (!look_in_sight()) return false;
    size_t from = AO_fetch_and_add(&shared.look_at, LOOK);
    if (from >= shared.look_end) return false;
    if (m->id == 0 && from >= LOOK_ALONE) wake_helpers();
    oaki_watch_look(m, from, OAKI_MIN(from + LOOK, shared.look_end));
    return true;
}

bool oaki_mark_take(oak_marker *m)
{
    oaki_mark_chunk *c = m->full;
    if (c) m->full = c->next;
    else c = take_chunk();
    if (c) {
        if (m->top) free_chunk(m->top);
        c->next = NULL;
        m->top = c;
        return true;
    }
    range r;
    if (!take_range(&r)) return take_look(m);
    if (oaki_others_hungry()) (void)anybody_there(m);
    oaki_mark_range_lazily(m, r.lo, r.hi);
    return true;
}

/* ---- a piece ---- */

bool oaki_mark_some(oak_marker *m, size_t words)
{
    m->until = m->scanned + words;
    do oaki_mark_local(m);
    while (m->scanned < m->until && oaki_mark_take(m));
    bool more = m->scanned >= m->until;
    m->until = SIZE_MAX;
    return more;
}

/* ---- a drain ---- */

static bool work_in_sight(void)
{
    lock();
    bool any = shared.chunks || shared.nranges;
    unlock();
    return any || look_in_sight();
}

/* Nothing of its own left. Returns false when nobody has. */
static bool wait_for_work(void)
{
    AO_int_fetch_and_add_full(&shared.hungry, 1);
    AO_int_fetch_and_add_full(&shared.busy, -1u);
    for (unsigned spins = 0;; spins++) {
        if (work_in_sight()) {
            AO_int_fetch_and_add_full(&shared.busy, 1);
            AO_int_fetch_and_add_full(&shared.hungry, -1u);
            return true;
        }
        if (AO_int_load_acquire(&shared.busy) == 0) return false;
        wait_a_little(spins);
    }
}

static void work(oak_marker *m)
{
    do {
        do oaki_mark_local(m);
        while (oaki_mark_take(m));
    } while (wait_for_work());
}

static void *helper(void *arg)
{
    oak_marker *m = arg;
    unsigned seen = m->drain;
    for (;;) {
        unsigned now;
        while ((now = AO_int_load_acquire(&shared.drain)) == seen)
            oaki_futex_wait(&shared.drain, seen, 0);
        seen = now;
        if (!join_drain()) continue;
        work(m);
        AO_int_fetch_and_add_full(&shared.awake, -1u);
    }
    return NULL;
}

static void drain_once(oak_marker *m)
{
    /* Alone until somebody was woken: helpers that sleep count as hungry, so that offers are
     * made. */
    AO_int_store(&shared.hungry, shared.nworkers - 1);
    shared.from = m->scanned;
    for (;;) {
        do oaki_mark_local(m);
        while (oaki_mark_take(m));
        if (!shared.called) break;
        work(m);
        close_drain();
        if (!work_in_sight()) break;
        AO_int_store(&shared.busy, 1); /* alone, with what the last to leave had left */
    }
    shared.called = false;
    shared.look_end = 0;
    for (unsigned i = 0; i < shared.nworkers; i++) shared.workers[i].shared_bits = false;
    AO_int_store(&shared.hungry, 0);
}

void oaki_looks_finish(void)
{
    if (look_in_sight()) oaki_mark_drain();
}

void oaki_mark_drain(void)
{
    oak_marker *m = &shared.workers[0];
    drain_once(m);
    while (AO_int_load(&shared.overflowed)) {
        AO_int_store(&shared.overflowed, 0);
        oaki_mark_rescan(m);
        drain_once(m);
    }
}

/* ---- start ---- */

oak_marker *oaki_worker(unsigned id)
{
    return &shared.workers[id];
}

void oaki_workers_begin(void)
{
    oaki_heap *h = &oaki_the_heap;
    for (unsigned i = 0; i < shared.nworkers; i++) {
        oak_marker *m = &shared.workers[i];
        m->base = h->base;
        m->used = AO_load(&h->used);
        m->bytes = m->scanned = 0;
        m->beside = m->looks = false;
        m->whole = SIZE_MAX;
        m->until = SIZE_MAX;
        m->in_order = true;
        m->looked = m->stray = 0;
        m->patience = OAKI_PATIENCE;
    }
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

void oaki_workers_spawn(void)
{
    unsigned want = (unsigned)oaki_the_heap.config.gc_threads;
    if (!want) want = OAKI_MIN(oaki_os_cpus(), 8);
    while (shared.nhelpers + 1 < want) {
        oak_marker *m = &shared.workers[shared.nhelpers + 1];
        m->id = shared.nhelpers + 1;
        m->drain = AO_int_load(&shared.drain);
        if (oaki_thread_spawn("oakum/mark", helper, m, false) != 0) break;
        shared.nhelpers++;
    }
    shared.nworkers = shared.nhelpers + 1;
}

/* What a mark had under way is forgotten while helpers are still counted, as theirs is too; and
 * one may have had the lock, as no fork waits for those that come late to a drain. */
static void after_fork(void)
{
    AO_int_store(&shared.lock, 0);
    AO_int_store(&shared.open, 0);
    AO_int_store(&shared.awake, 0);
    AO_int_store(&shared.hungry, 0);
    shared.called = false;
    oaki_workers_discard();
    shared.nhelpers = 0;
    shared.nworkers = 1;
}

int oaki_workers_init(void)
{
    shared.nworkers = 1;
    oaki_fork_register(after_fork);
    return oaki_roots_exclude(&shared, sizeof shared);
}
