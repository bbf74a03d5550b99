/* beside.c - marking while the program runs, with no write barrier in it (docs/concurrent.md).
 *
 * A thread of its own does it, in pieces of about a tenth of a millisecond, each inside oaki_enter:
 * so every stop finds the marker at rest between two pieces, and a fork too. A full cycle is
 *   all pages protected, so that writes are noted from before anything is marked;
 *   a first stop (cycle.c): caches flushed, stacks and globals queued;
 *   M = ~A; pinned objects queued;
 *   marking, by worker 0; and looking again at the objects on written pages, in rounds, until few
 *     are left; what is allocated meanwhile is found in this way, or by a stop for the roots alone;
 *   a last stop: the pages written since, the roots once more, and all that a cycle decides.
 * A minor one begins with what the last cycle has marked, and with the pages written since then
 * (young.c): M = M | ~A, written pages first, then the same.
 * Whoever else collects meanwhile ends the cycle with its own stop, and the thread finds out before
 * its next piece.
 *
 * While a mark is under way no memory changes its kind: pages are not freed, and objects that are
 * large, or that a function marks, are not handed out again when they are freed by hand; they lose
 * their mark in the last stop instead (freed.c).
 *
 * Owns: the thread, what is under way.
 * Lock: `marker` for worker 0 while the world runs.
 * Bound: a piece is PIECE words of marking, STEP bytes of protecting, CLEAN bytes of written pages,
 * PINNED_PAGES pages. */
#include "beside.h"

#include "host.h"
#include "mark.h"
#include "pace.h"
#include "runtime/os.h"
#include "runtime/written.h"
#include "watch.h"
#include <oakum/gc.h>

#define PIECE ((size_t)8192)          /* words marked at a time */
#define STEP ((size_t)64 << 20)       /* bytes of the range protected at a time */
#define CLEAN ((size_t)2 << 20)       /* bytes of it whose written pages are looked at at a time */
#define PINNED_PAGES ((size_t)16384)  /* pages looked at for pinned objects at a time */
#define FEW_WORDS ((size_t)1 << 16)   /* to look at, that are left to the last stop */
#define PAGE_WORDS 128                /* as much work as protecting a page, and a fault */
#define ROOT_STOPS 3                  /* for the roots alone, at most */
#define LONG_NS 2000000u              /* a mark that takes less has none of them */
#define SPARSE 8192                   /* fewer written pages than this: looked at in larger steps */
#define SPARSE_CLEAN ((size_t)128 << 20) /* bytes, then */
#define ROUNDS 16                     /* of looking at written pages, at most */
#define REGION ((size_t)256 << 10)    /* bytes that lose their protection where one allocates */
#define REGIONS 64
#define NAP_NS 100000u                /* of a thread that outruns the marker */
#define WAIT_NAPS 100u                /* at most, for each of what it is about to allocate: */
#define WAIT_BYTES ((size_t)64 << 10) /* begun; of these at most: */
#define WAIT_MOST 20u

static struct {
    unsigned int state;  /* AO_int: oaki_beside */
    unsigned int wake;   /* AO_int, futex: counts the cycles that were asked for */
    unsigned int asked;  /* AO_int: one is to be begun */
    AO_t started;        /* 1: there is a thread, 2: it could not be had */
    AO_t cycle;          /* oaki_heap.cycle of the one that is under way */
    AO_t worked;         /* nanoseconds of processors, by whoever */
    AO_t done;           /* words that have been looked at */
    AO_t expected[2];    /* as many as the last one did, full or minor */
    size_t at, end, written; /* of the step that is done in pieces: offsets; pages it found */
    size_t clean;            /* bytes whose written pages are looked at in a piece */
    size_t taken;            /* pages that were protected, again and again */
    uint64_t begun_ns, stops_ns; /* the first stop's end; time in stops before the last */
    bool minor;              /* it is one; before it has begun: it is to be one */
    AO_t forgets;            /* pages are being protected for a full one */
    bool slow;               /* the program gets half of the time */
    bool refused;            /* the system has not told of written pages */
    AO_t released[REGIONS];  /* regions + 1 that are being allocated from */
    oaki_lock marker;
} self = { .marker = OAKI_LOCK_INIT(OAKI_RANK_MARKER) };

