/* plan.c - decides by cost how the next cycle is made: concurrent or in one pause, with tracked
 * pages or without, by how many workers.
 *
 * The objective: the least total cost within the pause goal (oak_config.pause_goal_us). Where the
 * two can't both hold:
 * - On a host whose first writes to protected pages cost little, the goal holds: cost gives way, by
 *   what concurrent marks cost more than pauses.
 * - Where they cost more than OAKI_TUNE_DEAR_WRITE_NS, the default goal gives way: cycles are
 *   stopped, with huge pages and without tracking. A goal below the default holds even there; then
 *   the heap has small pages, as huge ones that tracking has split make such hosts slow.
 * - With a goal of 0 each cycle is stopped.
 * - A minor cycle whose pause is far within the goal is stopped, where a concurrent one costs more.
 * A heap of unknown pauses is concurrent from OAKI_TUNE_LARGE on. Where marks are known to be
 * cheap, shorter pauses are avoided, too, for at most OAKI_TUNE_EXTRA_SHARE of the time.
 *
 * The host is measured before pages are first protected (runtime/cost.h). Some states of a host
 * show in no probe: huge pages that tracking has split, a neighbour. So each full mark's cost per
 * word is compared with other marks' costs. A mark that is several times as dear ends tracking for
 * some cycles, and until the heap is mended: protection is released, and pages are joined to huge
 * ones again. Marks after that show what is to be expected. If they are as slow, and the system
 * joins no pages, tracking rests on. Each time it is twice as many cycles; before tracking begins
 * anew, the host is measured again.
 *
 * Owns: oaki_gc.plan, the host thread. Lock: gc_lock; AO_t fields by any thread. A torn read of a
 * rate changes one decision only. */
#include "plan.h"

#include "collector.h"
#include "contract.h"
#include "pace.h"
#include "settings.h"
#include "tuning.h"
#include "gc/concurrent/sticky.h"
#include "gc/trace/trace.h"
#include "runtime/cgroup.h"
#include "runtime/cost.h"
#include "runtime/dirty.h"
#include "runtime/os.h"

static oaki_plan *const plan = &oaki_gc.plan;

/* ---- the pause ---- */

uint64_t oaki_plan_pause_goal_ns(void)
{
    return (uint64_t)oaki_the_heap.config.pause_goal_us * 1000;
}

/* The program has said that pauses matter more than it would by default. */
static bool keeps_goal(void)
{
    return oaki_plan_pause_goal_ns() < OAKI_TUNE_PAUSE_GOAL_NS;
}

/* For the live share of the bytes at the goal. */
OAKI_AT_START static size_t next_bytes(void)
{
    return OAKI_MAX(AO_load(&oaki_the_heap.live), oaki_pace_goal());
}

uint64_t oaki_plan_pause_ns(void)
{
    return (uint64_t)(plan->stop_rate * oaki_gc.pace.lived * (double)next_bytes());
}

/* ns between two cycles, as the program allocates; 0: not known. */
static double between(void)
{
    size_t goal = oaki_pace_goal(), room = goal - OAKI_MIN(oaki_pace_live(), goal);
    return oaki_gc.pace.rate > 0 ? (double)room / oaki_gc.pace.rate : 0;
}

/* ns of first writes in the last concurrent mark; 0 where that is not known, too. */
static double writes_ns(void)
{
    size_t dirty = AO_load(&plan->dirty);
    return dirty ? (double)(dirty - 1) * (double)oaki_cost_of(OAKI_COST_write) : 0;
}

/* What a concurrent mark costs more than one in a pause, as a share of the time between two cycles.
 * First writes are counted. 0: one of the two costs is not known. */
static double extra_share(void)
{
    double pause = plan->bytes_ms[OAKI_STOPPED], mark = plan->bytes_ms[OAKI_CONCURRENT];
    if (pause <= 0 || mark <= 0 || AO_load(&plan->dirty) == 0 || between() <= 0) return 0;
    double ns = (double)oaki_gc.pace.full * (1e6 / mark - 1e6 / pause);
    return (OAKI_MAX(ns, 0) + writes_ns()) / between();
}

/* Not on one processor, as the mark would take it from mutators. Not where dirty tracking
 * interferes with system calls. */
