/* zone_threads.c - tests of runtime/zonecache.c: zones of several threads and fibers, threads that
 * end inside, fork. */
#include "runtime/fiber.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_zone_threads(void);

static void start(void)
{
    test_heap_start(test_config());
}

static oak_zone_stats stats(const oak_zone *z)
{
    oak_zone_stats s;
    oak_zone_stats_read(z, &s);
    return s;
}

/* ---- threads ---- */

static oak_zone *shared;
static AO_t inside, go_on;

static void *stay_inside(void *arg)
{
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    test_expect(oak_zone_of(oak_alloc(32)) == shared, __LINE__);
    (void)AO_fetch_and_add1_full(&inside);
    test_wait(&go_on, 1);
    if (!arg) oak_zone_leave(shared); /* else the end of the thread does */
    return NULL;
}

static AO_t entering; /* oaki_thread * */

static void *enter_when_told(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&entering, (AO_t)oaki_thread_self());
    test_wait(&go_on, 1);
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    oak_zone_leave(shared);
    return arg;
}

/* A thread counts as stopped while it waits for the lock under which it makes a cache. */
START_TEST(a_zone_is_whole_while_a_cache_of_it_is_made)
{
    shared = oak_zone_new(NULL);
    pthread_t id = test_start(enter_when_told, NULL);
    while (!AO_load_acquire(&entering)) sched_yield();
    const oaki_thread *other = (const oaki_thread *)AO_load(&entering);
    oaki_thread *t = oaki_enter();
    oaki_lock_acquire_parked(t, &oaki_the_heap.threads_lock);
    AO_store_release(&go_on, 1);
    while (AO_int_load(&other->state) != OAKI_THREAD_BLOCKED) sched_yield();
    uint32_t entries = shared->entries, making = shared->making;
    const char *broken = oaki_zones_check();
    oaki_lock_release(&oaki_the_heap.threads_lock);
    oaki_leave(t);
    test_join(id);
    ck_assert_uint_eq(entries, 1);
    ck_assert_uint_eq(making, 1);
    ck_assert_msg(!broken, "%s", broken);
    test_assert_sound();
}
END_TEST

