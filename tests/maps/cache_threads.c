/* cache_threads.c - tests of a cache with a lock: threads put, get, delete, clear, walk and expire
 * at once, callbacks use the cache, collections come in between; nothing is lost or told of twice.
 * And callbacks that switch fibers, or fork. */
#include "maps/cache.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

Suite *suite_maps_cache_threads(void);

enum { THREADS = 4, KEYS = 500 };

static oak_cache *c;
static AO_t time_ns, put_count, told_count, wrong;

typedef struct item {
    uint64_t key;
    AO_t told;
} item;

static uint64_t fake_clock(void *ctx)
{
    (void)ctx;
    return (uint64_t)AO_load(&time_ns) + 1;
}

static void told(oak_cache *of, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    item *it = value;
    (void)ctx;
    (void)why;
    if (it->key != *(const uint64_t *)key || AO_fetch_and_add_full(&it->told, 1) != 0)
        AO_store(&wrong, 1);
    AO_fetch_and_add(&told_count, 1);
    (void)oak_cache_get(of, &(uint64_t){ it->key + 1 });
}

static bool walk(const void *key, void *value, void *ctx)
{
    size_t *n = ctx;
    if (((item *)value)->key != *(const uint64_t *)key) AO_store(&wrong, 1);
    return ++*n < KEYS * 10;
}

static void operate(size_t r)
{
    uint64_t key = r >> 20 & 511;
    size_t n = 0;
    item *it;
    if (key >= KEYS) key -= KEYS;
    switch (r >> 40 & 15) {
    case 0:
        oak_cache_delete(c, &key);
        break;
    case 1:
        AO_fetch_and_add(&time_ns, r >> 44 & 0xfffff);
        break;
    case 2:
        if ((r >> 50 & 255) == 0) oak_cache_clear(c);
        if ((r >> 50 & 255) == 1) oak_cache_each(c, walk, &n);
        if ((r >> 50 & 255) == 2) oak_collect();
        if ((r >> 50 & 255) == 3) oak_cache_set_limit(c, 50 + (r >> 30 & 255), 0);
        break;
    case 3:
        (void)oak_cache_purge_expired(c, 5);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        it = oak_cache_get(c, &key);
        if (it && it->key != key) AO_store(&wrong, 1);
        break;
    default:
        it = oak_alloc(sizeof *it);
        it->key = key;
        if (oak_cache_put(c, &key, it) == 0)
            AO_fetch_and_add(&put_count, 1);
        else
            AO_store(&wrong, 2);
    }
}

static void *work(void *arg)
{
    size_t x = (size_t)arg + 1;
    for (size_t i = 0, n = test_scale(100000); i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        operate(x * 0x2545f4914f6cdd1d);
    }
    return NULL;
}

START_TEST(threads_share_a_cache)
{
    pthread_t t[THREADS];
    oak_cache_stats s;
    oak_cache_config f = { .keys = &oak_map_u64_ptr,
                           .max_entries = 200,
                           .ttl = 40000000,
                           .flags = OAK_CACHE_LOCKED,
                           .evicted = told,
                           .clock = fake_clock };
    c = oak_cache_new(&f);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, work, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    const char *broken = oaki_cache_check(c);
    ck_assert_msg(!broken, "%s", broken);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    oak_cache_stats_read(c, &s);
    ck_assert_uint_eq(AO_load(&put_count), AO_load(&told_count) + s.entries);
    ck_assert(s.evictions > 0 && s.expirations > 0 && s.hits > 0);
    oak_cache_clear(c);
    ck_assert_uint_eq(AO_load(&put_count), AO_load(&told_count));
}
END_TEST

/* ---- callbacks at once ---- */

enum { AT_ONCE = 1005 }; /* more than may be in each other */

static void stay(oak_cache *of, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)of, (void)key, (void)value, (void)why, (void)ctx;
    AO_fetch_and_add_full(&test_standing, 1);
    while (!AO_load_acquire(&test_go)) oaki_os_sleep_ns(5000000);
}

static void *put_one(void *arg)
{
    uint64_t key = (uint64_t)(uintptr_t)arg;
    if (oak_cache_put(c, &key, &c) != 0) AO_store(&wrong, 1);
    return NULL;
}

START_TEST(callbacks_of_many_threads_are_not_in_each_other)
{
    static pthread_t id[AT_ONCE];
    pthread_attr_t small;
    if (test_skip_slow()) return; /* fewer threads are to be had */
    test_heap_start(test_config());
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = 1, .flags = OAK_CACHE_LOCKED,
                           .evicted = stay };
    c = oak_cache_new(&f);
    put_one(NULL);
    ck_assert_int_eq(pthread_attr_init(&small), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN + (128 << 10)), 0);
    size_t n = 0;
    while (n < AT_ONCE && pthread_create(&id[n], &small, put_one, (void *)(n + 1)) == 0) n++;
    if (n < AT_ONCE) printf("this system has %zu threads at most: too few\n", n);
    test_wait(&test_standing, n);
    AO_store_release(&test_go, 1);
    while (n > 0) test_join(id[--n]);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    ck_assert_ptr_null(oaki_cache_check(c));
}
END_TEST

