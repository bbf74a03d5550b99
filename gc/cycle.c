/* cycle.c - a collection from end to end.
 *
 * Owns: the phases, gc_lock, the counters of cycles and pauses. The order of a cycle is in gc.h.
 * Lock: gc_lock, save for the counters that others read. A thread waits for it in a blocking
 * region, as the holder may be stopping the world. */
#include "contract.h"
#include "event.h"
#include "gc.h"
#include "gc/concurrent/concurrent.h"
#include "gc/concurrent/sticky.h"
#include "gc/debug/verify.h"
#include "gc/refs/link.h"
#include "gc/trace/trace.h"
#include "hooks.h"
#include "host.h"
#include "off.h"
#include "pace.h"
#include "runtime/collector.h"
#include "runtime/contain.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "runtime/room.h"
#include "runtime/scrub.h"
#include "runtime/track.h"
#include "sweep.h"
#include <oakum/gc.h>
#include <string.h>

static struct {
    oaki_hooks start;         /* before the stop */
    oaki_hooks before, after; /* the mark */
    bool minor;          /* the cycle that is under way, or the last one */
    bool start_told;     /* in a cycle whose stop may have to be repeated */
    AO_t forced;   /* collections asked for */
    AO_t stress_count;
    size_t live; /* of the last cycle */
    uint64_t start_ns; /* of the process's use of us */
    uint64_t gc_cpu_ns;
    uint64_t pause_total_ns, last_gc_ns;
    uint64_t pause_ns[256], pause_end[256];
    oaki_cycle begun; /* what the first stop of a cycle noted whose mark is beside the program */
    bool ended;       /* the last stop ended such a mark; gc_lock */
} gc;

/* ---- the stop ---- */

/* M = ~A wherever there are spans; of a minor cycle, M | ~A. */
static void prepare_bits(bool minor)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    oaki_heap *h = &oaki_the_heap;
    size_t chunks = oaki_chunks(AO_load(&h->used)), words = OAKI_CHUNK / OAKI_GRANULE / 64;
    for (size_t c = 0; c < chunks; c++)
        if (h->chunk_inuse[c]) oaki_mark_prepare(c * words, words, minor);
}

/* The phase that began at *t ends now, and the next one begins. */
static void end_phase(oaki_cycle *c, oaki_part phase, uint64_t *t)
{
    uint64_t now = oaki_os_now_ns();
    c->phase[phase] = now - *t;
    *t = now;
}

/* Pinned objects were queued already where the mark is beside the program. Roots come second there:
 * from oaki_concurrent_final_pause on words count up to where the heap ends now. */
static void mark_all(oaki_cycle *c, bool beside, bool minor, uint64_t *t)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_REST();
    if (beside) oaki_concurrent_final_pause();
    else if (minor) oaki_sticky_rescan();
    else oaki_pinned_mark();
    oaki_roots_mark(true);
    end_phase(c, OAKI_PART_ROOTS, t);
    oaki_mark_drain();
    end_phase(c, OAKI_PART_DRAIN, t);
    oaki_ephemerons_fixpoint(false);
    oaki_weak_clear();
    oaki_links_clear(false);
    oaki_finalizers_decide(minor);
    oaki_ephemerons_fixpoint(true);
    oaki_weak_flag_lost();
    oaki_links_clear(true);
    oaki_ephemerons_clear();
    end_phase(c, OAKI_PART_FINISH, t);
}

/* The time that it takes is no part of the cycle's: pacing is to be the same. */
static void verify(oaki_cycle *c, uint64_t *t, bool whole)
{
    if (!oaki_debug_switches.verify) return;
    uint64_t cpu = oaki_os_cpu_ns();
    oaki_verify_rule(oaki_worklist_check);
    oaki_verify_rule(oaki_sweep_check);
    oaki_verify(whole);
    c->verify_cpu = oaki_os_cpu_ns() - cpu;
    uint64_t now = oaki_os_now_ns();
    c->verify = now - *t;
    *t = now;
}

static void flush_caches(void)
{
    for (oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next) oaki_mcache_flush(mc);
}

static void begin_mark(bool minor)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_ASSERT(!AO_load(&oaki_the_heap.marking) ||
                oaki_concurrent_state() == OAKI_CONCURRENT_BEGUN);
    gc.minor = minor;
    oaki_tables_reclaim();
    oaki_verify_rule(oaki_tables_check);
    oaki_hooks_call(&gc.before);
    AO_store(&oaki_the_heap.marking, 1);
    oaki_workers_begin();
}

