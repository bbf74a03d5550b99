/* record.c - the measurements of a cycle, for gctrace, listeners, pacing and statistics.
 *
 * Owns: oaki_gc.figures and oaki_gc.totals. Lock: gc_lock. */
#include "contract.h"
#include "cycle.h"
#include "gc/concurrent/concurrent.h"
#include "gc/trace/trace.h"
#include "off.h"
#include "pace.h"
#include "runtime/cost.h"
#include "runtime/os.h"
#include "runtime/room.h"
#include "sweep.h"
#include <oakum/gc.h>
#include <string.h>

static double cpu_fraction(unsigned processors)
{
    uint64_t since = oaki_os_since(oaki_gc.totals.start_ns, oaki_os_now_ns());
    double total = (double)since * processors;
    return total > 0 ? (double)oaki_gc.totals.gc_cpu_ns / total : 0;
}

static void count_pause(uint64_t ns)
{
    oaki_totals *a = &oaki_gc.totals;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    unsigned i = (unsigned)(AO_load(&oaki_the_heap.cycle) + 255) % 256;
    a->last_gc_ns = oaki_os_wall_ns();
    a->pause_ns_total += ns;
    a->pause_ns[i] = ns;
    a->pause_end[i] = a->last_gc_ns;
}

/* ---- before the mark ---- */

static void begin_new(oaki_thread *t, uint64_t sweep_rest)
{
    oaki_cycle *c = &oaki_gc.figures;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    *c = (oaki_cycle){ .sweep_rest = sweep_rest, .line.processors = oaki_gc.processors };
    c->sweep_end = oaki_sweep_ended();
    oaki_sweep_kept(c->kept);
    c->tid = t->tid;
    c->line.goal = oaki_pace_goal();
}

void oaki_record_begin(oaki_thread *t, oaki_gc_why why, uint64_t swept_from)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (!oaki_is_marking()) begin_new(t, oaki_os_since(swept_from, oaki_os_now_ns()));
    oaki_gc.figures.why = why;
    oaki_gc.figures.line.forced = why == OAKI_GC_ASKED;
}

/* A mark that was aborted before the world was stopped is not part of this cycle. Nor is an init
 * pause whose PREPARE is still under way, which is given up (pauses.c). */
void oaki_record_stopped(oaki_thread *t)
{
    oaki_cycle *c = &oaki_gc.figures;
    oaki_failed_stops failed = oaki_world_failed();
    OAKI_REQUIRES_STOPPED();
    size_t live = AO_load(&oaki_the_heap.live);
    if (c->first_begin && !oaki_is_marking_concurrently()) {
        oaki_gc_why why = c->why;
        begin_new(t, 0);
        c->why = why;
        c->line.forced = why == OAKI_GC_ASKED;
    }
    if (!c->first_begin) c->line.heap_start = live;
    c->line.heap_end = live;
    c->allocated = live - OAKI_MIN(oaki_gc.totals.live, live);
    c->longest_failed = OAKI_MAX(c->longest_failed, failed.longest_ns);
}

void oaki_record_part(oaki_part part, uint64_t *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    uint64_t now = oaki_os_now_ns();
    oaki_gc.figures.part[part] = oaki_os_since(*t, now);
    *t = now;
}

/* ---- after it ---- */

/* As Go counts: a pause costs the time of every processor, the mark its own processor time. */
static void note_times(oaki_cycle *c, uint64_t mark_cpu)
{
    oaki_gctrace *l = &c->line;
    const uint64_t *p = c->part;
    OAKI_ASSERT(oaki_cycle_parts(c) >= oaki_cycle_pause(c)); /* the same, on a good clock */
    l->cycle = AO_load(&oaki_the_heap.cycle);
    l->since_start =
        oaki_os_since(oaki_gc.totals.start_ns, c->first_begin ? c->first_begin : c->begin);
    l->stop = p[OAKI_PART_STOP];
    l->mark = p[OAKI_PART_PREPARE] + p[OAKI_PART_ROOTS] + p[OAKI_PART_DRAIN] +
              p[OAKI_PART_FINISH] + p[OAKI_PART_PACE];
    l->mark_end = p[OAKI_PART_START];
    if (oaki_gc.mode == OAKI_CONCURRENT) { /* as in Go: a pause, the concurrent mark, a pause */
        l->mark_end += l->stop + l->mark;
        l->stop = c->first;
        l->mark = oaki_os_since(c->first_begin + c->first, c->begin);
        mark_cpu += c->concurrent_cpu;
    }
    l->stop_cpu = l->stop * l->processors;
    l->mark_cpu = mark_cpu;
    l->mark_end_cpu = l->mark_end * l->processors;
    l->cpu_fraction = cpu_fraction(l->processors);
}

static void note_heap(oaki_cycle *c)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    c->wall = oaki_gc.totals.last_gc_ns;
    c->line.stacks = oaki_gc.roots.stack_bytes;
    c->line.globals = oaki_gc.roots.data_bytes;
    c->freed = c->line.heap_start - OAKI_MIN(c->line.heap_live, c->line.heap_start);
    oaki_gc.totals.live = c->line.heap_live;
    c->trigger = AO_load(&h->trigger);
    c->heap_inuse = AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT;
    c->heap_idle = AO_load(&h->pages_free) << OAKI_PAGE_SHIFT;
    c->heap_released = AO_load(&h->pages_released) << OAKI_PAGE_SHIFT;
    c->threads = (unsigned)AO_load(&h->nthreads);
    c->markers = oaki_workers_count();
}

