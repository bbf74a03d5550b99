/* classic_readers.c - any number of threads may read and iterate at once while nothing writes, in
 * mid-growth too: the map changes in nothing but the iterators' flags. */
#include "maps/classic.h"
#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>

enum { THREADS = 8, ROUNDS = 5, ENTRIES = 13 << 8 };

static oak_classic_map *map;

typedef struct reader {
    pthread_t thread;
    unsigned wrong;
} reader;

static void *read_all(void *arg)
{
    reader *r = arg;
    for (int round = 0; round < ROUNDS; round++) {
        oak_classic_iter it;
        size_t n = 0;
        for (oak_classic_iter_init(&it, map); oak_classic_iter_next(&it); n++)
            r->wrong += *(const int64_t *)it.key != *(int64_t *)it.value;
        r->wrong += n != oak_classic_len(map);
        for (int64_t k = 0; k < 2 * ENTRIES; k += 3) {
            int64_t *v = oak_classic_get(map, &k);
            r->wrong += v ? *v != k : k <= ENTRIES;
        }
    }
    return NULL;
}

/* One entry more than the array's limit: growing, with two old buckets evacuated at most. */
START_TEST(many_readers_at_once)
{
    static const oak_classic_type *const types[] = { &oak_classic_int_int, &oak_classic_int_ptr };
    reader r[THREADS] = { { 0 } };
    map = oak_classic_new(types[_i], 0);
    for (int64_t k = 0; k <= ENTRIES; k++) *(int64_t *)oak_classic_put(map, &k) = k;
    ck_assert_ptr_nonnull(map->oldbuckets);
    size_t nevacuate = map->nevacuate;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&r[i].thread, NULL, read_all, &r[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(r[i].thread, NULL);
        ck_assert_uint_eq(r[i].wrong, 0);
    }
    ck_assert_uint_eq(map->nevacuate, nevacuate);
    ck_assert_uint_eq(map->flags, OAKI_ITERATOR | OAKI_OLD_ITERATOR);
    ck_assert_ptr_null(oaki_classic_check(map));
}
END_TEST

Suite *suite_maps_classic_readers(void)
{
    Suite *s = suite_create("maps_classic_readers");
    TCase *tc = tcase_create("readers");
    tcase_add_loop_test(tc, many_readers_at_once, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
