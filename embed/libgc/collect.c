/* collect.c - decides when the heap is collected, and calls the program's callbacks.
 *
 * The heap itself collects. Its veto hooks (gc/host.h) check GC_dont_gc, which programs assign, and
 * the stop function. Its start hook reads the variables, and calls the program's start callback
 * with the allocation lock held. Its other hooks deliver the events.
 *
 * Lock: the callbacks run under gc_lock; those between the stop and the start event also with the
 * world stopped. */
#include "libgc.h"
#include "reuse.h"

#include "gc/plan.h"
#include "gc/settings.h"
#include "runtime/contain.h"
#include "runtime/os.h"
#include "runtime/phase.h"
#include "runtime/room.h"
#include <oakum/gc.h>

#define LITTLE_US 1000 /* of GC_collect_a_little */

/* Memory is traded for time: while collections take more than 15 % of the time, the heap gets more
 * room; below 8 %, less. The room is in percent of libgc's rule, but at least some bytes. */
#define DEAR 150 /* permille */
#define CHEAP 80
#define SHARE_LEAST 90
#define SHARE_MOST 130
#define SHARE_LARGE 150 /* from LARGE live bytes on, as their marks take long */
#define LARGE ((size_t)4 << 20)
#define SMALL_MOST ((size_t)2 << 20)

/* A program that uses much memory outside of the heap is hardly larger with more room. So it gets
 * room beyond these shares: 1 / PART of its resident bytes outside of the heap, less ANY_HAS. */
#define ANY_HAS ((size_t)16 << 20)
#define PART 4
#define ASK_EVERY 8 /* cycles between two readings, which take three system calls */

#define FORGET 8 /* kept_room shrinks by 1 / FORGET in each full cycle */
#define MOST(max) ((max) / 4 * 3) /* the limit of kept_room in a heap with a largest size */

/* The least growth of the heap between collections for which GC_on_heap_resize is called. */
#define GROWTH ((size_t)1 << 20)

static struct {
    uint64_t last_end; /* end of the last cycle; monotonic clock */
    unsigned cost;     /* share of the time in recent cycles, in permille */
    unsigned share;    /* room of the heap, in percent of libgc's rule */
    size_t live;       /* live bytes after the last cycle */
    unsigned scanned;  /* scanned part of these, in percent */
    size_t elsewhere;  /* resident bytes outside of the heap, less ANY_HAS */
    unsigned asks_in;  /* cycles until the next reading of `elsewhere` */
    size_t had;        /* bytes that the heap was recently allowed to have */
    GC_word divisor;   /* GC_free_space_divisor of `had` */
    int percent;       /* the percentage that is set */
    size_t least;      /* the least room that is set */
    AO_t heap_told;    /* size at the last GC_on_heap_resize */
    size_t seen;       /* cycles, for oaki_gc_begins */
} self = { .scanned = 100, .share = 100 };

/* ---- in a cycle ---- */

static void tell(GC_EventType event)
{
    GC_on_collection_event_proc fn = lgc.on_event;
    if (fn) OAKI_CALL_INSIDE(fn(event));
}

static bool is_off(void)
{
    return GC_dont_gc != 0;
}

/* Of the calling thread: it collects without asking the program's function; or it is in it. */
static __thread bool unasked __attribute__((tls_model("initial-exec")));
static __thread bool asks __attribute__((tls_model("initial-exec")));

bool lgc_asks(void)
{
    return asks;
}

/* The program's function may not allocate, as with libgc, which holds its lock then. */
static bool vetoed(oaki_gc_why why)
{
    if (why == OAKI_GC_DUE && lgc.no_automatic) return true;
    if (why == OAKI_GC_NEEDED || (why == OAKI_GC_ASKED && unasked)) return false;
    asks = true;
    bool stops = lgc.stop_func() != 0;
    asks = false;
    return stops;
}

/* Read variables that programs may have assigned. Leaks are found by stop-the-world collections: a
 * concurrent one may see deferred frees as objects, or keep dead objects alive. */
static void read_variables(void)
{
    if (GC_find_leak) oaki_gc_set_concurrent(false);
    lgc_roots_apply();
    lgc_apply_pace();
}

static void start(void *ctx)
{
    (void)ctx;
    GC_start_callback_proc fn = lgc.start_callback;
    lgc_tags_judge();
    read_variables();
    tell(GC_EVENT_START);
    if (fn) fn();
    lgc_toggle_start();
    tell(GC_EVENT_PRE_STOP_WORLD);
}