/* Of a minor one's old objects it is not known which were freed by hand. */
static size_t live_bytes(bool minor)
{
    size_t live = oaki_workers_bytes();
    live -= OAKI_MIN(oaki_deferred_marked(), live);
    return minor ? OAKI_MIN(live + oaki_pace_live(), AO_load(&oaki_the_heap.live)) : live;
}

static oaki_found found(bool part)
{
    if (part) return OAKI_FOUND_SOME;
    return oaki_roots_marked.in_flight ? OAKI_FOUND_MOST : OAKI_FOUND_ALL;
}

/* *t: when it began, and then when it ended. A mark that is under way beside the program ends here;
 * one that has only begun is begun anew. */
static void stopped_part(oaki_cycle *c, oaki_gc_why why, uint64_t *t)
{
    oaki_heap *h = &oaki_the_heap;
    bool beside = oaki_concurrent_state() == OAKI_CONCURRENT_MARKING,
         minor = oaki_concurrent_is_minor();
    OAKI_REQUIRES_STOPPED();
    OAKI_ASSERT(!minor || AO_load(&h->marking)); /* a stop of its own decides anew */
    gc.ended = beside;
    flush_caches();
    if (!beside) {
        if (oaki_concurrent_state() == OAKI_CONCURRENT_BEGUN) oaki_workers_discard();
        minor = why == OAKI_GC_DUE && oaki_sticky_begins();
        AO_store(&h->sticky, 0);
        begin_mark(minor);
        prepare_bits(minor);
    }
    end_phase(c, OAKI_PART_PREPARE, t);
    mark_all(c, beside, minor, t);
    oaki_zones_marked();
    if (OAKI_UNLIKELY(oaki_guard.on)) oaki_guard_mark();
    oaki_hooks_call(&gc.after);
    verify(c, t, !beside && !minor);
    size_t live = live_bytes(minor), before = c->line.heap_end;
    size_t scanned = oaki_workers_scanned();
    oaki_concurrent_end();
    oaki_mark_release();
    OAKI_REQUIRES_IDLE();
    OAKI_REQUIRES_REST();
    AO_store(&h->marking, 0);
    AO_store(&h->preparing, 0);
    AO_store_release(&h->cycle, AO_load(&h->cycle) + 1);
    oaki_pace_marked(live, beside ? oaki_concurrent_floating() : 0, oaki_roots_marked.bytes, minor);
    size_t work = beside ? oaki_concurrent_work() : scanned;
    bool young = oaki_sticky_pays(minor, work, before - OAKI_MIN(live, before), c->allocated) &&
                 (beside || (why == OAKI_GC_DUE && oaki_sticky_keep(minor)));
    AO_store(&h->sticky, young);
    c->minor = minor;
    oaki_sweep_begin(live, AO_load(&h->trigger));
    c->line.heap_live = live;
    oaki_room_serve(found(minor || beside), oaki_os_now_ns() - c->begin);
    end_phase(c, OAKI_PART_PACE, t);
}

static double cpu_fraction(unsigned processors)
{
    double total = (double)(oaki_os_now_ns() - gc.start_ns) * processors;
    return total > 0 ? (double)gc.gc_cpu_ns / total : 0;
}

static void count_pause(uint64_t ns)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    unsigned i = (unsigned)(AO_load(&oaki_the_heap.cycle) + 255) % 256;
    gc.last_gc_ns = oaki_os_wall_ns();
    gc.pause_total_ns += ns;
    gc.pause_ns[i] = ns;
    gc.pause_end[i] = gc.last_gc_ns;
}

/* ---- what it knows of itself ---- */

static void note_before(oaki_thread *t, oaki_cycle *c, oaki_gc_why why)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    bool begun = oaki_concurrent_state() != OAKI_CONCURRENT_NONE;
    if (begun) *c = gc.begun;
    c->why = why;
    c->line.forced = why == OAKI_GC_ASKED;
    if (begun) return;
    c->sweep_end = oaki_sweep_ended();
    oaki_sweep_kept(c->kept);
    c->tid = t->tid;
    c->line.goal = oaki_pace_goal();
}

/* Once it stands. */
static void note_stopped(oaki_cycle *c)
{
    OAKI_REQUIRES_STOPPED();
    oaki_vain vain = oaki_world_vain();
    size_t live = AO_load(&oaki_the_heap.live);
    if (!c->first_begin) c->line.heap_start = live;
    c->line.heap_end = live;
    c->allocated = live - OAKI_MIN(gc.live, live);
    c->longest_vain = OAKI_MAX(c->longest_vain, vain.longest_ns);
}

