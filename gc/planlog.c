/* planlog.c - what the host costs and what is decided by it, for the program and for gctrace.
 *
 * Owns: what was said, in oaki_gc.plan. Lock: the turn of the listeners (event.h). */
#include "plan.h"

#include "collector.h"
#include "event.h"
#include "runtime/cost.h"
#include "runtime/dirty.h"
#include "runtime/print.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include <oakum/gc.h>

static void read_costs(oak_host *out)
{
#define READ(name, help) out->name = oaki_cost_of(OAKI_COST_##name);
    OAKI_COSTS(READ)
#undef READ
}

static bool has_huge_pages(void)
{
    return oaki_the_heap.config.huge_pages && !AO_load(&oaki_the_heap.small_pages);
}

/* Before the first cycle it is not known how long a pause takes: that is the reason then. */
void oak_host_read(oak_host *out)
{
    if (!oaki_heap_ready()) {
        if (out) *out = (oak_host){ .why = "Oakum has not started" };
        return;
    }
    oaki_thread *t = oaki_enter();
    if (t) {
        if (oaki_gc_may_be_concurrent()) (void)oaki_dirty_start();
        oaki_leave(t);
    }
    /* the caller asks once: repeat a doubtful measurement now */
    for (int i = 0; i < OAKI_TUNE_PROBES && (i == 0 || oaki_cost_is_stale()); i++)
        oaki_plan_probe();
    oaki_plan_limits();
    if (!out) return;
    oaki_plan_reason why = oaki_plan_reason_now();
    *out = (oak_host){
        .stopped_bytes = oaki_gc.plan.bytes_ms[OAKI_STOPPED],
        .concurrent_bytes = oaki_gc.plan.bytes_ms[OAKI_CONCURRENT],
        .minor_bytes = oaki_gc.plan.minor_bytes_ms,
        .processors = oaki_heap_cpus(),
        .workers = oaki_workers_count(),
        .memory_limit = oaki_heap_soft_limit(),
        .group_limit = AO_load(&oaki_the_heap.group_limit),
        .pause_goal_us = (unsigned)(oaki_plan_pause_goal_ns() / 1000),
        .resting = (unsigned)AO_load(&oaki_gc.plan.rest),
        .concurrent = oaki_plan_by(why),
        .dear = oaki_plan_is_dear(),
        .tracks = oaki_plan_tracks(),
        .huge_pages = has_huge_pages(),
        .why = oaki_plan_text(why),
    };
    read_costs(out);
}

/* ---- gctrace ---- */

static void say_costs(void)
{
    char line[400];
    size_t n = oaki_format(line, sizeof line, "oakum: host: ns");
#define SAY(name, help)                                                  \
    n += oaki_format(line + n, sizeof line - n, " " #name " %zu",        \
                     oaki_cost_of(OAKI_COST_##name));
    OAKI_COSTS(SAY)
#undef SAY
    oaki_log("%s; %u processors, %zu kB by control groups; pages are %s and %s\n", line,
             oaki_heap_cpus(), AO_load(&oaki_the_heap.group_limit) >> 10,
             oaki_plan_tracks() ? "tracked" : "not tracked", has_huge_pages() ? "huge" : "small");
}

/* When it has changed: as a rule a few times in the life of a process. */
void oaki_plan_log(unsigned long long cycle, unsigned plan)
{
    OAKI_ASSERT(oaki_event_is_mine());
    AO_t probes = AO_load(&oaki_gc.plan.probes);
    if (oaki_cost_known() && oaki_gc.plan.said_probes != probes + 1) {
        oaki_gc.plan.said_probes = probes + 1;
        say_costs();
    }
    if (oaki_gc.plan.said_plan == plan + 1) return;
    oaki_gc.plan.said_plan = plan + 1;
    oaki_log("oakum: plan: after gc %llu the next is %s: %s; %u of %u processors mark; "
             "%llu kB/ms marked in pauses, %llu concurrently, %llu by minor marks\n",
             cycle, oaki_plan_by((oaki_plan_reason)plan) ? "concurrent" : "one pause",
             oaki_plan_text((oaki_plan_reason)plan), oaki_workers_count(), oaki_heap_cpus(),
             (unsigned long long)(oaki_gc.plan.bytes_ms[OAKI_STOPPED] / 1000),
             (unsigned long long)(oaki_gc.plan.bytes_ms[OAKI_CONCURRENT] / 1000),
             (unsigned long long)(oaki_gc.plan.minor_bytes_ms / 1000));
}
