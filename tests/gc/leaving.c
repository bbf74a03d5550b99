/* leaving.c - tests of functions of the program's that don't return to Oakum: a thread's end in a
 * callback is fatal where something is half done, and harmless where nothing is. */
#include "gc/collector.h"
#include "maps/cache.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unwind.h>

Suite *suite_gc_leaving(void);

static AO_t calls, wrong;
static AO_t root;
static bool jumps; /* in place of an end of the thread */
static jmp_buf outside;

static void keep(const void *p)
{
    AO_store(&root, (AO_t)p);
}

static void leave(void)
{
    AO_fetch_and_add1(&calls);
    if (jumps) longjmp(outside, 1);
    pthread_exit(NULL);
}

/* ---- fatal: a collection, or a lock ---- */

static void mark(oak_marker *m, void *obj, size_t size)
{
    (void)m, (void)obj, (void)size;
    leave();
}

static void *collect_marked(void *unused)
{
    oak_type *t = oak_type_function("left", 16, mark);
    keep(oak_alloc_typed(t, 1));
    oak_collect();
    return unused;
}

static uint64_t hash(const void *key, uint64_t seed, size_t size)
{
    (void)key, (void)seed, (void)size;
    leave();
    return 0;
}

static bool equal(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static const oak_map_type left_type = { .key = OAK_KEY_CUSTOM,
                                        .flags = OAK_MAP_SCAN_VALUE,
                                        .key_size = 8,
                                        .value_size = 8,
                                        .hash = hash,
                                        .equal = equal,
                                        .name = "left" };

static void *put_in_cache(void *unused)
{
    oak_cache_config c = { .keys = &left_type, .max_entries = 3, .flags = OAK_CACHE_LOCKED };
    uint64_t key = 1;
    (void)oak_cache_put(oak_cache_new(&c), &key, oak_alloc(16));
    return unused;
}

static bool leave_update(void *value, bool there, void *ctx)
{
    (void)value, (void)there, (void)ctx;
    leave();
    return true;
}

static void *update_shard(void *unused)
{
    uint64_t key = 1;
    (void)oak_shardmap_update(oak_shardmap_new(&oak_map_u64_u64, 2, 0), &key, leave_update, NULL);
    return unused;
}

static size_t leave_frames(uintptr_t *frame, size_t max, void *ctx)
{
    (void)frame, (void)max, (void)ctx;
    leave();
    return 0;
}

static void *sample_frames(void *unused)
{
    static const oak_frame_source source = { .read = leave_frames };
    (void)oak_profile_set_rate(1);
    (void)oak_frame_source_set(&source);
    keep(oak_alloc(100));
    return unused;
}

static void *(*const fatal[])(void *) = { collect_marked, put_in_cache, update_shard,
                                          sample_frames };

static void *leave_from(void *arg)
{
    return setjmp(outside) == 0 ? fatal[*(int *)arg](NULL) : NULL;
}

/* The functions are called by the thread that leaves them: the collector's thread has no mark. */
static void run_fatal(void *arg)
{
    test_heap_start(test_config());
    test_no_beside();
    test_join(test_start(leave_from, arg));
}

START_TEST(who_ends_in_the_midst_of_something_is_told)
{
    char out[1024];
    int n = OAKI_COUNT(fatal), what = _i % n;
    jumps = _i >= n;
    int status = test_capture(run_fatal, &what, out, sizeof out);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%d: %s", status, out);
    ck_assert_msg(strstr(out, "was left by longjmp, an exception, pthread_exit or "), "%s", out);
}
END_TEST

/* ---- a callback without a lock ---- */

static oak_cache *cache;

static void leave_evicted(oak_cache *c, const void *key, void *value, oak_cache_reason why,
                          void *ctx)
{
    (void)c, (void)key, (void)value, (void)ctx;
    if (why == OAK_CACHE_CAPACITY) leave();
}

static bool leave_each(const void *key, void *value, void *ctx)
{
    (void)key, (void)value, (void)ctx;
    leave();
    return true;
}

static void *evict(void *unused)
{
    if (setjmp(outside) != 0) return unused;
    for (uint64_t k = 0; k < 10; k++) (void)oak_cache_put(cache, &k, oak_alloc(16));
    AO_store(&wrong, 1);
    return unused;
}

static void *visit(void *unused)
{
    if (setjmp(outside) != 0) return unused;
    oak_cache_each(cache, leave_each, NULL);
    AO_store(&wrong, 1);
    return unused;
}

static void *delete_all(void *unused)
{
    oak_cache_clear(cache);
    return unused;
}

START_TEST(a_cache_whose_callback_was_left_goes_on)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr,
                           .max_entries = 4,
                           .flags = OAK_CACHE_LOCKED,
                           .evicted = leave_evicted };
    jumps = _i == 1;
    test_heap_start(test_config());
    cache = oak_cache_new(&c);
    for (AO_t i = 0; i < 5; i++) {
        test_join(test_start(evict, NULL));
        test_join(test_start(visit, NULL));
        ck_assert_uint_eq(AO_load(&calls), 2 * (i + 1));
        test_join(test_start(delete_all, NULL)); /* looks at all walks */
        ck_assert_ptr_null(oaki_cache_check(cache));
    }
    ck_assert_uint_eq(AO_load(&wrong), 0);
    oak_collect();
}
END_TEST