/* The marker may have dropped its mark before the world stood. */
static void note_dropped(oaki_thread *t, oaki_cycle *c, oaki_gc_why why, uint64_t rest)
{
    if (oaki_concurrent_state() != OAKI_CONCURRENT_NONE) return;
    *c = (oaki_cycle){ .sweep_rest = rest, .line.processors = c->line.processors };
    note_before(t, c, why);
}

/* As Go counts: what stands costs every processor; of the mark, what was worked. */
static void note_times(oaki_cycle *c, uint64_t mark_cpu)
{
    oaki_gctrace *l = &c->line;
    const uint64_t *p = c->phase;
    OAKI_ASSERT(oaki_cycle_parts(c) == oaki_cycle_pause(c));
    OAKI_ASSERT(!c->first_begin || c->begin >= c->first_begin + c->first - c->between);
    l->cycle = AO_load(&oaki_the_heap.cycle);
    l->since_start = (c->first_begin ? c->first_begin : c->begin) - gc.start_ns;
    l->stop = p[OAKI_PART_STOP];
    l->mark = p[OAKI_PART_PREPARE] + p[OAKI_PART_ROOTS] + p[OAKI_PART_DRAIN] +
              p[OAKI_PART_FINISH] + p[OAKI_PART_PACE];
    l->mark_end = p[OAKI_PART_START];
    if (c->first_begin) { /* as Go: a stop, the mark beside the program, a stop */
        l->mark_end += l->stop + l->mark;
        l->stop = c->first;
        l->mark = c->begin - c->first_begin - c->first;
        mark_cpu += c->beside;
    }
    l->stop_cpu = l->stop * l->processors;
    l->mark_cpu = mark_cpu;
    l->mark_end_cpu = l->mark_end * l->processors;
    l->cpu_fraction = cpu_fraction(l->processors);
}

static void note_after(oaki_cycle *c)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_heap *h = &oaki_the_heap;
    c->wall = gc.last_gc_ns;
    c->line.stacks = oaki_roots_marked.stacks;
    c->line.globals = oaki_roots_marked.data;
    c->freed = c->line.heap_start - OAKI_MIN(c->line.heap_live, c->line.heap_start);
    gc.live = c->line.heap_live;
    c->trigger = AO_load(&h->trigger);
    c->heap_inuse = AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT;
    c->heap_idle = AO_load(&h->pages_free) << OAKI_PAGE_SHIFT;
    c->heap_released = AO_load(&h->pages_released) << OAKI_PAGE_SHIFT;
    c->threads = (unsigned)AO_load(&h->nthreads);
    c->markers = oaki_workers_count();
}

/* What it allocated before, and during it. */
static void pace_beside(const oaki_cycle *c)
{
    size_t begun = c->line.heap_start, ended = c->line.heap_end;
    oaki_pace_concurrent(c->minor, begun - OAKI_MIN(gc.live, begun), c->first_begin,
                     ended - OAKI_MIN(begun, ended), c->end - c->verify, c->cpu + c->beside);
}

/* Helpers are held from here on; nothing waits to be swept. When it began. No worker comes in mid
 * mark, as it would know nothing of it. */
static uint64_t sweep_rest(oaki_cycle *c)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_RUNNING();
    c->line.processors = oaki_os_cpus();
    if (!gc.start_told) oaki_hooks_call(&gc.start);
    gc.start_told = true;
    bool none = oaki_concurrent_state() == OAKI_CONCURRENT_NONE;
    if (none) oaki_workers_spawn(c->line.processors);
    oaki_sweep_spawn();
    oaki_helpers_hold();
    uint64_t at = oaki_os_now_ns();
    if (none) (void)oaki_zones_reap(SIZE_MAX);
    oaki_gc_sweep_all();
    if (OAKI_UNLIKELY(oaki_guard.on)) oaki_guard_look_at_all("a collection");
    return at;
}

/* As run_cycle. */
OAKI_NOINLINE bool oaki_cycle_init_pause(oaki_thread *t)
{
    OAKI_REQUIRES_IDLE();
    OAKI_REQUIRES_NO_MARK();
    oaki_cycle c = { .why = OAKI_GC_DUE };
    uint64_t at = sweep_rest(&c);
    note_before(t, &c, OAKI_GC_DUE);
    c.sweep_rest = oaki_os_now_ns() - at;
    if (!oaki_world_stop(t)) {
        oaki_helpers_release();
        return false;
    }
    note_stopped(&c);
    c.first_begin = oaki_world_asked_ns();
    flush_caches();
    begin_mark(oaki_concurrent_begins_minor());
    AO_store(&oaki_the_heap.preparing, 1);
    oaki_roots_mark(false);
    oaki_concurrent_begin();
    c.first = oaki_os_now_ns() - c.first_begin;
    gc.begun = c;
    oaki_world_start(t);
    oaki_helpers_release();
    return true;
}