static void tell_threads(GC_EventType event)
{
    GC_on_thread_event_proc fn = lgc.on_thread_event;
    if (!fn) return;
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (t != oaki_thread_self() && AO_int_load(&t->state) == OAKI_THREAD_STOPPED)
            OAKI_CALL_INSIDE(fn(event, (void *)t->pthread));
}

static void stopped(void *ctx)
{
    if (!oaki_gc_begins(ctx, false)) return;
    if (oaki_room_is_wanted()) lgc_reuse_empty();
    tell_threads(GC_EVENT_THREAD_SUSPENDED);
    tell(GC_EVENT_POST_STOP_WORLD);
    tell(GC_EVENT_MARK_START);
    lgc_stats_marked();
}

/* Call GC_on_heap_resize. */
static void tell_heap_size(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    size_t now = GC_get_heap_size(), told = AO_load(&self.heap_told);
    GC_on_heap_resize_proc fn = GC_on_heap_resize;
    AO_store(&self.heap_told, now);
    if (fn && now != told) OAKI_CALL_INSIDE(fn(now));
}

static void tell_outside(void)
{
    OAKI_NO_CANCEL; /* the function may write */
    if (!GC_on_heap_resize || oaki_gc_exclude() != 0) return;
    tell_heap_size();
    oaki_gc_release();
}

OAKI_NOINLINE void lgc_tell_growth(void)
{
    if (GC_get_heap_size() >= AO_load(&self.heap_told) + GROWTH) tell_outside();
}

/* A collection counts from here on: who sees the new number finds its links cleared. */
static void marked(void *ctx)
{
    (void)ctx;
    GC_gc_no++;
    lgc_toggle_marked();
    lgc_leak_marked();
    lgc_insides_marked();
    tell(GC_EVENT_MARK_END);
    tell_heap_size();
    tell(GC_EVENT_PRE_START_WORLD);
    tell_threads(GC_EVENT_THREAD_UNSUSPENDED);
}

/* The scanned part of the heap, in percent of the pages in spans. Mutators run, so spans may come
 * and go, and the result is approximate. */
static unsigned scanned_percent(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, scanned = 0, all = 0;
    for (size_t page = 0, n; page < end; page += n) {
        const oaki_span *s = &h->spans[page];
        n = OAKI_MAX(s->npages, 1);
        if (!(h->pte[page] & OAKI_PTE_CLASS)) continue;
        all += n;
        if (s->kind != OAKI_NOSCAN) scanned += n;
    }
    return all > 0 ? (unsigned)(scanned * 100 / all) : 100;
}

static size_t elsewhere(void)
{
    if (self.asks_in-- > 0) return self.elsewhere;
    size_t rss = oaki_os_rss(), other = GC_get_heap_size() + ANY_HAS;
    self.asks_in = ASK_EVERY - 1;
    self.elsewhere = rss > other ? rss - other : 0;
    return self.elsewhere;
}

/* The limit of self.share, in percent of the rule. */
static unsigned most_share(const oaki_cycle *c)
{
    size_t live = c->line.heap_live, more = elsewhere() / PART;
    size_t rule = live / 100 * (100 + self.scanned) / 100 / OAKI_MAX(GC_free_space_divisor, 1);
    return (live >= LARGE ? SHARE_LARGE : SHARE_MOST) + (unsigned)(more / OAKI_MAX(rule, 1));
}

/* The room of the heap, in percent of the live bytes. libgc's rule allows at least (2 * scanned +
 * unscanned + roots) / divisor bytes between two collections, and more while its heap has room.
 * This function takes self.share percent of the rule. */
static int percent(void)
{
    GC_word divisor = OAKI_MAX(GC_free_space_divisor, 1);
    return (int)OAKI_MAX((100 + self.scanned) * self.share / 100 / divisor, 1);
}

/* Remember how large the heap was allowed to be. The process doesn't give its memory back at once.
 * So when fewer bytes are live for a while, the heap may use the same memory at no further cost.
 * libgc has the same effect, as it doesn't collect while its heap has room. */
static void keep_room(size_t live)
{
    size_t room = live / 100 * (unsigned)percent();
    self.had = OAKI_MAX(self.had - self.had / FORGET, live + room);
}

/* The remembered size that counts now: none if the divisor has changed, and at most MOST of the
 * largest size. */
