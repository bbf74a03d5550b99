/* emptied-mid-growth.c - a map from which the last key is deleted while it grows.
 *
 * What leaks: an empty map's two arrays and all their overflow buckets.
 * Why:        deletes move a growth on, but Go's returns at once when the map is empty: a growth
 *             that is under way then stays so until something is inserted. Made here with keys of
 *             few hashes, whose chains leave many overflow buckets and few entries: that begins a
 *             growth to the same size. The default map holds nothing once it is empty.
 * Seen by:    the map says that it is growing, with a count of 0, over any number of deletes. */
#include "scenario.h"

#define GROUPS 8
#define HINT 1000    /* B = 8 */
#define OVERFLOW 256 /* buckets at which a same-size growth is due */
#define CHAIN 1200   /* keys, that leave 149 overflow buckets behind */
#define DELETES 10000
#define BUCKET 8

static const scn_map_policy *policy;
static void *map;
static oak_weak *old_array; /* that the growth is to leave: an iterator tells where it is */

static int64_t key_of(int64_t group, int64_t i)
{
    return i * GROUPS + group;
}

/* Keys of one hash, as many as it takes for so many overflow buckets in all, and away again. */
static void leave_chain(int64_t group, size_t overflow)
{
    scn_map_stats st;
    int64_t n = 0;

    do {
        for (int i = 0; i < BUCKET; i++, n++) scn_put_int(policy, map, key_of(group, n), n);
        policy->stats(map, &st);
    } while (n < CHAIN && (st.overflow < overflow || !policy->leaks_as_go));
    while (n-- > 0) {
        int64_t key = key_of(group, n);

        policy->delete (map, &key);
    }
}

static void note_array(void)
{
    scn_iter it;

    policy->iter_init(&it, map);
    if (policy->leaks_as_go && old_array == NULL)
        old_array = scn_must(oak_weak_new(it.u.classic.buckets));
}

/* One chain leaves half of the overflow buckets, a second nearly all that may be, and a third,
 * short one begins the growth; then its keys go too. */
static void empty_in_growth(void *arg)
{
    scn_map_stats st;
    int64_t n = 0;

    (void)arg;
    scn_hash_groups = GROUPS;
    map = policy->new (SCN_GROUPED_INT, HINT);
    for (int64_t g = 0; g < GROUPS; g++) {
        leave_chain(g, OVERFLOW - 1);
        policy->stats(map, &st);
        if (st.overflow >= OVERFLOW - 1) break;
    }
    do {
        scn_put_int(policy, map, key_of(GROUPS - 1, n++), 0);
        policy->stats(map, &st);
        if (!st.growing) note_array();
    } while (!st.growing && n < 4 * BUCKET);
    while (n-- > 0) {
        int64_t key = key_of(GROUPS - 1, n);

        policy->delete (map, &key);
    }
}

static void delete_absent(void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < DELETES; i++) policy->delete (map, &i);
}

static void insert_one(void *arg)
{
    (void)arg;
    scn_put_int(policy, map, 1, 1);
}

SCN_FIND(find_map, map)
SCN_FIND(find_old_array, oak_weak_get(old_array))

static void run(scn *s)
{
    double start = scn_live(), held;
    scn_map_stats emptied, later, inserted;

    policy = scn_policy(s);
    scn_row(s, "emptied in a same-size growth, then 10,000 deletes");
    scn_on_thread(empty_in_growth, NULL);
    scn_stats(policy, &map, &emptied);
    scn_on_thread(delete_absent, NULL);
    held = scn_live() - start;
    scn_stats(policy, &map, &later);
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "still growing");
    scn_pointed(s, "map: count %zu, %s, moved %zu, later %zu of %zu; old array %s B", later.count,
                later.growing ? "growing" : "not growing", emptied.evacuated, later.evacuated,
                later.old_buckets, scn_thousands((double)later.old_array_bytes));
    scn_expect(s, "entries", (double)later.count, 0, 0);
    scn_detector_begin(NULL);
    for (int i = 0; i < 5; i++) scn_detector_look();
    if (policy->leaks_as_go)
        scn_expect_found(s, OAK_FINDING_MAP_STUCK, NULL);
    else
        scn_expect_quiet(s);
    if (policy->leaks_as_go) {
        scn_expect_true(s, "growing to the same size",
                        later.growing && later.old_array_bytes == later.array_bytes);
        scn_expect(s, "old buckets moved by the deletes",
                   (double)later.evacuated - (double)emptied.evacuated, 0, 0);
        scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);
        scn_expect_path(s, find_old_array, OAK_ROOT_GLOBAL, "map", "oldbuckets");
    } else {
        scn_expect_true(s, "not growing", !later.growing);
        scn_expect(s, "old array", (double)later.old_array_bytes, 0, 0);
        scn_expect_none(s, "held", held);
    }

    scn_row(s, "one insert: old buckets moved by it");
    scn_on_thread(insert_one, NULL);
    scn_stats(policy, &map, &inserted);
    scn_retained(s, (double)inserted.evacuated - (double)later.evacuated, SCN_COUNT);
    scn_go(s, "1 to 2");
    scn_pointed(s, "map: count %zu, moved %zu of %zu", inserted.count, inserted.evacuated,
                inserted.old_buckets);
    if (policy->leaks_as_go) /* its own may have been moved before */
        scn_expect(s, "moved", (double)inserted.evacuated - (double)later.evacuated, 1, 2);
    else
        scn_expect_true(s, "not growing", !inserted.growing);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

const scn_scenario scn_emptied_mid_growth = {
    .id = "emptied-mid-growth",
    .class = 'M',
    .source = "no article",
    .leak = "a map that is emptied while it grows keeps two arrays until something is inserted",
    .maps = true,
    .run = run,
};
