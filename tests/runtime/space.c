/* space.c - tests of runtime/space.c: the reserved range, how it grows and ends, a small one.
 *
 * Each test starts the heap itself, with what it is about; so nothing is started before. */
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/large.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

Suite *suite_runtime_space(void);

#define MB ((size_t)1 << 20)

static void start_with(size_t reserve)
{
    oak_config c = test_config();
    c.heap_reserve = reserve;
    test_heap_start(c);
}

static void assert_works(void)
{
    for (size_t i = 0; i < 3000; i++) {
        size_t n = 1 + i * 11;
        char *p = oak_alloc(n);
        ck_assert_ptr_nonnull(p);
        ck_assert(test_is_zero(p, n));
        memset(p, 1, n);
        if (i % 1000 == 0) oak_collect();
    }
    test_assert_sound();
}

/* ---- reserving ---- */

START_TEST(without_a_wish_it_is_a_tebibyte)
{
    oak_heap_info info;
    struct rlimit rl;
    oak_heap_info_read(&info);
    ck_assert_uint_eq(info.reserved, 0);
    ck_assert_ptr_null(info.base);
    start_with(0);
    oak_heap_info_read(&info);
    ck_assert_uint_eq((uintptr_t)info.base, oaki_the_heap.base);
    ck_assert_uint_eq((uintptr_t)info.base % OAKI_CHUNK, 0);
    ck_assert_uint_gt((uintptr_t)info.base, UINT32_MAX); /* where numbers don't point */
    getrlimit(RLIMIT_AS, &rl);
    if (rl.rlim_cur == RLIM_INFINITY && !test_slow())
        ck_assert_uint_eq(info.reserved, (size_t)1 << 40);
    assert_works();
}
END_TEST

/* Not below what is used; and what is left works. */
START_TEST(the_end_of_the_range_can_be_given_back)
{
    oaki_heap *h = &oaki_the_heap;
    size_t most = (size_t)(_i == 1 ? 20 : 300) * MB;
    start_with(1024 * MB);
    char *p = oak_alloc(100 * MB), *end = (char *)h->base + h->reserved;
    ck_assert_ptr_nonnull(p);
    oaki_lock_acquire(&h->pages_lock);
    oaki_space_limit(most);
    oaki_lock_release(&h->pages_lock);
    size_t reserved = h->reserved;
    ck_assert_uint_eq(reserved % (16 * MB), 0);
    if (_i == 2) ck_assert_uint_eq(reserved, 288 * MB);
    else ck_assert_uint_lt(reserved - AO_load(&h->used), 16 * MB);
    unsigned char in;
    ck_assert_int_ne(mincore(end - MB, 4096, &in), 0);
    p[100 * MB - 1] = 1;
    ck_assert_ptr_null(oak_alloc(500 * MB));
    oak_free(p);
    assert_works();
}
END_TEST

START_TEST(a_wish_is_rounded_down_to_a_power_of_two)
{
    start_with(700 * MB);
    ck_assert_uint_eq(oaki_the_heap.reserved, 512 * MB);
    assert_works();
}
END_TEST

START_TEST(a_small_wish_gets_a_little_more)
{
    start_with(1);
    ck_assert_uint_eq(oaki_the_heap.reserved, 64 * MB);
    assert_works();
}
END_TEST

/* It may be more than there is, and then is halved. */
START_TEST(the_largest_wish_is_what_page_numbers_can_count)
{
    oak_config c = test_config();
    c.heap_reserve = ((size_t)16 << 40) + 1;
    errno = 0;
    ck_assert_int_eq(oak_init(&c), -1);
    ck_assert_int_eq(errno, EINVAL);
    start_with((size_t)16 << 40);
    ck_assert_uint_ge(oaki_the_heap.reserved, 512 * MB);
    ck_assert_uint_le(oaki_the_heap.reserved, (size_t)16 << 40);
    ck_assert_uint_lt(oaki_the_heap.reserved / OAKI_PAGE, UINT32_MAX);
    assert_works();
}
END_TEST

/* ---- growing ---- */

START_TEST(it_grows_by_chunks_and_only_as_needed)
{
    start_with(0);
    (void)!oak_alloc(1);
    size_t used = AO_load(&oaki_the_heap.used);
    ck_assert_uint_eq(used, OAKI_CHUNK);
    (void)!oak_alloc_noscan(OAKI_CHUNK - MB);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.used), OAKI_CHUNK);
    (void)!oak_alloc_noscan(10 * OAKI_CHUNK); /* what is free at the end is made use of */
    ck_assert_uint_eq(AO_load(&oaki_the_heap.used), 11 * OAKI_CHUNK);
    ck_assert_uint_eq(test_stats().heap_sys, 11 * OAKI_CHUNK);
}
END_TEST

