/* collect.c - when the heap is collected, and what is called on the way.
 *
 * Collections are the heap's own. A veto (gc/host.h) heeds GC_dont_gc, which programs assign, and
 * the stop function; the start hook reads the variables anew, and calls the program's start
 * callback with the allocation lock held; events are told from the heap's hooks.
 *
 * Lock: the callbacks run under gc_lock; those between stop and start in a stopped world. */
#include "libgc.h"

#include "gc/pace.h"
#include "runtime/contain.h"
#include "runtime/os.h"
#include <oakum/gc.h>

/* Memory is traded for time while collections take more than 15 % of it, and back below 8 %: room
 * in percent of libgc's rule, and bytes between two collections where that comes to less. */
#define DEAR 150 /* permille */
#define CHEAP 80
#define SHARE_LEAST 90
#define SHARE_MOST 130
#define SHARE_LARGE 150 /* where LARGE bytes live, as a mark takes longer the more do */
#define LARGE ((size_t)4 << 20)
#define SMALL_MOST ((size_t)2 << 20)

/* A program that is large for other reasons is hardly larger for more room: beyond those shares
 * there is a quarter of what it has resident outside of the heap, less what any has. */
#define ANY_HAS ((size_t)16 << 20)
#define PART 4
#define ASK_EVERY 8 /* cycles: the system takes three calls to tell */

/* Of the room that the heap had, this part is forgotten in each full cycle. */
#define FORGET 8
#define MOST(max) ((max) / 4 * 3) /* of a heap that has a largest size */

/* Growth of the heap that is worth a call of GC_on_heap_resize between collections. */
#define GROWTH ((size_t)1 << 20)

static struct {
    uint64_t last_end; /* of a cycle, monotonic */
    unsigned cost;     /* permille of the time, of late */
    unsigned share;    /* percent of libgc's rule */
    size_t live;       /* bytes, after the last cycle */
    unsigned scanned;  /* percent of what lives */
    size_t elsewhere;  /* bytes resident outside of the heap, but for what any has */
    unsigned asks_in;  /* cycles until they are asked for again */
    size_t had;        /* bytes that the rule let the heap have, of late */
    GC_word divisor;   /* that it had it by */
    int percent;       /* that was set */
    size_t least;      /* likewise */
    AO_t heap_told;    /* size at the last GC_on_heap_resize */
} self = { .scanned = 100, .share = 100 };

/* ---- in a cycle ---- */

static void tell(GC_EventType event)
{
    GC_on_collection_event_proc fn = lgc.on_event;
    if (fn) fn(event);
}

static bool is_off(void)
{
    return GC_dont_gc != 0;
}

static bool vetoed(oaki_gc_why why)
{
    if (why == OAKI_GC_DUE && lgc.no_automatic) return true;
    return why != OAKI_GC_NEEDED && lgc.stop_func();
}

/* What programs may have assigned since the last time. Leaks are found in one stop: in others some
 * of what was freed by hand is still there, or some of what is dead is kept. */
static void read_variables(void)
{
    if (GC_find_leak) oaki_the_heap.config.concurrent = 0;
    lgc_roots_apply();
    lgc_apply_pace();
}

static void start(void)
{
    GC_start_callback_proc fn = lgc.start_callback;
    GC_gc_no++;
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
            fn(event, (void *)t->pthread);
}

static void stopped(void)
{
    static size_t seen;
    if (!oaki_gc_begins(&seen, false)) return;
    tell_threads(GC_EVENT_THREAD_SUSPENDED);
    tell(GC_EVENT_POST_STOP_WORLD);
    tell(GC_EVENT_MARK_START);
    lgc_stats_marked();
}

/* In a stop, or under gc_lock. */
static void tell_heap_size(void)
{
    size_t now = GC_get_heap_size(), told = AO_load(&self.heap_told);
    GC_on_heap_resize_proc fn = GC_on_heap_resize;
    AO_store(&self.heap_told, now);
    if (fn && now != told) fn(now);
}

static void tell_outside(void)
{
    if (!GC_on_heap_resize || oaki_gc_hold() != 0) return;
    tell_heap_size();
    oaki_gc_release();
}

OAKI_NOINLINE void lgc_tell_growth(void)
{
    if (GC_get_heap_size() >= AO_load(&self.heap_told) + GROWTH) tell_outside();
}

static void marked(void)
{
    lgc_toggle_marked();
    lgc_leak_marked();
    tell(GC_EVENT_MARK_END);
    tell_heap_size();
    tell(GC_EVENT_PRE_START_WORLD);
    tell_threads(GC_EVENT_THREAD_UNSUSPENDED);
}

/* How much of what lives is scanned, in percent, by the pages of its spans. The world runs: spans
 * that come and go meanwhile make it a little wrong. */
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

