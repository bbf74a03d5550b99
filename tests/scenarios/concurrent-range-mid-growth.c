/* concurrent-range-mid-growth.c - many threads range over a map in mid-growth.
 *
 * What leaks: nothing. It is said that ranges at once race with the release of the old array, and
 *             panic.
 * Why not:    only writes move a growth on. Without one nothing is released, and all ranges see
 *             each key once.
 * Seen by:    counts of keys that don't agree; there are none. */
#include "scenario.h"

#define THREADS 8
#define RANGES 5

static const scn_map_policy *policy;
static void *map;
static int64_t keys;
static size_t wrong;
static scn_gate start_line = SCN_GATE;

static void fill_and_begin(void *arg)
{
    (void)arg;
    map = scn_new_limited(policy, SCN_INT_INT);
    keys = policy->limit(14) + 1;
    for (int64_t k = 0; k < keys; k++) scn_put_int(policy, map, k, k);
}

static void *range_often(void *arg)
{
    (void)arg;
    scn_gate_wait(&start_line);
    for (int i = 0; i < RANGES; i++) {
        int64_t count = 0, sum = 0;
        scn_iter it;

        policy->iter_init(&it, map);
        while (policy->iter_next(&it)) {
            count++;
            sum += *(const int64_t *)it.key;
        }
        if (count != keys || sum != keys * (keys - 1) / 2) scn_count_up(&wrong);
    }
    return NULL;
}

static void run(scn *s)
{
    double start = scn_live(), full, after;
    pthread_t threads[THREADS];
    scn_map_stats before, st;

    policy = scn_policy(s);
    scn_row(s, "8 threads, 5 full ranges each, in mid-growth: wrong counts");
    scn_on_thread(fill_and_begin, NULL);
    full = scn_live() - start;
    scn_stats(policy, &map, &before);
    scn_detector_begin(NULL);
    for (int i = 0; i < THREADS; i++) threads[i] = scn_thread_start(range_often, NULL, 0);
    scn_gate_await(&start_line, THREADS);
    scn_gate_open(&start_line);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    after = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, (double)scn_count(&wrong), SCN_COUNT);
    scn_go(s, "0");
    scn_pointed(s, "not a leak: %d ranges of %s keys each; map: moved %zu before, %zu after",
                THREADS * RANGES, scn_thousands((double)keys), before.evacuated, st.evacuated);
    scn_expect(s, "ranges that were wrong", (double)scn_count(&wrong), 0, 0);
    scn_expect_true(s, "growing before and after", before.growing && st.growing);
    scn_expect_none(s, "live heap, more than before", after - full);
    scn_expect_quiet(s);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

const scn_scenario scn_concurrent_range_mid_growth = {
    .id = "concurrent-range-mid-growth",
    .class = 'N',
    .source = "A4 3.2",
    .leak = "ranges at once in mid-growth see every key, and nothing is released under them",
    .maps = true,
    .run = run,
};