oaki_beside oaki_beside_state(void)
{
    return (oaki_beside)AO_int_load_acquire(&self.state);
}

/* ---- pieces: true when there is more to do ---- */

/* Where the heap ended at the first stop. What it grows by afterwards is prepared as it is
 * allocated. */
static bool prepare_piece(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t words = OAKI_CHUNK / OAKI_GRANULE / 64, c = self.at / OAKI_CHUNK;
    if (self.at >= oaki_worker(0)->used) return false;
    if (h->chunk_inuse[c]) oaki_mark_prepare_beside(c * words, words, self.minor);
    self.at += OAKI_CHUNK;
    return true;
}

/* Pinned objects are roots. Page by page, as spans come and go meanwhile. */
static bool pinned_piece(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t page = self.at >> OAKI_PAGE_SHIFT, end = self.end >> OAKI_PAGE_SHIFT;
    if (page >= end || AO_load(&h->npinned) == 0) return false;
    end = OAKI_MIN(end, page + PINNED_PAGES);
    oaki_lock_acquire(&self.marker);
    for (; page < end; page++) {
        oaki_pte e = AO_int_load(&h->pte[page]);
        if ((e & OAKI_PTE_CLASS) == 0 || oaki_pte_kind(e) != OAKI_PINNED) continue;
        size_t off = page << OAKI_PAGE_SHIFT;
        for (size_t g = 0; g < OAKI_PAGE; g += OAKI_GRANULE)
            if (oaki_bit_get(h->alloc, off + g)) oaki_mark_pointer((char *)h->base + off + g);
    }
    oaki_lock_release(&self.marker);
    self.at = end << OAKI_PAGE_SHIFT;
    return true;
}

/* Words count up to where the heap ends now: before this, no word was read that led to what it has
 * grown by since, unless on a page that is written and will be looked at. */
static void reach(oak_marker *m)
{
    m->used = AO_load(&oaki_the_heap.used);
}

/* The marker's lock held. */
static bool mark_some(void)
{
    oak_marker *m = oaki_worker(0);
    reach(m);
    bool more = oaki_mark_some(m, PIECE);
    AO_store(&self.done, m->scanned);
    return more;
}

static bool mark_piece(void)
{
    oaki_lock_acquire(&self.marker);
    bool more = mark_some();
    oaki_lock_release(&self.marker);
    return more;
}

static void clean_run(size_t from, size_t to, void *ctx)
{
    reach(ctx); /* after these pages were protected */
    oaki_clean(from, to, ctx);
}

static bool clean_piece(void)
{
    if (self.at >= self.end) return false;
    size_t to = OAKI_MIN(self.at + self.clean, self.end);
    oaki_lock_acquire(&self.marker);
    size_t n = oaki_watch_take(self.at, to, true, clean_run, oaki_worker(0));
    (void)mark_some();
    oaki_lock_release(&self.marker);
    if (n == SIZE_MAX) self.refused = true;
    else self.written += n;
    self.taken += n == SIZE_MAX ? 0 : n;
    self.at = to;
    return true;
}

static bool is_mine(void)
{
    return oaki_beside_state() != OAKI_BESIDE_NONE &&
           AO_load(&oaki_the_heap.cycle) == AO_load(&self.cycle);
}

/* Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE bool go_stopped(bool (*piece)(void), bool *more)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool mine = t && is_mine();
    uint64_t at = oaki_os_now_ns(), cpu = oaki_os_thread_cpu_ns();
    *more = mine && piece();
    at = oaki_os_now_ns() - at;
    self.stops_ns += at;
    oaki_count_add(&self.worked, oaki_os_thread_cpu_ns() - cpu);
    if (t) oaki_gc_stop_end(t);
    if (*more) oaki_os_sleep_ns((unsigned)OAKI_MIN(at, LONG_NS));
    return mine;
}

static bool go_running(bool (*piece)(void), bool *more)
{
    oaki_thread *t = oaki_enter();
    bool mine = is_mine();
    uint64_t cpu = oaki_os_thread_cpu_ns();
    *more = mine && piece();
    oaki_count_add(&self.worked, oaki_os_thread_cpu_ns() - cpu);
    oaki_leave(t);
    return mine;
}

/* All of a step, unless somebody else ends the cycle: false. */
static bool go(bool (*piece)(void))
{
    self.at = 0;
    self.end = AO_load(&oaki_the_heap.used);
    for (bool more = true; more;)
        if (!(self.slow ? go_stopped : go_running)(piece, &more)) return false;
    return true;
}

