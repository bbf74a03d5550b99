/* preclean.c - looking again at the pages that the program writes while it is being marked, until
 * so few are left that the stop for them is short (docs/concurrent.md).
 *
 * A round protects the written pages again, and then looks at the words that marked objects have on
 * them. The shorter a round, the fewer pages are written meanwhile, unless the program writes them
 * as fast as they are looked at. Then they are looked at in short stops, by all workers, and the
 * program has little time between two of them, until a round has little to do.
 * What the roots refer to is asked for once more before that: what was allocated since the first
 * stop may hang on them. So is what pairs keep, and what is marked by functions that want the world
 * to stand.
 *
 * Owns: the round that is under way; where the program allocates from meanwhile.
 * Lock: as the pieces that it is done in. Bound: a piece is MOST_PAGES written pages while the
 * program runs, and about SLICE_NS in a stop, and what is marked from there. */
#include "quantum.h"

#include "gc/contract.h"
#include "gc/trace/trace.h"
#include "protect.h"
#include "runtime/dirty.h"
#include "runtime/os.h"

#define LEAST_STEP ((size_t)2 << 20) /* bytes of the range that are asked about at a time: a huge */
#define MOST_STEP ((size_t)64 << 20) /* page that is written is one still when it was asked about */
#define PAGES ((size_t)512)          /* written ones, that a piece is to look at; */
#define MOST_PAGES ((size_t)2048)    /* it looks at no more */
#define FEW_WORDS ((size_t)1 << 16)  /* to look at, that are left to the last stop */
#define ROUNDS 16                    /* at most */
#define ROOT_STOPS 3                 /* for the roots alone, at most */
#define LONG_NS 2000000u             /* a mark that takes less does not ask for roots */
#define SLICE_NS 700000u             /* a stop for a part of a round */
#define STOP_STEP ((size_t)8 << 20)  /* bytes that are asked about at a time in one */
#define STOP_PAGES ((size_t)64)      /* written ones, that it looks at then */
#define LEAST_NS 100                 /* for a page of those that are left to all workers */
#define PART 4                       /* of the time, for the program between stops: 1/4 at first */
#define LEAST_PART 64
#define REGION ((size_t)256 << 10) /* bytes that lose their protection where one allocates */
#define REGIONS 64

static struct {
    size_t written;           /* pages that the round has found so far */
    size_t taken;             /* pages that were protected, by all rounds */
    size_t step;              /* bytes that are asked about at a time while the program runs */
    uint64_t page_ns;         /* what a page that is left to all workers takes in a stop */
    size_t marked;            /* bytes, before the first round */
    size_t refusals;          /* by the system, at the first stop */
    unsigned rounds, stopped; /* so far, while the program ran and in stops */
    AO_t released[REGIONS];   /* regions + 1 that are being allocated from */
} self;

/* ---- pieces ---- */

static void clean_run(size_t from, size_t to, void *ctx)
{
    OAKI_REQUIRES_MARKING();
    OAKI_ASSERT(from < to);
    oaki_workers_extend(); /* after these pages were protected */
    oaki_rescan_pages(from, to, ctx);
}

/* Returns how many were written. */
static size_t take(oaki_progress *s, size_t step, size_t pages)
{
    size_t to = OAKI_MIN(OAKI_ALIGN_DOWN(s->at, step) + step, s->end);
    size_t n = oaki_protect_again(&s->at, to, pages, clean_run, oaki_worker(0));
    OAKI_ASSERT(s->at <= to);
    if (n == SIZE_MAX) return 0;
    self.written += n;
    self.taken += n;
    return n;
}

static bool clean_piece(oaki_progress *s)
{
    OAKI_REQUIRES_RUNNING();
    OAKI_REQUIRES_MARKING();
    if (s->at >= s->end) return false;
    size_t n = take(s, self.step, MOST_PAGES);
    if (n > PAGES)
        self.step = OAKI_MAX(self.step / 2, LEAST_STEP);
    else if (n < PAGES / 2)
        self.step = OAKI_MIN(self.step * 2, MOST_STEP);
    (void)oaki_quantum_mark(s);
    return true;
}

/* n pages were left to all workers, who took so long. */
static void learn(size_t n, uint64_t ns)
{
    if (n == 0) return;
    ns = OAKI_MAX(OAKI_MAX(ns / n, self.page_ns / 2), LEAST_NS);
    self.page_ns = OAKI_MIN(ns, SLICE_NS / STOP_PAGES);
}

/* Small objects are looked at as their pages are found, pieces of large ones by all workers
 * afterwards: the stop is as long as both. */
static bool clean_in_stop(oaki_progress *s)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARKING();
    const oak_marker *m = oaki_worker(0);
    uint64_t begun = oaki_os_now_ns(), now = begun;
    size_t before = m->left, left = 0;
    oaki_workers_concurrent(false);
    while (s->at < s->end && now - begun + left * self.page_ns < SLICE_NS) {
        (void)take(s, STOP_STEP, STOP_PAGES);
        OAKI_ASSERT(m->left >= before);
        left = (m->left - before) / OAKI_PAGE;
        now = oaki_os_now_ns();
    }
    oaki_mark_drain();
    oaki_workers_concurrent(true);
    learn(left, oaki_os_now_ns() - now);
    return s->at < s->end;
}

