/* pace.c - when the next collection is due: gc percent, soft memory limit, minimum heap.
 *
 * As in Go, the goal is live + (live + roots) * percent / 100, and at least min_heap * percent /
 * 100. A memory limit lowers it to what the limit leaves for the heap.
 *
 * Where min_heap is not set, the least goal follows cost: it is small at first. Once collections
 * take more than 1/SMALL_SHARE of the processor time since the last ones, it is what keeps that
 * share, up to a bound. So a program stays small that allocates little, or whose collections cost
 * little.
 *
 * Live is the result of the last full collection, less floating garbage (oaki_pace_marked). Dead
 * objects that minor collections leave do not raise the goal. Nor do large objects allocated
 * during a concurrent mark, although the mark counts them as live. A program that drops such
 * objects would otherwise get an ever larger heap. Nor do objects found late by a mark that got
 * no processor time. Each of its rounds marks objects live at that time, and the program may
 * have dropped those by the next round.
 *
 * A stop-the-world mark starts when the goal is reached. A concurrent mark starts earlier, by
 * 5/4 of the bytes allocated during a mark like the last one of its kind. It starts at most half
 * of the way earlier. An early start costs memory: objects that die during the mark count as
 * live, and raise the next goal.
 *
 * Thrift: if a large heap's concurrent mark costs less than a share of a processor's time, the
 * goal is lower. So memory is not spent to save little work. Faults and sweeping are not in that
 * cost.
 *
 * Finalizers, in programs of libgc, mostly free memory that the heap doesn't know of. So those
 * that were set since the last mark count as bytes allocated (settings.h). As many as waited
 * then, in percent, are free. So a program with many finalizers has collections in proportion to
 * them. And a part of the live bytes is allocated first, in any case.
 *
 * A limit that can't be met would cause collections without end. So under a limit the collector
 * takes at most half of the processor time: it postpones a cycle until the program has had as
 * much. Time that the program had beyond the collector's, up to a second, is a credit. So one
 * expensive cycle does not take the heap past a limit that can be met (as the bucket of Go's CPU
 * limiter, runtime/mgclimit.go).
 *
 * Owns: trigger, oaki_gc.pace. Lock: its own, for each change: after a mark, by a setting, by the
 * end of a zone. Only may_collect moves the trigger without it. Read without it are atomic fields,
 * and the rates (plan.c): an old value can only move a cycle, or decide one otherwise. */
#include "pace.h"

#include "contract.h"
#include "gc.h"
#include "plan.h"
#include "tuning.h"
#include "gc/refs/finalizer.h"
#include "gc/trace/trace.h"
#include "runtime/collector.h"
#include "runtime/dirty.h"
#include "runtime/meta.h"
#include "runtime/os.h"

#include <oakum/gc.h>

static oaki_pace *const pace = &oaki_gc.pace;

/* Settings are changed on any thread. One that a stop may find is inside while it holds the lock;
 * returns it then. */
static oaki_thread *lock(void)
{
    oaki_thread *t = oaki_thread_self();
    t = t && !t->in_runtime ? oaki_enter() : NULL;
    oaki_lock_acquire(&pace->lock);
    return t;
}

static void unlock(oaki_thread *t)
{
    oaki_lock_release(&pace->lock);
    if (t) oaki_leave(t);
}

/* Of the `most` bytes between live and goal, those that pay for a mark. While the program
 * allocates them, a mark's cost is the allowed share of a processor's time. At least half of
 * `most`, as the costs of just two marks are known. The cheaper of the two per live byte counts,
 * as other load on the machine may double a mark's cost. */
static double room(double most)
{
    double pays = OAKI_MIN(pace->pays[0], pace->pays[1]) * (double)pace->base;
    bool thrifty = oaki_the_heap.config.thrift && pays > 0 && oaki_dirty_may();
    thrifty = thrifty && AO_load(&pace->full) >= OAKI_TUNE_THRIFT_FROM;
    return thrifty ? OAKI_MIN(most, OAKI_MAX(pays, most / OAKI_TUNE_THRIFT_LEAST)) : most;
}

/* The cheaper of the last two cycles counts, as other load on the machine may make one dear. */
static double least_goal(double scale)
{
    size_t set = oaki_gc_min_heap();
    if (set > 0) return (double)OAKI_MAX(set, OAKI_TUNE_SMALL_LEAST) * scale;
    double pays = (double)pace->base + OAKI_MIN(pace->affords[0], pace->affords[1]);
    double least = (double)OAKI_TUNE_SMALL_FIRST * scale;
    return OAKI_MIN(OAKI_MAX(pays, least), (double)OAKI_TUNE_SMALL_MOST * scale);
}