/* ---- callbacks that switch fibers ---- */

enum { STACK = 1 << 18 };

static ucontext_t home_context, fiber_context;
static oak_fiber *fiber;
static oak_cache *other;
static size_t given;
static jmp_buf out;

static void to_fiber(void)
{
    oak_fiber_switch(fiber);
    swapcontext(&home_context, &fiber_context);
}

static void to_home(void)
{
    oak_fiber_switch(NULL);
    swapcontext(&fiber_context, &home_context);
}

static void *map_stack(void)
{
    void *p = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

static void start_with_fiber(void (*body)(void), const oak_cache_config *f)
{
    test_heap_start(test_config());
    c = oak_cache_new(f);
    other = oak_cache_new(f);
    void *stack = map_stack();
    fiber = oak_fiber_new(stack, STACK, NULL);
    ck_assert(c && other && fiber);
    getcontext(&fiber_context);
    fiber_context.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = STACK };
    makecontext(&fiber_context, body, 0);
}

static bool on_fiber(const void *key, void *value, void *ctx)
{
    (void)key, (void)value, (void)ctx;
    if (given++ == 0) to_home();
    return true;
}

static bool at_home(const void *key, void *value, void *ctx)
{
    (void)key, (void)value, (void)ctx;
    to_fiber();
    return false;
}

static bool jump_out(const void *key, void *value, void *ctx)
{
    (void)key, (void)value, (void)ctx;
    longjmp(out, 1);
}

static void walk_other(void)
{
    oak_cache_each(other, on_fiber, NULL);
    for (;;) to_home();
}

/* A walk on a fiber begins and rests within one of the thread's own stack, which ends first. */
START_TEST(walks_of_two_stacks)
{
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = KEYS };
    start_with_fiber(walk_other, &f);
    for (uint64_t k = 0; k < 10; k++) {
        ck_assert_int_eq(oak_cache_put(c, &k, c), 0);
        ck_assert_int_eq(oak_cache_put(other, &k, c), 0);
    }
    oak_cache_each(c, at_home, NULL);
    ck_assert_ptr_null(c->walks);
    ck_assert_ptr_nonnull(other->walks);
    ck_assert_ptr_null(oaki_cache_innermost(NULL));
    ck_assert(oak_cache_delete(other, &(uint64_t){ 5 }));
    to_fiber();
    ck_assert_uint_eq(given, 9);
    ck_assert_ptr_null(other->walks);
    if (setjmp(out) == 0) oak_cache_each(c, jump_out, NULL); /* nothing else is left by that */
    ck_assert_ptr_null(c->walks);
    ck_assert_ptr_null(oaki_cache_innermost(NULL));
}
END_TEST

static size_t leaves; /* evicted callbacks that leave */

static void leave_when_evicted(oak_cache *of, const void *key, void *value, oak_cache_reason why,
                               void *ctx)
{
    (void)of, (void)key, (void)value, (void)why, (void)ctx;
    if (AO_fetch_and_add1(&told_count) < leaves) longjmp(out, 1);
}

/* The next put evicts what was left. */
START_TEST(a_callback_that_leaves_a_clear_or_a_trim)
{
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = KEYS,
                           .evicted = leave_when_evicted };
    oak_cache_stats s;
    test_heap_start(test_config());
    ck_assert_ptr_nonnull(c = oak_cache_new(&f));
    for (leaves = 0; leaves < 3; leaves++) {
        for (uint64_t k = 0; k < KEYS; k++) (void)oak_cache_put(c, &k, c);
        AO_store(&told_count, 0);
        if (setjmp(out) == 0) (void)oak_cache_set_limit(c, 10, 0);
        while (setjmp(out) != 0) continue;
        ck_assert_int_eq(oak_cache_put(c, &(uint64_t){ KEYS }, c), 0);
        oak_cache_stats_read(c, &s);
        ck_assert_uint_eq(s.entries, 10);
        ck_assert_uint_eq(AO_load(&told_count), KEYS + 1 - 10);
        ck_assert_int_eq(oak_cache_set_limit(c, KEYS, 0), 0);
        for (uint64_t k = 0; k < KEYS; k++) (void)oak_cache_put(c, &k, c);
        AO_store(&told_count, 0);
        if (setjmp(out) == 0) oak_cache_clear(c);
        while (setjmp(out) != 0) continue;
        ck_assert_int_eq(oak_cache_put(c, &(uint64_t){ KEYS }, c), 0);
        ck_assert_uint_eq(AO_load(&told_count), KEYS);
        AO_store(&told_count, leaves);
        oak_cache_clear(c);
    }
}
END_TEST

