/* detect.c - what the leak detector finds in a scenario, or doesn't.
 *
 * It runs from the scenario's beginning to its end, and looks in every scn_live, whenever it is
 * asked to, and some times more at the end. What it finds and no row expects is a false alarm, in
 * every row. Looks are on threads that end, as findings name objects. Its thresholds are the usual
 * ones. */
#include "results.h"

#include <stdio.h>
#include <string.h>

#define FINDINGS 32
#define MOST_FINDINGS 128
#define LAST_LOOKS 4 /* what is held or stands still is told after two or three */

static bool watching;
static bool expected[OAK_FINDING_KINDS];   /* since it began, or by this row */
static uint64_t judged[OAK_FINDING_KINDS]; /* raised before the rows that have ended */
static uint64_t carried[OAK_FINDING_KINDS]; /* raised in this row, before it began anew */
static double looks;                       /* of all beginnings but the last */

static void look(void *arg)
{
    (void)arg;
    if (oak_detector_scan() < 0) scn_die("no memory for a look of the detector");
}

void scn_detector_look(void)
{
    if (watching) scn_on_thread(look, NULL);
}

/* Notes tell of no fault. */
static bool is_note(oak_finding_kind kind)
{
    return kind == OAK_FINDING_STEP || kind == OAK_FINDING_WATERMARK;
}

static const oak_detector_stats *read_stats(void)
{
    static oak_detector_stats st;

    oak_detector_stats_read(&st);
    return &st;
}

void scn_detector_begin(const oak_detector_config *cfg)
{
    if (watching) {
        const oak_detector_stats *st = read_stats();

        looks += (double)st->looks;
        for (int kind = 0; kind < OAK_FINDING_KINDS; kind++)
            if (!expected[kind]) carried[kind] += st->raised[kind] - judged[kind];
    }
    if (oak_detector_prepare(cfg) != 0) scn_die("no memory for the detector");
    watching = true;
    memset(expected, 0, sizeof(expected));
    memset(judged, 0, sizeof(judged));
}

void scn_detector_judge(scn *s)
{
    const oak_detector_stats *st = read_stats();
    char name[72] = "false alarms of the detector";
    uint64_t alarms = 0;
    bool growth = false;

    /* a leak is seen from several sides */
    for (int kind = 0; kind <= OAK_FINDING_MAP_GROWTH; kind++) growth = growth || expected[kind];
    for (int kind = 0; kind < OAK_FINDING_KINDS; kind++) {
        uint64_t raised = carried[kind] + st->raised[kind] - judged[kind];

        carried[kind] = 0;
        judged[kind] = st->raised[kind];
        if (raised == 0 || expected[kind] || is_note((oak_finding_kind)kind)) continue;
        if (growth && kind <= OAK_FINDING_MAP_GROWTH) continue;
        alarms += raised;
        snprintf(name, sizeof(name), "false alarms of the detector, %s",
                 oak_finding_name((oak_finding_kind)kind));
    }
    scn_expect(s, name, (double)alarms, 0, 0);
}

void scn_detector_end(scn *s)
{
    for (int i = 0; i < LAST_LOOKS; i++) scn_detector_look();
    looks += (double)read_stats()->looks;
    scn_expect(s, "looks of the detector in the whole scenario", looks, LAST_LOOKS + 1, 1e9);
}

typedef struct search {
    oak_finding_kind kind;
    const char *subject;
    bool found;
    char seen[120]; /* a finding in words: that one, or the worst of others */
} search;

static void search_findings(void *arg)
{
    search *c = arg;
    oak_finding all[FINDINGS];
    size_t n = oak_detector_findings(all, FINDINGS);

    for (size_t i = 0; i < n && i < FINDINGS && !c->found; i++) {
        c->found = all[i].active && all[i].kind == c->kind &&
                   (c->subject == NULL || strstr(all[i].subject, c->subject) != NULL);
        if (c->found || (i == 0 && !is_note(all[i].kind)))
            snprintf(c->seen, sizeof(c->seen), "%s: %.80s", oak_finding_name(all[i].kind),
                     all[i].subject);
    }
}

bool scn_detector_finds(oak_finding_kind kind, const char *subject)
{
    search c = { kind, subject, false, "" };

    expected[kind] = true;
    scn_on_thread(search_findings, &c);
    return c.found;
}

void scn_expect_found(scn *s, oak_finding_kind kind, const char *subject)
{
    search c = { kind, subject, false, "" };
    char name[72];

    expected[kind] = true;
    scn_on_thread(search_findings, &c);
    snprintf(name, sizeof(name), "the detector finds %s%s%s", oak_finding_name(kind),
             subject != NULL ? " of " : "", subject != NULL ? subject : "");
    scn_expect_true(s, name, c.found);
    if (c.seen[0] != '\0') scn_pointed_too(s, "detector: %s", c.seen);
}

typedef struct count {
    oak_finding_kind kind;
    double now;
} count;

static void count_finding(void *arg)
{
    count *c = arg;
    oak_finding all[MOST_FINDINGS];
    size_t n = oak_detector_findings(all, MOST_FINDINGS);

    c->now = 0;
    for (size_t i = 0; i < n && i < MOST_FINDINGS; i++)
        if (all[i].active && all[i].kind == c->kind) c->now += (double)all[i].now;
}

double scn_detector_counts(oak_finding_kind kind)
{
    count c = { kind, 0 };

    scn_on_thread(count_finding, &c);
    return c.now;
}

void scn_expect_quiet(scn *s)
{
    const oak_detector_stats *st = read_stats();
    search c = { OAK_FINDING_KINDS, NULL, false, "" };
    uint64_t raised = 0;

    for (int kind = 0; kind < OAK_FINDING_KINDS; kind++)
        if (!is_note((oak_finding_kind)kind)) raised += st->raised[kind];
    if (raised != 0) scn_on_thread(search_findings, &c);
    scn_pointed_too(s, "detector: %s", raised != 0 ? c.seen : "quiet");
    scn_expect(s, "findings of the detector", (double)raised, 0, 0);
    scn_expect(s, "looks of the detector, at least one", (double)st->looks, 1, 1e9);
}
