/* beside.c - marking while the program runs, with no write barrier in it (docs/concurrent.md).
 *
 * A thread of its own does it, in pieces of about a tenth of a millisecond, each inside oaki_enter:
 * so every stop finds the marker at rest between two pieces, and a fork too. A cycle is
 *   all pages protected, so that writes are noted from before anything is marked, at birth too;
 *   a first stop (cycle.c): caches flushed, stacks and globals queued; from here on what is
 *     allocated is marked from birth (runtime/markbits.h);
 *   M = ~A; pinned objects queued;
 *   marking, by worker 0; and looking again at the objects on written pages, in rounds, until few
 *     are left;
 *   a last stop: the pages written since, the roots once more, and all that a cycle decides.
 * Whoever else collects meanwhile ends the cycle with its own stop, and the thread finds out before
 * its next piece.
 *
 * While a mark is under way no memory changes its kind: pages are not freed, and objects that are
 * large, or that a function marks, are not handed out again when they are freed by hand; they lose
 * their mark in the last stop instead.
 *
 * Owns: the thread, what is under way, the objects freed by hand meanwhile.
 * Lock: `marker` for worker 0 while the world runs; the list of freed objects has its own.
 * Bound: a piece is PIECE words of marking, STEP bytes of protecting, CLEAN bytes of written pages,
 * PINNED_PAGES pages. */
#include "beside.h"

#include "host.h"
#include "mark.h"
#include "pace.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/written.h"
#include <oakum/gc.h>

#define PIECE ((size_t)8192)          /* words marked at a time */
#define STEP ((size_t)64 << 20)       /* bytes of the range protected at a time */
#define CLEAN ((size_t)2 << 20)       /* bytes of it whose written pages are looked at at a time */
#define PINNED_PAGES ((size_t)16384)  /* pages looked at for pinned objects at a time */
#define FEW_PAGES 128                 /* written ones that are left to the last stop */
#define SPARSE 8192                   /* fewer written pages than this: looked at in larger steps */
#define SPARSE_CLEAN ((size_t)128 << 20) /* bytes, then */
#define ROUNDS 16                     /* of looking at written pages, at most */
#define FROM ((size_t)16 << 20)       /* live bytes; less is marked in a stop at once */
#define NAP_NS 100000u                /* of a thread that outruns the marker */

static struct {
    unsigned int state;  /* AO_int: oaki_beside */
    unsigned int wake;   /* AO_int, futex: counts the cycles that were asked for */
    unsigned int asked;  /* AO_int: one is to be begun */
    AO_t started;        /* 1: there is a thread, 2: it could not be had */
    AO_t cycle;          /* oaki_heap.cycle of the one that is under way */
    size_t live;         /* when it began */
    AO_t worked;         /* nanoseconds, by whoever */
    size_t freed_bytes;
    size_t at, end, written; /* of the step that is done in pieces: offsets; pages it found */
    size_t clean;            /* bytes whose written pages are looked at in a piece */
    oaki_lock marker, freed_lock;
    oaki_vec freed;      /* void *: by hand, since the mark began */
} self = {
    .marker = OAKI_LOCK_INIT(OAKI_RANK_MARKER),
    .freed_lock = OAKI_LOCK_INIT(OAKI_RANK_FREED),
};

oaki_beside oaki_beside_state(void)
{
    return (oaki_beside)AO_int_load_acquire(&self.state);
}

/* ---- pieces: true when there is more to do ---- */

/* Up to where the marker follows words. What the heap has grown by since is all born marked, and
 * stays so. */
static bool prepare_piece(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t words = OAKI_CHUNK / OAKI_GRANULE / 64, c = self.at / OAKI_CHUNK;
    if (self.at >= oaki_worker(0)->used) return false;
    if (h->chunk_inuse[c]) oaki_mark_prepare_beside(c * words, words);
    self.at += OAKI_CHUNK;
    return true;
}