START_TEST(threads_inside_are_known_and_keep_the_zone)
{
    pthread_t id[4];
    int tids[8];
    shared = oak_zone_new(NULL);
    ck_assert_uint_eq(oak_zone_threads(shared, tids, 8), 0);
    for (int i = 0; i < 4; i++) id[i] = test_start(stay_inside, i % 2 ? &id : NULL);
    test_wait(&inside, 4);
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    ck_assert_uint_eq(oak_zone_threads(shared, tids, 8), 5);
    int self = 0;
    for (int i = 0; i < 5; i++) {
        self += tids[i] == oaki_os_tid();
        ck_assert_int_gt(tids[i], 0);
    }
    ck_assert_int_eq(self, 1);
    ck_assert_uint_eq(oak_zone_threads(shared, tids, 2), 5);
    oak_zone_unwind(0);
    ck_assert_int_eq(oak_zone_discard(shared), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_uint_eq(stats(shared).entries, 4);
    AO_store_release(&go_on, 1);
    for (int i = 0; i < 4; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_eq(oak_zone_threads(shared, tids, 8), 0);
    ck_assert_uint_eq(stats(shared).mallocs, 4);
    test_assert_sound();
    ck_assert_int_eq(oak_zone_discard(shared), 0);
}
END_TEST

static void *enter_and_detach(void *arg)
{
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    ck_assert_int_eq(oak_zone_enter(NULL), 0);
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    ck_assert_ptr_nonnull(oak_alloc(10));
    oak_thread_detach();
    ck_assert_ptr_null(oak_zone_current());
    ck_assert_uint_eq(oak_zone_depth(), 0);
    ck_assert_ptr_null(oak_zone_of(oak_alloc(10)));
    return arg;
}

START_TEST(detaching_leaves_all_zones)
{
    shared = oak_zone_new(NULL);
    test_join(test_start(enter_and_detach, NULL));
    ck_assert_uint_eq(stats(shared).entries, 0);
    ck_assert_uint_eq(stats(shared).mallocs, 1);
    test_assert_sound();
    ck_assert_int_eq(oak_zone_discard(shared), 0);
}
END_TEST

/* ---- the limit ---- */

static void *take_and_give_back(void *unused)
{
    for (size_t i = test_scale(1000000); i > 0; i--) {
        if (!oaki_zone_charge(shared, 3)) continue;
        test_expect(AO_load(&shared->pages) <= AO_load(&shared->limit), __LINE__);
        oaki_zone_uncharge(shared->id, 3);
    }
    return unused;
}

/* One of them has room at a time. */
START_TEST(threads_do_not_pass_the_limit_together)
{
    pthread_t id[4];
    shared = oak_zone_new(&(oak_zone_options){ .limit = 5 * OAKI_PAGE });
    ck_assert_uint_eq(AO_load(&shared->limit), 5);
    for (int i = 0; i < 4; i++) id[i] = test_start(take_and_give_back, NULL);
    for (int i = 0; i < 4; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_eq(AO_load(&shared->pages), 0);
    ck_assert_int_eq(oak_zone_discard(shared), 0);
}
END_TEST

/* ---- many threads, many zones ---- */

#define ZONES 40
#define THREADS 4

static struct {
    oak_zone *zone[ZONES];
    AO_t busy[ZONES]; /* threads that may use it; a discarder needs it alone */
    AO_t mallocs, discarded;
} storm;

static bool hold(size_t i, AO_t how_many)
{
    if (how_many == 0) return AO_compare_and_swap_full(&storm.busy[i], 0, 1000);
    AO_t n = AO_load(&storm.busy[i]);
    return n < 1000 && AO_compare_and_swap_full(&storm.busy[i], n, n + 1);
}

static void use_zone(uint64_t *seed, size_t i)
{
    void **head = NULL;
    oak_zone *z = storm.zone[i];
    test_expect(oak_zone_enter(z) == 0, __LINE__);
    for (size_t k = test_draw(seed) % 60; k > 0; k--) {
        size_t n = 16 + test_draw(seed) % (k == 7 ? 100000 : 300);
        void **p = oak_alloc(n);
        test_expect(oak_zone_of(p) == z && *p == NULL && p[(n - 8) / 8] == NULL, __LINE__);
        p[(n - 8) / 8] = p;
        *p = head;
        head = p;
        AO_fetch_and_add1(&storm.mallocs);
    }
    for (void **p = head; p; p = *p) test_expect(oak_base(p) == p, __LINE__);
    if (test_draw(seed) % 4 == 0 && head) {
        void **next = *head;
        oak_free(head);
        head = next;
    }
    if (test_draw(seed) % 50 == 0) oak_collect();
    for (void **p = head; p; p = *p) test_expect(oak_base(p) == p, __LINE__);
    oak_zone_leave(z);
}

static void drop_zone(size_t i)
{
    test_expect(oak_zone_discard(storm.zone[i]) == 0, __LINE__);
    AO_fetch_and_add1(&storm.discarded);
    storm.zone[i] = oak_zone_new(NULL);
}

static void *storm_thread(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (size_t n = test_scale(4000); n > 0; n--) {
        size_t i = test_draw(&seed) % ZONES;
        if (test_draw(&seed) % 8 == 0 && hold(i, 0)) {
            drop_zone(i);
            AO_store_release(&storm.busy[i], 0);
        } else if (hold(i, 1)) {
            use_zone(&seed, i);
            (void)AO_fetch_and_sub1_full(&storm.busy[i]);
        }
    }
    return NULL;
}

START_TEST(threads_come_and_go_and_zones_die)
{
    test_seed("runtime/zone_threads");
    oak_set_gc_percent(100);
    pthread_t id[THREADS];
    for (size_t i = 0; i < ZONES; i++) storm.zone[i] = oak_zone_new(NULL);
    for (size_t i = 0; i < THREADS; i++)
        id[i] = test_start(storm_thread, (void *)(uintptr_t)(test_random() | 1));
    for (size_t i = 0; i < THREADS; i++) test_join(id[i]);
    ck_assert_msg(AO_load(&test_wrong) == 0, "line %zu", (size_t)AO_load(&test_wrong));
    test_assert_sound();
    oak_zone_stats all[ZONES + 2], sum = { 0 };
    oak_memstats m;
    ck_assert_uint_eq(oak_zones_read(all, ZONES + 2, &m), ZONES + 2);
    for (size_t i = 0; i < ZONES + 2; i++) {
        if (i > 0) sum.mallocs += all[i].mallocs;
        sum.live_bytes += all[i].live_bytes;
        sum.inuse += all[i].inuse;
    }
    /* and slots that a stop found in a thread's hands, which count until they are swept */
    ck_assert_uint_ge(sum.mallocs, AO_load(&storm.mallocs));
    ck_assert_uint_le(sum.mallocs, AO_load(&storm.mallocs) * 101 / 100 + 1000);
    ck_assert_uint_eq(sum.live_bytes, m.heap_alloc);
    ck_assert_uint_eq(sum.inuse, m.heap_inuse);
    for (size_t i = 0; i < ZONES; i++) ck_assert_int_eq(oak_zone_discard(storm.zone[i]), 0);
    oak_collect();
    ck_assert_uint_eq(oak_zones_read(all, 2, NULL), 2);
    ck_assert_uint_eq(all[1].live_objects, 0);
    ck_assert_uint_eq(all[1].inuse, 0);
    test_assert_sound();
}
END_TEST

/* ---- fork ---- */

START_TEST(the_child_has_the_zones_and_one_thread)
{
    pthread_t id[3];
    int tids[4];
    if (test_skip_asan()) return;
    shared = oak_zone_new(NULL);
    oak_zone *dying = oak_zone_new(NULL);
    static void **p;
    p = oak_zone_alloc(shared, 100);
    p[3] = p;
    for (int i = 0; i < 3; i++) id[i] = test_start(stay_inside, NULL);
    test_wait(&inside, 3);
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    for (int i = 0; i < 3000; i++) ck_assert_ptr_nonnull(oak_zone_alloc(dying, 1000));
    ck_assert_int_eq(oak_zone_discard(dying), 0);
    pid_t child = fork();
    if (child == 0) {
        bool right = oak_zone_threads(shared, tids, 4) == 1 && tids[0] == oaki_os_tid() &&
                     oak_zone_current() == shared && oak_zone_of(oak_alloc(10)) == shared &&
                     p[3] == p;
        oak_zone_leave(shared);
        oak_collect();
        right &= !test_check_heap() && oak_zone_discard(shared) == 0;
        for (int i = 0; i < 10000 && oak_zones_read(NULL, 0, NULL) > 2; i++) oaki_os_yield();
        oak_collect();
        right &= !oak_base(p) && !test_check_heap();
        _exit(right ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(child), 0);
    ck_assert_uint_eq(oak_zone_threads(shared, tids, 4), 4);
    AO_store_release(&go_on, 1);
    for (int i = 0; i < 3; i++) test_join(id[i]);
    oak_zone_leave(shared);
    test_assert_sound();
}
END_TEST

/* ---- fibers: only oak_fiber_switch is looked at, the stack stays the same ---- */

static char stack[2][32768] __attribute__((aligned(16)));

START_TEST(a_fiber_takes_its_zone_along)
{
    oak_zone *a = oak_zone_new(NULL), *b = oak_zone_new(NULL);
    int tids[4];
    static oak_fiber *f;
    f = oak_fiber_new(stack[0], sizeof stack[0], NULL);
    ck_assert_int_eq(oak_zone_enter(a), 0);
    oak_fiber_switch(f); /* begins in the default zone */
    ck_assert_ptr_null(oak_zone_current());
    ck_assert_uint_eq(oak_zone_depth(), 0);
    ck_assert_int_eq(oak_zone_enter(b), 0);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(10)), b);
    ck_assert_uint_eq(oak_zone_threads(a, tids, 4), 1);
    ck_assert_int_eq(tids[0], oaki_os_tid());
    oak_fiber_switch(NULL);
    ck_assert_ptr_eq(oak_zone_current(), a);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(10)), a);
    ck_assert_uint_eq(oak_zone_threads(b, tids, 4), 1);
    ck_assert_int_eq(tids[0], 0); /* it waits */
    ck_assert_int_eq(oak_zone_discard(b), -1);
    oak_collect();
    ck_assert_uint_eq(stats(b).entries, 1);
    oak_fiber_switch(f);
    ck_assert_ptr_eq(oak_zone_current(), b);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(10)), b);
    oak_zone_leave(b);
    oak_fiber_switch(NULL);
    oak_zone_leave(a);
    ck_assert_int_eq(oak_zone_discard(b), 0);
    ck_assert_int_eq(oak_zone_discard(a), 0);
    test_assert_sound();
}
END_TEST

