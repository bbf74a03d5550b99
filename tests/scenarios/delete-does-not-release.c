/* delete-does-not-release.c - a map that was large once stays large.
 *
 * What leaks: the bucket array and the overflow buckets of a map from which every key was deleted.
 * Why:        delete empties a slot; Go's map never gives an array or an overflow bucket back
 *             while it lives. What keys and values point at does go at once, so that large values
 *             that are stored by pointer are released. The clear idiom drops the overflow buckets
 *             and keeps the array.
 *             The default map shrinks as it empties, and gives all of it back.
 * Seen by:    the map's statistics: a count far below what its arrays have room for. */
#include "scenario.h"

#include <string.h>

typedef struct variant {
    const char *what;
    scn_kind kind;
    size_t n;
    bool values_apart; /* 1 KiB each, not in the array */
    const char *go;    /* retained after all were deleted */
    double go_full, go_deleted;
} variant;

static const variant variants[] = {
    { "int, 10,000", SCN_INT_INT, 10000, false, "320,664", 320664, 320664 },
    { "int, 100,000", SCN_INT_INT, 100000, false, "2,770,224", 2770224, 2770224 },
    { "int, 1,000,000", SCN_INT_INT, 1000000, false, "40,149,152", 40149144, 40149152 },
    { "128 bytes inline, 100,000", SCN_INT_128, 100000, false, "21,161,520", 21161520, 21161520 },
    { "128 bytes inline, 1,000,000", SCN_INT_128, 1000000, false, "307,535,920", 307535920,
      307535920 },
    { "1 KiB, 10,000", SCN_INT_1024, 10000, true, "319,512", 10559512, 319512 },
    { "1 KiB, 100,000", SCN_INT_1024, 100000, true, "2,745,960", 105145960, 2745960 },
    { "1 KiB, 1,000,000", SCN_INT_1024, 1000000, true, "40,110,464", 1064110456, 40110464 },
    { "pointer to 1 KiB, 1,000,000", SCN_INT_PTR, 1000000, true, "40,108,160", 1064108160,
      40108160 },
};

#define SPARSE_FROM 1572864 /* bytes of an array that the detector calls sparse */

static const scn_map_policy *policy;
static void *map;

static __attribute__((noinline)) void put_value(const variant *v, int64_t key)
{
    void *slot = policy->put(map, &key);

    switch (v->kind) {
    case SCN_INT_PTR:
        *(void **)slot = scn_must(oak_alloc_noscan(1024));
        break;
    case SCN_INT_128:
        memset(slot, 1, 128);
        break;
    default:
        *(int64_t *)slot = key;
        break;
    }
}

static void fill(void *arg)
{
    const variant *v = arg;

    if (map == NULL) map = policy->new (v->kind, 0);
    for (size_t i = 0; i < v->n; i++) put_value(v, (int64_t)i);
}

static void delete_most(void *arg)
{
    const variant *v = arg;

    for (int64_t k = 0; k < (int64_t)(v->n / 10 * 9); k++) policy->delete (map, &k);
}

static void delete_rest(void *arg)
{
    const variant *v = arg;

    for (int64_t k = (int64_t)(v->n / 10 * 9); k < (int64_t)v->n; k++) policy->delete (map, &k);
}

static void clear_all(void *arg)
{
    (void)arg;
    policy->clear(map);
}

static void settle(void *arg)
{
    (void)arg;
    if (oak_map_settle(map) != 0) scn_die("out of memory");
}

static double after(void (*step)(void *), const variant *v, double start)
{
    scn_on_thread(step, (void *)(uintptr_t)v);
    return scn_live() - start;
}

static void expect_as_go(scn *s, const variant *v, double full, double deleted, double cleared,
                         const scn_map_stats *st)
{
    double arrays = (double)(st->array_bytes + st->overflow_bytes);

    scn_expect_bytes(s, "full, against Go's", full, v->go_full, 5);
    scn_expect_bytes(s, "retained after delete, against Go's", deleted, v->go_deleted, 5);
    if (v->values_apart)
        scn_expect_bytes(s, "retained, against array and overflow buckets", deleted, arrays, 5);
    else
        scn_expect(s, "released in percent", (full - deleted) / full * 100, -1, 1);
    scn_expect_bytes(s, "retained after clear, against the array", cleared, (double)st->array_bytes,
                     5);
}

/* A map that shrinks in steps holds up to twice as much while one is under way. */
static void expect_tenth(scn *s, double full, double tenth, double settled, bool shrinking)
{
    double most = full * 0.25 + (full * 0.25 * 0.05 > SCN_NOISE ? full * 0.25 * 0.05 : SCN_NOISE);

    scn_expect(s, "retained with 10 % of the keys left", tenth, 0, shrinking ? 2 * most : most);
    scn_expect(s, "the same, the shrink finished", settled, 0, most);
}

static void expect_given_back(scn *s, const variant *v, double full, double deleted, double cleared)
{
    double most = full * 0.05 > SCN_NOISE ? full * 0.05 : SCN_NOISE;

    scn_expect(s, "full, at most Go's", full, 0, v->go_full * 1.05);
    scn_expect(s, "retained after delete", deleted, -SCN_NOISE, most);
    scn_expect_none(s, "retained after clear", cleared);
}

