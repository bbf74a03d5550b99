/* map_oom.c - the default map when memory runs out: a put that fails leaves the map as it was, the
 * rest goes on, and growth is made up for later. */
#include "model.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <string.h>

Suite *suite_maps_map_oom(void);

static unsigned kind_named(const char *name)
{
    for (unsigned i = 0; i < model_nkinds; i++)
        if (strcmp(model_kinds[i].name, name) == 0) return i;
    ck_abort_msg("no kind %s", name);
    return 0;
}

static void begin(const char *kind, size_t space)
{
    model_who = "maps_map_oom";
    model_seed(7);
    model_begin(&model_kinds[kind_named(kind)], space, 0);
}

/* Nothing more from here on but what is in spans already; and no collection for each put that
 * fails, which would be all that takes time here. */
static void close_heap(void)
{
    oak_collect();
    oak_gc_disable();
    oak_set_heap_max(test_stats().heap_inuse);
    model_may_fail(true);
}

static void open_heap(void)
{
    oak_gc_enable();
    oak_set_heap_max(0);
    oaki_debug_switches.failalloc = 0;
    model_may_fail(false);
}

static const char *const kinds[] = { "u64_u64", "dense_box", "text_u64", "bytes128_box128",
                                     "bytes129_129", "u64_1000", "double_u64", "sixteen_hashes" };

/* ---- for a while ---- */

START_TEST(no_memory_for_a_while)
{
    bool hashed = strcmp(kinds[_i], "sixteen_hashes") == 0;
    unsigned n = (unsigned)test_scale(hashed ? 500 : 9000), refused = 0, space = 4 * n;
    test_heap_start(test_config());
    begin(kinds[_i], space);
    for (unsigned k = 0; k < n; k++) ck_assert(model_put(k));
    model_start(0, false);
    for (int i = 0; i < 100; i++) model_step(0, MODEL_LOOK);
    close_heap();
    for (unsigned k = n; k < space; k++) refused += !model_put(k);
    ck_assert_uint_gt(refused, space / 4);
    ck_assert_int_eq(errno, ENOMEM);
    model_check();
    /* What is there can be put again, walked over, and deleted. */
    model_start(1, true);
    while (model_step(1, MODEL_LOOK)) {}
    for (unsigned k = 0; k < n; k += 3) model_delete(k);
    model_check();
    open_heap();
    for (unsigned k = 0; k < space; k++) ck_assert(model_put(k));
    model_check();
    oak_map_stats s;
    oak_map_stats_read(model_map(), &s);
    /* Growth was made up for. */
    if (!hashed) ck_assert_msg(s.resizing || s.load < 0.9, "load %f", s.load);
    while (model_open(0)) model_step(0, MODEL_LOOK);
    ck_assert_int_eq(oak_map_settle(model_map()), 0);
    model_check();
    model_end();
}
END_TEST

/* As the limit comes a little later each time, each allocation of the script is one that fails. */
START_TEST(the_limit_anywhere)
{
    test_heap_start(test_config());
    unsigned step = test_slow() ? 37 : 5;
    for (unsigned stop = 0; stop < 900; stop += 1 + stop / 50 * step) {
        begin(kinds[_i], 1200);
        for (unsigned k = 0; k < stop; k++) ck_assert(model_put(k));
        close_heap();
        for (unsigned k = stop; k < 1200; k++) model_put(k);
        model_check();
        for (unsigned k = 0; k < 1200; k += 2) model_delete(k);
        model_check();
        open_heap();
        for (unsigned k = 0; k < 600; k++) ck_assert(model_put(k));
        model_check();
        model_clear();
        model_end();
        oak_collect();
    }
}
END_TEST

/* ---- every Nth request ---- */

static void script(void)
{
    unsigned k = 0;
    for (; k < 3000; k++) model_put(k);
    model_check();
    for (unsigned i = 0; i < 4; i++) model_start(i, i % 2 == 0);
    for (k = 0; k < 2900; k++) {
        model_delete(k);
        if (k % 7 == 0) model_put(k + 1);
        if (model_open(k % 4)) model_step(k % 4, MODEL_LOOK);
    }
    model_check();
    model_clear();
    for (k = 1000; k < 2500; k++) {
        model_put(k);
        if (k % 3 == 0) model_delete(k - 10);
        if (model_open(k % 4)) model_step(k % 4, MODEL_LOOK);
    }
    model_check();
    if (oak_map_settle(model_map()) != 0) ck_assert_int_eq(errno, ENOMEM);
    model_check();
}