/* Pinned objects are roots. Page by page, as spans come and go meanwhile. */
static bool pinned_piece(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t page = self.at >> OAKI_PAGE_SHIFT, end = self.end >> OAKI_PAGE_SHIFT;
    if (page >= end) return false;
    end = OAKI_MIN(end, page + PINNED_PAGES);
    oaki_lock_acquire(&self.marker);
    for (; page < end; page++) {
        oaki_pte e = AO_int_load(&h->pte[page]);
        if ((e & OAKI_PTE_CLASS) == 0 || (e & OAKI_PTE_SPANCLASS) >> 6 != OAKI_PINNED) continue;
        size_t off = page << OAKI_PAGE_SHIFT;
        for (size_t g = 0; g < OAKI_PAGE; g += OAKI_GRANULE)
            if (oaki_bit_get(h->alloc, off + g)) oaki_mark_pointer((char *)h->base + off + g);
    }
    oaki_lock_release(&self.marker);
    self.at = end << OAKI_PAGE_SHIFT;
    return true;
}

static bool mark_piece(void)
{
    oaki_lock_acquire(&self.marker);
    bool more = oaki_mark_some(oaki_worker(0), PIECE);
    oaki_lock_release(&self.marker);
    return more;
}

static bool clean_piece(void)
{
    if (self.at >= self.end) return false;
    size_t to = OAKI_MIN(self.at + self.clean, self.end);
    oaki_lock_acquire(&self.marker);
    size_t n = oaki_written_take(self.at, to, true, oaki_clean, oaki_worker(0));
    (void)oaki_mark_some(oaki_worker(0), PIECE);
    oaki_lock_release(&self.marker);
    if (n != SIZE_MAX) self.written += n;
    self.at = to;
    return true;
}

/* All of a step, unless somebody else ends the cycle: false. */
static bool go(bool (*piece)(void))
{
    self.at = 0;
    self.end = AO_load(&oaki_the_heap.used);
    for (bool more = true; more;) {
        oaki_thread *t = oaki_enter();
        bool mine = oaki_beside_state() != OAKI_BESIDE_NONE &&
                    AO_load(&oaki_the_heap.cycle) == AO_load(&self.cycle);
        uint64_t at = oaki_os_now_ns();
        more = mine && piece();
        oaki_count_add(&self.worked, oaki_os_now_ns() - at);
        oaki_leave(t);
        if (!mine) return false;
    }
    return true;
}

/* Until so few are left that a stop for them is short, or the program writes as fast as that: the
 * shorter a round, the fewer it writes meanwhile. */