static void forget_regions(void)
{
    for (size_t i = 0; i < REGIONS; i++) AO_store(&self.released[i], 0);
}

/* What a look at the pages of a round has cost, in words; most pages that are being allocated from
 * cost a look at their bits. */
static size_t cost(size_t scanned)
{
    return oaki_worker(0)->scanned - scanned + self.written * 8;
}

/* Until so few are left that a stop for them is short. The shorter a round, the fewer are written
 * meanwhile; where the program writes as fast as they are looked at, it gets half of the time,
 * between short stops for a piece each; where that is no help, they are left to the last stop. */
static bool clean(void)
{
    size_t before = SIZE_MAX;
    self.clean = CLEAN;
    self.slow = false;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t scanned = oaki_worker(0)->scanned;
        self.written = 0;
        forget_regions();
        if (!go(clean_piece) || !go(mark_piece)) break;
        size_t now = cost(scanned);
        bool settled = now > before / 4 * 3;
        if (now <= FEW_WORDS || (settled && self.slow)) break;
        self.slow |= settled;
        if (self.written < SPARSE && !self.slow) self.clean = SPARSE_CLEAN;
        else self.clean = CLEAN;
        before = now;
    }
    self.slow = false;
    return is_mine();
}

/* A stop for the roots alone: what has been allocated since the first one may hang on them, and is
 * marked before the last one then. Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE bool look_at_roots(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool mine = t && is_mine();
    if (mine) {
        uint64_t at = oaki_os_now_ns();
        reach(oaki_worker(0));
        oaki_cycle_queue_roots();
        self.stops_ns += oaki_os_now_ns() - at;
    }
    if (t) oaki_gc_stop_end(t);
    return mine;
}

/* Until what hangs on the roots is little, too. */
static bool converge(void)
{
    if (!clean()) return false;
    for (unsigned n = 0; n < ROOT_STOPS; n++) {
        size_t scanned = oaki_worker(0)->scanned;
        if (oaki_os_now_ns() - self.begun_ns < LONG_NS) break;
        if (!look_at_roots() || !go(mark_piece)) return false;
        if (oaki_worker(0)->scanned - scanned <= FEW_WORDS) break;
        if (!clean()) return false;
    }
    return true;
}

/* ---- a cycle ---- */

static void set_state(oaki_beside state)
{
    AO_int_store_release(&self.state, (unsigned)state);
}

static bool is_due(void)
{
    return !oaki_gc_refuses(OAKI_GC_DUE) && (oaki_debug_switches.beside || oaki_pace_due());
}

/* Noinline, and the context saved in it: as oaki_gc_collect. */
static OAKI_NOINLINE bool begin(void)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_enter();
    bool due = true;
    for (bool done = false; !done;) {
        oaki_roots_refresh(t);
        oaki_lock_acquire_parked(t, &h->gc_lock);
        oaki_thread_save_context(t);
        due = is_due();
        done = !due || oaki_cycle_begin(t);
        oaki_lock_release(&h->gc_lock);
    }
    oaki_leave(t);
    return due;
}

/* From here on what the marker sees stays true, or is told. */
static bool start_marking(void)
{
    oak_marker *m = oaki_worker(0);
    AO_store_release(&oaki_the_heap.preparing, 0);
    m->beside = m->shared_bits = true;
    set_state(OAKI_BESIDE_MARKING);
    return false;
}

/* As if it had not begun. What was freed by hand is left to the next one. */
static void forget(void)
{
    oaki_freed_forget();
    oaki_workers_discard();
    AO_store(&oaki_the_heap.marking, 0);
    AO_store(&oaki_the_heap.preparing, 0);
    oaki_beside_end();
}

/* The program wants no collection now. */
static bool drop(void)
{
    oaki_lock_acquire(&self.marker);
    forget();
    oaki_lock_release(&self.marker);
    return false;
}

static void finish(void)
{
    oaki_thread *t = oaki_enter();
    bool done = oaki_cycle_finish(t, AO_load(&self.cycle));
    oaki_leave(t);
    if (!done) (void)go(drop);
}