static bool is_cheap(double next)
{
    double rate = oaki_gc.pace.rate, ns = plan->seen_rate * oaki_gc.pace.lived * next;
    if (oaki_the_heap.config.tracking == OAK_TRACKING_FAULTS || oaki_dirty_denies()) return false;
    if (plan->alone || rate <= 0) return false;
    if (ns <= OAKI_TUNE_NOTICED_NS || ns > OAKI_TUNE_CHEAP_NS) return false;
    return rate * ns * OAKI_TUNE_CHEAP_GROWTH <= next && extra_share() <= OAKI_TUNE_EXTRA_SHARE;
}

/* One large object may take a small heap far past its goal: its live size is unknown then. The
 * length of a pause is the last full mark's ns per live byte, times the live share of all bytes
 * then. */
OAKI_AT_START static oaki_plan_reason by_pause(void)
{
    bool patient = oaki_plan_pause_goal_ns() > OAKI_TUNE_PAUSE_GOAL_NS;
    size_t full = oaki_gc.pace.full, live = AO_load(&oaki_the_heap.live), goal = oaki_pace_goal();
    bool stops = oaki_gc_prefers_stops();
    bool known = (stops || patient) && plan->stop_rate > 0;
    if (full >= OAKI_TUNE_LARGE && !known) return OAKI_PLAN_LARGE;
    if (live > goal && live - goal >= OAKI_TUNE_LARGE) return OAKI_PLAN_LARGE;
    double next = (double)OAKI_MAX(live, goal);
    double measured = stops ? (double)full : next; /* roots take time too */
    uint64_t most = oaki_plan_pause_goal_ns();
    if (stops && !keeps_goal()) most = OAKI_MAX(most, (uint64_t)OAKI_TUNE_STOPS_PAUSE_NS);
    double ns = plan->stop_rate * oaki_gc.pace.lived * next;
    if (measured >= OAKI_TUNE_LONG_PAUSE_FROM && ns > (double)most) return OAKI_PLAN_LONG;
    bool cheap = !stops && next >= OAKI_TUNE_CHEAP_FROM && is_cheap(next);
    return cheap ? OAKI_PLAN_CHEAP : OAKI_PLAN_SHORT;
}

/* A concurrent minor cycle may cost much more than one pause, as it keeps what dies meanwhile.
 * Where it costs little more it stays so. `worst`: the pause if all new objects are alive. */
bool oaki_plan_minor_stops(void)
{
    double goal = (double)oaki_plan_pause_goal_ns(), cpu = (double)plan->minor_cpu[OAKI_CONCURRENT];
    size_t bytes = next_bytes(), live = OAKI_MIN(oaki_pace_live(), bytes);
    double worst = plan->stop_rate * (double)(bytes - live);
    bool known = cpu > 0 && worst > 0 && between() > 0;
    if (!known || cpu > goal || worst > goal * OAKI_TUNE_MINOR_WORST) return false;
    double extra = cpu + writes_ns() - (double)plan->minor_cpu[OAKI_STOPPED];
    bool brief = (double)plan->minor_pause * OAKI_TUNE_MINOR_PAUSE <= goal;
    return brief && extra > between() * OAKI_TUNE_EXTRA_SHARE;
}

/* ---- tracking ---- */

enum { UNKNOWN, CHEAP, DEAR };

/* Page faults are dearer than userfaultfd everywhere, and only used where they are asked for. */
static AO_t measured_class(void)
{
    size_t most = oaki_dirty_denies() ? OAKI_TUNE_DEAR_FAULT_NS : OAKI_TUNE_DEAR_WRITE_NS;
    return oaki_cost_of(OAKI_COST_write) > most ? DEAR : CHEAP;
}

bool oaki_plan_is_dear(void)
{
    AO_t class = AO_load(&plan->class);
    if (class == UNKNOWN || oaki_cost_is_forced(OAKI_COST_write)) class = measured_class();
    return class == DEAR;
}

/* A probe may have been interrupted, so a class changes when two of them agree. The first one
 * decides alone; where it finds writes dear, another follows. */
static void note_class(void)
{
    AO_t now = measured_class(), known = AO_load(&plan->class);
    bool agrees = AO_load(&plan->last_class) == now;
    AO_store(&plan->last_class, now);
    if (now == known || oaki_cost_is_forced(OAKI_COST_write)) return;
    if (known == UNKNOWN || agrees) AO_store(&plan->class, now);
    if (agrees || (known == UNKNOWN && now == CHEAP)) return;
    oaki_cost_doubt();
    AO_or(&plan->wants, OAKI_PLAN_PROBE);
}

/* First writes of a cycle like the last concurrent one, as a share of the time between two cycles.
 * Before there was one, a part of all pages counts as written. */
