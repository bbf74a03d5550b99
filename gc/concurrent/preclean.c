/* preclean.c - rescanning the pages that mutators dirty during a mark, until so few are left that
 * the final pause is short (docs/concurrent.md).
 *
 * A round protects the dirty pages again, and then rescans the words of marked objects on them.
 * The shorter a round, the fewer pages become dirty meanwhile, unless mutators dirty pages as fast
 * as they are rescanned. Then all workers rescan them in short pauses, until a round has little to
 * do. Mutators have little time between two such pauses.
 * Before the pauses, the roots are queued once more: objects allocated since the init pause may
 * hang on them. So are values of ephemerons, and objects whose mark functions want a stopped world.
 *
 * Owns: oaki_gc.preclean. Lock: as the quanta.
 * Bound: a quantum is OAKI_TUNE_ROUND_MOST_PAGES dirty pages while mutators run, or about
 * OAKI_TUNE_SLICE_NS in a pause, and the tracing from there. */
#include "gc/contract.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "protect.h"
#include "quantum.h"
#include "runtime/dirty.h"
#include "runtime/os.h"

static oaki_preclean *const self = &oaki_gc.preclean;

/* ---- quanta ---- */

static void rescan_run(size_t from, size_t to, void *ctx)
{
    OAKI_REQUIRES_PHASE(PRECLEAN);
    OAKI_ASSERT(from < to);
    oaki_workers_extend(); /* after these pages were protected */
    oaki_rescan_pages(from, to, ctx);
}

/* Returns the number of dirty pages. */
static size_t rescan(oaki_progress *s, size_t step, size_t pages)
{
    size_t to = OAKI_MIN(OAKI_ALIGN_DOWN(s->at, step) + step, s->end);
    size_t n = oaki_protect_again(&s->at, to, pages, rescan_run, oaki_worker(0));
    if (n == SIZE_MAX) return 0;
    self->dirty += n;
    self->protected += n;
    return n;
}

/* With a budget: the pages that there is time for. */
static size_t most_pages(const oaki_driver *d)
{
    if (!d->end_ns) return OAKI_TUNE_ROUND_MOST_PAGES;
    uint64_t now = oaki_os_now_ns(), left = d->end_ns > now ? d->end_ns - now : 0;
    return OAKI_MIN((size_t)(left / OAKI_TUNE_ROUND_PAGE_NS) + 1, OAKI_TUNE_ROUND_MOST_PAGES);
}

bool oaki_quantum_round(oaki_progress *s, const oaki_driver *d)
{
    OAKI_REQUIRES_RUNNING();
    OAKI_REQUIRES_PHASE(PRECLEAN);
    if (s->at >= s->end) return false;
    size_t n = rescan(s, d->end_ns ? OAKI_TUNE_ROUND_LEAST_STEP : self->step, most_pages(d));
    if (n > OAKI_TUNE_ROUND_PAGES)
        self->step = OAKI_MAX(self->step / 2, OAKI_TUNE_ROUND_LEAST_STEP);
    else if (n < OAKI_TUNE_ROUND_PAGES / 2)
        self->step = OAKI_MIN(self->step * 2, OAKI_TUNE_ROUND_MOST_STEP);
    if (oaki_driver_has_ns(d, 0)) (void)oaki_quantum_trace(s, d);
    return true;
}

/* n pages were left to all workers, and took them `ns`. */
static void learn(size_t n, uint64_t ns)
{
    if (n == 0) return;
    ns = OAKI_MAX(OAKI_MAX(ns / n, self->page_ns / 2), OAKI_TUNE_SLICE_PAGE_LEAST_NS);
    self->page_ns = OAKI_MIN(ns, OAKI_TUNE_SLICE_NS / OAKI_TUNE_SLICE_PAGES);
}

/* Small objects are rescanned when their pages are found. Parts of large objects are rescanned
 * afterwards, by all workers. The pause is the sum of both. */
bool oaki_quantum_paused_round(oaki_progress *s, const oaki_driver *d)
{
    const oak_marker *m = oaki_worker(0);
    uint64_t begun = oaki_os_now_ns(), now = begun;
    size_t before = m->left, left = 0;
    (void)d;
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(PRECLEAN);
    oaki_workers_concurrent(false);
    while (s->at < s->end && now - begun + left * self->page_ns < OAKI_TUNE_SLICE_NS) {
        (void)rescan(s, OAKI_TUNE_SLICE_STEP, OAKI_TUNE_SLICE_PAGES);
        left = (m->left - before) / OAKI_PAGE;
        now = oaki_os_now_ns();
    }
    oaki_mark_drain();
    oaki_workers_concurrent(true);
    learn(left, oaki_os_now_ns() - now);
    return s->at < s->end;
}

/* So objects allocated since the init pause are marked before the final pause. */
bool oaki_quantum_roots(oaki_progress *s, const oaki_driver *d)
{
    (void)s;
    (void)d;
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(PRECLEAN);
    oaki_workers_extend();
    oaki_roots_queue();
    return false;
}

/* ---- rounds ---- */

/* The cost of a round's rescan, in words. A dirty page costs its words of mark bits, even if no
 * object on it is marked. */
static size_t cost(void)
{
    return oaki_workers_scanned() - self->scanned + self->dirty * OAKI_PAGE_WORDS;
}