static void in_steps(void (*fn)(size_t from, size_t to))
{
    size_t end = AO_load(&oaki_the_heap.used);
    for (size_t at = 0; at < end; at += STEP) {
        oaki_thread *t = oaki_enter();
        fn(at, OAKI_MIN(at + STEP, end));
        oaki_leave(t);
    }
}

static void release(size_t from, size_t to)
{
    if (AO_load(&oaki_the_heap.keeps_marks)) oaki_watch_old(from, to);
    else oaki_written_release(from, to);
}

/* What was written before is forgotten by protecting. So whoever collects in a stop meanwhile keeps
 * no marks, and the next cycle is a full one, whether this one comes to its end or not. A minor one
 * takes it in its first round; until then pages are as they have been since the last cycle. */
static void run(void)
{
    if (!is_due() || !oaki_written_begin()) return;
    oaki_thread *t = oaki_enter();
    self.minor = AO_load(&oaki_the_heap.keeps_marks) != 0;
    AO_store(&self.forgets, !self.minor);
    oaki_leave(t);
    if (!self.minor) in_steps(oaki_watch);
    bool begun = begin();
    AO_store(&self.forgets, 0);
    if (begun && go(prepare_piece) && go(start_marking) && go(pinned_piece) &&
        (self.minor || go(mark_piece)) && converge())
        finish();
    in_steps(release);
}

static void *collector(void *arg)
{
    unsigned seen = 0;
    if (!oaki_thread_attach_self()) {
        AO_store(&self.started, 0); /* the next need tries again */
        return arg;
    }
    oaki_thread *t = oaki_enter();
    t->own = true;
    AO_store(&oaki_the_heap.nown, 1);
    oaki_leave(t);
    for (;;) {
        unsigned now;
        oaki_blocking_begin(oaki_thread_self());
        while ((now = AO_int_load_acquire(&self.wake)) == seen)
            oaki_futex_wait(&self.wake, seen, 0);
        oaki_blocking_end(oaki_thread_self());
        seen = now;
        run();
        AO_int_store_release(&self.asked, 0);
    }
    return NULL;
}

/* ---- for those who allocate ---- */

/* Outside of oaki_enter, as it takes locks of the host. */
static OAKI_COLD bool spawn(oaki_thread *t)
{
    if (!AO_compare_and_swap_full(&self.started, 0, 1)) return AO_load(&self.started) == 1;
    bool told = oaki_written_start();
    oaki_leave(t);
    told = told && oaki_thread_spawn("oakum/gc", collector, NULL, false) == 0;
    (void)oaki_enter();
    if (!told) AO_store(&self.started, 2);
    return told;
}

static bool may(oaki_thread *t)
{
    const oak_config *cfg = &oaki_the_heap.config;
    if (!cfg->concurrent || oaki_mark_is_strict() || oaki_gc_refuses(OAKI_GC_DUE)) return false;
    if (!oaki_debug_switches.beside && !oaki_pace_is_large()) return false;
    AO_t started = AO_load(&self.started);
    return (started == 1 || (started == 0 && spawn(t))) && oaki_written_may();
}

static void ask(void)
{
    if (AO_int_load(&self.asked) || !AO_int_compare_and_swap_full(&self.asked, 0, 1)) return;
    AO_int_fetch_and_add_full(&self.wake, 1);
    oaki_futex_wake(&self.wake, 1);
}

/* If nobody else is at it. */
static bool mark_instead(void)
{
    if (oaki_beside_state() != OAKI_BESIDE_MARKING || !oaki_lock_try(&self.marker)) return false;
    uint64_t cpu = oaki_os_thread_cpu_ns();
    bool more = oaki_beside_state() == OAKI_BESIDE_MARKING && mark_some();
    oaki_count_add(&self.worked, oaki_os_thread_cpu_ns() - cpu);
    oaki_lock_release(&self.marker);
    return more;
}

static bool is_ahead(void)
{
    return oaki_pace_outruns(AO_load(&self.done), AO_load(&self.expected[self.minor]));
}

/* The program has reached its goal before the mark is over: it marks itself, and where it allocates
 * faster than all mark, it waits until the mark is as far as it is. Not for ever: what the marker
 * waits for may be held by who allocates. */
