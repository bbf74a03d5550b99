/* clear-during-range.c - a map is cleared while a range over it is under way.
 *
 * What leaks: no memory: the range goes on with keys that are no longer there.
 * Why:        Go's range walks the array on which it began. Is that one old, because a growth has
 *             begun since, then the clear doesn't touch it, and all of it is yielded. The default
 *             map's range looks for what is there now.
 * Seen by:    nothing but a test: count what a range yields after a clear. */
#include "scenario.h"

#define ROUNDS 200

static const scn_map_policy *policy;
static void *map;
static size_t stale;

static void clear_in_ranges(void *arg)
{
    int64_t keys = policy->limit(4);

    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        scn_iter it;

        map = scn_new_limited(policy, SCN_INT_INT);
        for (int64_t k = 0; k < keys; k++) scn_put_int(policy, map, k, k);
        policy->iter_init(&it, map);
        policy->iter_next(&it);
        scn_put_int(policy, map, keys, keys); /* a growth begins */
        policy->clear(map);
        while (policy->iter_next(&it)) stale++;
        if (policy->len(map) != 0) scn_die("the map was cleared, and has entries");
    }
}

static void run(scn *s)
{
    double start = scn_live();

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "200 maps of 104 cleared inside a range: stale keys yielded");
    scn_on_thread(clear_in_ranges, NULL);
    scn_retained(s, (double)stale, SCN_COUNT);
    scn_go(s, "17,945 to 18,032");
    scn_pointed(s, "%.1f a range", (double)stale / ROUNDS);
    if (policy->leaks_as_go)
        scn_expect(s, "stale keys", (double)stale, 1, 1e6);
    else
        scn_expect(s, "stale keys", (double)stale, 0, 0);
    map = NULL;
    scn_expect_none(s, "retained after the maps are dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_clear_during_range = {
    .id = "clear-during-range",
    .class = 'M',
    .source = "no article",
    .leak = "a range yields keys that were cleared while it was under way",
    .maps = true,
    .run = run,
};
