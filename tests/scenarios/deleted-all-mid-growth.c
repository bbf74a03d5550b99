/* deleted-all-mid-growth.c - every key is deleted, one by one, while the map grows.
 *
 * What leaks: nothing more than from a map that was deleted from at rest: the new array.
 * Why not:    each delete moves old buckets, so that the growth is done long before the last key is
 *             gone. The default map shrinks as it goes on, and holds nothing at the end.
 * Seen by:    the map's statistics: not growing; count 0 against the bytes of its array. */
#include "scenario.h"

#define ARRAY_13 1253376.0 /* A(13) */

static const scn_map_policy *policy;
static void *map;
static int64_t keys;

static void fill_and_begin(void *arg)
{
    (void)arg;
    map = scn_new_limited(policy, SCN_INT_INT);
    keys = policy->limit(12) + 1;
    for (int64_t k = 0; k < keys; k++) scn_put_int(policy, map, k, k);
}

static void delete_all(void *arg)
{
    (void)arg;
    for (int64_t k = 0; k < keys; k++) policy->delete (map, &k);
}

SCN_FIND(find_map, map)

static void run(scn *s)
{
    double start = scn_live(), kept;
    scn_map_stats begun, st;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "26,625 keys deleted one by one in a growth");
    scn_on_thread(fill_and_begin, NULL);
    scn_stats(policy, &map, &begun);
    scn_on_thread(delete_all, NULL);
    kept = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, kept, SCN_BYTES);
    scn_go(s, "A(13): 1,253,376");
    scn_pointed(s, "map: count %zu, %s, array %s B", st.count,
                st.growing ? "growing" : "not growing", scn_thousands((double)st.array_bytes));
    scn_expect_true(s, "growing before the deletes", begun.growing);
    scn_expect_true(s, "not growing after them", !st.growing);
    scn_expect(s, "entries", (double)st.count, 0, 0);
    if (policy->leaks_as_go) {
        scn_expect_site(s, "fill_and_begin");
        scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);
        scn_expect_bytes(s, "array, against A(13)", (double)st.array_bytes, ARRAY_13, 5);
        scn_expect_bytes(s, "kept, against array and overflow buckets", kept,
                         (double)(st.array_bytes + st.overflow_bytes), 5);
    } else {
        scn_expect_none(s, "kept", kept);
    }
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_deleted_all_mid_growth = {
    .id = "deleted-all-mid-growth",
    .class = 'N',
    .source = "no article",
    .leak = "a map that is deleted from while it grows finishes that growth",
    .maps = true,
    .run = run,
};
