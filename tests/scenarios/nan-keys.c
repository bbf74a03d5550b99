/* nan-keys.c - keys that equal nothing, themselves included.
 *
 * What leaks: every entry whose key is not a number: no lookup finds it, no delete removes it.
 * Why:        a delete looks for an equal key, and there is none; a range that deletes what it
 *             meets does the same. Only what needs no comparison can remove them: to drop the map,
 *             or to clear it, for which Go 1.19 has nothing where keys may not equal themselves.
 * Seen by:    the map's statistics: its count against the entries that no lookup can find. */
#include "scenario.h"

#include <math.h>

#define KEYS 100000
#define LOOKS 20 /* of the detector, while they come in */

static const scn_map_policy *policy;
static void *map;
static size_t found;

static void fill(void *arg)
{
    double nan_key = (double)NAN;

    (void)arg;
    if (map == NULL) map = policy->new (SCN_DOUBLE_INT, 0);
    for (int64_t i = 0; i < KEYS / LOOKS; i++) *(int64_t *)policy->put(map, &nan_key) = i;
}

static void delete_each(void *arg)
{
    double nan_key = (double)NAN;

    (void)arg;
    for (int i = 0; i < KEYS; i++) policy->delete (map, &nan_key);
}

static void delete_in_range(void *arg)
{
    scn_iter it;

    (void)arg;
    found = 0;
    policy->iter_init(&it, map);
    while (policy->iter_next(&it)) {
        found += policy->get(map, it.key) != NULL;
        policy->delete (map, it.key);
    }
}

static void clear(void *arg)
{
    (void)arg;
    policy->clear(map);
}

SCN_FIND(find_map, map)

static void run(scn *s)
{
    double start = scn_live(), full, deleted;
    scn_map_stats st;

    policy = scn_policy(s);
    scn_row(s, "100,000 NaN keys");
    scn_detector_begin(NULL);
    for (int i = 0; i < LOOKS; i++) {
        scn_on_thread(fill, NULL);
        scn_live();
    }
    scn_expect_found(s, OAK_FINDING_MAP_GROWTH, NULL);
    full = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, full, SCN_BYTES);
    scn_go(s, "2,770,000");
    scn_pointed(s, "map: count %s", scn_thousands((double)st.count));
    scn_expect(s, "entries", (double)st.count, KEYS, KEYS);
    if (policy->leaks_as_go) scn_expect_bytes(s, "retained, against Go's", full, 2770000, 5);

    scn_row(s, "each deleted, then a range that deletes");
    scn_on_thread(delete_each, NULL);
    scn_on_thread(delete_in_range, NULL);
    deleted = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, deleted, SCN_BYTES);
    scn_go(s, "2,770,000");
    scn_pointed(s, "map: count %s, of which %s can't be found, and lookups find %zu",
                scn_thousands((double)st.count), scn_thousands((double)st.unfindable), found);
    scn_expect(s, "entries", (double)st.count, KEYS, KEYS);
    scn_expect(s, "entries that can't be found", (double)st.unfindable, KEYS, KEYS);
    scn_expect(s, "entries that a lookup finds", (double)found, 0, 0);
    scn_expect_bytes(s, "retained, as before", deleted, full, 5);
    scn_expect_site(s, "fill");
    scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);

    if (!policy->leaks_as_go) {
        scn_row(s, "repaired: cleared");
        scn_on_thread(clear, NULL);
        scn_stats(policy, &map, &st);
        deleted = scn_live() - start;
        scn_retained(s, deleted, SCN_BYTES);
        scn_pointed(s, "map: count %zu", st.count);
        scn_expect(s, "entries", (double)st.count, 0, 0);
        scn_expect_none(s, "retained", deleted);
        scn_detector_begin(NULL);
        for (int i = 0; i < 4; i++) scn_detector_look();
        scn_expect_quiet(s);
    }
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

const scn_scenario scn_nan_keys = {
    .id = "nan-keys",
    .class = 'M',
    .source = "no article",
    .leak = "keys that equal nothing can't be deleted",
    .maps = true,
    .run = run,
};
