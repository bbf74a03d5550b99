/* syncmap-dirty-promotion.c - what it costs a concurrent map that its parts change places.
 *
 * What leaks: nothing. It is said that a missing load of a sync.Map goes through the dirty part
 *             while that grows, and holds up the release of its old buckets.
 * Why not:    the promotion is the exchange of a pointer. What takes time in proportion to the
 *             entries is the first store of a new key after it, which copies them. oak_syncmap has
 *             one part, and no operation on it takes longer than others.
 * Seen by:    counters of promotions and of entries copied.
 *
 * Times are those of the thread's processor, so that others can't lengthen them, and the best of
 * several maps. */
#include "readdirty.h"

#include <stdlib.h>

#define ROUNDS 5
#define COLD ((size_t)64 << 20)

static const scn_map_policy *policy;
static scn_syncmap map;

typedef struct timing {
    size_t n;
    double store_us;      /* of the first new key after a promotion */
    double mean_us;       /* of n + 10 loads of it */
    double worst_load_us; /* of those */
    uint64_t copied, promotions;
} timing;

static void fill_and_promote(size_t n)
{
    scn_syncmap_init(&map, policy);
    for (size_t i = 0; i < n; i++) {
        scn_string key = scn_string_new("key-%011zu", i);

        scn_syncmap_store(&map, &key, scn_must(oak_alloc_noscan(16)));
    }
    for (size_t i = 0; i < n; i++) {
        scn_string absent = scn_string_new("absent-%zu", i);

        scn_syncmap_load(&map, &absent);
    }
}

static double time_loads(const scn_string *key, size_t count, double *worst)
{
    double total = 0;

    for (size_t i = 0; i < count; i++) {
        double start = scn_thread_us(), took;

        if (scn_syncmap_load(&map, key) == NULL) scn_die("a key that was stored is absent");
        took = scn_thread_us() - start;
        total += took;
        if (took > *worst) *worst = took;
    }
    return total / (double)count;
}

/* Of a small map the processor's caches hold all, of a large one nothing, and what that is worth is
 * the machine's affair: they hold nothing of either. */
static void cool_caches(void)
{
    static char *other;

    if (other == NULL) other = scn_must(malloc(COLD));
    for (size_t i = 0; i < COLD; i += 64) other[i]++;
    scn_keep(other);
}

/* The collector is off: its work is not the map's. */
static void time_one_map(void *arg)
{
    timing *t = arg;
    scn_string key = scn_string_new("a new key", 0);
    void *value = scn_must(oak_alloc_noscan(16));
    scn_rdmap_stats st;
    double start;

    oak_gc_disable();
    fill_and_promote(t->n);
    cool_caches();
    start = scn_thread_us();
    scn_syncmap_store(&map, &key, value);
    t->store_us = scn_thread_us() - start;
    t->worst_load_us = 0;
    t->mean_us = time_loads(&key, t->n + 10, &t->worst_load_us);
    oak_gc_enable();
    if (map.rd == NULL) return;
    scn_rdmap_stats_read(map.rd, &st);
    t->copied = st.copied;
    t->promotions = st.promotions;
}

/* Of all sizes in turn: what else the machine does meanwhile is met by each. */
static void time_all(timing *best, size_t sizes)
{
    for (size_t i = 0; i < ROUNDS * sizes; i++) {
        timing *b = &best[i % sizes], t = { .n = b->n };

        scn_on_thread(time_one_map, &t);
        map = (scn_syncmap){ NULL, NULL };
        scn_live();
        if (i < sizes) *b = t;
        if (t.store_us < b->store_us) b->store_us = t.store_us;
        if (t.worst_load_us < b->worst_load_us) b->worst_load_us = t.worst_load_us;
        if (t.mean_us < b->mean_us) b->mean_us = t.mean_us;
    }
}

static void figures(scn *s, const timing *t)
{
    scn_figure(s, "first store, in microseconds", t->store_us, SCN_MEASURE);
    scn_figure(s, "worst load, in microseconds", t->worst_load_us, SCN_MEASURE);
    scn_figure(s, "mean load, in microseconds", t->mean_us, SCN_MEASURE);
    if (policy->leaks_as_go)
        scn_pointed(s, "not a leak: %s entries copied by the first new store, %s promotions",
                    scn_thousands((double)t->copied), scn_thousands((double)t->promotions));
    else
        scn_pointed(s, "not a leak: one part, nothing is promoted or copied");
}

static void run(scn *s)
{
    timing all[] = { { .n = 1000 }, { .n = 10000 }, { .n = 100000 } }, t1k, t10k, t100k;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    time_all(all, 3);
    t1k = all[0];
    t10k = all[1];
    t100k = all[2];
    scn_row(s, "first new key after a promotion, 1,000 keys: us");
    scn_retained(s, t1k.store_us, SCN_MEASURE);
    scn_go(s, "40 to 80");
    figures(s, &t1k);
    scn_expect_true(s, "the key is found", t1k.mean_us > 0);

    scn_row(s, "the same, 10,000 keys: us");
    scn_retained(s, t10k.store_us, SCN_MEASURE);
    scn_go(s, "500 to 600");
    figures(s, &t10k);
    scn_expect_true(s, "the key is found", t10k.mean_us > 0);

    scn_row(s, "the same, 100,000 keys: us");
    scn_retained(s, t100k.store_us, SCN_MEASURE);
    scn_go(s, "11,000 to 19,000");
    figures(s, &t100k);
    if (policy->leaks_as_go) {
        scn_expect(s, "first store at 100,000 keys, of that at 10,000",
                   t100k.store_us / t10k.store_us, 5, 40);
        scn_expect(s, "entries copied", (double)t100k.copied, 100000, 100000);
        scn_expect(s, "promotions", (double)t100k.promotions, 1, 100);
    } else {
        scn_expect(s, "first store in us", t100k.store_us, 0, 1000);
    }

    scn_row(s, "worst load of the new key, 100,000 keys: us");
    scn_retained(s, t100k.worst_load_us, SCN_MEASURE);
    scn_go(s, "22 to 50");
    scn_pointed(s, "not a leak: a promotion exchanges a pointer");
    if (policy->leaks_as_go)
        scn_expect(s, "worst load, of the first store", t100k.worst_load_us / t100k.store_us, 0,
                   1.0 / 50);
    else
        scn_expect(s, "worst load in us", t100k.worst_load_us, 0, 1000);
    scn_expect_quiet(s);
}

const scn_scenario scn_syncmap_dirty_promotion = {
    .id = "syncmap-dirty-promotion",
    .class = 'N',
    .source = "A4 4.3",
    .leak = "a promotion of a concurrent map's dirty part holds nothing and no one up",
    .maps = true,
    .alone = true,
    .run = run,
};