static size_t kept_room(void)
{
    size_t max = AO_load(&oaki_the_heap.heap_max);
    if (self.divisor != GC_free_space_divisor) self.had = 0;
    self.divisor = GC_free_space_divisor;
    if (self.cost <= DEAR) return 0;
    return max ? OAKI_MIN(self.had, MOST(max)) : self.had;
}

/* Adapt the room of the heap to the cost of the last few cycles, after a cycle that was due. */
static void adapt(const oaki_cycle *c)
{
    uint64_t worked = c->end - c->begin, since = c->begin - self.last_end;
    bool grows = c->line.heap_live / 8 * 7 > self.live; /* costs more, but only for a while */
    if (self.last_end && worked + since > 0)
        self.cost = (self.cost * 3 + (unsigned)(worked * 1000 / (worked + since))) / 4;
    self.last_end = c->end;
    self.live = c->line.heap_live;
    if (self.cost > DEAR && !grows) {
        self.share = OAKI_MIN(self.share + self.share / 8, most_share(c));
        lgc.least = OAKI_MIN(lgc.least + lgc.least / 8, OAKI_MAX(lgc.least, SMALL_MOST));
    } else if (self.cost < CHEAP) {
        self.share = OAKI_MAX(self.share - self.share / 16, SHARE_LEAST);
    }
}

/* The end of a cycle. On the thread that collected; mutators run. */
static void over(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    lgc_stats_cycle(c->end - c->begin);
    self.scanned = scanned_percent();
    if (c->why == OAKI_GC_DUE) adapt(c);
    if (!c->minor) keep_room(c->line.heap_live);
    lgc_apply_pace();
    lgc_help_judge(c);
    GC_parallel = c->markers > 1 ? (int)c->markers - 1 : 0;
    tell(GC_EVENT_POST_START_WORLD);
    tell(GC_EVENT_RECLAIM_START);
    tell(GC_EVENT_RECLAIM_END);
    tell(GC_EVENT_END);
    if (lgc.print_stats)
        lgc_log("Collection %lu: pause %lu us, %lu KiB live, %lu KiB in the heap\n", GC_gc_no,
                (unsigned long)((c->end - c->begin) / 1000),
                (unsigned long)(c->line.heap_live >> 10), (unsigned long)(c->heap_inuse >> 10));
    if (lgc.dump_regularly) GC_dump_named(NULL);
}

void lgc_apply_pace(void)
{
    int now = percent();
    size_t least = OAKI_MAX(OAKI_MAX(lgc.least, lgc.expanded), kept_room());
    if (now == self.percent && least == self.least) return;
    self.percent = now;
    self.least = least;
    oaki_gc_set_min_heap(least / (unsigned)now * 100); /* room: that percent of it */
    (void)oak_set_gc_percent(now);
}

void lgc_collect_init(void)
{
    oaki_gc_set_prefer_stops(true);
    oaki_gc_off_while(is_off);
    oaki_gc_unless(vetoed);
    if (oaki_gc_before_pause(start, NULL) != 0 || oaki_gc_at_cycle(stopped, &self.seen) != 0 ||
        oaki_gc_after_mark(marked, NULL) != 0 || oaki_gc_on_cycle(over, NULL) != 0)
        lgc_start_fails("not enough memory");
}

/* ---- requested collections ---- */

static void after_collection(void)
{
    if (AO_load(&lgc.unfinished)) lgc_final_resume();
    lgc_debug_check();
    lgc_leak_report();
}

static bool collect(bool ask, bool unmap);
LGC_OUTSIDE(bool, collect, (bool ask, bool unmap), (ask, unmap))

/* ask: the program's stop function may forbid it. Finalizers that run in here may collect, too. */
static bool collect(bool ask, bool unmap)
{
    if (lgc_is_blocked()) return collect_outside(ask, unmap);
    GC_word before = GC_gc_no;
    bool was = unasked;
    unasked = !ask;
    oak_collect();
    unasked = was;
    after_collection();
    if (unmap) (void)oak_scavenge();
    return GC_gc_no != before;
}

void GC_gcollect(void)
{
    lgc_ready();
    (void)collect(true, lgc.force_unmap);
}

void GC_gcollect_and_unmap(void)
{
    lgc_ready();
    (void)collect(false, true);
}

/* As in libgc, only this stop function is asked. It is called only before the collection, which
 * always runs to its end. */
int GC_try_to_collect(GC_stop_func stop)
{
    lgc_ready();
    if (GC_dont_gc || stop()) return 0;
    return collect(false, false);
}