START_TEST(what_is_not_in_use_is_not_accessible)
{
    start_with(64 * MB);
    (void)!oak_alloc(1);
    char *end = (char *)oaki_the_heap.base + AO_load(&oaki_the_heap.used);
    ck_assert_int_eq(mprotect(end - 4096, 4096, PROT_READ | PROT_WRITE), 0);
    unsigned char vec;
    ck_assert_int_eq(mincore(end, 4096, &vec), 0); /* it is mapped */
    oak_heap_info info;
    oak_heap_info_read(&info);
    ck_assert_uint_eq(info.reserved, 64 * MB);
}
END_TEST

/* ---- its end ---- */

static struct {
    void *all[1000], **list;
} held;

static void use_up(void *arg)
{
    size_t n = 0;
    (void)arg;
    start_with(64 * MB);
    test_only_root(&held, sizeof held);
    while (n < 1000 && (held.all[n] = oak_alloc(100000)) != NULL)
        memset(held.all[n++], 0xff, 100000);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_ge(n, 550);
    ck_assert_uint_le(n, 64 * MB / 100000);
    size_t collections = test_stats().num_gc;
    ck_assert_ptr_null(oak_alloc(100000));
    ck_assert_uint_gt(test_stats().num_gc, collections); /* it had its chance */
    ck_assert_uint_eq(test_stats().heap_sys, 64 * MB);
    /* what is left is used up, too */
    for (void **p; (p = oak_alloc(64)) != NULL; held.list = p) *p = held.list;
    ck_assert_ptr_nonnull(held.list);
    test_assert_sound();
    for (size_t i = 0; i < n; i += 2) held.all[i] = NULL;
    oak_set_gc_percent(100);
    for (size_t i = 0; i < n / 2 - 10; i++)
        ck_assert_ptr_nonnull(held.all[i * 2] = oak_alloc(100000));
}

static void find_all_free(void *arg)
{
    (void)arg;
    ck_assert_ptr_nonnull(oak_alloc(50 * MB));
    assert_works();
}

/* An old word on a stack would keep an object in the middle, also one half of which is a number
 * now. So no thread of the heap's is older than the heap: this one isn't the heap's. Nor is data
 * its root: Valgrind gives the heap addresses from 80 MiB up, where numbers (a hash value, a
 * bitmap) look like references. */
START_TEST(at_its_end_memory_is_out_and_comes_back)
{
    test_away(use_up, NULL);
    memset(&held, 0, sizeof held);
    test_away(find_all_free, NULL);
}
END_TEST

START_TEST(the_last_free_run_counts_for_a_large_request)
{
    start_with(64 * MB);
    char *p = oak_alloc_noscan(20 * MB), *q = oak_alloc_noscan(30 * MB);
    ck_assert_ptr_nonnull(p);
    oak_free(q);
    ck_assert_ptr_nonnull(oak_alloc_noscan(40 * MB)); /* 30 free ones at the end, 12 to be had */
    test_assert_sound();
}
END_TEST

/* ---- steps ---- */

/* Until what is accessible is in use. */
static void fill_committed(void)
{
    static char *held; /* a root */
    const oaki_heap *h = &oaki_the_heap;
    start_with(0);
    held = oak_alloc_noscan(200 * MB);
    do ck_assert_ptr_nonnull(oak_alloc_noscan(2 * MB));
    while (AO_load(&h->used) < h->committed);
    ck_assert_ptr_nonnull(held);
}

START_TEST(a_larger_heap_grows_in_larger_steps)
{
    oaki_heap *h = &oaki_the_heap;
    fill_committed();
    size_t had = h->committed;
    while (h->committed == had) ck_assert_ptr_nonnull(oak_alloc_noscan(2 * MB));
    ck_assert_uint_eq(h->committed - had, OAKI_ALIGN_UP(had / 16, OAKI_CHUNK));
    ck_assert_uint_eq(AO_load(&h->used) - had, OAKI_CHUNK);
    test_assert_sound();
}
END_TEST

START_TEST(the_next_step_can_be_had_before_it_is_needed)
{
    oaki_heap *h = &oaki_the_heap;
    fill_committed();
    oaki_lock_acquire(&h->pages_lock);
    oaki_space_prepare();
    oaki_lock_release(&h->pages_lock);
    size_t had = h->committed, used = AO_load(&h->used);
    ck_assert_uint_ge(had - used, OAKI_CHUNK);
    ck_assert_ptr_nonnull(oak_alloc_noscan(3 * MB));
    ck_assert_uint_gt(AO_load(&h->used), used);
    ck_assert_uint_eq(h->committed, had);
}
END_TEST