START_TEST(every_nth_request_of_the_page_heap_fails)
{
    static const int each[] = { 1, 2, 3, 4, 5, 7, 11, 16, 31, 64 };
    test_heap_start(test_config());
    for (size_t i = 0; i < OAKI_COUNT(each); i++) {
        begin(kinds[_i], 3000);
        close_heap();
        oak_set_heap_max(0);
        oaki_debug_switches.failalloc = each[i];
        script();
        open_heap();
        for (unsigned k = 0; k < 3000; k++) ck_assert(model_put(k));
        model_check();
        ck_assert_int_eq(oak_map_settle(model_map()), 0);
        model_end();
        oak_collect();
    }
}
END_TEST

/* ---- trying again: each try that fails costs a collection ---- */

static size_t collections(void)
{
    return test_stats().num_gc;
}

static oak_map *grown(bool resizing)
{
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    oak_map_set_seed(m, 1);
    uint64_t k = 0;
    for (; k < 100000; k++) oak_map_put(m, &k);
    for (; resizing && !m->resizing; k++) oak_map_put(m, &k);
    ck_assert(m->resizing == resizing);
    return m;
}

static void write_on(oak_map *m, uint64_t n)
{
    for (uint64_t k = 0; k < n; k += 2) {
        ck_assert(oak_map_delete(m, &k));
        ck_assert_ptr_nonnull(oak_map_put(m, &k));
    }
}

START_TEST(a_resize_that_found_no_memory_lets_writes_pass)
{
    enum { WRITES = 2000, EACH = 64 };
    test_heap_start(test_config());
    oak_map *m = grown(true);
    oak_collect();
    oaki_debug_switches.failalloc = 1;
    size_t before = collections();
    write_on(m, WRITES);
    ck_assert(m->resizing);
    ck_assert_uint_ge(collections(), before + 2);
    ck_assert_uint_le(collections(), before + WRITES / EACH + 2);
    oaki_debug_switches.failalloc = 0;
    uint64_t last = m->last;
    write_on(m, 2 * EACH);
    ck_assert_uint_gt(m->last, last);
}
END_TEST

START_TEST(growth_that_found_no_memory_lets_puts_pass)
{
    test_heap_start(test_config());
    oak_map *m = grown(false);
    oak_collect();
    oaki_debug_switches.failalloc = 1;
    size_t before = collections(), each = ((size_t)OAK_MAP_SLOTS_ << m->bits) / 64, tries;
    uint64_t k = 100000, n = oak_map_len(m) + 10000;
    for (; oak_map_len(m) < n; k++) oak_map_put(m, &k);
    ck_assert(!m->resizing);
    tries = 10000 / each + (k - n); /* a put may have failed */
    ck_assert_uint_ge(collections(), before + 2);
    ck_assert_uint_le(collections(), before + tries + 2);
    oaki_debug_switches.failalloc = 0;
    for (n = k + 2 * each; !m->resizing; k++) {
        ck_assert_uint_lt(k, n);
        oak_map_put(m, &k);
    }
}
END_TEST

START_TEST(shrinking_that_found_no_memory_lets_deletes_pass)
{
    test_heap_start(test_config());
    oak_map *m = grown(false);
    uint64_t k = 0;
    for (; oak_map_len(m) > 30000; k++) oak_map_delete(m, &k);
    oak_collect();
    oaki_debug_switches.failalloc = 1;
    size_t before = collections();
    for (; oak_map_len(m) > 12000; k++) oak_map_delete(m, &k);
    ck_assert(!m->resizing);
    ck_assert_uint_ge(collections(), before + 2);
    ck_assert_uint_le(collections(), before + 64);
    oaki_debug_switches.failalloc = 0;
    for (; oak_map_len(m) > 11000; k++) oak_map_delete(m, &k);
    ck_assert(m->resizing);
}
END_TEST