static bool is_affordable(void)
{
    size_t page = oaki_os_page_size();
    double all = (double)(AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT) / (double)page;
    double each = (double)(oaki_cost_of(OAKI_COST_protect) + oaki_cost_of(OAKI_COST_ask));
    double unknown = all / OAKI_TUNE_UNKNOWN_DIRTY * (double)oaki_cost_of(OAKI_COST_write);
    double ns = all * each + (AO_load(&plan->dirty) ? writes_ns() : unknown);
    return ns <= between() * OAKI_TUNE_EXTRA_SHARE;
}

/* A heap of small pages may be tracked where tracking is dear but pays. */
static bool may_be_dear(void)
{
    if (!oaki_plan_is_dear() || keeps_goal()) return true;
    return !oaki_the_heap.config.huge_pages && is_affordable();
}

bool oaki_plan_may_track(void)
{
    if (oaki_debug_switches.beside || oaki_debug_switches.minor) return true;
    return oaki_cost_known() && AO_load(&plan->rest) == 0 && (!oaki_plan_is_dear() || keeps_goal());
}

bool oaki_plan_tracks(void)
{
    bool may = oaki_gc_may_be_concurrent() && oaki_dirty_may();
    return may && AO_load(&plan->rest) == 0 && may_be_dear();
}

OAKI_AT_START oaki_plan_reason oaki_plan_reason_now(void)
{
    if (!oaki_gc_may_be_concurrent()) return OAKI_PLAN_OFF;
    if (oaki_plan_pause_goal_ns() == 0) return OAKI_PLAN_THROUGHPUT;
    oaki_plan_reason r = by_pause();
    if (r == OAKI_PLAN_SHORT) return r;
    if (oaki_sticky_may_begin() && oaki_plan_minor_stops()) return OAKI_PLAN_MINOR;
    if (AO_load(&plan->rest) > 0) return OAKI_PLAN_HURT;
    return may_be_dear() ? r : OAKI_PLAN_DEAR;
}

OAKI_AT_START bool oaki_plan_by(oaki_plan_reason r)
{
    static const bool concurrent[] = {
#define CONCURRENT(name, is, text) is,
        OAKI_PLANS(CONCURRENT)
#undef CONCURRENT
    };
    return concurrent[r];
}

OAKI_AT_START bool oaki_plan_is_concurrent(void)
{
    return oaki_plan_by(oaki_plan_reason_now());
}

const char *oaki_plan_text(oaki_plan_reason r)
{
    static const char *const texts[] = {
#define TEXT(name, is, text) text,
        OAKI_PLANS(TEXT)
#undef TEXT
    };
    return texts[r];
}

/* ---- prices in words ---- */

static size_t words_for(size_t ns, size_t least, size_t most)
{
    double word = plan->rate[OAKI_STOPPED].last;
    if (word <= 0) word = plan->rate[OAKI_CONCURRENT].last;
    if (word <= 0 || ns == 0) return 0;
    return (size_t)OAKI_MIN(OAKI_MAX((double)ns / word, (double)least), (double)most);
}

size_t oaki_plan_page_words(void)
{
    size_t ns = oaki_cost_of(OAKI_COST_write) + oaki_cost_of(OAKI_COST_protect);
    size_t words = words_for(ns, OAKI_TUNE_PAGE_WORDS_LEAST, OAKI_TUNE_PAGE_WORDS_MOST);
    return words ? words : OAKI_TUNE_PAGE_WORDS;
}

size_t oaki_plan_wake_words(void)
{
    size_t ns = oaki_cost_of(OAKI_COST_wake) * OAKI_TUNE_WAKES;
    return OAKI_MAX(words_for(ns, 1, OAKI_TUNE_WAKE_WORDS_MOST), OAKI_TUNE_WAKE_WORDS);
}

/* ---- limits of control groups ---- */

/* 0: none. */
static size_t lesser(size_t a, size_t b)
{
    return a && b ? OAKI_MIN(a, b) : a | b;
}

/* A process has other memory than Oakum's: a part of the group's limit is left for that. Where not
 * all could be read, known limits stay. */
static bool read_limits(void)
{
    oaki_cgroup g;
    bool all = oaki_cgroup_read(oaki_cgroup_list, oaki_cgroup_mount, &g);
    size_t limit = g.memory == SIZE_MAX ? 0 : g.memory - g.memory / OAKI_TUNE_GROUP_LIMIT_LESS;
    size_t known = AO_load(&oaki_the_heap.group_limit), cpus = g.cpus;
    if (!all) {
        limit = lesser(limit, known);
        cpus = lesser(cpus, AO_load(&oaki_the_heap.group_cpus));
    }
    bool changes = known != limit;
    AO_store(&oaki_the_heap.group_cpus, cpus);
    AO_store(&oaki_the_heap.group_limit, limit);
    AO_store(&plan->limits_ns, (AO_t)oaki_os_now_ns());
    return changes;
}

