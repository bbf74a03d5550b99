/* limit_full.c - tests of a heap that is really full: a row of allocations that fail costs no
 * collection each, and what is let go of then serves again (runtime/room.c, docs/collector.md). */
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/zone.h>
#include <stdio.h>
#include <string.h>

Suite *suite_gc_limit_full(void);

#define MB ((size_t)1 << 20)
#define LIMIT (16 * MB)
#define BLOCK ((size_t)200000) /* a span of its own, of 25 pages */
#define BLOCKS 128
#define PATIENCE 16 /* collections for a row of refusals, to begin with */
#define REST 4      /* then the world runs so many times as long as it stood */
#define VAIN 64     /* vain collections of all threads, before the next waits */
#define DOUBTS 3    /* collections for a request that may have missed garbage, and one more */
#define CALLS 20000

static void *block[BLOCKS], *rest[16384]; /* all that is held */
TEST_LARGE(gc_limit_full, rest)

static OAKI_NOINLINE bool add_block(size_t i)
{
    return i < BLOCKS && (block[i] = oak_alloc_noscan(BLOCK)) != NULL;
}

/* With pages that are too few for a block. */
static void fill_rest(void)
{
    static size_t n;
    for (; n < OAKI_COUNT(rest); n++)
        if (!(rest[n] = oak_alloc(64))) return;
    ck_abort_msg("there are more pages than a block would have had");
}

static void check_rest(void)
{
    for (size_t i = 0; rest[i]; i++) ck_assert_ptr_eq(oak_base(rest[i]), rest[i]);
}

/* Not a page is left, nor a place for 64 bytes. */
static void fill(void)
{
    size_t n = 0;
    while (add_block(n)) n++;
    ck_assert_uint_gt(n, 70);
    fill_rest();
}

static OAKI_NOINLINE void let_go(size_t i)
{
    block[i] = NULL;
}

/* A request that is met by a collection ends a row of refusals. */
static void end_row(void)
{
    let_go(0);
    ck_assert(add_block(0));
}

static void start(void)
{
    test_heap_start(test_config());
    oak_set_heap_max(LIMIT);
    fill();
    end_row();
}

/* What so many refusals on each of the threads may cost: the first of each row, each that comes
 * after as many as before, and a part of the time. A pause is a little more than what counts, which
 * is why it counts less here. */
static size_t most_collections(size_t threads, size_t calls, const oak_memstats *before,
                               uint64_t ns)
{
    oak_memstats s = test_stats();
    uint64_t least = UINT64_MAX;
    for (size_t i = before->num_gc + 1; i <= s.num_gc && i <= before->num_gc + 200; i++)
        least = OAKI_MIN(least, s.pause_ns[(i + 255) % 256]);
    return threads * (PATIENCE + oaki_log2(calls)) + ns / (least * REST / 2) + 1;
}

static size_t refusals(size_t calls)
{
    size_t n = 0;
    for (size_t i = 0; i < calls; i++) n += oak_alloc(64) == NULL;
    return n;
}

START_TEST(a_row_of_refusals_costs_few_collections)
{
    oak_memstats before = test_stats();
    uint64_t begun = oaki_os_now_ns();
    ck_assert_uint_eq(refusals(CALLS), CALLS);
    ck_assert_int_eq(errno, ENOMEM);
    uint64_t ns = oaki_os_now_ns() - begun;
    size_t n = test_stats().num_gc - before.num_gc, most = most_collections(1, CALLS, &before, ns);
    printf("%d refusals in %.1f ms: %zu collections, at most %zu\n", CALLS, (double)ns / 1e6, n,
           most);
    ck_assert_uint_ge(n, PATIENCE);
    ck_assert_uint_le(n, most);
    ck_assert_uint_lt(n, CALLS / 4);
}
END_TEST

static void *fail_many(void *arg)
{
    (void)arg;
    ck_assert_uint_eq(refusals(CALLS), CALLS);
    return NULL;
}

START_TEST(rows_of_several_threads_share_them)
{
    pthread_t id[4];
    oak_memstats before = test_stats();
    uint64_t begun = oaki_os_now_ns();
    for (size_t i = 0; i < OAKI_COUNT(id); i++) id[i] = test_start(fail_many, NULL);
    for (size_t i = 0; i < OAKI_COUNT(id); i++) test_join(id[i]);
    uint64_t ns = oaki_os_now_ns() - begun;
    size_t n = test_stats().num_gc - before.num_gc;
    size_t most = most_collections(OAKI_COUNT(id), CALLS, &before, ns);
    printf("4 times that in %.1f ms: %zu collections, at most %zu\n", (double)ns / 1e6, n, most);
    ck_assert_uint_le(n, most);
    ck_assert_uint_lt(n, CALLS);
}
END_TEST