void oaki_cycle_aborted(void)
{
    OAKI_REQUIRES_COLLECTOR();
    gc.start_told = false;
}

/* Not as long as the program wants none: then this is no start. */
static bool stop_to_end(oaki_thread *t)
{
    if (!oaki_world_stop(t)) return false;
    if (!oaki_gc_is_off()) return true;
    gc.start_told = false;
    oaki_world_start(t);
    return false;
}

/* Not part of the frame that is scanned, where sweeping leaves words. false: no stop yet. */
static OAKI_NOINLINE bool run_cycle(oaki_thread *t, oaki_gc_why why)
{
    oaki_cycle c = { .why = why };
    uint64_t at = sweep_rest(&c);
    note_before(t, &c, why);
    uint64_t rest = oaki_os_now_ns() - at, cpu0 = oaki_os_cpu_ns();
    if (!c.first_begin) c.sweep_rest = rest;
    if (!stop_to_end(t)) {
        oaki_helpers_release();
        return false;
    }
    if (c.first_begin) note_dropped(t, &c, why, rest);
    note_stopped(&c);
    cpu0 += oaki_world_vain().rest_cpu_ns;
    c.begin = at = oaki_world_asked_ns();
    end_phase(&c, OAKI_PART_STOP, &at);
    uint64_t cpu1 = oaki_os_cpu_ns();
    stopped_part(&c, why, &at);
    uint64_t cpu2 = oaki_os_cpu_ns();
    c.end = at;
    oaki_world_start(t);
    end_phase(&c, OAKI_PART_START, &c.end);
    oaki_helpers_release();
    oaki_tables_reclaim();
    oaki_verify_rule(oaki_tables_check);
    oaki_mark_trim();
    c.stop_cpu = cpu1 - cpu0;
    c.cpu_end = oaki_os_cpu_ns();
    c.cpu = c.cpu_end - cpu0 - c.verify_cpu;
    if (c.first_begin) oaki_concurrent_record(&c);
    gc.gc_cpu_ns += c.cpu + c.beside;
    uint64_t pause = oaki_cycle_pause(&c);
    count_pause(c.first + pause);
    bool asked = why == OAKI_GC_ASKED;
    oaki_pace_processors(c.line.processors);
    if (c.first_begin) pace_beside(&c);
    else oaki_pace_stopped(c.minor, asked, c.allocated, c.begin, pause);
    oaki_pace_cycle(c.end, pause + c.first + c.beside, c.cpu_end, c.cpu + c.beside, asked);
    note_times(&c, cpu2 - cpu1 - c.verify_cpu);
    note_after(&c);
    gc.start_told = false;
    oaki_event_note(&c);
    return true;
}

/* ---- entries ---- */

static bool is_answered(const oaki_want *w)
{
    return w->answer != OAKI_WANT_WAITS;
}

/* With the pacing as the only reason, cycle `number` will do, whoever did it; else all that is dead
 * now is to go, so the end of a mark that began earlier is not enough. A want's answer tells, which
 * may have come with another thread's cycle. */
static bool one_cycle(oaki_thread *t, oaki_gc_why why, size_t number, const oaki_want *w)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (w) return is_answered(w) || (run_cycle(t, why) && is_answered(w));
    if (why == OAKI_GC_DUE) return AO_load(&oaki_the_heap.cycle) != number || run_cycle(t, why);
    return run_cycle(t, why) && !gc.ended; /* in the stop: one may begin until then */
}

/* The marker of concurrent.c tells of the end itself, where nobody waits for it.
 * Inlined in functions that are not, whose frames hold their callers' registers until the end: the
 * context is saved there, and each frame less has fewer words in it that nobody wrote. */
OAKI_INLINE bool collect(oaki_thread *t, oaki_gc_why why, size_t number, oaki_want *w)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_RUNNING();
    bool off = false;
    for (bool done = false; !done;) {
        oaki_roots_refresh(t);
        oaki_sticky_prepare();
        oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
        oaki_thread_save_context(t);
        off = oaki_gc_is_off();
        done = off || one_cycle(t, why, number, w);
        oaki_lock_release(&oaki_the_heap.gc_lock);
    }
    oaki_sweep_wake();
    if (w && !is_answered(w)) oaki_room_withdraw(w); /* what is called now may never return */
    oaki_leave(t);
    if (!t->bare) oaki_event_over(t);
    if (oaki_enter() != t)
        oak_fatal("oakum: a finalizer or notifier began on one thread and ended on another");
    return !off;
}