void oaki_plan_limits(void)
{
    OAKI_REQUIRES_OUTSIDE();
    if (read_limits()) oaki_pace_refresh();
}

/* ---- what cycles teach ---- */

void oaki_plan_processors(unsigned n)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_ASSERT(n > 0);
    plan->alone = n == 1;
}

/* A concurrent mark is a weak measure of a pause: its time is divided by the number of workers,
 * and includes faults. So it changes seen_rate only if it is several times as high. Otherwise a
 * heap that is concurrent because a pause would be noticed would return to pauses each time. */
void oaki_plan_note_pause(uint64_t ns, size_t full, bool seen)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (full < OAKI_TUNE_MEANINGFUL) return;
    plan->stop_rate = (double)ns / (double)full;
    if (seen || plan->stop_rate > OAKI_TUNE_CHANGED * plan->seen_rate)
        plan->seen_rate = plan->stop_rate;
}

void oaki_plan_note_dirty(size_t pages)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    AO_store(&plan->dirty, pages + 1);
}

/* The least that is known of either mode, as a heap's pages are slow for both. */
static double expected(void)
{
    double a = plan->rate[OAKI_STOPPED].best, b = plan->rate[OAKI_CONCURRENT].best;
    return a > 0 && b > 0 ? OAKI_MIN(a, b) : OAKI_MAX(a, b);
}

/* Pages that were never tracked can't be slow by that. */
static bool is_slow(double word_ns, double known)
{
    if (!oaki_dirty_may() || word_ns <= OAKI_TUNE_SLOW_WORD_NS) return false;
    return known <= 0 ? word_ns > OAKI_TUNE_SLOW_WORD_MOST_NS : word_ns > known * OAKI_TUNE_SLOW;
}

/* Tracking rests, and the heap's state is mended. The least known cost stays known. */
static void rest(void)
{
    AO_store(&plan->rest, plan->next_rest);
    plan->next_rest = OAKI_MIN(plan->next_rest * 2, OAKI_TUNE_REST_MOST);
    plan->good = 0;
    plan->mended = plan->still = false;
    oaki_sticky_set(false);
    AO_or(&plan->wants, OAKI_PLAN_REPAIR);
}

/* After as many marks that are not slow, the next rest is half as long. */
static void recover(void)
{
    if (++plan->good < plan->next_rest) return;
    plan->next_rest = OAKI_MAX(plan->next_rest / 2, OAKI_TUNE_REST);
    plan->good = 0;
}

static bool is_mended(void)
{
    if (AO_load_acquire(&plan->host)) return false;
    return (AO_load(&plan->wants) & (OAKI_PLAN_REPAIR | OAKI_PLAN_GO_ON)) == 0;
}

static bool fails_to_join(void)
{
    size_t no = AO_load(&plan->unjoined), yes = AO_load(&plan->repaired);
    return no > (no + yes) / OAKI_TUNE_REPAIR_FREE;
}

static void note_best(oaki_plan_rate *r)
{
    r->best = r->best > 0 ? OAKI_MIN(r->best * OAKI_TUNE_FORGET, r->last) : r->last;
}

/* A mark of a mended heap that is as slow shows that the heap itself is, if pages were joined. Its
 * rate is then what is expected. */
static void note_mended(oaki_plan_rate *r)
{
    bool slow = is_slow(r->last, expected());
    plan->still = slow && fails_to_join();
    if (plan->still) return;
    if (slow) plan->rate[OAKI_STOPPED].best = plan->rate[OAKI_CONCURRENT].best = 0;
    note_best(r);
}

/* The last cycle of a rest is one that began on a mended heap. */
static void one_less(bool mended)
{
    AO_t left = AO_load(&plan->rest);
    if (left == 0 || (left == 1 && !mended)) return;
    AO_store(&plan->rest, left - 1);
    if (left > 1) return;
    if (plan->still) {
        rest();
        return;
    }
    AO_or(&plan->wants, OAKI_PLAN_PROBE);
    oaki_cost_doubt();
}

