/* growth-steps.c - at which inserts a map grows.
 *
 * What leaks: nothing. It is said that a map grows from 2 to 4 buckets with its 8th entry.
 * Why not:    Go's grows with the 9th, from one bucket to two, and from then on whenever there are
 *             more than six and a half entries a bucket. The default map's steps are its own.
 * Seen by:    the map's count of growths after each insert. */
#include "scenario.h"

#include <stdio.h>

#define INSERTS 900
#define MOST 32

static const scn_map_policy *policy;
static void *map;
static size_t grown_at[MOST], growths;

static void fill(void *arg)
{
    scn_map_stats st;

    (void)arg;
    map = policy->new (SCN_INT_INT, 0);
    for (int64_t k = 0; k < INSERTS; k++) {
        scn_put_int(policy, map, k, k);
        policy->stats(map, &st);
        if (st.growths == growths) continue;
        if (growths < MOST) grown_at[growths] = (size_t)k + 1;
        growths = st.growths;
        scn_sample_live((double)st.array_bytes);
    }
}

static void run(scn *s)
{
    static const size_t go[] = { 9, 14, 27, 53, 105, 209, 417, 833 };
    static const size_t steps = sizeof(go) / sizeof(go[0]);
    char text[160] = "";
    size_t length = 0;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "900 inserts into an empty map: growths");
    scn_on_thread(fill, NULL);
    map = NULL;
    for (size_t i = 0; i < growths && i < MOST && length + 8 < sizeof(text); i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%zu",
                                   i != 0 ? ", " : "", grown_at[i]);
    scn_retained(s, (double)growths, SCN_COUNT);
    scn_go(s, "8");
    scn_pointed(s, "not a leak: map: grew at inserts %s", text);
    scn_detector_look();
    scn_expect_quiet(s);
    if (!policy->leaks_as_go) {
        scn_expect(s, "growths", (double)growths, 1, MOST);
        return;
    }
    scn_expect(s, "growths", (double)growths, steps, steps);
    for (size_t i = 0; i < steps; i++) {
        char name[32];

        snprintf(name, sizeof(name), "growth %zu at insert", i + 1);
        scn_expect(s, name, (double)grown_at[i], (double)go[i], (double)go[i]);
    }
}

const scn_scenario scn_growth_steps = {
    .id = "growth-steps",
    .class = 'N',
    .source = "A0 2.3",
    .leak = "the inserts at which a map grows",
    .maps = true,
    .run = run,
};