static size_t data_bytes(void)
{
    char line[200];
    unsigned long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(f);
    while (kb == 0 && fgets(line, sizeof line, f)) (void)!sscanf(line, "VmData: %lu kB", &kb);
    fclose(f);
    return kb << 10;
}

static void no_whole_step(void *arg)
{
    (void)arg;
    fill_committed();
    rlim_t most = data_bytes() + 8 * MB; /* tables, too */
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &(struct rlimit){ most, RLIM_INFINITY }), 0);
    size_t had = AO_load(&oaki_the_heap.used);
    char *p = oak_alloc_noscan(3 * MB);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_gt(AO_load(&oaki_the_heap.used), had);
    p[3 * MB - 1] = 1;
    errno = 0;
    ck_assert_ptr_null(oak_alloc_noscan(100 * MB));
    ck_assert_int_eq(errno, ENOMEM);
    test_assert_sound();
}

START_TEST(what_is_needed_can_be_had_where_a_step_cannot)
{
    if (!test_skip_slow()) test_child(no_whole_step, NULL);
}
END_TEST

/* ---- under a limit on address space ---- */

static void *all[30000];
TEST_LARGE(runtime_space, all)

static void limited(void *arg)
{
    struct rlimit rl = { (size_t)arg, (size_t)arg };
    if (test_skip(setrlimit(RLIMIT_AS, &rl) != 0, "addresses are limited already")) return;
    start_with(0);
    size_t reserved = oaki_the_heap.reserved;
    ck_assert_uint_le(reserved, (size_t)arg / 2);
    ck_assert_uint_gt(reserved + 16 * MB, (size_t)arg / 2);
    size_t n = 0, bytes = 0;
    for (; n < 30000 && (all[n] = oak_alloc(30000)) != NULL; n++) bytes += 30000;
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_ge(bytes, reserved / 4 * 3);
    memset(all, 0, sizeof all);
    oak_set_gc_percent(100);
    for (size_t i = 0; i < 20000; i++) ck_assert_ptr_nonnull(all[i] = oak_alloc(1000));
    oak_collect();
    assert_works();
}

START_TEST(a_small_ulimit_gets_a_small_heap)
{
    if (test_skip_slow()) return; /* tools need address space themselves */
    for (size_t mb = 100; mb <= 2000; mb = mb * 2 + 1) test_child(limited, (void *)(mb * MB));
}
END_TEST

static void too_small(void *arg)
{
    struct rlimit rl = { 0, RLIM_INFINITY };
    (void)arg;
    setrlimit(RLIMIT_AS, &rl);
    oak_config c = test_config();
    errno = 0;
    ck_assert_int_eq(oak_init(&c), -1);
    ck_assert_int_eq(errno, ENOMEM);
    errno = 0;
    ck_assert_ptr_null(oak_alloc(10));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(oak_alloc_noscan(100000));
    ck_assert_int_eq(errno, ENOMEM);
    rl.rlim_cur = RLIM_INFINITY; /* and when there is some, it starts after all */
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &rl), 0);
    test_heap_start(c);
    assert_works();
}

START_TEST(none_at_all_is_out_of_memory_and_no_crash)
{
    if (test_skip_slow()) return;
    test_child(too_small, NULL);
}
END_TEST

Suite *suite_runtime_space(void)
{
    Suite *s = suite_create("runtime/space");
    TCase *c = tcase_create("space");
    tcase_add_test(c, without_a_wish_it_is_a_tebibyte);
    tcase_add_loop_test(c, the_end_of_the_range_can_be_given_back, 1, 3);
    tcase_add_test(c, a_wish_is_rounded_down_to_a_power_of_two);
    tcase_add_test(c, a_small_wish_gets_a_little_more);
    tcase_add_test(c, the_largest_wish_is_what_page_numbers_can_count);
    tcase_add_test(c, it_grows_by_chunks_and_only_as_needed);
    tcase_add_test(c, what_is_not_in_use_is_not_accessible);
    tcase_add_test(c, at_its_end_memory_is_out_and_comes_back);
    tcase_add_test(c, the_last_free_run_counts_for_a_large_request);
    tcase_add_test(c, a_larger_heap_grows_in_larger_steps);
    tcase_add_test(c, the_next_step_can_be_had_before_it_is_needed);
    tcase_add_test(c, what_is_needed_can_be_had_where_a_step_cannot);
    tcase_add_test(c, a_small_ulimit_gets_a_small_heap);
    tcase_add_test(c, none_at_all_is_out_of_memory_and_no_crash);
    suite_add_tcase(s, c);
    return s;
}