static void switch_when_evicted(oak_cache *of, const void *key, void *value, oak_cache_reason why,
                                void *ctx)
{
    (void)key, (void)value, (void)why, (void)ctx;
    if (of == c)
        to_fiber();
    else
        to_home();
    given++;
}

static void put_in_other(void)
{
    for (uint64_t k = 0; k < 2; k++) (void)oak_cache_put(other, &k, other);
    for (;;) to_home();
}

START_TEST(evicted_callbacks_of_two_stacks)
{
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = 1,
                           .evicted = switch_when_evicted };
    start_with_fiber(put_in_other, &f);
    for (uint64_t k = 0; k < 2; k++) ck_assert_int_eq(oak_cache_put(c, &k, c), 0);
    ck_assert_uint_eq(given, 1);
    ck_assert_ptr_null(oaki_cache_innermost(NULL));
    to_fiber();
    ck_assert_uint_eq(given, 2);
    ck_assert_uint_eq(c->callbacks + other->callbacks, 0);
    if (setjmp(out) == 0) oak_cache_each(c, jump_out, NULL);
    ck_assert_ptr_null(oaki_cache_innermost(NULL));
    ck_assert_ptr_null(oaki_cache_check(c));
    ck_assert_ptr_null(oaki_cache_check(other));
}
END_TEST

static void *go_on(void *arg)
{
    to_fiber();
    return arg;
}

static void go_on_elsewhere(void *arg OAKI_UNUSED)
{
    to_fiber();
    pthread_t id;
    if (pthread_create(&id, NULL, go_on, NULL) == 0) pthread_join(id, NULL);
}

START_TEST(a_callback_stays_on_its_thread)
{
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = 1,
                           .evicted = switch_when_evicted };
    start_with_fiber(put_in_other, &f);
    test_dies(go_on_elsewhere, NULL,
              "oakum: oak_cache: a callback began on one thread and ended on another");
}
END_TEST

/* ---- callbacks of threads that a fork leaves behind ---- */

static char *thread_stack, *thread_frame;

static bool rest(const void *key, void *value, void *ctx)
{
    stay(NULL, key, value, OAK_CACHE_DELETED, ctx);
    return false;
}

static void *walk_and_rest(void *arg)
{
    thread_frame = __builtin_frame_address(0);
    oak_cache_each(c, rest, NULL);
    return arg;
}

/* ASan guards parts of frames. */
OAKI_NO_ASAN static void overwrite(char *from, const char *to)
{
    for (; from < to; from++) {
        *from = (char)0xff;
        __asm__ __volatile__("" : : : "memory"); /* no call of memset, which ASan has replaced */
    }
}

/* In the child nothing of the other thread's frames is left. */
static bool fork_at_once(const void *key, void *value, void *ctx)
{
    pid_t *child = ctx;
    (void)key, (void)value;
    if (given++ > 0) return true;
    if ((*child = fork()) != 0) return false;
    overwrite(thread_stack, thread_frame);
    for (uint64_t k = 0; k < 10; k += 2) (void)oak_cache_delete(c, &k);
    return true;
}

START_TEST(a_forks_child_has_its_own_walks)
{
    pthread_t id;
    pthread_attr_t attr;
    pid_t child = -1;
    test_heap_start(test_config());
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = KEYS,
                           .flags = OAK_CACHE_LOCKED };
    c = oak_cache_new(&f);
    for (uint64_t k = 0; k < 10; k++) ck_assert_int_eq(oak_cache_put(c, &k, c), 0);
    thread_stack = map_stack();
    ck_assert_int_eq(pthread_attr_init(&attr), 0);
    ck_assert_int_eq(pthread_attr_setstack(&attr, thread_stack, STACK), 0);
    ck_assert_int_eq(pthread_create(&id, &attr, walk_and_rest, NULL), 0);
    test_wait(&test_standing, 1);
    oak_cache_each(c, fork_at_once, &child);
    if (child == 0) _exit(given == 5 && !c->walks && !oaki_cache_check(c) ? 0 : 1);
    ck_assert_int_eq(test_wait_child(child), 0);
    AO_store_release(&test_go, 1);
    test_join(id);
    ck_assert_ptr_null(c->walks);
}
END_TEST

Suite *suite_maps_cache_threads(void)
{
    Suite *s = suite_create("maps_cache_threads");
    TCase *tc = tcase_create("threads");
    tcase_add_test(tc, threads_share_a_cache);
    tcase_add_test(tc, callbacks_of_many_threads_are_not_in_each_other);
    tcase_add_test(tc, walks_of_two_stacks);
    tcase_add_test(tc, a_callback_that_leaves_a_clear_or_a_trim);
    tcase_add_test(tc, evicted_callbacks_of_two_stacks);
    tcase_add_test(tc, a_callback_stays_on_its_thread);
    tcase_add_test(tc, a_forks_child_has_its_own_walks);
    suite_add_tcase(s, tc);
    return s;
}
