/* help.c - decides whether one thread marks, or one for each processor.
 *
 * libgc marks with all processors once the program has a second thread. Parallel markers share mark
 * bits and cache lines, and threads have to wake up first. On some machines and heaps this costs as
 * much as it gains. So it is measured. Once two marks in a row have taken HELP_FROM each, TRIAL
 * marks are done in both ways by turns. The better way is kept for the next KEPT marks. Parallel
 * marking is better if it takes a tenth less time.
 *
 * Nothing is decided if the user has set the number of markers. A concurrent mark uses all markers,
 * in its final pause, too: the heap is one whose pauses would be long.
 *
 * Lock: none; listeners of cycles are called one at a time. */
#include "libgc.h"

#include "gc/settings.h"

#define HELP_FROM 400000 /* ns */
#define TRIAL 8u         /* an even number */
#define KEPT 120u
#define NOT_KNOWN (UINT64_MAX / 8)

static struct {
    uint64_t best[2]; /* best time in 1/1024 ns for each live KiB: one marker, all markers */
    unsigned trial;   /* marks left in the current trial */
    unsigned kept;    /* marks until the next trial */
    bool long_mark;   /* the last mark took HELP_FROM or more */
} self;

static void use(bool all)
{
    oaki_gc_set_markers(all ? 0 : 1);
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
    uint64_t ns = c->part[OAKI_PART_ROOTS] + c->part[OAKI_PART_DRAIN];
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
