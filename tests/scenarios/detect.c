/* detect.c - what the leak detector finds in a scenario, or doesn't.
 *
 * From scn_detector_begin on it looks in every scn_live, and whenever it is asked to. Looks are on
 * threads that end, as findings name objects. Its thresholds are the usual ones. */
#include "scenario.h"

#include <stdio.h>
#include <string.h>

#define FINDINGS 32

static bool watching;

void scn_detector_begin(const oak_detector_config *cfg)
{
    if (oak_detector_prepare(cfg) != 0) scn_die("no memory for the detector");
    watching = true;
}

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

void scn_expect_found(scn *s, oak_finding_kind kind, const char *subject)
{
    search c = { kind, subject, false, "" };
    char name[72];

    scn_on_thread(search_findings, &c);
    snprintf(name, sizeof(name), "the detector finds %s%s%s", oak_finding_name(kind),
             subject != NULL ? " of " : "", subject != NULL ? subject : "");
    scn_expect_true(s, name, c.found);
    if (c.seen[0] != '\0') scn_pointed_too(s, "detector: %s", c.seen);
}

void scn_expect_quiet(scn *s)
{
    static oak_detector_stats st;
    search c = { OAK_FINDING_KINDS, NULL, false, "" };
    uint64_t raised = 0;

    oak_detector_stats_read(&st);
    for (int kind = 0; kind < OAK_FINDING_KINDS; kind++)
        if (!is_note((oak_finding_kind)kind)) raised += st.raised[kind];
    if (raised != 0) scn_on_thread(search_findings, &c);
    if (c.seen[0] != '\0') scn_pointed_too(s, "detector: %s", c.seen);
    scn_expect(s, "findings of the detector", (double)raised, 0, 0);
    scn_expect(s, "looks of the detector, at least one", (double)st.looks, 1, 1e9);
}