OAKI_NOINLINE bool oaki_gc_collect(oaki_thread *t, oaki_gc_why why)
{
    OAKI_NO_CANCEL_UNLESS_LEFT; /* what it calls of the program's may have cancellation points */
    return !oaki_gc_refuses(why) && collect(t, why, AO_load(&oaki_the_heap.cycle), NULL);
}

OAKI_NOINLINE bool oaki_gc_make_room(oaki_thread *t, oaki_want *w)
{
    OAKI_NO_CANCEL_UNLESS_LEFT;
    if (!oaki_gc_refuses(OAKI_GC_NEEDED)) return collect(t, OAKI_GC_NEEDED, 0, w);
    return oaki_room_withdraw(w), false;
}

OAKI_NOINLINE bool oaki_cycle_final_pause(oaki_thread *t, size_t number)
{
    OAKI_NO_CANCEL_UNLESS_LEFT;
    return !oaki_gc_refuses(OAKI_GC_DUE) && collect(t, OAKI_GC_DUE, number, NULL);
}

OAKI_AT_START void oaki_gc_before_alloc(oaki_thread *t, size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    oaki_sweep_pay();
    if (OAKI_UNLIKELY(oaki_pace_due()) && !oaki_concurrent_request(t, bytes))
        (void)oaki_gc_collect(t, OAKI_GC_DUE);
}

OAKI_AT_START void oaki_gc_stress(oaki_thread *t)
{
    size_t every = (size_t)oaki_debug_switches.stress;
    if (OAKI_LIKELY(!every)) return;
    if ((AO_fetch_and_add(&gc.stress_count, 1) + 1) % every != 0) return;
    if (oaki_concurrent_force(t)) return;
    (void)oaki_gc_collect(t, oaki_debug_switches.minor ? OAKI_GC_DUE : OAKI_GC_NEEDED);
}

int oaki_gc_at_start(void (*fn)(void))
{
    return oaki_hook_add(&gc.start, fn);
}

int oaki_gc_at_cycle(void (*fn)(void))
{
    return oaki_hook_add(&gc.before, fn);
}

bool oaki_gc_begins(size_t *seen, bool full)
{
    size_t cycle = AO_load(&oaki_the_heap.cycle) + 1;
    if (*seen == cycle || (full && gc.minor)) return false;
    *seen = cycle;
    return true;
}

int oaki_gc_after_mark(void (*fn)(void))
{
    return oaki_hook_add(&gc.after, fn);
}

void oak_collect(void)
{
    oaki_scrub(); /* or the frames below would hold what calls before this one have left there */
    oaki_thread *t = oaki_enter();
    if (!t) return;
    AO_fetch_and_add(&gc.forced, 1);
    oaki_concurrent_before(t);
    if (oaki_gc_collect(t, OAKI_GC_ASKED)) oaki_gc_sweep_all();
    oaki_leave(t);
}

/* ---- what others ask ---- */

void oaki_gc_object_freed(void *obj)
{
    OAKI_REQUIRES_INSIDE();
    oaki_finalizers_forget(obj);
    oaki_weak_forget(obj);
    oaki_ephemerons_forget(obj);
    oaki_links_forget(obj);
    oaki_held_forget(obj);
}

void oaki_gc_stats(oak_memstats *out)
{
    OAKI_REQUIRES_STOPPED();
    out->num_gc = (uint32_t)AO_load(&oaki_the_heap.cycle);
    out->num_forced_gc = (uint32_t)AO_load(&gc.forced);
    out->pause_total_ns = gc.pause_total_ns;
    out->last_gc = gc.last_gc_ns;
    memcpy(out->pause_ns, gc.pause_ns, sizeof gc.pause_ns);
    memcpy(out->pause_end, gc.pause_end, sizeof gc.pause_end);
    out->enable_gc = !oaki_gc_is_disabled();
    out->gc_sys += oaki_mark_stack_bytes();
    out->gc_cpu_fraction = cpu_fraction(oaki_os_cpus());
    out->weak_refs = oaki_weak_count();
    out->weak_refs_cleared = oaki_weak_cleared();
    oaki_finalizers_stats(out);
}

OAKI_AT_START int oaki_gc_init(void)
{
    gc.start_ns = oaki_os_now_ns();
    oaki_mark_init();
    oaki_pace_init();
    return oaki_event_init() || oaki_workers_init() || oaki_sweep_init() ||
                   oaki_finalizers_init() || oaki_weak_init() || oaki_ephemerons_init() ||
                   oaki_links_init() || oaki_held_init() || oaki_concurrent_init() ||
                   oaki_zones_closing_init()
               ? -1
               : 0;
}