static oak_zone *left_in;

static void leave_two_fibers(void *arg)
{
    oak_fiber **keep = arg;
    for (int i = 0; i < 2; i++) {
        oak_fiber *f = oak_fiber_new(stack[i], sizeof stack[i], NULL);
        oak_fiber_switch(f);
        ck_assert_int_eq(oak_zone_enter(left_in), 0);
        ck_assert_int_eq(oak_zone_enter(NULL), 0);
        oak_fiber_switch(NULL);
        if (i == 0) *keep = f;
    }
}

START_TEST(fibers_that_go_leave_their_zones)
{
    static oak_fiber *first;
    left_in = oak_zone_new(NULL);
    test_away(leave_two_fibers, &first);
    ck_assert_uint_eq(stats(left_in).entries, 2);
    oak_collect();
    ck_assert_uint_eq(stats(left_in).entries, 1); /* the other was collected */
    oak_fiber_free(first);
    ck_assert_uint_eq(stats(left_in).entries, 0);
    test_assert_sound();
    ck_assert_int_eq(oak_zone_discard(left_in), 0);
}
END_TEST

static void *end_on_fiber(void *arg)
{
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    oak_fiber_switch(arg);
    ck_assert_int_eq(oak_zone_enter(shared), 0);
    return NULL;
}

START_TEST(a_thread_that_ends_on_a_fiber_leaves_both)
{
    shared = oak_zone_new(NULL);
    static oak_fiber *f;
    f = oak_fiber_new(stack[0], sizeof stack[0], NULL);
    test_join(test_start(end_on_fiber, f));
    ck_assert_uint_eq(stats(shared).entries, 0);
    test_assert_sound();
}
END_TEST

Suite *suite_runtime_zone_threads(void)
{
    Suite *s = suite_create("runtime/zone_threads");
    TCase *c = tcase_create("zone_threads");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_zone_is_whole_while_a_cache_of_it_is_made);
    tcase_add_test(c, threads_inside_are_known_and_keep_the_zone);
    tcase_add_test(c, detaching_leaves_all_zones);
    tcase_add_test(c, threads_do_not_pass_the_limit_together);
    tcase_add_test(c, threads_come_and_go_and_zones_die);
    tcase_add_test(c, the_child_has_the_zones_and_one_thread);
    tcase_add_test(c, a_fiber_takes_its_zone_along);
    tcase_add_test(c, fibers_that_go_leave_their_zones);
    tcase_add_test(c, a_thread_that_ends_on_a_fiber_leaves_both);
    suite_add_tcase(s, c);
    return s;
}