/* The program allocated `bytes` in `ran` ns of processors, then the collector took `took` ns. Where
 * the clock is too coarse for that, some cycles are taken together. */
static void note_share(size_t bytes, int64_t ran, uint64_t took)
{
    oaki_share *s = &pace->share;
    s->cycles++;
    s->bytes += (double)bytes;
    s->ran += (double)OAKI_MAX(ran, 0);
    s->took += (double)took;
    if (s->ran == 0 || s->took == 0) return;
    pace->affords[1] = pace->affords[0];
    pace->affords[0] = s->bytes * s->took * (OAKI_TUNE_SMALL_SHARE - 1) / s->ran / s->cycles;
    *s = (oaki_share){ 0 };
}

static size_t percent_goal(void)
{
    size_t percent = AO_load(&pace->percent);
    if (percent == (AO_t)-1) return SIZE_MAX;
    double base = (double)pace->base;
    double goal = base + room((base + (double)pace->roots) * (double)percent / 100);
    return (size_t)OAKI_MIN(OAKI_MAX(goal, least_goal((double)percent / 100)), 9e18);
}

/* The limit, less all memory that isn't objects, less a little for partly filled spans. */
static size_t limit_goal(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t limit = oaki_heap_soft_limit();
    if (AO_load(&pace->percent) == (AO_t)-1) limit = AO_load(&h->memory_limit); /* asked for */
    if (!limit) return SIZE_MAX;
    size_t used = AO_load(&h->used), inuse = AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT;
    size_t other =
        used / OAKI_PAGE * (sizeof(oaki_pte) + sizeof(oaki_span)) + used / 64 + oaki_meta_mapped();
    size_t waste = inuse > AO_load(&h->live) ? (inuse - AO_load(&h->live)) / OAKI_TUNE_WASTE : 0;
    other += waste + limit / OAKI_TUNE_LIMIT_LESS;
    return limit > other ? limit - other : 0;
}

/* Bytes that mutators allocate during a concurrent mark, and a quarter more. */
static size_t runway(void)
{
    bool minor = AO_load(&oaki_the_heap.sticky) != 0;
    uint64_t took = pace->took[minor] ? pace->took[minor] : pace->took[!minor];
    if (!oaki_plan_is_concurrent() || !oaki_dirty_may()) return 0;
    return (size_t)OAKI_MIN(pace->rate * (double)took * OAKI_TUNE_RUNWAY, 9e18);
}

/* The goal and the trigger, by all that is known. */
static OAKI_AT_START void refresh(void)
{
    OAKI_REQUIRES_LOCK(&pace->lock);
    size_t by_percent = percent_goal(), by_limit = limit_goal();
    AO_store(&pace->limited, by_limit < by_percent);
    AO_store(&pace->goal, OAKI_MIN(by_percent, by_limit));
    size_t live = AO_load(&pace->live);
    size_t step = OAKI_MAX(live / OAKI_TUNE_LEAST_STEP, OAKI_TUNE_LEAST_STEP_BYTES);
    size_t least = live + step, goal = OAKI_MAX(AO_load(&pace->goal), least);
    size_t early = OAKI_MIN(runway(), (goal - least) / OAKI_TUNE_RUNWAY_MOST);
    AO_store(&oaki_the_heap.trigger, goal - early);
}

OAKI_AT_START void oaki_pace_refresh(void)
{
    oaki_thread *t = lock();
    refresh();
    unlock(t);
}

/* In a fork's child: its processor time starts at zero. */
void oaki_pace_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_lock_reset(&pace->lock);
    AO_store(&pace->cpu_end, oaki_os_cpu_ns());
}

OAKI_AT_START void oaki_pace_init(void)
{
    OAKI_REQUIRES_STARTING();
    oaki_lock_init(&pace->lock, OAKI_RANK_SETTINGS);
    AO_store(&pace->percent, (AO_t)oaki_the_heap.config.gc_percent);
    AO_store(&pace->cycle_end, oaki_os_now_ns());
    oaki_pace_refresh();
}