/* The array has room for many puts still. */
START_TEST(shrinking_that_found_no_memory_is_no_reason_to_grow)
{
    test_heap_start(test_config());
    oak_map *m = grown(false);
    oak_map_stats before, after;
    size_t limit = m->limit;
    uint64_t k = 0;
    oak_map_stats_read(m, &before);
    for (; oak_map_len(m) > 30000; k++) oak_map_delete(m, &k);
    oak_collect();
    oaki_debug_switches.failalloc = 1;
    for (; oak_map_len(m) > 12000; k++) oak_map_delete(m, &k);
    ck_assert(!m->resizing);
    oaki_debug_switches.failalloc = 0;
    ck_assert_uint_eq(m->limit, limit);
    for (k = 200000; oak_map_len(m) < 18000; k++) ck_assert_ptr_nonnull(oak_map_put(m, &k));
    oak_map_stats_read(m, &after);
    ck_assert_uint_eq(after.growths, before.growths);
}
END_TEST

/* Each try is a collection of the whole heap. */
START_TEST(a_shrinking_that_stands_still_is_tried_seldom)
{
    test_heap_start(test_config());
    oak_map *m = grown(false);
    uint64_t k = 0;
    while (!m->resizing) oak_map_delete(m, &(uint64_t){ k++ });
    oak_collect();
    oaki_debug_switches.failalloc = 1;
    size_t before = collections(), half = oak_map_len(m) / 2;
    for (; oak_map_len(m) > half; k++) oak_map_delete(m, &k);
    ck_assert(m->resizing);
    ck_assert_uint_le(collections(), before + 8);
    oaki_debug_switches.failalloc = 0;
    ck_assert_int_eq(oak_map_settle(m), 0);
    for (; oak_map_len(m) > 0; k++) oak_map_delete(m, &k);
}
END_TEST

/* 1024 homes, with a dense part that shrinking waits for. */
static struct {
    oak_map *m;
    uint64_t seed, mult;
} sparse;

enum { BITS = 10, HOMES = 1 << BITS, DENSE = 64, DENSE_END = 80, IN_DENSE = 10, ELSEWHERE = 7 };

static uint64_t key_of(size_t home, uint64_t i)
{
    uint64_t hash = (uint64_t)home << (64 - BITS) | (i + 1) << 24 | i;
    return model_unmix(hash, sparse.seed, sparse.mult);
}

static bool is_dense(size_t home)
{
    return home >= DENSE && home < DENSE_END;
}

/* Of entries so large that each segment takes pages of its own. */
static void fill_sparse(void)
{
    static const oak_map_type t = { .key = OAK_KEY_U64, .value_size = 128 };
    oak_map *m = sparse.m = oak_map_new(&t, 0);
    oak_map_set_seed(m, 1);
    sparse.seed = m->seed;
    sparse.mult = m->mult;
    for (uint64_t i = 0; i < IN_DENSE; i++)
        for (size_t h = 0; h < HOMES; h++)
            if (i < ELSEWHERE || is_dense(h))
                ck_assert_ptr_nonnull(oak_map_put(m, &(uint64_t){ key_of(h, i) }));
    ck_assert_int_eq(oak_map_settle(m), 0);
    ck_assert_uint_eq(m->bits, BITS);
}

/* In the order of homes; none of the dense ones. */
static void delete_down_to(size_t left)
{
    static uint64_t next;
    while (oak_map_len(sparse.m) > left) {
        size_t h = next / ELSEWHERE, i = next++ % ELSEWHERE;
        if (!is_dense(h)) ck_assert(oak_map_delete(sparse.m, &(uint64_t){ key_of(h, i) }));
    }
}

START_TEST(a_new_order_that_found_no_memory_lets_deletes_pass)
{
    enum { KEPT = (DENSE_END - DENSE) * IN_DENSE, DELETES = 600, EACH = 64 };
    test_heap_start(test_config());
    fill_sparse();
    delete_down_to(KEPT + 2 * EACH + DELETES);
    ck_assert(sparse.m->resizing);
    oak_collect();
    oaki_debug_switches.failalloc = 1;
    size_t before = collections();
    delete_down_to(KEPT + 2 * EACH);
    ck_assert(sparse.m->resizing);
    ck_assert_uint_ge(collections(), before + 2);
    ck_assert_uint_le(collections(), before + DELETES / EACH + 2);
    oaki_debug_switches.failalloc = 0;
    delete_down_to(KEPT);
    ck_assert(!sparse.m->resizing);
    ck_assert_uint_lt(sparse.m->bits, BITS - 1);
    for (size_t h = DENSE; h < DENSE_END; h++)
        for (uint64_t i = 0; i < IN_DENSE; i++)
            ck_assert_ptr_nonnull(oak_map_get(sparse.m, &(uint64_t){ key_of(h, i) }));
}
END_TEST

