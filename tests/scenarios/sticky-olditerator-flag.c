/* sticky-olditerator-flag.c - a range that ended long ago keeps what is overwritten in mid-growth.
 *
 * What leaks: values that were replaced while the map was growing, until the growth ends: if it
 *             idles, for ever.
 * Why:        Go's range sets a flag on the map, which only the next growth takes back. As long as
 *             the flag says that an iterator may look at the old array, evacuated buckets are not
 *             cleared, and so hold what they held; that the range has ended doesn't matter. The
 *             default map lets go of an entry as it moves, whatever iterators there are or were.
 * Seen by:    the map is growing, and its old array refers to the values. */
#include "scenario.h"

#define PAYLOADS ((int64_t)400)
#define PAYLOAD ((size_t)4096)

static const scn_map_policy *policy;
static void *map;
static int64_t keys;
static oak_weak *payload; /* one of them */

static void put(int64_t key, void *value)
{
    *(void **)policy->put(map, &key) = value;
}

static void fill(void *arg)
{
    static const int64_t some = 77;

    (void)arg;
    map = scn_new_limited(policy, SCN_INT_PTR);
    keys = policy->limit(12);
    for (int64_t k = 0; k < keys; k++)
        put(k, k < PAYLOADS ? scn_must(oak_alloc_noscan(PAYLOAD)) : NULL);
    payload = scn_must(oak_weak_new(*(void **)policy->get(map, &some)));
}

static void range_all(void *arg)
{
    scn_iter it;

    (void)arg;
    policy->iter_init(&it, map);
    while (policy->iter_next(&it)) continue;
}

/* Each key again with the value that it has, from the first on, so that the buckets of those with
 * payloads are moved. */
static void grow_half(void *arg)
{
    scn_map_stats st;

    (void)arg;
    put(keys, NULL);
    for (int64_t k = 0; k < keys; k++) {
        void *value = *(void **)policy->get(map, &k);

        scn_before_overwrite(policy, map, k);
        put(k, value);
        if (k % 64 != 0 || k < PAYLOADS) continue;
        policy->stats(map, &st);
        if (!st.growing) scn_die("the growth is over after %lld writes", (long long)k);
        if (st.evacuated >= st.old_buckets / 2) return;
    }
}

static void drop_payloads(void *arg)
{
    (void)arg;
    for (int64_t k = 0; k < PAYLOADS; k++) put(k, NULL);
}

static void grow_to_the_end(void *arg)
{
    scn_map_stats st;

    (void)arg;
    for (int64_t k = PAYLOADS; k < keys; k++) {
        scn_before_overwrite(policy, map, k);
        put(k, NULL);
    }
    policy->stats(map, &st);
    if (st.growing) scn_die("still growing");
}

SCN_FIND(find_payload, oak_weak_get(payload))

static void flag_row(scn *s, bool ranged, const char *go)
{
    double start = scn_live(), before, after, ended, freed;
    scn_map_stats st;

    scn_row(s, "400 values of 4 KiB set to nil half-way, %s: freed",
            ranged ? "a range long ago" : "no range");
    scn_on_thread(fill, NULL);
    if (ranged) scn_on_thread(range_all, NULL);
    scn_on_thread(grow_half, NULL);
    before = scn_live() - start;
    scn_on_thread(drop_payloads, NULL);
    after = scn_live() - start;
    scn_stats(policy, &map, &st);
    freed = (before - after) / ((double)PAYLOADS * PAYLOAD) * 100;
    scn_retained(s, before - after, SCN_BYTES);
    scn_go(s, go);
    scn_pointed(s, "map: %s, moved %s of %s, old array %s B; freed %.0f %%",
                st.growing ? "growing" : "not growing", scn_thousands((double)st.evacuated),
                scn_thousands((double)st.old_buckets), scn_thousands((double)st.old_array_bytes),
                freed);
    scn_expect_true(s, "growing", st.growing);
    scn_detector_begin(NULL);
    for (int i = 0; i < 5; i++) scn_detector_look();
    if (policy->leaks_as_go)
        scn_expect_found(s, OAK_FINDING_MAP_STUCK, NULL);
    else
        scn_expect_quiet(s);
    if (policy->leaks_as_go && ranged) {
        scn_expect_path(s, find_payload, OAK_ROOT_GLOBAL, "map", "oldbuckets");
    }
    if (policy->leaks_as_go && ranged)
        scn_expect(s, "freed in percent", freed, -5, 5);
    else
        scn_expect(s, "freed in percent", freed, 95, 105);

    scn_on_thread(grow_to_the_end, NULL);
    ended = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_figure(s, "live when the growth has ended", ended, SCN_BYTES);
    scn_expect(s, "live when the growth has ended, less the map's arrays",
               ended - (double)(st.array_bytes + st.overflow_bytes), -SCN_NOISE, SCN_NOISE);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

static void run(scn *s)
{
    policy = scn_policy(s);
    flag_row(s, true, "0");
    flag_row(s, false, "1,646,608");
}

const scn_scenario scn_sticky_olditerator_flag = {
    .id = "sticky-olditerator-flag",
    .class = 'M',
    .source = "the true core of A4",
    .leak = "a range that has ended keeps what is overwritten in a growth that idles",
    .maps = true,
    .run = run,
};