static void leave_often(void *(*fn)(void *))
{
    for (int i = 0; i < 3000; i++) (void)fn(NULL);
}

/* One thread leaves more callbacks than there may be in each other. */
START_TEST(callbacks_that_are_left_leave_nothing)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = 4, .evicted = leave_evicted };
    jumps = true;
    test_heap_start(test_config());
    cache = oak_cache_new(&c);
    leave_often(_i ? evict : visit);
    for (uint64_t k = 0; _i == 0 && k < 4; k++) (void)oak_cache_put(cache, &k, oak_alloc(16));
    if (_i == 0) leave_often(visit);
    ck_assert_uint_eq(AO_load(&calls), 3000);
    ck_assert_uint_eq(cache->callbacks, 0);
    ck_assert_ptr_null(cache->walks);
    oak_cache_clear(cache);
    ck_assert_ptr_null(oaki_cache_check(cache));
}
END_TEST

static void evict_again(oak_cache *c, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)value, (void)why, (void)ctx;
    char room[300];
    uint64_t next = *(const uint64_t *)key + 100;
    __asm__ __volatile__("" : : "r"(room) : "memory");
    (void)oak_cache_put(c, &next, oak_alloc(16));
}

static void *nest(void *unused)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = 1, .evicted = evict_again };
    cache = oak_cache_new(&c);
    for (uint64_t k = 0; k < 2; k++) (void)oak_cache_put(cache, &k, oak_alloc(16));
    return unused;
}

static void nest_on_small_stack(void *unused)
{
    (void)unused;
    pthread_t id;
    pthread_attr_t small;
    test_heap_start(test_config());
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 96 << 10);
    ck_assert_int_eq(pthread_create(&id, &small, nest, NULL), 0);
    test_join(id);
}

START_TEST(callbacks_in_each_other_are_told_before_the_stack_ends)
{
    char out[1024];
    int status = test_capture(nest_on_small_stack, NULL, out, sizeof out);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%d: %s", status, out);
    ck_assert_msg(strstr(out, "evicted callbacks in each other"), "%s", out);
}
END_TEST

static bool leave_full(oak_zone *z, size_t bytes, void *ctx)
{
    (void)z, (void)bytes, (void)ctx;
    AO_fetch_and_add1(&calls);
    AO_store(&wrong, !AO_load(&wrong));
    pthread_testcancel(); /* is none in here */
    AO_store(&wrong, !AO_load(&wrong));
    return false;
}

static void *fill(void *zone)
{
    pthread_cancel(pthread_self());
    if (oak_zone_enter(zone) != 0) return NULL; /* an assertion would be a cancellation point */
    for (int i = 0; i < 2; i++) keep(oak_alloc(8 << 20));
    oak_zone_leave(zone);
    AO_fetch_and_add1(&calls);
    pthread_testcancel();
    return NULL;
}