/* ---- making, clearing, walking ---- */

static void **hoard;

/* Every span is full: not the smallest object can be had. */
static void exhaust(void)
{
    static const size_t sizes[] = { 8192, 4096, 2048, 1500, 1024, 512, 256, 128, 64, 32, 16 };
    oak_set_heap_max(test_stats().heap_inuse);
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++)
        for (void **p; (p = oak_alloc(sizes[i])); hoard = p) *p = hoard;
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++)
        while (oak_alloc_noscan(sizes[i])) {}
}

START_TEST(making_and_settling)
{
    test_heap_start(test_config());
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t k = 0; !m->resizing || k < 20000; k++) *(uint64_t *)oak_map_put(m, &k) = k;
    size_t n = oak_map_len(m);
    oak_gc_disable();
    exhaust();
    errno = 0;
    ck_assert_int_eq(oak_map_settle(m), -1);
    ck_assert_int_eq(errno, ENOMEM);
    errno = 0;
    for (int i = 0; i < 2000; i++)
        if (!oak_map_new(&oak_map_slice_ptr, 0)) break;
    ck_assert_int_eq(errno, ENOMEM);
    errno = 0;
    ck_assert_ptr_null(oak_map_new(&oak_map_slice_ptr, 1000000));
    ck_assert_int_eq(errno, ENOMEM);
    for (uint64_t k = 0; k < n; k++) ck_assert_uint_eq(*(uint64_t *)oak_map_get(m, &k), k);
    oak_map_clear(m);
    ck_assert_uint_eq(oak_map_len(m), 0);
    /* What the clear gave back is there for the next puts, once a sweep has found spans. */
    oak_gc_enable();
    for (uint64_t k = 0; k < 1000; k++) ck_assert_ptr_nonnull(oak_map_put(m, &k));
}
END_TEST

static uint64_t one_hash(const void *key OAKI_UNUSED, uint64_t seed OAKI_UNUSED,
                         size_t size OAKI_UNUSED)
{
    return 5;
}

static bool same_word(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

/* The one thing of an iterator that needs memory: more than OAK_MAP_UNIT keys in one home. */
START_TEST(an_iterator_without_memory_says_so)
{
    static const oak_map_type t = { .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8,
                                    .hash = one_hash, .equal = same_word };
    static oak_map_iter it;
    test_heap_start(test_config());
    oak_map *m = oak_map_new(&t, 0);
    uint64_t n = 0, given = 0;
    for (; n < 500; n++) ck_assert_ptr_nonnull(oak_map_put(m, &n));
    oak_gc_disable();
    exhaust();
    oak_map_iter_init(&it, m);
    while (oak_map_iter_next(&it)) given++;
    ck_assert(given < n ? errno == ENOMEM : errno == 0);
    ck_assert_ptr_null(it.key);
    hoard = NULL;
    oak_set_heap_max(0);
    oak_gc_enable();
    oak_collect();
    given = 0;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it);) given++;
    ck_assert_int_eq(errno, 0);
    ck_assert_uint_eq(given, n);
}
END_TEST

Suite *suite_maps_map_oom(void)
{
    Suite *s = suite_create("maps_map_oom");
    TCase *tc = tcase_create("oom");
    tcase_add_loop_test(tc, no_memory_for_a_while, 0, OAKI_COUNT(kinds));
    tcase_add_loop_test(tc, the_limit_anywhere, 0, OAKI_COUNT(kinds));
    tcase_add_loop_test(tc, every_nth_request_of_the_page_heap_fails, 0, OAKI_COUNT(kinds));
    tcase_add_test(tc, a_resize_that_found_no_memory_lets_writes_pass);
    tcase_add_test(tc, growth_that_found_no_memory_lets_puts_pass);
    tcase_add_test(tc, shrinking_that_found_no_memory_lets_deletes_pass);
    tcase_add_test(tc, shrinking_that_found_no_memory_is_no_reason_to_grow);
    tcase_add_test(tc, a_shrinking_that_stands_still_is_tried_seldom);
    tcase_add_test(tc, a_new_order_that_found_no_memory_lets_deletes_pass);
    tcase_add_test(tc, making_and_settling);
    tcase_add_test(tc, an_iterator_without_memory_says_so);
    suite_add_tcase(s, tc);
    return s;
}