/* The refusals of a thread at several limits: each has a row of its own. */
START_TEST(limits_in_turn_share_no_row)
{
    static void **kept;
    oak_zone *z[3] = { oak_zone_new(NULL), oak_zone_new(&(oak_zone_options){ .limit = 65536 }),
                       oak_zone_new(&(oak_zone_options){ .limit = 65536 }) };
    let_go(0);
    for (size_t i = 1; i < 3; i++)
        for (void **x; (x = oak_zone_alloc(z[i], 64)) != NULL; kept = x) *x = kept;
    fill_rest();
    oak_memstats before = test_stats();
    uint64_t begun = oaki_os_now_ns();
    for (size_t i = 0; i < 3000; i++) {
        ck_assert_ptr_null(oak_alloc(64));
        for (size_t k = 0; k < 3; k++) ck_assert_ptr_null(oak_zone_alloc(z[k], 64));
    }
    uint64_t ns = oaki_os_now_ns() - begun;
    size_t n = test_stats().num_gc - before.num_gc, most = most_collections(3, 6000, &before, ns);
    printf("at three limits in %.1f ms: %zu collections, at most %zu\n", (double)ns / 1e6, n, most);
    ck_assert_uint_le(n, most);
}
END_TEST

void *__real_oak_alloc_typed(const oak_type *t, size_t count);

static void *fail_once(void *arg)
{
    ck_assert_ptr_null(oak_alloc(64));
    return arg;
}

/* Each has patience, but collections that are vain take a part of the time only. So do those in
 * doubt, several for a request: a word on this stack looks as if a fast path were under way. */
START_TEST(threads_that_come_and_go_share_the_time)
{
    uintptr_t word[2] = { _i ? (uintptr_t)&__real_oak_alloc_typed + 8 : 0 };
    oak_memstats before = test_stats(), last = before;
    size_t threads = 3 * VAIN;
    uint64_t begun = 0;
    for (size_t i = 0; i < threads; i++) {
        last = test_stats();
        if (i == VAIN) {
            before = last;
            begun = oaki_os_now_ns();
        }
        pthread_t id = test_start(fail_once, NULL);
        __asm__ volatile("" : : "r"(word) : "memory");
        test_join(id);
    }
    oak_memstats s = test_stats();
    size_t n = s.num_gc - before.num_gc, asked = threads - VAIN;
    uint64_t ran = oaki_os_now_ns() - begun - (s.pause_total_ns - before.pause_total_ns);
    uint64_t stood = last.pause_total_ns - before.pause_total_ns;
    printf("%zu threads: %zu collections; the world ran for %.1f ms, and stood for %.1f\n", asked,
           n, (double)ran / 1e6, (double)stood / 1e6);
    ck_assert_uint_ge(n, _i ? asked * (DOUBTS + 1) : asked);
    ck_assert_uint_ge(ran, stood / 4 * 3 * REST);
}
END_TEST

/* ---- letting go ---- */

START_TEST(what_is_let_go_of_after_a_refusal_serves_the_next_request)
{
    for (size_t i = 0; i < 70; i++) {
        ck_assert_ptr_null(oak_alloc_noscan(BLOCK));
        let_go(i);
        ck_assert(add_block(i));
    }
    check_rest();
}
END_TEST

START_TEST(so_it_does_after_the_last_refusal_of_a_threads_patience)
{
    ck_assert_uint_eq(refusals(PATIENCE - 1), PATIENCE - 1);
    let_go(7);
    ck_assert(add_block(7));
    ck_assert_uint_eq(refusals(PATIENCE - 1), PATIENCE - 1);
}
END_TEST

START_TEST(after_a_long_row_a_collection_that_is_asked_for_helps_at_once)
{
    (void)refusals(1000);
    oak_collect();
    let_go(0);
    ck_assert(add_block(0));
}
END_TEST

/* In as many calls as were refused before, at most; or time. */
START_TEST(after_a_long_row_it_takes_no_longer_than_that_row_did)
{
    (void)refusals(1000);
    let_go(0);
    size_t n = 0;
    while (!add_block(0)) n++;
    ck_assert_uint_le(n, 1000);
}
END_TEST

START_TEST(after_a_long_row_what_is_freed_by_hand_serves_any_class)
{
    static void *small[PATIENCE * 16];
    let_go(1);
    for (size_t i = 0; i < OAKI_COUNT(small); i++)
        if (!(small[i] = oak_alloc_noscan(256))) ck_abort_msg("no room for object %zu", i);
    fill_rest();
    end_row();
    (void)refusals(1000);
    for (size_t i = 0; i < OAKI_COUNT(small); i++) {
        oak_free(small[i]);
        small[i] = NULL;
    }
    ck_assert_ptr_nonnull(oak_alloc(64));
}
END_TEST

