/* map_churn.c - how often the default map resizes where entries come and go: not at all at a
 * constant size; not where half or more is deleted and put again; and how soon it gives back what
 * stays unused. Resizes are counted, not timed. */
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

static size_t groups(void)
{
    return (size_t)1 << w.m->bits;
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

/* Down to one in seven of a full map and back. */
START_TEST(a_part_deleted_and_put_again_resizes_nothing)
{
    static const size_t parts[] = { 2, 4, 7 };
    enum { N = 12700 }; /* in 1,024 groups */
    begin(N);
    fill(N);
    settle();
    ck_assert_uint_eq(groups(), 1024);
    size_t before = resizes();
    for (int round = 0; round < 20; round++) {
        drain(N / parts[_i]);
        fill(N);
    }
    ck_assert_uint_eq(resizes(), before);
}
END_TEST

/* A shrink makes four homes one, so emptying takes half as many as filling. */
START_TEST(emptied_and_filled_again)
{
    enum { N = 12700 };
    size_t growths = 0;
    begin(N);
    for (int round = 0; round < 5; round++) {
        oak_map_stats s;
        size_t before = resizes();
        fill(N);
        if (round == 0) growths = resizes();
        ck_assert_uint_le(resizes(), before + growths);
        before = resizes();
        drain(1);
        oak_map_stats_read(w.m, &s);
        ck_assert_uint_le(s.array_bytes, 4096);
        ck_assert_uint_le(resizes(), before + growths / 2 + 1);
        drain(0);
        ck_assert_uint_eq(oaki_map_array_bytes(w.m, 0), 0);
    }
}
END_TEST

/* What a sparse map holds for its next entries, it holds until a collection. */
START_TEST(a_collection_ends_the_wait)
{
    enum { N = 12700 };
    begin(N);
    fill(N);
    settle();
    drain(N / 5);
    size_t before = resizes();
    ck_assert(!w.m->resizing);
    if (_i == 0) {
        oak_collect();
        drain(N / 5 - N / 50);
        ck_assert_uint_eq(resizes(), before + 1);
        settle();
        ck_assert_uint_le(groups(), 512);
    } else { /* not when it was filled since: it is in use */
        fill(N);
        oak_collect();
        drain(N / 5);
        ck_assert_uint_eq(resizes(), before);
    }
}
END_TEST

/* Without a collection: a quarter is held by a tenth of the entries, and so on down. */
START_TEST(what_is_held_follows_the_entries)
{
    enum { N = 25600 }; /* the most that 2,048 groups take */
    oak_map_stats s;
    begin(N);
    fill(N - N / 16);
    settle();
    oak_map_stats_read(w.m, &s);
    size_t full = s.array_bytes;
    ck_assert_uint_eq(s.groups, 2048);
    drain(N / 10);
    settle();
    oak_map_stats_read(w.m, &s);
    ck_assert_uint_le(s.array_bytes, full / 100 * 26);
    drain(N / 40);
    settle();
    oak_map_stats_read(w.m, &s);
    ck_assert_uint_le(s.array_bytes, full / 100 * 8);
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
    tcase_add_loop_test(tc, a_part_deleted_and_put_again_resizes_nothing, 0, 3);
    tcase_add_test(tc, emptied_and_filled_again);
    tcase_add_loop_test(tc, a_collection_ends_the_wait, 0, 2);
    tcase_add_test(tc, what_is_held_follows_the_entries);
    suite_add_tcase(s, tc);
    return s;
}
