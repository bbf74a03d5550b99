/* range-insert-delete-pins-oldbuckets.c - a range whose body writes to the map.
 *
 * What leaks: the array that was current when the range began, until the range ends.
 * Why:        the range's own pointers hold it, once, however often the map grows meanwhile; the
 *             arrays between are freed. It is said that old arrays pile up, in ranges over 100 keys
 *             too; they don't. The default map's range holds none.
 * Seen by:    the iterator stands in an array of another size than the map's. */
#include "scenario.h"

#define MOST ((int64_t)826176) /* keys: B = 17 */
#define INSERTS 32             /* a step */
#define RANGES 20
#define ARRAY_12 626688.0
#define CONSTANT_KEYS 100
#define WRITES 1000000
#define WRITES_A_RANGE 1000

static const scn_map_policy *policy;
static void *map;
static scn_iter iterator;
static int64_t next_key;

static void fill(void *arg)
{
    (void)arg;
    map = scn_new_limited(policy, SCN_INT_INT);
    for (next_key = 0; next_key < policy->limit(12); next_key++)
        scn_put_int(policy, map, next_key, next_key);
}

/* ---- one range, in which the map grows ---- */

static __attribute__((noinline)) void step(int inserts)
{
    int64_t key = *(const int64_t *)iterator.key;

    policy->delete (map, &key);
    for (int i = 0; i < inserts; i++, next_key++) scn_put_int(policy, map, next_key, next_key);
}

/* Stops inside the range, which goes on to be live. */
static void range_and_grow(void *arg)
{
    (void)arg;
    policy->iter_init(&iterator, map);
    while (policy->iter_next(&iterator) && (int64_t)policy->len(map) < MOST) step(INSERTS);
    if (iterator.key == NULL) scn_die("the range ended at %zu keys", policy->len(map));
}

static void end_range(void)
{
    iterator = (scn_iter){ 0 };
}

static void read_iterator_array(void *bytes)
{
    *(size_t *)bytes = policy->iter_array(&iterator);
}

SCN_FIND(find_pinned_array, iterator.u.classic.buckets)

static void growing_range(scn *s)
{
    double start = scn_live(), full, inside, after;
    size_t array = 0;
    scn_map_stats st;

    scn_row(s, "range that deletes one and inserts 32 a step: pinned inside");
    scn_on_thread(fill, NULL);
    full = scn_live() - start;
    scn_on_thread(range_and_grow, NULL);
    inside = scn_live() - start;
    scn_on_thread(read_iterator_array, &array);
    scn_stats(policy, &map, &st);
    scn_expect_site(s, "step");
    if (policy->leaks_as_go)
        scn_expect_path(s, find_pinned_array, OAK_ROOT_GLOBAL, "iterator", NULL);
    end_range();
    after = scn_live() - start;
    scn_retained(s, inside - after, SCN_BYTES);
    scn_go(s, "723,272");
    scn_figure(s, "live when the range begins (Go: 723,304)", full, SCN_BYTES);
    scn_figure(s, "live inside the range (Go: 23,389,032)", inside, SCN_BYTES);
    scn_figure(s, "live after it (Go: 22,665,760)", after, SCN_BYTES);
    if (array != 0)
        scn_pointed_too(s, "iterator: stands in an array of %s B; map: %s B, old array %s B",
                        scn_thousands((double)array), scn_thousands((double)st.array_bytes),
                        scn_thousands((double)st.old_array_bytes));
    else
        scn_pointed_too(s, "iterator: a position, in no array; map: %s B",
                        scn_thousands((double)st.array_bytes));
    if (policy->leaks_as_go) {
        scn_expect_bytes(s, "pinned, against what was live when it began", inside - after, full, 5);
        scn_expect_bytes(s, "live after it, against Go's", after, 22665760, 5);
    } else {
        scn_expect_none(s, "pinned", inside - after);
    }
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

/* ---- many ranges, none of which lets it grow ---- */

/* In mid-growth there are two arrays, whoever ranges. */
static void end_growth(void)
{
    scn_map_stats st;

    for (policy->stats(map, &st); st.growing; policy->stats(map, &st)) {
        for (int i = 0; i < 64; i++, next_key++) {
            int64_t last = next_key - 1;

            policy->delete (map, &last);
            scn_put_int(policy, map, next_key, next_key);
        }
    }
}

static void range_in_place(void *arg)
{
    (void)arg;
    policy->iter_init(&iterator, map);
    while (policy->iter_next(&iterator)) step(1);
    end_range();
    end_growth();
}

static void ranges_in_place(scn *s)
{
    double start = scn_live(), most = 0;
    scn_map_stats st;

    scn_row(s, "20 ranges that delete one and insert one: most live");
    scn_on_thread(fill, NULL);
    for (int i = 0; i < RANGES; i++) {
        double live;

        scn_on_thread(range_in_place, NULL);
        live = scn_live() - start;
        if (live > most) most = live;
    }
    scn_stats(policy, &map, &st);
    scn_retained(s, most, SCN_BYTES);
    scn_go(s, "0.9 to 1.2 MB");
    scn_pointed(s, "map: %llu growths, of which %llu to the same size; array %s B",
                (unsigned long long)(st.growths + st.same_size_growths),
                (unsigned long long)st.same_size_growths, scn_thousands((double)st.array_bytes));
    scn_expect(s, "most live", most, 0, 3 * ARRAY_12);
    if (policy->leaks_as_go)
        scn_expect(s, "same-size growths", (double)st.same_size_growths, 1, RANGES);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

/* ---- as the article has it ---- */

static void write_and_range(void *arg)
{
    scn_iter it;
    size_t seen = 0;

    (void)arg;
    map = policy->new (SCN_INT_INT, 0);
    for (int64_t i = 0; i < WRITES; i++) {
        scn_put_int(policy, map, i % CONSTANT_KEYS, i);
        if (i % WRITES_A_RANGE != 0) continue;
        policy->iter_init(&it, map);
        while (policy->iter_next(&it)) seen++;
    }
    if (seen == 0) scn_die("no range met anything");
}

static void constant_keys(scn *s)
{
    double start = scn_live(), live;
    scn_map_stats st;

    scn_row(s, "100 keys, a million writes, a range every 1,000");
    scn_on_thread(write_and_range, NULL);
    live = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, live, SCN_BYTES);
    scn_go(s, "4,912");
    scn_pointed(s, "not a leak: %llu growths in all, old array %s B",
                (unsigned long long)st.growths, scn_thousands((double)st.old_array_bytes));
    scn_expect(s, "live", live, 0, SCN_NOISE);
    scn_expect(s, "old array", (double)st.old_array_bytes, 0, 0);
    map = NULL;
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    policy = scn_policy(s);
    growing_range(s);
    ranges_in_place(s);
    constant_keys(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_range_insert_delete_pins_oldbuckets = {
    .id = "range-insert-delete-pins-oldbuckets",
    .class = 'M',
    .source = "A4 intro (1), 4.1",
    .leak = "a range that writes pins the array on which it began, until it ends",
    .maps = true,
    .run = run,
};