SCN_FIND(find_map, map)

/* The emptied map is looked at a few times: it doesn't grow, but its array is much too large, if it
 * is worth telling. */
static void expect_sparse(scn *s, const scn_map_stats *st)
{
    for (int i = 0; i < 4; i++) scn_detector_look();
    if (policy->leaks_as_go && st->array_bytes >= SPARSE_FROM)
        scn_expect_found(s, OAK_FINDING_MAP_SPARSE, NULL);
    else
        scn_expect_quiet(s);
}

/* ---- how long it takes ---- */

typedef struct timed_deletion {
    const scn_map_policy *policy;
    size_t n;
    double us; /* the best so far */
} timed_deletion;

static void *timed_map;

/* Of this thread's processor, with the collector off: its work is not the map's. */
static void time_deletion(void *arg)
{
    timed_deletion *t = arg;
    double began, us;

    oak_gc_disable();
    timed_map = t->policy->new (SCN_INT_INT, 0);
    for (int64_t k = 0; k < (int64_t)t->n; k++) scn_put_int(t->policy, timed_map, k, k);
    began = scn_thread_us();
    for (int64_t k = 0; k < (int64_t)t->n; k++) t->policy->delete (timed_map, &k);
    us = scn_thread_us() - began;
    timed_map = NULL;
    oak_gc_enable();
    if (us < t->us) t->us = us;
}

/* In turn, so that what else the machine does is met by both. */
static void time_row(scn *s, size_t n, int rounds)
{
    timed_deletion ours = { policy, n, 1e12 }, classic = { scn_policies[0], n, 1e12 };

    scn_row(s, "%s ints: to delete all takes so many us", scn_thousands((double)n));
    for (int i = 0; i < rounds; i++) {
        scn_on_thread(time_deletion, &ours);
        scn_on_thread(time_deletion, &classic);
        scn_live();
    }
    scn_retained(s, ours.us, SCN_COUNT);
    scn_pointed(s, "%.0f ns a key", ours.us / (double)n * 1e3);
    scn_expect(s, "time, of the classic map's", ours.us / classic.us, 0, 2);
}

static void run_variant(scn *s, const variant *v)
{
    double start, full, tenth, settled, deleted, refilled, cleared, dropped;
    scn_map_stats st_tenth, st;

    scn_row(s, "%s: all deleted", v->what);
    scn_go(s, v->go);
    if (!scn_memory_for((uint64_t)(v->go_full * 1.5))) {
        scn_skip(s, "not enough free memory");
        return;
    }
    scn_detector_begin(NULL);
    start = scn_live();
    full = after(fill, v, start);
    tenth = after(delete_most, v, start);
    scn_stats(policy, &map, &st_tenth);
    settled = policy->leaks_as_go ? tenth : after(settle, v, start);
    deleted = after(delete_rest, v, start);
    scn_stats(policy, &map, &st);
    expect_sparse(s, &st);
    if (policy->leaks_as_go) {
        scn_expect_site(s, "put_value");
        scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);
    }
    refilled = after(fill, v, start);
    cleared = after(clear_all, v, start);
    map = NULL;
    dropped = scn_live() - start;

    scn_retained(s, deleted, SCN_BYTES);
    scn_figure(s, "full", full, SCN_BYTES);
    scn_figure(s, "with 10 % of the keys left", tenth, SCN_BYTES);
    scn_figure(s, "released by delete", (full - deleted) / full * 100, SCN_PERCENT);
    scn_figure(s, "refilled", refilled, SCN_BYTES);
    scn_figure(s, "released by clear", (full - cleared) / full * 100, SCN_PERCENT);
    scn_pointed_too(s, "released %.1f %%; map: count %zu, array %s B, %s overflow buckets",
                    (full - deleted) / full * 100, st.count, scn_thousands((double)st.array_bytes),
                    scn_thousands((double)st.overflow));
    scn_expect(s, "refilled, of full", refilled / full, 0.85, policy->leaks_as_go ? 1.17 : 1.05);
    if (policy->leaks_as_go) {
        expect_as_go(s, v, full, deleted, cleared, &st);
    } else {
        scn_figure(s, "the same, the shrink finished", settled, SCN_BYTES);
        expect_tenth(s, full, tenth, settled, st_tenth.growing);
        expect_given_back(s, v, full, deleted, cleared);
    }
    scn_expect_none(s, "retained after the map is dropped", dropped);
}

static void run(scn *s)
{
    policy = scn_policy(s);
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        run_variant(s, &variants[i]);
    scn_detector_begin(NULL);
    if (policy->leaks_as_go) return;
    time_row(s, 100000, 6);
    time_row(s, 1000000, 2);
    scn_expect_quiet(s);
}

const scn_scenario scn_delete_does_not_release = {
    .id = "delete-does-not-release",
    .class = 'M',
    .source = "A1 2.2-2.5",
    .leak = "a map from which all was deleted keeps its arrays",
    .maps = true,
    .run = run,
};