static bool clean(void)
{
    size_t before = SIZE_MAX;
    self.clean = CLEAN;
    for (unsigned round = 0; round < ROUNDS; round++) {
        self.written = 0;
        if (!go(clean_piece) || !go(mark_piece)) return false;
        bool sparse = self.written < SPARSE, settled = self.written > before / 8 * 7;
        if (self.written <= FEW_PAGES || (settled && self.clean == SPARSE_CLEAN)) break;
        if (sparse) self.clean = SPARSE_CLEAN;
        before = self.written;
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

/* The program wants no collection now: nothing has happened. What it has freed by hand meanwhile is
 * left to the next one. */
static bool drop(void)
{
    oaki_lock_acquire(&self.marker);
    self.freed.len = 0;
    oaki_workers_discard();
    AO_store(&oaki_the_heap.marking, 0);
    oaki_beside_end();
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

/* What could not be protected counts as written. */
static void protect(bool on)
{
    size_t end = AO_load(&oaki_the_heap.used);
    for (size_t at = 0; at < end; at += STEP) {
        oaki_thread *t = oaki_enter();
        size_t to = OAKI_MIN(at + STEP, end);
        if (on) (void)oaki_written_protect(at, to);
        else oaki_written_release(at, to);
        oaki_leave(t);
    }
}

static void run(void)
{
    if (!is_due()) return;
    protect(true);
    if (begin() && go(prepare_piece) && go(start_marking) && go(pinned_piece) && go(mark_piece) &&
        clean())
        finish();
    protect(false);
}

static void *collector(void *arg)
{
    unsigned seen = 0;
    (void)arg;
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
    told = told && oaki_thread_spawn("oakum/gc", collector, NULL, true) == 0;
    (void)oaki_enter();
    if (!told) AO_store(&self.started, 2);
    return told;
}

static bool may(oaki_thread *t)
{
    const oak_config *cfg = &oaki_the_heap.config;
    if (!cfg->concurrent || oaki_mark_is_strict() || oaki_gc_refuses(OAKI_GC_DUE)) return false;
    if (!oaki_debug_switches.beside && oaki_pace_live() < FROM) return false;
    AO_t started = AO_load(&self.started);
    return started == 1 || (started == 0 && spawn(t));
}

static void ask(void)
{
    if (AO_int_load(&self.asked) || !AO_int_compare_and_swap_full(&self.asked, 0, 1)) return;
    AO_int_fetch_and_add_full(&self.wake, 1);
    oaki_futex_wake(&self.wake, 1);
}

/* The program allocates faster than the marker marks: it marks a piece itself, or waits a bit. */
static void help(oaki_thread *t)
{
    if (oaki_beside_state() == OAKI_BESIDE_MARKING && oaki_lock_try(&self.marker)) {
        uint64_t at = oaki_os_now_ns();
        bool more = oaki_beside_state() == OAKI_BESIDE_MARKING &&
                    oaki_mark_some(oaki_worker(0), PIECE);
        oaki_count_add(&self.worked, oaki_os_now_ns() - at);
        oaki_lock_release(&self.marker);
        if (more) return;
    }
    oaki_leave(t);
    oaki_os_sleep_ns(NAP_NS);
    (void)oaki_enter();
}

bool oaki_beside_instead(oaki_thread *t)
{
    if (!may(t)) return false;
    ask();
    if (AO_load(&oaki_the_heap.live) >= oaki_pace_goal()) help(t);
    return true;
}

bool oaki_beside_now(oaki_thread *t)
{
    if (!oaki_debug_switches.beside || !may(t)) return false;
    ask();
    return true;
}

/* ---- freed by hand meanwhile ---- */

bool oaki_gc_keep_freed(void *obj, size_t bytes)
{
    if (oaki_beside_state() == OAKI_BESIDE_NONE) return false;
    oaki_lock_acquire(&self.freed_lock);
    if (oaki_vec_reserve(&self.freed, self.freed.len + 1) == 0) {
        ((void **)self.freed.items)[self.freed.len++] = obj;
        self.freed_bytes += bytes;
    }
    oaki_lock_release(&self.freed_lock);
    oaki_count_sub_most(&oaki_the_heap.live, bytes);
    return true;
}

size_t oaki_beside_freed(void)
{
    return self.freed_bytes;
}

uint64_t oaki_beside_cpu(void)
{
    return AO_load(&self.worked);
}

size_t oaki_beside_born(void)
{
    size_t live = AO_load(&oaki_the_heap.live);
    return live > self.live ? live - self.live : 0;
}

/* ---- in the stops ---- */

void oaki_beside_begin(void)
{
    AO_store(&self.cycle, AO_load(&oaki_the_heap.cycle));
    self.live = AO_load(&oaki_the_heap.live);
    self.worked = 0;
    set_state(OAKI_BESIDE_BEGUN);
}

void oaki_beside_finish(void)
{
    oak_marker *m = oaki_worker(0);
    m->beside = m->shared_bits = false;
    m->used = AO_load(&oaki_the_heap.used);
    if (oaki_written_take(0, m->used, false, oaki_clean, m) == SIZE_MAX) oaki_clean(0, m->used, m);
    oaki_mark_left_out(m);
}

void oaki_beside_end(void)
{
    void **obj = self.freed.items;
    for (size_t i = 0; i < self.freed.len; i++) oaki_mark_clear(oaki_heap_offset(obj[i]));
    self.freed.len = 0;
    self.freed_bytes = 0;
    set_state(OAKI_BESIDE_NONE);
}

static void after_fork(void)
{
    AO_store(&self.started, 0);
    AO_store(&oaki_the_heap.nown, 0);
    AO_int_store(&self.asked, 0);
    oaki_lock_reset(&self.marker);
    oaki_lock_reset(&self.freed_lock);
    if (oaki_beside_state() == OAKI_BESIDE_NONE) return;
    self.freed.len = 0;
    self.freed_bytes = 0;
    set_state(OAKI_BESIDE_NONE);
    AO_store(&oaki_the_heap.marking, 0);
    oaki_workers_discard();
}

int oaki_beside_init(void)
{
    oaki_vec_init(&self.freed, sizeof(void *), OAKI_META_OTHER);
    oaki_fork_register(after_fork);
    return oaki_written_init();
}