static bool step(void);
LGC_OUTSIDE(bool, step, (void), ())

/* Is more to be done of the cycle under way? While the program forbids collections, no step ends
 * it. */
static bool step(void)
{
    if (lgc_is_blocked()) return step_outside();
    GC_word before = GC_gc_no;
    bool more = oak_collect_step(LITTLE_US);
    if (GC_gc_no != before) after_collection();
    return more && oaki_phase_now() != OAKI_PHASE_IDLE && !is_off() && !vetoed(OAKI_GC_DUE);
}

int GC_collect_a_little(void)
{
    lgc_ready();
    return step();
}

void GC_disable(void)
{
    (void)AO_int_fetch_and_add_full((unsigned *)&GC_dont_gc, 1);
}

void GC_enable(void)
{
    if (AO_int_fetch_and_add_full((unsigned *)&GC_dont_gc, -1u) != 0) return;
    GC_disable();
    lgc.warn_proc("GC Warning: GC_enable without GC_disable is ignored (%ld).\n", 0);
}

int GC_is_disabled(void)
{
    return GC_dont_gc != 0;
}

/* ---- incremental mode: there is none ---- */

void GC_enable_incremental(void)
{
    lgc_ready();
}

int GC_is_incremental_mode(void)
{
    return 0;
}

int GC_incremental_protection_needs(void)
{
    return 0;
}

void GC_start_incremental_collection(void)
{
}

/* ---- the allocation lock ---- */

/* The regions of GC_do_blocking that the holder of the lock has left meanwhile. */
static struct {
    bool any;
    oaki_region regions;
} left;

static OAKI_NOINLINE OAKI_COLD void hold_outside(void (*hold)(void))
{
    oaki_region regions;
    oaki_blocking_suspend(oaki_thread_self(), &regions);
    hold();
    left.any = true;
    left.regions = regions;
}

static OAKI_NOINLINE OAKI_COLD void release_inside(void (*release)(void))
{
    oaki_region regions = left.regions;
    left.any = false;
    release();
    oaki_blocking_resume(oaki_thread_self(), &regions);
}

void GC_alloc_lock(void)
{
    lgc_ready();
    if (lgc_is_blocked()) hold_outside(GC_alloc_lock);
    else if (oaki_gc_exclude() != 0)
        oak_fatal("oakum: GC_alloc_lock: no memory to attach the thread");
}

void GC_alloc_unlock(void)
{
    if (left.any) release_inside(GC_alloc_unlock);
    else oaki_gc_release();
}

void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg)
{
    OAKI_NO_CANCEL;
    void *result;
    GC_alloc_lock();
    OAKI_CALL_INSIDE(result = fn(arg));
    GC_alloc_unlock();
    return result;
}

/* The thread that has stopped the world. */
static oaki_thread *stopper;

void GC_stop_world_external(void)
{
    lgc_ready();
    if (lgc_is_blocked()) {
        hold_outside(GC_stop_world_external);
        return;
    }
    stopper = oaki_gc_stop_begin();
    if (!stopper) oak_fatal("oakum: GC_stop_world_external: no memory to stop the world");
}

void GC_start_world_external(void)
{
    oaki_thread *t = stopper;
    if (t && left.any) {
        release_inside(GC_start_world_external);
        return;
    }
    stopper = NULL;
    if (!t) oak_fatal("oakum: GC_start_world_external: without GC_stop_world_external");
    oaki_gc_stop_end(t);
}

/* ---- the heap's size ---- */

/* Don't collect the heap while it is smaller than the size to which it was expanded. */
static void promise(size_t bytes)
{
    lgc.expanded = OAKI_MAX(lgc.expanded, bytes);
    lgc_apply_pace();
}

LGC_OUTSIDE(int, GC_expand_hp, (size_t n), (n))

int GC_expand_hp(size_t n)
{
    size_t now;
    lgc_ready();
    if (lgc_is_blocked()) return GC_expand_hp_outside(n);
    size_t max = AO_load(&oaki_the_heap.heap_max);
    if (__builtin_add_overflow(GC_get_heap_size(), n, &now) || now > oaki_the_heap.reserved ||
        (max && now > max))
        return 0;
    promise(now);
    tell_outside();
    return 1;
}

void GC_set_max_heap_size(GC_word n)
{
    lgc.max_heap = n;
    if (AO_load_acquire(&lgc.started)) AO_store(&oaki_the_heap.heap_max, n);
}