void oaki_plan_note_mark(bool concurrent, size_t words, size_t bytes, uint64_t cpu_ns)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_plan_rate *r = &plan->rate[concurrent];
    bool rests = AO_load(&plan->rest) > 0, mended = plan->mended;
    bool meaningful = words >= OAKI_TUNE_MEANINGFUL_WORDS && cpu_ns > 0;
    plan->mended = is_mended();
    if (meaningful) {
        r->last = (double)cpu_ns / (double)words;
        plan->bytes_ms[concurrent] = (double)bytes * 1e6 / (double)cpu_ns;
    }
    if (rests) {
        if (meaningful && mended) note_mended(r);
        one_less(mended);
        return;
    }
    if (!meaningful) return;
    if (is_slow(r->last, expected())) {
        rest();
        return;
    }
    note_best(r);
    recover();
}

/* There are none in a rest. Their cost is measured anew after it. */
void oaki_plan_note_minor(size_t words, size_t bytes, uint64_t cpu_ns, uint64_t pause_ns)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_plan_rate *r = &plan->minor;
    plan->minor_cpu[pause_ns == 0] = cpu_ns;
    uint64_t *other = &plan->minor_cpu[pause_ns != 0]; /* that of the other mode is forgotten */
    *other -= *other / (pause_ns ? OAKI_TUNE_MINOR_KEPT : OAKI_TUNE_MINOR_FORGET);
    if (pause_ns) plan->minor_pause = pause_ns;
    else plan->minor_pause -= plan->minor_pause / OAKI_TUNE_MINOR_FORGET;
    if (words < OAKI_TUNE_MEANINGFUL_WORDS || cpu_ns == 0 || AO_load(&plan->rest) > 0) return;
    r->last = (double)cpu_ns / (double)words;
    plan->minor_bytes_ms = (double)bytes * 1e6 / (double)cpu_ns;
    if (!is_slow(r->last, r->best)) {
        note_best(r);
        return;
    }
    r->best = 0;
    rest();
}

/* ---- workers that get no processor ---- */

unsigned oaki_plan_workers(unsigned want)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    return plan->workers_most ? OAKI_MIN(want, plan->workers_most) : want;
}

/* A worker that waits for a processor in a drain keeps all others waiting: beside a neighbour, or
 * where a group's time is over. Fewer are tried, and later on as many as before. */
void oaki_plan_note_share(uint64_t present_ns, uint64_t ran_ns, unsigned workers)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (present_ns < OAKI_TUNE_SHARE_NS * workers) return;
    if (ran_ns < present_ns / OAKI_TUNE_SHARE) {
        if (workers == 1 || ++plan->starved < OAKI_TUNE_STARVED) return;
        plan->workers_most = workers / 2;
        plan->starved = plan->fed = 0;
        return;
    }
    plan->starved = 0;
    if (plan->workers_most == 0 || ++plan->fed < OAKI_TUNE_FED) return;
    plan->workers_most = plan->workers_most < OAKI_TUNE_WORKERS / 2 ? plan->workers_most * 2 : 0;
    plan->fed = 0;
}

/* ---- the host thread ---- */

/* Is most of it in use? The system would fill what is not there. */
static bool is_full(size_t off)
{
    const oaki_pte *e = oaki_the_heap.pte + (off >> OAKI_PAGE_SHIFT);
    size_t pages = OAKI_TUNE_REPAIR_STEP / OAKI_PAGE, used = 0;
    for (size_t i = 0; i < pages; i++) used += (AO_int_load(&e[i]) & OAKI_PTE_CLASS) != 0;
    return used >= pages - pages / OAKI_TUNE_REPAIR_FREE;
}

/* Where pages are to be small they are not joined. */
static void repair_step(size_t at, size_t to)
{
    bool joins = oaki_the_heap.config.huge_pages && !AO_load(&oaki_the_heap.small_pages);
    oaki_dirty_unprotect(at, to);
    if (!joins || to - at < OAKI_TUNE_REPAIR_STEP || !is_full(at)) return;
    bool joined = oaki_os_join((void *)(oaki_the_heap.base + at), to - at);
    AO_fetch_and_add(joined ? &plan->repaired : &plan->unjoined, to - at);
}

