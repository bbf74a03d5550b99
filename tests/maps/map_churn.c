/* map_churn.c - churn at a constant size resizes no map. Resizes are counted, not timed. */
#include "maps/map.h"
#include "tests/heap.h"

#include <check.h>
#include <stdlib.h>

Suite *suite_maps_map_churn(void);

static struct {
    oak_map *m;
    uint64_t *key; /* those that are there, in any order */
    size_t len;
    uint64_t next;
} w;

static void begin(size_t n)
{
    test_seed("maps_map_churn");
    test_heap_start(test_config());
    w.m = oak_map_new(&oak_map_u64_u64, 0);
    oak_map_set_seed(w.m, test_random());
    w.key = malloc(n * sizeof *w.key);
}

static void add(void)
{
    uint64_t *v = oak_map_put(w.m, &w.next);
    if (!v) ck_abort_msg("no memory");
    *v = w.next;
    w.key[w.len++] = w.next++;
}

static void fill(size_t n)
{
    while (w.len < n) add();
}

static void take(size_t i)
{
    uint64_t k = w.key[i];
    if (!oak_map_delete(w.m, &k)) ck_abort_msg("key %lu is missing", (unsigned long)k);
    w.key[i] = w.key[--w.len];
}

static void drain(size_t n)
{
    while (w.len > n) take(test_below(w.len));
}

static size_t resizes(void)
{
    oak_map_stats s;
    oak_map_stats_read(w.m, &s);
    ck_assert_uint_eq(s.len, w.len);
    return s.growths + s.shrinks + s.reseeds;
}

static void settle(void)
{
    ck_assert_int_eq(oak_map_settle(w.m), 0);
}

static const size_t sizes[] = { 5, 15, 16, 100, 800, 1000, 3000, 6400, 12800, 25000 };

/* The oldest goes, or any. */
START_TEST(churn_at_a_constant_size_resizes_nothing)
{
    size_t n = sizes[_i / 2];
    begin(n);
    fill(n);
    settle();
    size_t before = resizes();
    for (size_t i = 0; i < 10 * n; i++) {
        size_t at = _i % 2 ? i % n : test_below(n);
        take(at);
        if (at < w.len) { /* the new one takes its place, and not that of the last */
            uint64_t last = w.key[at];
            add();
            w.key[at] = w.key[n - 1];
            w.key[n - 1] = last;
        } else {
            add();
        }
    }
    ck_assert_uint_eq(resizes(), before);
}
END_TEST

/* Of what was full before, too, and has become sparse: one resize may still be due. */
START_TEST(churn_after_deletes_resizes_once_at_most)
{
    enum { N = 12000 };
    begin(N);
    fill(N);
    drain(N / 2 - (size_t)_i * 400);
    settle();
    size_t before = resizes(), n = w.len;
    for (size_t i = 0; i < 5 * n; i++) {
        take(test_below(w.len));
        add();
    }
    ck_assert_uint_le(resizes(), before + 1);
    for (size_t i = 0; i < 5 * n; i++) {
        take(test_below(w.len));
        add();
    }
    ck_assert_uint_le(resizes(), before + 1);
}
END_TEST

Suite *suite_maps_map_churn(void)
{
    Suite *s = suite_create("maps_map_churn");
    TCase *tc = tcase_create("churn");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, churn_at_a_constant_size_resizes_nothing, 0,
                        2 * (int)OAKI_COUNT(sizes));
    tcase_add_loop_test(tc, churn_after_deletes_resizes_once_at_most, 0, 14);
    suite_add_tcase(s, tc);
    return s;
}