static void help(oaki_thread *t, size_t bytes)
{
    size_t most = OAKI_MIN(bytes / WAIT_BYTES + 1, WAIT_MOST) * WAIT_NAPS;
    for (size_t n = 0; n < most; n++) {
        bool marked = mark_instead();
        if (!is_ahead()) return;
        if (marked) continue;
        oaki_leave(t);
        oaki_os_sleep_ns(NAP_NS);
        (void)oaki_enter();
    }
}

bool oaki_beside_instead(oaki_thread *t, size_t bytes)
{
    if (!may(t)) return false;
    ask();
    if (AO_load(&oaki_the_heap.live) >= oaki_pace_goal()) help(t, bytes);
    return true;
}

bool oaki_beside_now(oaki_thread *t)
{
    if (!oaki_debug_switches.beside || !may(t)) return false;
    ask();
    return true;
}

/* ---- what others ask ---- */

bool oaki_beside_forgets(void)
{
    return AO_load(&self.forgets) != 0;
}

bool oaki_beside_is_minor(void)
{
    return self.minor && oaki_beside_state() == OAKI_BESIDE_MARKING;
}

/* ---- allocated meanwhile ---- */

/* Releasing is always safe: what is released counts as written. */
void oaki_gc_will_write(size_t off, size_t bytes)
{
    size_t region = off / REGION, to = OAKI_ALIGN_UP(off + bytes, REGION);
    AO_t *place = &self.released[region % REGIONS];
    if (oaki_beside_state() == OAKI_BESIDE_NONE || AO_load(place) == region + 1) return;
    AO_store(place, region + 1);
    oaki_written_release(region * REGION, OAKI_MIN(to, AO_load(&oaki_the_heap.used)));
}

size_t oaki_beside_work(void)
{
    return oaki_workers_scanned() + self.taken * PAGE_WORDS;
}

uint64_t oaki_beside_root_stops(void)
{
    return self.stops_ns;
}

uint64_t oaki_beside_cpu(void)
{
    return AO_load(&self.worked);
}

/* ---- in the stops ---- */

bool oaki_beside_begins_minor(void)
{
    return self.minor && AO_load(&oaki_the_heap.keeps_marks) && !oaki_zones_closing();
}

void oaki_beside_begin(void)
{
    self.minor = oaki_beside_begins_minor();
    self.refused = false;
    forget_regions();
    AO_store(&oaki_the_heap.keeps_marks, 0);
    AO_store(&self.cycle, AO_load(&oaki_the_heap.cycle));
    self.worked = 0;
    AO_store(&self.done, 0);
    self.stops_ns = 0;
    self.taken = self.minor ? 0 : AO_load(&oaki_the_heap.used) / OAKI_PLANE_WORD;
    self.begun_ns = oaki_os_now_ns();
    set_state(OAKI_BESIDE_BEGUN);
}

/* Pinned objects once more: some have come since they were queued, or before all were. */
void oaki_beside_finish(void)
{
    oak_marker *m = oaki_worker(0);
    m->beside = m->shared_bits = false;
    AO_store(&self.expected[self.minor], m->scanned);
    for (unsigned i = 0; i < oaki_workers_count(); i++) reach(oaki_worker(i));
    oaki_watch_last(self.refused);
}

void oaki_beside_end(void)
{
    oaki_freed_wipe();
    AO_store(&self.done, 0);
    set_state(OAKI_BESIDE_NONE);
}

void oaki_beside_give_up_marks(void)
{
    AO_store(&oaki_the_heap.keeps_marks, 0);
    if (oaki_beside_state() != OAKI_BESIDE_NONE) forget();
}

static void after_fork(void)
{
    AO_store(&self.started, 0);
    AO_store(&oaki_the_heap.nown, 0);
    AO_store(&oaki_the_heap.keeps_marks, 0);
    AO_store(&self.forgets, 0);
    AO_int_store(&self.asked, 0);
    oaki_lock_reset(&self.marker);
    AO_store(&oaki_the_heap.preparing, 0);
    if (oaki_beside_state() == OAKI_BESIDE_NONE) return;
    set_state(OAKI_BESIDE_NONE);
    AO_store(&oaki_the_heap.marking, 0);
    oaki_workers_discard();
}

int oaki_beside_init(void)
{
    oaki_fork_register(after_fork);
    oaki_freed_init();
    return oaki_written_init();
}