START_TEST(a_long_row_of_larger_requests_is_none_of_a_small_one)
{
    ck_assert_ptr_null(oak_alloc(64));
    for (size_t i = 0; i < 1000; i++) ck_assert_ptr_null(oak_alloc_noscan(BLOCK));
    let_go(0);
    ck_assert_ptr_nonnull(oak_alloc(64));
}
END_TEST

START_TEST(what_is_more_than_the_limit_costs_none)
{
    size_t cycles = test_stats().num_gc;
    for (size_t i = 0; i < 100; i++) ck_assert_ptr_null(oak_alloc(LIMIT + 1));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_eq(test_stats().num_gc, cycles);
}
END_TEST

/* ---- finalizers ---- */

static AO_t finalized;

static void finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    AO_fetch_and_add1_full(&finalized);
}

static void hang_finalizers(void *arg)
{
    (void)arg;
    for (size_t i = 0; block[i]; i++)
        ck_assert_int_eq(oak_finalizer_set(block[i], finalize, NULL), 0);
}

static OAKI_NOINLINE void let_go_of_all(void)
{
    memset(block, 0, sizeof block);
}

START_TEST(what_finalizers_kept_alive_makes_room_too)
{
    oak_config c = test_config();
    c.finalizer_thread = 1;
    test_heap_start(c);
    oak_set_heap_max(LIMIT);
    fill();
    test_away(hang_finalizers, NULL);
    let_go_of_all();
    ck_assert_ptr_nonnull(oak_alloc_noscan(LIMIT - 2 * MB));
    ck_assert_uint_gt(AO_load(&finalized), 70);
}
END_TEST

/* ---- collections that are off ---- */

static AO_t waits;

/* Keeps spans in its cache that others empty. */
static void *cache_and_wait(void *arg)
{
    for (size_t n = 16; n <= 8192; n *= 2) *(void **)arg = oak_alloc(n), oak_free(*(void **)arg);
    AO_store_release(&waits, 1);
    while (AO_load_acquire(&waits) != 2) oaki_os_sleep_ns(1000000);
    return NULL;
}

START_TEST(with_collections_off_what_is_freed_by_hand_serves_any_size)
{
    static void *last;
    test_heap_start(test_config());
    oak_set_heap_max(4 * MB);
    oak_gc_disable();
    pthread_t id = test_start(cache_and_wait, &last);
    while (AO_load_acquire(&waits) != 1) oaki_os_sleep_ns(1000000);
    for (size_t bytes = 512; bytes <= 8192; bytes *= 4) {
        size_t n = 0;
        while (n < OAKI_COUNT(rest) && (rest[n] = oak_alloc(bytes)) != NULL) n++;
        ck_assert_uint_lt(n, OAKI_COUNT(rest));
        while (n > 0) oak_free(rest[--n]);
        void *p = oak_alloc(4 * MB - 256 * 1024);
        ck_assert_ptr_nonnull(p);
        oak_free(p);
    }
    AO_store_release(&waits, 2);
    test_join(id);
    oak_gc_enable();
}
END_TEST

Suite *suite_gc_limit_full(void)
{
    Suite *s = suite_create("gc/limit_full");
    TCase *c = tcase_create("full");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_row_of_refusals_costs_few_collections);
    tcase_add_test(c, rows_of_several_threads_share_them);
    tcase_add_test(c, what_is_let_go_of_after_a_refusal_serves_the_next_request);
    tcase_add_test(c, so_it_does_after_the_last_refusal_of_a_threads_patience);
    tcase_add_test(c, limits_in_turn_share_no_row);
    tcase_add_loop_test(c, threads_that_come_and_go_share_the_time, 0, 2);
    tcase_add_test(c, after_a_long_row_a_collection_that_is_asked_for_helps_at_once);
    tcase_add_test(c, after_a_long_row_it_takes_no_longer_than_that_row_did);
    tcase_add_test(c, after_a_long_row_what_is_freed_by_hand_serves_any_class);
    tcase_add_test(c, a_long_row_of_larger_requests_is_none_of_a_small_one);
    tcase_add_test(c, what_is_more_than_the_limit_costs_none);
    suite_add_tcase(s, c);
    c = tcase_create("finalizers");
    tcase_add_test(c, what_finalizers_kept_alive_makes_room_too);
    suite_add_tcase(s, c);
    c = tcase_create("off");
    tcase_add_test(c, with_collections_off_what_is_freed_by_hand_serves_any_size);
    suite_add_tcase(s, c);
    return s;
}