static void note_totals(oaki_cycle *c)
{
    oaki_totals *a = &oaki_gc.totals;
    oaki_dirty_cost now = oaki_dirty_costs();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    c->rescanned = oaki_rescan_bytes();
    c->tracking = (oaki_dirty_cost){ .asked = now.asked - a->tracking.asked,
                                     .found = now.found - a->tracking.found,
                                     .faults = now.faults - a->tracking.faults };
    a->tracking = now;
    a->marked += c->marked;
    a->rescanned += c->rescanned;
    a->concurrent += oaki_gc.mode == OAKI_CONCURRENT;
    a->minor += c->minor;
    a->longest_ns = OAKI_MAX(a->longest_ns, oaki_cycle_longest(c));
}

/* Gives pacing the bytes that were allocated before the mark and during it. */
static void pace_concurrent(const oaki_cycle *c)
{
    size_t begun = c->line.heap_start, ended = c->line.heap_end;
    oaki_pace_concurrent(c->minor, begun - OAKI_MIN(oaki_gc.totals.live, begun), c->first_begin,
                         ended - OAKI_MIN(begun, ended), c->end - c->verify,
                         c->cpu + c->concurrent_cpu);
}

/* Passes the cost of this mark on to the plan. A worker that waits for work, as beside a list, uses
 * processor time that tells nothing of the memory's speed. */
static void note_plan(const oaki_cycle *c)
{
    const oaki_worktime *w = &oaki_gc.worktime;
    OAKI_REQUIRES_NO_HELPER();
    /* other threads of the process have processor time in a pause, too */
    uint64_t most = oaki_cycle_pause(c) * oaki_workers_count();
    uint64_t cpu = c->concurrent_cpu + OAKI_MIN(c->cpu, most);
    cpu = oaki_os_since(AO_load(&w->waited), cpu);
    bool concurrent = oaki_gc.mode == OAKI_CONCURRENT;
    uint64_t pause = concurrent ? 0 : oaki_cycle_pause(c);
    if (c->minor) oaki_plan_note_minor(c->words, c->marked, cpu, pause);
    else oaki_plan_note_mark(concurrent, c->words, c->marked, cpu);
    oaki_plan_note_share(AO_load(&w->present), AO_load(&w->ran),
                         (unsigned)AO_load(&oaki_gc.plan.joined));
    if (AO_load(&oaki_the_heap.nthreads) > 1)
        oaki_cost_note(OAKI_COST_stop,
                       c->part[OAKI_PART_STOP] / (AO_load(&oaki_the_heap.nthreads) - 1));
}

void oaki_record_end(uint64_t mark_cpu)
{
    oaki_cycle *c = &oaki_gc.figures;
    bool asked = c->why == OAKI_GC_ASKED, concurrent = oaki_gc.mode == OAKI_CONCURRENT;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_ASSERT((c->first_begin != 0) == concurrent);
    if (concurrent) oaki_concurrent_record(c);
    uint64_t cpu = c->cpu + c->concurrent_cpu, pause = oaki_cycle_pause(c);
    oaki_gc.totals.gc_cpu_ns += cpu;
    count_pause(c->first + pause);
    oaki_room_paused(c->first + pause);
    c->marked = oaki_workers_bytes();
    oaki_plan_processors(c->line.processors);
    note_plan(c);
    if (concurrent) pace_concurrent(c);
    else oaki_pace_stopped(c->minor, asked, c->allocated, c->begin, pause);
    oaki_pace_cycle(c->end, pause + c->first + c->concurrent_cpu, c->cpu_end, cpu, c->allocated,
                    asked);
    note_times(c, mark_cpu);
    note_heap(c);
    note_totals(c);
    if (concurrent) oaki_plan_note_dirty(c->tracking.faults);
    c->plan = oaki_plan_reason_now();
}

/* ---- for statistics ---- */

void oaki_gc_stats(oak_memstats *out)
{
    const oaki_totals *a = &oaki_gc.totals;
    OAKI_REQUIRES_STOPPED();
    out->num_gc = (uint32_t)AO_load(&oaki_the_heap.cycle);
    out->num_forced_gc = (uint32_t)AO_load(&a->forced);
    out->num_concurrent_gc = a->concurrent;
    out->num_minor_gc = a->minor;
    out->marked_bytes = a->marked;
    out->rescanned_bytes = a->rescanned;
    oaki_dirty_cost tracking = oaki_dirty_costs();
    out->pages_asked = tracking.asked;
    out->pages_dirty = tracking.found;
    out->tracking_faults = tracking.faults;
    out->pause_max_ns = a->longest_ns;
    out->pause_total_ns = a->pause_ns_total;
    out->last_gc = a->last_gc_ns;
    memcpy(out->pause_ns, a->pause_ns, sizeof a->pause_ns);
    memcpy(out->pause_end, a->pause_end, sizeof a->pause_end);
    out->enable_gc = !oaki_gc_is_disabled();
    out->gc_sys += oaki_mark_stack_bytes();
    out->gc_cpu_fraction = cpu_fraction(oaki_heap_cpus());
    out->external = oaki_external_total();
    out->weak_refs = oaki_weak_count();
    out->weak_refs_cleared = oaki_weak_cleared();
    oaki_finalizers_stats(out);
}
