/* controlled-growth-experiment.c - when a map that was made for 1,024 grows.
 *
 * What leaks: nothing. The article takes a profile after 2,049 inserts to show the old array.
 * Why not:    the map begins with 256 buckets (57 KB, not 16), doubles at insert 1,665, and is done
 *             with that some 180 inserts later: when the article looks, there is no old array. The
 *             default map holds about what it holds at rest at every moment of its growth.
 * Seen by:    the map's statistics after each insert: growing, and the bytes of the old array. */
#include "scenario.h"

#define HINT 1024
#define INSERTS 2049
#define STEP 32

static const scn_map_policy *policy;
static void *map;

static struct progress {
    size_t next, end;
    size_t began, ended; /* insert at which the first growth did; 0: not yet */
    double array;        /* bytes, before the first insert */
    scn_map_stats st;
} at;

static void insert_some(void *arg)
{
    (void)arg;
    if (map == NULL) {
        map = policy->new (SCN_STRING_INT, HINT);
        policy->stats(map, &at.st);
        at.array = (double)at.st.array_bytes;
    }
    while (at.next < at.end) {
        scn_string key = scn_string_new("key-%08zu", at.next);

        *(int64_t *)policy->put(map, &key) = (int64_t)at.next++;
        policy->stats(map, &at.st);
        if (at.began == 0 && at.st.growing) at.began = at.next;
        if (at.ended == 0 && at.began != 0 && !at.st.growing) at.ended = at.next;
    }
}

static void run(scn *s)
{
    double start = scn_live(), most = 0, in_growth = 0;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "made for 1,024, 2,049 inserts: growth begins at");
    while (at.next < INSERTS) {
        double live;

        at.end = at.next + STEP < INSERTS ? at.next + STEP : INSERTS;
        scn_on_thread(insert_some, NULL);
        live = scn_live() - start;
        if (at.st.growing && live > in_growth) in_growth = live; /* the most of this growth */
        if (at.st.growing) continue;
        if (in_growth / live > most) most = in_growth / live;
        in_growth = 0;
    }
    scn_retained(s, (double)at.began, SCN_COUNT);
    scn_go(s, "1,665");
    scn_figure(s, "array when made (Go: 56,576)", at.array, SCN_BYTES);
    scn_pointed(s, "not a leak: map: old array %s B after the last insert",
                scn_thousands((double)at.st.old_array_bytes));
    if (policy->leaks_as_go) {
        scn_expect(s, "growth begins at insert", (double)at.began, 1665, 1665);
        scn_expect(s, "array when made", at.array, 56576, 57344);
    } else {
        scn_expect(s, "array when made, at most Go's", at.array, 0, 56576);
    }

    scn_row(s, "the same: growth ends at");
    scn_retained(s, (double)at.ended, SCN_COUNT);
    scn_go(s, "1,839 to 1,845");
    scn_figure(s, "most in mid-growth, of what is live after it", most, SCN_RATIO);
    scn_pointed(s, "in mid-growth at most %.2f of what it holds after", most);
    if (policy->leaks_as_go) {
        scn_expect(s, "growth ends at insert", (double)at.ended, 1820, 1870);
        scn_expect(s, "old array after the last insert", (double)at.st.old_array_bytes, 0, 0);
    } else {
        scn_expect(s, "most in mid-growth, of what is live after it", most, 0, 1.1);
    }
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_controlled_growth_experiment = {
    .id = "controlled-growth-experiment",
    .class = 'N',
    .source = "A4 2.5",
    .leak = "a growth is over long before the article looks for its old array",
    .maps = true,
    .run = run,
};