START_TEST(a_handler_for_lack_of_memory_is_no_cancellation_point)
{
    test_heap_start(test_config());
    oak_zone_options o = { .limit = 1 << 20, .on_full = leave_full };
    test_join(test_start(fill, oak_zone_new(&o)));
    ck_assert_uint_eq(AO_load(&calls), 3);
    ck_assert_uint_eq(AO_load(&wrong), 0);
}
END_TEST

/* ---- what leaves as an exception does, and is caught ---- */

static jmp_buf caught;

static _Unwind_Reason_Code stop_above(int version, _Unwind_Action actions,
                                      _Unwind_Exception_Class class,
                                      struct _Unwind_Exception *exception,
                                      struct _Unwind_Context *context, void *frame)
{
    (void)version, (void)class, (void)exception;
    if ((actions & _UA_END_OF_STACK) || _Unwind_GetCFA(context) > (uintptr_t)frame)
        longjmp(caught, 1);
    return _URC_NO_REASON;
}

static struct _Unwind_Exception thrown;
static void *catcher;

static void throw(void)
{
    AO_fetch_and_add1(&calls);
    (void)_Unwind_ForcedUnwind(&thrown, stop_above, catcher);
}

static bool throw_full(oak_zone *z, size_t bytes, void *ctx)
{
    (void)z, (void)bytes, (void)ctx;
    throw();
    return false;
}

static int cancel_state_behind(void (*fn)(void))
{
    int state, ours;
    catcher = __builtin_frame_address(0);
    if (setjmp(caught) == 0) {
        fn();
        ck_abort_msg("it has returned");
    }
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    pthread_setcancelstate(state, &ours);
    return state;
}

static oak_zone *small;

static void fill_small(void)
{
    (void)!oak_zone_alloc(small, 8 << 20);
}

static void no_finalizer(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static void collect_dead(void)
{
    for (int i = 0; i < 100; i++) (void)!oak_finalizer_set(oak_alloc(16), no_finalizer, NULL);
    oak_collect();
}

static void collect_in_handler(void)
{
    (void)oak_finalizer_notify(throw);
    collect_dead();
}

static bool nest_full(oak_zone *z, size_t bytes, void *ctx)
{
    (void)z, (void)bytes, (void)ctx;
    collect_in_handler();
    return false;
}

START_TEST(who_catches_what_left_a_callback_can_be_cancelled_as_before)
{
    test_heap_start(test_config());
    test_no_beside();
    int ours;
    small = oak_zone_new(&(oak_zone_options){ .limit = 1 << 20, .on_full = throw_full });
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(cancel_state_behind(fill_small), PTHREAD_CANCEL_ENABLE);
        ck_assert_int_eq(cancel_state_behind(collect_in_handler), PTHREAD_CANCEL_ENABLE);
    }
    ck_assert_uint_eq(oaki_thread_self()->notifies, 0);
    (void)oak_finalizer_notify(NULL);
    small = oak_zone_new(&(oak_zone_options){ .limit = 1 << 20, .on_full = nest_full });
    ck_assert_int_eq(cancel_state_behind(fill_small), PTHREAD_CANCEL_ENABLE);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ours);
    ck_assert_int_eq(cancel_state_behind(fill_small), PTHREAD_CANCEL_DISABLE);
    ck_assert_uint_eq(AO_load(&calls), 6);
}
END_TEST

static void mark_and_cancel(oak_marker *m, void *obj, size_t size)
{
    (void)m, (void)obj, (void)size;
    AO_fetch_and_add1(&calls);
    pthread_testcancel();
}

static void *collect_cancelled(void *unused)
{
    keep(oak_alloc_typed(oak_type_function("cancelled", 16, mark_and_cancel), 1));
    pthread_cancel(pthread_self());
    oak_collect();
    AO_store(&wrong, 0);
    pthread_testcancel();
    return unused;
}

START_TEST(a_collection_is_no_cancellation_point_whatever_it_calls)
{
    test_heap_start(test_config());
    AO_store(&wrong, 1);
    test_join(test_start(collect_cancelled, NULL));
    ck_assert_uint_ge(AO_load(&calls), 1);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    oak_collect();
}
END_TEST

/* ---- finalizers ---- */

static void end_thread(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    leave();
}