/* Bounded in time; after the next cycle it goes on. */
static void repair(bool anew)
{
    uint64_t begin = oaki_os_now_ns();
    size_t used = AO_load(&oaki_the_heap.used), at = anew ? 0 : plan->repair_at;
    if (anew) {
        AO_store(&plan->repaired, 0);
        AO_store(&plan->unjoined, 0);
    }
    do {
        size_t to = OAKI_MIN(at + OAKI_TUNE_REPAIR_STEP, used);
        if (at < to) repair_step(at, to);
        at = to;
    } while (at < used && oaki_os_since(begin, oaki_os_now_ns()) < plan->repair_ns);
    plan->repair_at = at;
    if (at < used) AO_or(&plan->wants, OAKI_PLAN_GO_ON);
    else AO_fetch_and_add1(&plan->repairs);
}

/* Where a dear host's pages are tracked they are small: those to come, and those that are there
 * are not joined. On a host that has become dear, nobody else would release pages that minor cycles
 * have left protected. */
void oaki_plan_probe(void)
{
    OAKI_REQUIRES_OUTSIDE();
    if (oaki_cost_probe()) {
        AO_fetch_and_add1(&plan->probes);
        note_class();
    }
    AO_t tracks = may_be_dear();
    if (AO_load(&plan->tracks) != tracks) {
        AO_store(&plan->tracks, tracks);
        if (!tracks) AO_or(&plan->wants, OAKI_PLAN_REPAIR);
        oaki_pace_refresh();
    }
    AO_t small = keeps_goal() && oaki_plan_is_dear();
    if (AO_load(&oaki_the_heap.small_pages) == small || !oaki_the_heap.config.huge_pages) return;
    AO_store_full(&oaki_the_heap.small_pages, small);
    if (AO_load_full(&oaki_the_heap.advised)) oaki_space_advise();
}

static AO_t take_wants(AO_t which)
{
    AO_t wants;
    do wants = AO_load(&plan->wants);
    while (!AO_compare_and_swap_full(&plan->wants, wants, wants & ~which));
    return wants & which;
}

/* Measurements are doubted after a while, as the host may be another one by then. Tracking by
 * faults alone is set up only where a concurrent mark needs it. */
static void *host(void *arg)
{
    bool by_faults = oaki_the_heap.config.tracking == OAK_TRACKING_FAULTS;
    if (AO_load(&plan->wants) == 0) oaki_cost_doubt();
    (void)take_wants(OAKI_PLAN_PROBE);
    if (oaki_gc_may_be_concurrent() && !by_faults) (void)oaki_dirty_start();
    oaki_plan_probe();
    oaki_plan_limits();
    AO_t repairs = take_wants(OAKI_PLAN_REPAIR | OAKI_PLAN_GO_ON);
    if (repairs) repair((repairs & OAKI_PLAN_REPAIR) != 0);
    AO_store_release(&plan->host, 0);
    return arg;
}

/* Or the clock has gone back. */
static bool limits_are_old(void)
{
    if (AO_load(&oaki_the_heap.live) < OAKI_TUNE_HOST_FROM) return false;
    return oaki_os_now_ns() - AO_load(&plan->limits_ns) >= OAKI_TUNE_LIMITS_NS;
}

static bool is_needed(void)
{
    if (AO_load(&plan->wants) != 0) return true;
    if (AO_load(&oaki_the_heap.live) < OAKI_TUNE_HOST_FROM) return false;
    return !oaki_cost_known() || limits_are_old();
}

/* Where address space is limited, a thread's stack costs too much. There the probe ends without a
 * figure, the caller reads the limits, and only mending gets a thread. */
static bool needs_no_thread(void)
{
    if (!oaki_os_limited()) return false;
    (void)take_wants(OAKI_PLAN_PROBE);
    (void)oaki_cost_probe();
    if (limits_are_old()) oaki_plan_limits();
    return AO_load(&plan->wants) == 0;
}

/* Without a thread the next cycle tries again. */
void oaki_plan_attend(void)
{
    OAKI_REQUIRES_OUTSIDE();
    if (OAKI_LIKELY(!is_needed()) || needs_no_thread()) return;
    if (!AO_compare_and_swap_full(&plan->host, 0, 1)) return;
    if (oaki_thread_spawn("oakum/host", host, NULL, false) != 0) AO_store(&plan->host, 0);
}

OAKI_AT_START void oaki_plan_init(void)
{
    OAKI_REQUIRES_STARTING();
    plan->next_rest = OAKI_TUNE_REST;
    plan->repair_ns = OAKI_TUNE_REPAIR_NS;
}

void oaki_plan_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_cost_reset();
    oaki_cgroup_reset();
    if (AO_load(&plan->host)) AO_or(&plan->wants, OAKI_PLAN_REPAIR); /* it may have been at that */
    AO_store(&plan->host, 0);
}