/* What has been allocated since the first stop is marked before the last one then. */
static bool queue_roots(oaki_progress *s)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARKING();
    (void)s;
    oaki_workers_extend();
    oaki_roots_queue();
    return false;
}

/* ---- rounds ---- */

/* What a look at the pages of a round has cost, in words; most pages that are being allocated from
 * cost a look at their bits. */
static size_t cost(size_t scanned)
{
    return oaki_workers_scanned() - scanned + self.written * 8;
}

/* So little that it is left to the last stop. With OAKUM_DEBUG=beside=2 nothing is. */
static bool is_little(size_t words)
{
    return words <= (oaki_debug_switches.beside > 1 ? 0 : FEW_WORDS);
}

/* What is being allocated from may be protected by now. */
static void forget_regions(void)
{
    for (size_t i = 0; i < REGIONS; i++) AO_store(&self.released[i], 0);
}

static size_t begin_round(void)
{
    self.written = 0;
    forget_regions();
    return oaki_workers_scanned();
}

static bool hardly_shrinks(size_t now, size_t before)
{
    return now > before / 4 * 3;
}

/* While the program runs. *rest: words that the last round looked at. */
static bool clean(size_t *rest)
{
    size_t before = SIZE_MAX;
    self.step = LEAST_STEP;
    if (!self.rounds) self.marked = oaki_workers_bytes();
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t scanned = begin_round();
        self.rounds++;
        if (!oaki_quanta(clean_piece) || !oaki_quanta(oaki_quantum_mark)) return false;
        *rest = cost(scanned);
        if (is_little(*rest) || hardly_shrinks(*rest, before)) break;
        before = *rest;
    }
    return true;
}

/* In short stops. The program has less and less of the time where that has no end. */
static bool clean_in_stops(void)
{
    size_t before = SIZE_MAX;
    unsigned part = PART;
    self.page_ns = SLICE_NS / STOP_PAGES;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t scanned = begin_round();
        self.stopped++;
        if (!oaki_quanta_stopped(clean_in_stop, part)) return false;
        size_t now = cost(scanned);
        if (is_little(now)) break;
        if (hardly_shrinks(now, before) && (part *= 2) > LEAST_PART) break;
        before = now;
    }
    return true;
}

static bool ask_roots(void)
{
    return oaki_quanta_stopped(queue_roots, 1) && oaki_concurrent_ranges() &&
           oaki_quanta(oaki_quantum_mark);
}

bool oaki_preclean(uint64_t begun_ns)
{
    OAKI_REQUIRES_OUTSIDE();
    size_t rest;
    if (!clean(&rest)) return false;
    for (unsigned n = 0; n < ROOT_STOPS; n++) {
        size_t scanned = oaki_workers_scanned();
        bool brief = oaki_os_now_ns() - begun_ns < LONG_NS;
        if (!brief && !ask_roots()) return false;
        if (!oaki_concurrent_values() || !oaki_concurrent_waiting()) return false;
        if (oaki_workers_scanned() - scanned <= FEW_WORDS) break;
        if (!clean(&rest)) return false;
    }
    return is_little(rest) ? oaki_quanta_continue() : clean_in_stops();
}

void oaki_preclean_begin(bool minor)
{
    OAKI_REQUIRES_STOPPED();
    self.refusals = oaki_dirty_refusals();
    self.rounds = self.stopped = 0;
    self.marked = SIZE_MAX;
    self.taken = minor ? 0 : AO_load(&oaki_the_heap.used) / OAKI_PLANE_WORD;
    forget_regions();
}

void oaki_preclean_record(oaki_cycle *c)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    c->rounds = self.rounds;
    c->stopped = self.stopped;
}

size_t oaki_preclean_found(void)
{
    size_t marked = oaki_workers_bytes();
    return marked - OAKI_MIN(self.marked, marked);
}

size_t oaki_preclean_refusals(void)
{
    return self.refusals;
}

size_t oaki_preclean_protected(void)
{
    return self.taken;
}

/* ---- allocated meanwhile ---- */

/* Releasing is always safe: what is released counts as written. */
void oaki_gc_will_write(size_t off, size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(off + bytes <= AO_load(&oaki_the_heap.used));
    size_t region = off / REGION, to = OAKI_ALIGN_UP(off + bytes, REGION);
    AO_t *place = &self.released[region % REGIONS];
    if (oaki_concurrent_state() == OAKI_CONCURRENT_NONE || AO_load(place) == region + 1) return;
    AO_store(place, region + 1);
    oaki_dirty_unprotect(region * REGION, OAKI_MIN(to, AO_load(&oaki_the_heap.used)));
}
