/* idle-map-mid-growth.c - a map that is left alone while it grows holds two arrays.
 *
 * What leaks: the old bucket array of a map whose last write started a growth.
 * Why:        growth is done by later writes, two old buckets each. Reads, ranges and collections
 *             never move anything; without writes the map holds 2.74 times what it held, for as
 *             long as it idles. The default map's growth waits for writes as well, but what has
 *             moved is free and what is not used yet is not touched: half-way it holds less than
 *             when the growth is done.
 * Seen by:    the map's statistics: growing, with an evacuation count that stands still over
 *             collections. */
#include "scenario.h"

#include <time.h>

#define COLLECTIONS 8
#define STRIDE 250 /* writes between two looks at how far a growth is */

static const scn_map_policy *policy;
static void *map;
static int64_t full_count; /* entries at the limit: the next insert begins a growth */
static size_t found;

static void fill(void *arg)
{
    (void)arg;
    map = scn_new_limited(policy, SCN_INT_INT);
    for (int64_t k = 0; k < full_count; k++) scn_put_int(policy, map, k, k);
}

static void insert_one(void *arg)
{
    (void)arg;
    scn_put_int(policy, map, full_count, full_count);
}

static void look_up_all(void *arg)
{
    (void)arg;
    found = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int64_t k = 0; k <= full_count; k++) found += policy->get(map, &k) != NULL;
}

static void range_all(void *arg)
{
    scn_iter it;

    (void)arg;
    found = 0;
    policy->iter_init(&it, map);
    while (policy->iter_next(&it)) found++;
}

static void delete_absent(void *arg)
{
    int64_t absent = -1;

    (void)arg;
    policy->delete (map, &absent);
}

static void overwrite_one(void *arg)
{
    (void)arg;
    scn_put_int(policy, map, 7, 7);
}

/* Write a thousand keys again in turn until so much of the growth is done. */
typedef struct progress {
    double part;
    size_t writes; /* that it took */
} progress;

static void go_on(void *arg)
{
    progress *p = arg;
    scn_map_stats st;

    do {
        for (int i = 0; i < STRIDE; i++) {
            int64_t k = (int64_t)(p->writes++ % 1000);

            scn_before_overwrite(policy, map, k);
            scn_put_int(policy, map, k, k);
        }
        policy->stats(map, &st);
    } while (st.growing && (double)st.evacuated < p->part * (double)st.old_buckets &&
             p->writes < 1000000);
}

/* Old buckets evacuated after a step. */
static double moved_after(void (*step)(void *))
{
    scn_map_stats st;

    scn_on_thread(step, NULL);
    scn_stats(policy, &map, &st);
    return (double)st.evacuated;
}

/* Live bytes after idling through some collections. */
static double idle(double start)
{
    struct timespec t = { 0, 50000000 };

    for (int i = 0; i < COLLECTIONS; i++) {
        nanosleep(&t, NULL);
        oak_collect();
        scn_detector_look();
    }
    return scn_live() - start;
}

static const char *growth(const scn_map_stats *st)
{
    return st->growing ? "growing" : "not growing";
}

static double full_row(scn *s, double start)
{
    scn_map_stats st;
    double full;

    scn_row(s, "map at its limit (Go: 425,984 entries)");
    full_count = policy->limit(16);
    scn_on_thread(fill, NULL);
    full = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, full, SCN_BYTES);
    scn_go(s, "11,541,344");
    scn_pointed(s, "map: count %s, %s, array %s B", scn_thousands((double)st.count), growth(&st),
                scn_thousands((double)st.array_bytes));
    scn_expect_true(s, "not growing", !st.growing);
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "retained, against Go's", full, 11541344, 5);
    else
        scn_expect(s, "retained, at most Go's", full, 0, 11541344);
    return full;
}

/* Nearly all are: only two buckets were moved. */
static void *entry_in_old_array(void)
{
    scn_map_stats st;

    policy->stats(map, &st);
    for (int64_t k = 0; k < 1000; k++) {
        void *slot = policy->get(map, &k);

        if (oak_usable_size(slot) == st.old_array_bytes) return slot;
    }
    scn_die("no entry in the old array");
}