/* Percent of the rule. */
static unsigned most_share(const oaki_cycle *c)
{
    size_t live = c->line.heap_live, more = elsewhere() / PART;
    size_t rule = live / 100 * (100 + self.scanned) / 100 / OAKI_MAX(GC_free_space_divisor, 1);
    return (live >= LARGE ? SHARE_LARGE : SHARE_MOST) + (unsigned)(more / OAKI_MAX(rule, 1));
}

/* libgc's rule lets the program allocate at least (2 * scanned + the rest + roots) / divisor bytes
 * in between, and it goes on while there is room in the heap, which is a share of that more or
 * less; the heap's is in percent of what lives. */
static int percent(void)
{
    GC_word divisor = OAKI_MAX(GC_free_space_divisor, 1);
    return (int)OAKI_MAX((100 + self.scanned) * self.share / 100 / divisor, 1);
}

/* What the process has had is not given back at once, and costs nothing more: where less lives for
 * a while, the heap may be that large all the same. (libgc: there is no collection while there is
 * room in the heap.) */
static void keep_room(size_t live)
{
    size_t room = live / 100 * (unsigned)percent();
    self.had = OAKI_MAX(self.had - self.had / FORGET, live + room);
}

/* Of it, what counts now: not by another rule, and no reason to come to the largest size. */
static size_t kept_room(void)
{
    size_t max = AO_load(&oaki_the_heap.heap_max);
    if (self.divisor != GC_free_space_divisor) self.had = 0;
    self.divisor = GC_free_space_divisor;
    if (self.cost <= DEAR) return 0;
    return max ? OAKI_MIN(self.had, MOST(max)) : self.had;
}

/* A cycle that was due: what the last few cost decides how much room there is from now on. */
static void adapt(const oaki_cycle *c)
{
    uint64_t worked = c->end - c->begin, since = c->begin - self.last_end;
    bool grows = c->line.heap_live / 8 * 7 > self.live; /* which is dear, and over soon */
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

/* In the thread that collected, the world running. */
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
    oaki_the_heap.config.min_heap = least / (unsigned)now * 100; /* it takes percent of that */
    (void)oak_set_gc_percent(now);
}

void lgc_collect_init(void)
{
    oaki_pace_prefer_stops();
    oaki_gc_off_while(is_off);
    oaki_gc_unless(vetoed);
    if (oaki_gc_at_start(start) != 0 || oaki_gc_at_cycle(stopped) != 0 ||
        oaki_gc_after_mark(marked) != 0 || oaki_gc_on_cycle(over, NULL) != 0)
        lgc_start_fails("not enough memory");
}

/* ---- asking for one ---- */

static bool collect(bool unmap);
LGC_OUTSIDE(bool, collect, (bool unmap), (unmap))

static bool collect(bool unmap)
{
    if (lgc_is_blocked()) return collect_outside(unmap);
    GC_word before = GC_gc_no;
    oak_collect();
    if (AO_load(&lgc.unfinished)) lgc_final_resume();
    lgc_debug_check();
    lgc_leak_report();
    if (unmap) (void)oak_scavenge();
    return GC_gc_no != before;
}

void GC_gcollect(void)
{
    lgc_ready();
    (void)collect(lgc.force_unmap);
}

void GC_gcollect_and_unmap(void)
{
    lgc_ready();
    (void)collect(true);
}

/* A collection is not given up once it has begun. */
int GC_try_to_collect(GC_stop_func stop)
{
    lgc_ready();
    if (GC_dont_gc || stop()) return 0;
    return collect(false);
}

/* All of one, if it is due: nothing is left to do after it. */
int GC_collect_a_little(void)
{
    lgc_ready();
    if (oaki_pace_due()) (void)collect(false);
    return 0;
}

void GC_disable(void)
{
    (void)AO_int_fetch_and_add_full((unsigned *)&GC_dont_gc, 1);
}

void GC_enable(void)
{
    if (AO_int_fetch_and_add_full((unsigned *)&GC_dont_gc, -1u) == 0)
        oak_fatal("oakum: GC_enable: without GC_disable");
}

int GC_is_disabled(void)
{
    return GC_dont_gc != 0;
}

/* ---- incremental: not a mode here ---- */

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

/* Regions of GC_do_blocking that whoever has the lock has left meanwhile. */
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
    else if (oaki_gc_hold() != 0)
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

/* The thread that stopped it. */
static oaki_thread *stopper;

void GC_stop_world_external(void)
{
    lgc_ready();
    if (lgc_is_blocked()) {
        hold_outside(GC_stop_world_external);
        return;
    }
    stopper = oaki_gc_stop_begin();
    if (!stopper) oak_fatal("oakum: GC_stop_world_external: no memory to attach the thread");
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

/* The heap is not collected while it is smaller than it was made. */
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
