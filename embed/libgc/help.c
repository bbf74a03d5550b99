/* help.c - whether a mark is done by one thread, or by one for each processor.
 *
 * libgc marks with all of them once the program has a second thread. Those that mark together share
 * bits and lines of memory, and somebody has to wake up first; on some machines and heaps that
 * costs as much as it gains. So it is measured: once two marks after each other have taken
 * HELP_FROM each, TRIAL marks are done in one way and in the other in turn, and what was better is
 * kept for the next KEPT. All processors are worth it where they take a tenth less time; libgc
 * would use them anyway.
 *
 * Nothing is decided where the user has said how many there are. A mark beside the program is of a
 * heap whose stops would be long: all are wanted for it and for its last stop.
 * Lock: none; listeners of cycles are called one at a time. */
#include "libgc.h"

#define HELP_FROM 400000 /* ns */
#define TRIAL 8u         /* an even number */
#define KEPT 120u
#define NOT_KNOWN (UINT64_MAX / 8)

static struct {
    uint64_t best[2]; /* ns for a KiB that lives, in 1/1024: alone, together */
    unsigned trial;   /* marks that are left of one */
    unsigned kept;    /* marks until the next */
    bool long_mark;   /* the last one was */
} self;

static void use(bool all)
{
    oaki_the_heap.config.gc_threads = all ? 0 : 1;
}

static bool is_worth_a_trial(uint64_t ns)
{
    bool was = self.long_mark;
    self.long_mark = ns >= HELP_FROM;
    if (self.kept > 0) self.kept--;
    return was && self.long_mark && self.kept == 0;
}

void lgc_help_judge(const oaki_cycle *c)
{
    uint64_t ns = c->phase[OAKI_PHASE_ROOTS] + c->phase[OAKI_PHASE_DRAIN];
    uint64_t rate = (ns << 10) / OAKI_MAX(c->line.heap_live >> 10, 1);
    if (lgc.markers) return;
    if (c->first_begin) {
        self.trial = self.kept = 0;
        use(true);
        return;
    }
    if (c->minor) return;
    if (self.trial == 0) {
        if (!is_worth_a_trial(ns)) return;
        self.trial = TRIAL;
        self.best[0] = self.best[1] = NOT_KNOWN;
    } else {
        uint64_t *best = &self.best[c->markers > 1];
        *best = OAKI_MIN(*best, rate);
        self.trial--;
    }
    if (self.trial > 0) {
        use(self.trial % 2 == 0);
        return;
    }
    use(self.best[1] * 10 < self.best[0] * 9);
    self.kept = KEPT;
}