static void *drop_and_run(void *unused)
{
    for (int i = 0; i < 10; i++) (void)oak_finalizer_set(oak_alloc(16), end_thread, NULL);
    return unused;
}

static void *run_them(void *unused)
{
    (void)oak_finalizers_run();
    return unused;
}

START_TEST(a_finalizer_that_ended_its_thread_runs_no_more)
{
    test_heap_start(test_config());
    test_join(test_start(drop_and_run, NULL));
    oak_collect();
    test_join(test_start(run_them, NULL));
    ck_assert_uint_eq(AO_load(&calls), 1);
    ck_assert_uint_eq(oak_finalizer_running_ns(), 0);
}
END_TEST

static void run_others(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    (void)oak_finalizers_run();
}

static void *drop_two(void *unused)
{
    (void)oak_finalizer_set(oak_alloc(16), run_others, NULL);
    (void)oak_finalizer_set(oak_alloc(16), end_thread, NULL);
    (void)oak_finalizer_set(oak_alloc(16), end_thread, NULL);
    return unused;
}

/* A finalizer runs the next one, which ends the thread: neither runs on. */
START_TEST(finalizers_in_each_other_that_ended_their_thread_run_no_more)
{
    test_heap_start(test_config());
    for (int i = 0; i < 20; i++) test_join(test_start(drop_two, NULL));
    oak_collect();
    for (int i = 0; i < 60; i++) test_join(test_start(run_them, NULL));
    ck_assert_uint_gt(AO_load(&calls), 0);
    ck_assert_uint_eq(oak_finalizer_running_ns(), 0);
}
END_TEST

static oak_zone *left;

static void destroy_left(void)
{
    for (int i = 0; i < 100; i++) (void)!oak_finalizer_set(oak_alloc(16), no_finalizer, NULL);
    (void)oak_zone_destroy(left, NULL);
}

START_TEST(a_zone_whose_destruction_was_left_is_as_before)
{
    test_heap_start(test_config());
    left = oak_zone_new(NULL);
    (void)oak_finalizer_notify(throw);
    ck_assert_int_eq(cancel_state_behind(destroy_left), PTHREAD_CANCEL_ENABLE);
    ck_assert_uint_eq(AO_load(&calls), 1);
    ck_assert_uint_eq(AO_load(&oaki_gc.closing.zones), 0);
    (void)oak_finalizer_notify(NULL);
    ck_assert_ptr_nonnull(oak_zone_alloc(left, 16));
    ck_assert_int_eq(oak_zone_discard(left), 0);
}
END_TEST

/* All of them run, each on a thread of its own. */
START_TEST(the_finalizer_thread_is_started_again)
{
    oak_config c = test_config();
    c.finalizer_thread = 1;
    test_heap_start(c);
    test_join(test_start(drop_and_run, NULL));
    for (AO_t n = 1; n <= 5; n++) {
        while (AO_load(&calls) < n) {
            oak_collect();
            oaki_os_yield();
        }
    }
}
END_TEST

Suite *suite_gc_leaving(void)
{
    Suite *s = suite_create("gc/leaving");
    TCase *t = tcase_create("leaving");
    tcase_add_loop_test(t, who_ends_in_the_midst_of_something_is_told, 0, 2 * OAKI_COUNT(fatal));
    tcase_add_loop_test(t, a_cache_whose_callback_was_left_goes_on, 0, 2);
    tcase_add_loop_test(t, callbacks_that_are_left_leave_nothing, 0, 2);
    tcase_add_test(t, callbacks_in_each_other_are_told_before_the_stack_ends);
    tcase_add_test(t, a_handler_for_lack_of_memory_is_no_cancellation_point);
    tcase_add_test(t, who_catches_what_left_a_callback_can_be_cancelled_as_before);
    tcase_add_test(t, a_collection_is_no_cancellation_point_whatever_it_calls);
    tcase_add_test(t, a_finalizer_that_ended_its_thread_runs_no_more);
    tcase_add_test(t, finalizers_in_each_other_that_ended_their_thread_run_no_more);
    tcase_add_test(t, a_zone_whose_destruction_was_left_is_as_before);
    tcase_add_test(t, the_finalizer_thread_is_started_again);
    suite_add_tcase(s, t);
    return s;
}
