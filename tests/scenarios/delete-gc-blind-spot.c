/* delete-gc-blind-spot.c - is what was deleted from a map hidden from the collector?
 *
 * What leaks: the bucket array of a map of 1,000 keys of which 900 were deleted: 57 KB, which is a
 *             case of delete-does-not-release.
 * Why:        it is said that the collector doesn't see spans whose entries were deleted. It does:
 *             the array is live and scanned as ever; the deleted keys' strings go at once. The
 *             default map shrinks.
 * Seen by:    the map's statistics: a count far below what its array has room for. */
#include "scenario.h"

#define HINT 1024
#define KEYS ((size_t)1000)
#define DELETED ((size_t)900)

static const scn_map_policy *policy;
static void *map;

static scn_string key_of(size_t i)
{
    return scn_string_new("key-%08zu", i);
}

static void make(void *arg)
{
    (void)arg;
    map = policy->new (SCN_STRING_INT, HINT);
}

static void insert_all(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < KEYS; i++) {
        scn_string key = key_of(i);

        *(int64_t *)policy->put(map, &key) = (int64_t)i;
    }
}

static void delete_most(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < DELETED; i++) {
        scn_string key = key_of(i);

        policy->delete (map, &key);
    }
}

static double after(scn *s, void (*step)(void *), double start, scn_map_stats *st)
{
    double live;

    scn_on_thread(step, NULL);
    live = scn_live() - start;
    scn_stats(policy, &map, st);
    scn_retained(s, live, SCN_BYTES);
    scn_pointed(s, "map: count %zu, array %s B", st->count, scn_thousands((double)st->array_bytes));
    return live;
}

SCN_FIND(find_map, map)

static void run(scn *s)
{
    double start = scn_live(), made, full, deleted;
    scn_map_stats st;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "map[string]int made for 1,024");
    made = after(s, make, start, &st);
    scn_go(s, "57,376");
    if (policy->leaks_as_go)
        scn_expect_ratio(s, "retained, against Go's", made, 57376, 5);
    else
        scn_expect(s, "retained, at most Go's", made, 0, 57376);

    scn_row(s, "1,000 inserted");
    full = after(s, insert_all, start, &st);
    scn_go(s, "70,224 to 72,336");
    if (policy->leaks_as_go)
        scn_expect(s, "retained, against Go's", full, 70224 * 0.95, 75000 * 1.05);
    else
        scn_expect(s, "retained, at most Go's", full, 0, 72336 * 1.05);

    scn_row(s, "900 deleted");
    deleted = after(s, delete_most, start, &st);
    scn_go(s, "58,976 to 61,088");
    scn_figure(s, "released in percent", (full - deleted) / full * 100, SCN_PERCENT);
    if (policy->leaks_as_go) {
        scn_expect(s, "released in percent", (full - deleted) / full * 100, 10, 20);
        scn_expect(s, "array", (double)st.array_bytes, 56576, 57344);
    } else {
        scn_expect(s, "kept in percent of full", deleted / full * 100, 0, 25);
    }

    scn_expect_site(s, policy->leaks_as_go ? "make" : "delete_most");
    scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);

    scn_row(s, "dropped");
    map = NULL;
    scn_retained(s, scn_live() - start, SCN_BYTES);
    scn_go(s, "8");
    scn_pointed(s, "memstats: heap_alloc falls by %s B",
                scn_thousands(deleted - (scn_live() - start)));
    scn_expect_none(s, "retained", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_delete_gc_blind_spot = {
    .id = "delete-gc-blind-spot",
    .class = 'M',
    .source = "A3 3.3",
    .leak = "a map of which most was deleted keeps its array, in plain sight",
    .maps = true,
    .profile_rate = 1,
    .run = run,
};
