/* judge_cycles.c - statistics of collections for the detector (judge.h).
 *
 * Owns: struct self. Lock: a spin lock between the listener and a look, held for a few words. */
#include "judge.h"

#include "runtime/os.h"
#include <string.h>

#define LATEST 4 /* cycles whose times are kept */

typedef struct cycle_times {
    uint64_t worked, end;       /* processor time spent; that of the process at the end */
    size_t freed, before, live; /* freed and before: as if the cycle had begun at its goal */
    bool forced, over;          /* over: live bytes alone exceed the memory limit */
} cycle_times;

static struct {
    AO_t spin;
    oaki_cycles cycles;
    cycle_times latest[LATEST];
    unsigned nlatest;
    int share, freed; /* the configuration's percentages */
} self;

static void spin(void)
{
    while (!AO_compare_and_swap_full(&self.spin, 0, 1)) oaki_os_yield();
}

static void unspin(void)
{
    AO_store_release(&self.spin, 0);
}

/* Did each of the last three cycles free little, and did they together take much of the process's
 * processor time? (Elapsed time would include other processes.)
 *
 * A heap being filled has nothing to free either, but its live bytes rise, so it is not counted.
 * If live bytes exceed the memory limit, cycles free more, as each waits until the program
 * has had its share of time. So such a cycle counts however much it frees. */
static void look_for_thrash(uint64_t cycle)
{
    uint64_t worked = 0;
    double best = 0;
    bool over = true;
    if (self.nlatest < LATEST) return;
    for (unsigned i = self.nlatest - 3; i < self.nlatest; i++) {
        const cycle_times *c = &self.latest[i % LATEST];
        double freed = c->before ? 100.0 * (double)c->freed / (double)c->before : 0;
        if (c->forced || (freed >= self.freed && !c->over)) return;
        over = over && c->over;
        best = OAKI_MAX(best, freed);
        worked += c->worked;
    }
    const cycle_times *first = &self.latest[(self.nlatest - 4) % LATEST];
    const cycle_times *last = &self.latest[(self.nlatest - 1) % LATEST];
    if (last->live > first->live + first->live / 6) return;
    uint64_t from = first->end, to = last->end;
    double share = to > from ? 100.0 * (double)worked / (double)(to - from) : 0;
    if (share < self.share) return;
    self.cycles.thrashed++;
    self.cycles.thrash_cycle = cycle;
    self.cycles.share = share;
    self.cycles.freed = best;
    self.cycles.over = over;
}

/* A concurrent cycle begins before its goal: the slower the last one was, the earlier. So it is
 * judged as if it had begun at its goal, and garbage up to there counts as freed. */
static void note_freed(cycle_times *t, const oaki_cycle *c)
{
    bool due = c->why == OAKI_GC_DUE && c->line.goal > c->line.heap_start;
    t->before = due ? c->line.goal : c->line.heap_start;
    t->freed = t->before - OAKI_MIN(c->line.heap_live, t->before);
}

void oaki_cycles_note(const oaki_cycle *c)
{
    size_t limit = AO_load(&oaki_the_heap.memory_limit);
    spin();
    if (!c->minor) self.cycles.live = c->line.heap_live;
    self.cycles.peak = OAKI_MAX(self.cycles.peak, c->line.heap_start);
    cycle_times *t = &self.latest[self.nlatest++ % LATEST];
    *t = (cycle_times){ .worked = c->cpu + c->concurrent_cpu,
                        .end = c->cpu_end,
                        .live = c->line.heap_live,
                        .forced = c->line.forced,
                        .over = limit && c->line.heap_live > limit };
    note_freed(t, c);
    look_for_thrash(c->line.cycle);
    unspin();
}

oaki_cycles oaki_cycles_read(void)
{
    spin();
    oaki_cycles c = self.cycles;
    unspin();
    return c;
}

void oaki_cycles_begin(const oak_detector_config *cfg)
{
    spin();
    memset(&self.cycles, 0, sizeof self.cycles);
    self.nlatest = 0;
    self.share = cfg->thrash_share;
    self.freed = cfg->thrash_freed;
    unspin();
}

void oaki_cycles_child(void)
{
    AO_store(&self.spin, 0);
}