/* So few words that they are left to the final pause. With OAKUM_DEBUG=beside=2 none are. */
static bool is_little(size_t words)
{
    return words <= (oaki_debug_switches.beside > 1 ? 0 : OAKI_TUNE_FEW_WORDS);
}

static bool hardly_shrinks(size_t now, size_t before)
{
    return now > OAKI_TUNE_SHRUNK(before);
}

/* Regions that mutators allocate from may be protected again by now. */
static void forget_regions(void)
{
    for (size_t i = 0; i < OAKI_REGIONS; i++) AO_store(&self->released[i], 0);
}

static oaki_stage begin_round(oaki_stage stage)
{
    self->dirty = 0;
    forget_regions();
    self->scanned = oaki_workers_scanned();
    if (stage == OAKI_STAGE_ROUND) self->rounds++;
    else self->paused++;
    return stage;
}

/* Rounds while mutators run. */
static oaki_stage start_rounds(void)
{
    self->before = SIZE_MAX;
    self->round = 0;
    self->part = 1;
    self->step = OAKI_TUNE_ROUND_LEAST_STEP;
    if (!self->rounds) self->marked = oaki_workers_bytes();
    return begin_round(OAKI_STAGE_ROUND);
}

oaki_stage oaki_preclean_start(void)
{
    self->roots = 0;
    return start_rounds();
}

/* Rounds in short pauses. Mutators get a smaller part of the time when rounds don't converge. */
static oaki_stage start_paused_rounds(void)
{
    self->before = SIZE_MAX;
    self->round = 0;
    self->part = OAKI_TUNE_PART;
    self->page_ns = OAKI_TUNE_SLICE_NS / OAKI_TUNE_SLICE_PAGES;
    return begin_round(OAKI_STAGE_PAUSED_ROUND);
}

static oaki_stage conclude(void)
{
    return is_little(self->rest) ? OAKI_STAGE_READY : start_paused_rounds();
}

/* Next, the roots are queued once more, then values of ephemerons. A brief mark skips the roots. */
static oaki_stage queue_roots(void)
{
    if (self->roots++ == OAKI_TUNE_ROOT_PAUSES) return conclude();
    self->roots_scanned = oaki_workers_scanned();
    self->passes = 0;
    self->queued = oaki_ephemerons_queued();
    bool brief = oaki_os_now_ns() - oaki_gc.concurrent.begun_ns < OAKI_TUNE_BRIEF_MARK_NS;
    return brief ? OAKI_STAGE_VALUES : OAKI_STAGE_ROOTS;
}

oaki_stage oaki_preclean_after_round(void)
{
    self->rest = cost();
    if (is_little(self->rest) || hardly_shrinks(self->rest, self->before)) return queue_roots();
    if (++self->round == OAKI_TUNE_ROUNDS) return queue_roots();
    self->before = self->rest;
    return begin_round(OAKI_STAGE_ROUND);
}

oaki_stage oaki_preclean_after_roots(void)
{
    bool little = oaki_workers_scanned() - self->roots_scanned <= OAKI_TUNE_FEW_WORDS;
    return little ? conclude() : start_rounds();
}

oaki_stage oaki_preclean_after_paused_round(void)
{
    size_t now = cost();
    if (is_little(now)) return OAKI_STAGE_READY;
    if (hardly_shrinks(now, self->before) && (self->part *= 2) > OAKI_TUNE_PART_LEAST)
        return OAKI_STAGE_READY;
    if (++self->round == OAKI_TUNE_ROUNDS) return OAKI_STAGE_READY;
    self->before = now;
    return begin_round(OAKI_STAGE_PAUSED_ROUND);
}

void oaki_preclean_begin(bool minor)
{
    OAKI_REQUIRES_STOPPED();
    self->refusals = oaki_dirty_refusals();
    self->rounds = self->paused = 0;
    self->part = 1;
    self->marked = SIZE_MAX;
    self->protected = minor ? 0 : AO_load(&oaki_the_heap.used) / OAKI_PLANE_WORD;
    forget_regions();
}

void oaki_preclean_record(oaki_cycle *c)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    c->rounds = self->rounds;
    c->stopped = self->paused;
}

size_t oaki_preclean_found(void)
{
    size_t marked = oaki_workers_bytes();
    return marked - OAKI_MIN(self->marked, marked);
}

size_t oaki_preclean_refusals(void)
{
    return self->refusals;
}

size_t oaki_preclean_protected(void)
{
    return self->protected;
}

/* ---- allocation during the mark ---- */

/* Releasing protection is always safe: an unprotected page counts as dirty. */
void oaki_gc_will_write(size_t off, size_t bytes)
{
    size_t region = off / OAKI_TUNE_REGION, to = OAKI_ALIGN_UP(off + bytes, OAKI_TUNE_REGION);
    AO_t *place = &self->released[region % OAKI_REGIONS];
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(off + bytes <= AO_load(&oaki_the_heap.used));
    if (!oaki_is_marking() || AO_load(place) == region + 1) return;
    AO_store(place, region + 1);
    oaki_dirty_unprotect(region * OAKI_TUNE_REGION, OAKI_MIN(to, AO_load(&oaki_the_heap.used)));
}