static double idle_row(scn *s, double start, double full)
{
    scn_map_stats st, later;
    double mid;

    scn_row(s, "one insert more, then idle for 8 collections");
    scn_on_thread(insert_one, NULL);
    scn_stats(policy, &map, &st);
    scn_detector_begin(NULL);
    mid = idle(start);
    scn_stats(policy, &map, &later);
    scn_retained(s, mid, SCN_BYTES);
    scn_go(s, "31,595,544");
    scn_pointed(s, "map: %s, old buckets moved %zu, later %zu, of %s; old array %s B",
                growth(&later), st.evacuated, later.evacuated,
                scn_thousands((double)later.old_buckets),
                scn_thousands((double)later.old_array_bytes));
    scn_figure(s, "of what it held when full", mid / full, SCN_RATIO);
    scn_expect_true(s, "growing after the collections", later.growing);
    if (policy->leaks_as_go) {
        scn_expect_ratio(s, "retained mid-growth / full", mid / full, 2.74, 5);
        scn_expect(s, "old buckets moved by the insert", (double)st.evacuated, 2, 2);
        scn_expect(s, "old buckets moved after the collections", (double)later.evacuated, 2, 2);
        scn_expect_found(s, OAK_FINDING_MAP_STUCK, NULL);
        scn_expect_site(s, "insert_one");
        scn_expect_path(s, entry_in_old_array, OAK_ROOT_GLOBAL, "map", "oldbuckets");
    } else {
        scn_expect(s, "retained mid-growth / full", mid / full, 0,
                   1.2); /* the new array's tags, an eighth of the old array, and a segment */
        scn_expect_quiet(s);
    }
    return mid;
}

static void steps_row(scn *s)
{
    scn_map_stats st;
    double before, looked, ranged, deleted, written;
    bool all_found, all_ranged;

    scn_row(s, "lookups, a range, then two writes: old buckets moved");
    scn_stats(policy, &map, &st);
    before = (double)st.evacuated;
    looked = moved_after(look_up_all);
    all_found = found == 3 * (size_t)(full_count + 1);
    ranged = moved_after(range_all);
    all_ranged = found == (size_t)(full_count + 1);
    deleted = moved_after(delete_absent);
    written = moved_after(overwrite_one);
    scn_retained(s, written, SCN_COUNT);
    scn_go(s, "2, 2, 4, 6");
    scn_pointed(
        s,
        "map: moved %.0f after lookups, %.0f after a range, %.0f after a delete, %.0f after a put",
        looked, ranged, deleted, written);
    scn_expect_true(s, "every lookup finds its key", all_found);
    scn_expect_true(s, "the range meets every key once", all_ranged);
    if (policy->leaks_as_go) {
        scn_expect(s, "after 3 passes of lookups", looked, 2, 2);
        scn_expect(s, "after a range", ranged, 2, 2);
        scn_expect(s, "after deleting an absent key", deleted, 3,
                   4); /* 3: the key's own bucket was moved before */
        scn_expect(s, "after an overwrite", written, deleted + 1, deleted + 2);
    } else {
        scn_expect(s, "after 3 passes of lookups", looked, before, before);
        scn_expect(s, "after a range", ranged, before, before);
        scn_expect(s, "after deleting an absent key", deleted, before, before);
        scn_expect(s, "after an overwrite", written, before, before);
    }
}

static void finished_row(scn *s, double start, double mid)
{
    progress half = { 0.5, 0 }, rest = { 2, 0 };
    scn_map_stats mid_way, st;
    double at_half, finished;

    scn_row(s, "growth finished by writing 1,000 keys again");
    scn_on_thread(go_on, &half);
    scn_stats(policy, &map, &mid_way);
    at_half = scn_live() - start;
    scn_on_thread(go_on, &rest);
    scn_stats(policy, &map, &st);
    scn_detector_begin(NULL);
    for (int i = 0; i < 4; i++) scn_detector_look();
    finished = scn_live() - start;
    scn_expect_quiet(s);
    scn_retained(s, finished, SCN_BYTES);
    scn_go(s, "20,061,128");
    scn_pointed(s, "map: %s, after about %s %s", growth(&st),
                scn_thousands((double)(half.writes + rest.writes)),
                policy->overwrites_move ? "writes" : "deletes and as many puts");
    scn_figure(s, "retained half-way", at_half, SCN_BYTES);
    scn_expect_true(s, "growing half-way", mid_way.growing);
    scn_expect_true(s, "not growing", !st.growing);
    if (policy->leaks_as_go) {
        scn_expect_ratio(s, "retained mid-growth / finished", mid / finished, 1.57, 5);
    } else {
        scn_expect(s, "retained mid-growth / finished", mid / finished, 0, 1.1);
        scn_expect(s, "retained half-way / finished", at_half / finished, 0, 1.1);
        scn_expect(s, "finished, at most Go's", finished, 0, 20061128);
    }
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

static void run(scn *s)
{
    double start, full, mid;

    policy = scn_policy(s);
    start = scn_live();
    full = full_row(s, start);
    mid = idle_row(s, start, full);
    steps_row(s);
    finished_row(s, start, mid);
}

const scn_scenario scn_idle_map_mid_growth = {
    .id = "idle-map-mid-growth",
    .class = 'M',
    .source = "implied by A4 2.2-2.4",
    .leak = "a map that idles in mid-growth holds two arrays",
    .maps = true,
    .run = run,
};