void oaki_pace_marked(size_t live, size_t unknown, size_t roots, bool minor)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_NO_MARK();
    oaki_lock_acquire(&pace->lock);
    AO_store(&pace->live, live);
    AO_store(&pace->waited, oaki_finalizers_waiting());
    if (!minor) {
        size_t all = AO_load(&oaki_the_heap.live);
        AO_store(&pace->full, live);
        pace->base = live - OAKI_MIN(unknown, live / OAKI_TUNE_FLOATING_MOST);
        pace->lived = live < all ? (double)live / (double)all : 1;
    }
    pace->roots = roots;
    AO_store(&oaki_the_heap.live, live);
    refresh();
    oaki_lock_release(&pace->lock);
}

/* The debt is that of the last cycle alone: earlier ones were released by the clock. */
void oaki_pace_cycle(uint64_t end_ns, uint64_t took_ns, uint64_t end_cpu, uint64_t took_cpu,
                     size_t bytes, bool asked)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_lock_acquire(&pace->lock);
    int64_t ran = (int64_t)(end_cpu - AO_load(&pace->cpu_end)) - (int64_t)took_cpu;
    int64_t credit = OAKI_MAX((int64_t)AO_load(&pace->credit) + OAKI_MAX(ran, 0), 0);
    credit = OAKI_MIN(credit, OAKI_TUNE_CREDIT_NS) - (asked ? 0 : (int64_t)took_cpu);
    AO_store(&pace->credit, (AO_t)credit);
    AO_store(&pace->cycle_end, end_ns);
    AO_store(&pace->last_cycle, asked ? 0 : took_ns);
    AO_store(&pace->cpu_end, end_cpu);
    if (!asked) {
        note_share(bytes, ran, took_cpu);
        refresh();
    }
    oaki_lock_release(&pace->lock);
}

static double rate_before(size_t bytes, uint64_t begin_ns)
{
    double ran = (double)oaki_os_since(AO_load(&pace->cycle_end), begin_ns);
    return ran > 0 ? (double)bytes / ran : 0;
}

void oaki_pace_stopped(bool minor, bool asked, size_t before, uint64_t begin_ns, uint64_t ns)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_lock_acquire(&pace->lock);
    if (!asked) pace->rate = rate_before(before, begin_ns);
    oaki_lock_release(&pace->lock);
    if (!minor) oaki_plan_note_pause(ns, AO_load(&pace->full), true);
}

void oaki_pace_concurrent(bool minor, size_t before, uint64_t begin_ns, size_t during,
                          uint64_t end_ns, uint64_t cpu_ns)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    uint64_t took_ns = oaki_os_since(begin_ns, end_ns);
    double took = (double)took_ns;
    if (!minor) oaki_plan_note_pause(cpu_ns / oaki_workers_count(), AO_load(&pace->full), false);
    oaki_lock_acquire(&pace->lock);
    pace->rate = OAKI_MAX(rate_before(before, begin_ns), took > 0 ? (double)during / took : 0);
    pace->took[minor] = took_ns;
    if (!minor) {
        pace->pays[1] = pace->pays[0];
        pace->pays[0] = pace->rate * (double)cpu_ns * OAKI_TUNE_THRIFT_SHARE /
                        (double)OAKI_MAX(AO_load(&pace->full), OAKI_TUNE_MEANINGFUL);
    }
    refresh();
    oaki_lock_release(&pace->lock);
}

/* A mark has a fair share with half a processor: the floating part is the share it lacked. */
size_t oaki_pace_floating(size_t found, uint64_t clock_ns, uint64_t marking_ns)
{
    double had = clock_ns ? (double)marking_ns / (double)clock_ns : 1;
    return (size_t)((double)found * OAKI_MAX(1 - 2 * had, 0));
}

bool oaki_pace_has_room(void)
{
    size_t goal = AO_load(&pace->goal), live = AO_load(&pace->live);
    size_t whole = goal - OAKI_MIN(pace->base, goal);
    return goal - OAKI_MIN(live, goal) > whole / OAKI_TUNE_STICKY_ROOM;
}

size_t oaki_pace_live(void)
{
    return AO_load(&pace->live);
}

size_t oaki_pace_goal(void)
{
    size_t goal = AO_load(&pace->goal), live = AO_load(&pace->live);
    return OAKI_MAX(goal, live);
}

/* The bytes that finalizers count as. */
OAKI_AT_START static size_t finalizer_bytes(void)
{
    size_t percent = AO_load(&pace->percent);
    if (OAKI_LIKELY(!oaki_gc_paces_by_finalizers()) || percent == (AO_t)-1) return 0;
    double waited = (double)AO_load(&pace->waited);
    double fresh = (double)oaki_finalizers_waiting() - waited;
    double counted = fresh - waited * (double)percent / 100;
    return (size_t)(OAKI_MAX(counted, 0) * (double)OAKI_TUNE_FINALIZER_BYTES);
}

