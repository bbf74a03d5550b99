/* schedule.c - runs several scenarios at a time.
 *
 * Each scenario is a process of its own, so that none changes another's heap. A scenario that
 * measures time runs alone. The policies of a scenario run one after the other, as the largest
 * scenarios fill a good part of a small machine's memory. Scenarios start in the given order.
 *
 * Bound: `jobs` children at a time. */
#include "cmd.h"

#include "report.h"
#include <stdlib.h>

/* A scenario that runs. */
typedef struct slot {
    cmd_outcome *outcome; /* NULL: free */
    unsigned policy;
    size_t first; /* index of this policy's first row */
    bool again;   /* this is the second run */
    scn_run *run;
} slot;

typedef struct schedule {
    const cmd_schedule *plan;
    slot slots[SCN_RUNS_MOST];
    size_t running, next;
} schedule;

static unsigned policies_of(const scn_scenario *s)
{
    return s->maps ? scn_policy_count : 1;
}

static void start_policy(schedule *c, slot *p)
{
    cmd_outcome *o = p->outcome;

    p->first = o->rows.count;
    p->run = scn_run_start(o->scenario, scn_policies[p->policy], c->plan->limit_s, &o->rows,
                           &o->series[p->policy]);
}

/* Start the scenarios that may run now. */
static void start_due(schedule *c)
{
    while (c->next < c->plan->count && c->running < c->plan->jobs) {
        cmd_outcome *o = &c->plan->outcomes[c->next];
        slot *p = &c->slots[c->running];

        if (c->running != 0 && (o->scenario->alone || c->slots[0].outcome->scenario->alone)) return;
        *p = (slot){ .outcome = o };
        o->started = true;
        c->next++;
        c->running++;
        start_policy(c, p);
    }
}

/* Whether the rows from `first` on fail only by figures, and at least one does. *missed is the
 * first of these. */
static bool only_figures_missed(const scn_results *all, size_t first, const scn_result **missed)
{
    *missed = NULL;
    for (size_t i = first; i < all->count; i++) {
        const scn_result *row = &all->rows[i];

        if (row->failure[0] != '\0') return false;
        if (*missed == NULL && !scn_result_ok(row)) *missed = row;
    }
    return *missed != NULL;
}

static void tell_missed(const cmd_schedule *plan, const scn_result *row)
{
    char text[256] = "nothing was expected";

    for (unsigned i = row->expectation_count; i-- > 0;)
        if (!row->expectations[i].ok) cmd_expectation(text, sizeof(text), &row->expectations[i]);
    fputs(plan->new_line, stderr);
    cmd_say(stderr, "%s: not as expected: \"%s\", %s; once more\n", row->scenario->id, row->what,
            text);
}

/* Repeat a policy that misses a figure, once; the second run counts. The reason: the collector is
 * conservative, so a stray word, such as a bucket's hashes, may keep a whole array alive. Otherwise
 * start the next policy. Returns false if the scenario has no further policy. */
static bool run_again_or_next(schedule *c, slot *p)
{
    cmd_outcome *o = p->outcome;
    const scn_result *missed;

    if (!p->again && only_figures_missed(&o->rows, p->first, &missed)) {
        tell_missed(c->plan, missed);
        o->rows.count = p->first;
        scn_series_free(&o->series[p->policy]);
        o->repeated = p->again = true;
    } else {
        if (++p->policy == policies_of(o->scenario)) return false;
        p->again = false;
    }
    start_policy(c, p);
    return true;
}

void cmd_schedule_run(const cmd_schedule *plan)
{
    schedule c = { .plan = plan };

    for (;;) {
        scn_run *runs[SCN_RUNS_MOST];
        cmd_outcome *o;
        slot *p;

        start_due(&c);
        if (c.running == 0) return;
        for (size_t i = 0; i < c.running; i++) runs[i] = c.slots[i].run;
        p = &c.slots[scn_run_wait(runs, c.running, plan->tick, plan->ctx)];
        o = p->outcome;
        o->seconds += scn_run_end(p->run);
        if (run_again_or_next(&c, p)) continue;
        *p = c.slots[--c.running];
        o->finished = true;
        plan->finished(o, plan->ctx);
    }
}