bool oaki_pace_is_past(size_t bytes)
{
    return AO_load(&oaki_the_heap.live) + bytes + finalizer_bytes() >= oaki_pace_goal();
}

bool oaki_pace_outran(size_t bytes, size_t done, size_t whole)
{
    size_t goal = oaki_pace_goal(), live = OAKI_MIN(AO_load(&pace->live), goal);
    double room = (double)OAKI_MAX((goal - live) / OAKI_TUNE_LATE, live / OAKI_TUNE_LATE_LEAST);
    double part = whole > done ? (double)done / (double)whole : 1;
    double counted = (double)AO_load(&oaki_the_heap.live) + (double)finalizer_bytes();
    return counted + (double)bytes > (double)goal + room * part;
}

bool oaki_pace_waits(uint64_t clock_ns, uint64_t marking_ns, uint64_t most_ns, uint64_t blind_ns)
{
    uint64_t marking = OAKI_MIN(marking_ns, clock_ns);
    uint64_t blind = OAKI_MIN(most_ns, blind_ns);
    return marking < most_ns && clock_ns / OAKI_TUNE_BUSY < OAKI_MAX(marking, blind);
}

/* Under a limit: has the program had its half of the processor time? If not, it may continue for
 * a while. A sleeping program needs less than half, so for it the clock decides. The clock does
 * not decide on a busy machine, where program and collector both wait for a processor. */
static bool may_collect(void)
{
    if (!AO_load(&pace->limited)) return true;
    uint64_t since = oaki_os_since(AO_load(&pace->cycle_end), oaki_os_now_ns());
    if (since >= AO_load(&pace->last_cycle) * OAKI_TUNE_ASLEEP) return true;
    int64_t ran = (int64_t)(oaki_os_cpu_ns() - AO_load(&pace->cpu_end));
    if ((int64_t)AO_load(&pace->credit) + ran >= 0) return true;
    size_t more = OAKI_MAX(AO_load(&pace->live) / OAKI_TUNE_POSTPONE, OAKI_TUNE_POSTPONE_BYTES);
    oaki_count_add(&oaki_the_heap.trigger, more);
    return false;
}

OAKI_AT_START bool oaki_pace_due(void)
{
    size_t live = AO_load(&oaki_the_heap.live), trigger = AO_load(&oaki_the_heap.trigger);
    if (live >= trigger) return may_collect();
    size_t marked = AO_load(&pace->live);
    if (live < marked + marked / OAKI_TUNE_FINALIZER_LEAST) return false;
    return OAKI_UNLIKELY(finalizer_bytes() >= trigger - live) && may_collect();
}

bool oaki_pace_nears(void)
{
    size_t trigger = AO_load(&oaki_the_heap.trigger), live = AO_load(&pace->live);
    live = OAKI_MIN(live, trigger);
    return AO_load(&oaki_the_heap.live) >= trigger - (trigger - live) / OAKI_TUNE_NEAR;
}

void oaki_gc_dropped(size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&pace->lock);
    size_t live = AO_load(&pace->live), full = AO_load(&pace->full);
    AO_store(&pace->live, live - OAKI_MIN(bytes, live));
    AO_store(&pace->full, full - OAKI_MIN(bytes, full));
    pace->base -= OAKI_MIN(bytes, pace->base);
    refresh();
    oaki_lock_release(&pace->lock);
}

/* Credit earned before the limit was set says nothing about a limit that can't be met. */
void oaki_gc_settings_changed(void)
{
    oaki_thread *t = lock();
    uint64_t now = oaki_os_cpu_ns();
    int64_t credit = (int64_t)AO_load(&pace->credit);
    credit = OAKI_MIN(credit + (int64_t)(now - AO_load(&pace->cpu_end)), 0);
    AO_store(&pace->credit, (AO_t)credit);
    AO_store(&pace->cpu_end, now);
    refresh();
    unlock(t);
}

int oak_set_gc_percent(int percent)
{
    if (!oaki_heap_ready()) return 100;
    oaki_thread *t = lock();
    int old = (int)(intptr_t)AO_load(&pace->percent);
    if (percent >= -1) {
        AO_store(&pace->percent, (AO_t)(intptr_t)percent);
        refresh();
    }
    unlock(t);
    return old;
}
