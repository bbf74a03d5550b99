/* profile_threads.c - tests of the heap profile with several threads, and after a fork. */
#include "find.h"
#include "gc/gc.h"
#include "observe/site.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <unistd.h>

Suite *suite_observe_profile_threads(void);

static void start(void)
{
    test_seed("observe/profile_threads");
    oak_config c = test_config();
    c.gc_percent = 100;
    test_heap_start(c);
}

static void assert_sound(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    const char *broken = oaki_sites_check();
    oaki_gc_stop_end(t);
    ck_assert_msg(!broken, "%s", broken);
    test_assert_sound();
}

/* MemStats count more: a slot is left behind by a thread that is stopped in the middle of taking
 * it. */
static AO_t made, made_bytes;

static OAKI_NOINLINE void *make(size_t n)
{
    void *p = oak_alloc(n);
    __asm__("" : : "r"(p) : "memory");
    oaki_count_add(&made, 1);
    oaki_count_add(&made_bytes, oak_usable_size(p));
    return p;
}

/* ---- counts ---- */

static size_t rounds;

static void *make_many(void *arg)
{
    void *last[8] = { NULL };
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (size_t i = 0; i < rounds; i++) {
        void **p = &last[test_draw(&seed) % 8];
        if (*p && test_draw(&seed) % 4 == 0) oak_free(*p);
        *p = make(16 + test_draw(&seed) % 4000);
        if (test_draw(&seed) % 4 == 0) OAK_WITH_LABEL("t", "1") *p = make(32);
    }
    return NULL;
}

START_TEST(threads_lose_no_object)
{
    pthread_t id[4];
    rounds = test_scale(50000);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    for (size_t i = 0; i < 4; i++) id[i] = test_start(make_many, (void *)(i + 1));
    for (int i = 0; i < 20; i++) {
        oak_profile *p = oak_profile_read(0);
        ck_assert_ptr_nonnull(p);
        oak_profile_free(p);
        assert_sound();
    }
    for (size_t i = 0; i < 4; i++) test_join(id[i]);
    test_site s = test_sum("make", OAK_PROFILE_NOW);
    ck_assert_int_eq(s.alloc_objects, (int64_t)AO_load(&made));
    ck_assert_int_eq(s.alloc_bytes, (int64_t)AO_load(&made_bytes));
    oak_collect();
    ck_assert_int_le(test_sum("make", 0).inuse_objects, 100);
    assert_sound();
}
END_TEST

/* Rates that change, readers, collections: figures can't be told, but rules hold. */
START_TEST(rates_change_and_readers_read)
{
    static const size_t some[] = { 1, 0, 512, 65536, OAK_PROFILE_RATE };
    pthread_t id[4];
    rounds = test_scale(50000);
    for (size_t i = 0; i < 4; i++) id[i] = test_start(make_many, (void *)(i + 1));
    for (size_t i = 0; i < 200; i++) {
        ck_assert_int_eq(oak_profile_set_rate(some[i % OAKI_COUNT(some)]), 0);
        if (i % 10 == 0) oak_collect();
    }
    for (size_t i = 0; i < 4; i++) test_join(id[i]);
    assert_sound();
}
END_TEST

/* ---- fork ---- */

static void in_child(void *arg)
{
    test_site before = test_sum("make", OAK_PROFILE_NOW);
    ck_assert_int_gt(before.alloc_objects, 0);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    for (int i = 0; i < 1000; i++) (void)make(64);
    ck_assert_int_eq(test_sum("make", OAK_PROFILE_NOW).alloc_objects, before.alloc_objects + 1000);
    oak_collect();
    assert_sound();
    (void)arg;
}

START_TEST(a_child_has_the_profile_of_its_parent)
{
    pthread_t id[3];
    if (test_skip_asan()) return;
    rounds = test_scale(50000);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    (void)make(1);
    for (size_t i = 0; i < 3; i++) id[i] = test_start(make_many, (void *)(i + 1));
    for (int i = 0; i < 20; i++) test_child(in_child, NULL);
    for (size_t i = 0; i < 3; i++) test_join(id[i]);
    assert_sound();
}
END_TEST

/* ---- depth ---- */

static OAKI_NOINLINE void *deep(size_t n)
{
    void *p = n ? deep(n - 1) : make(100);
    __asm__("" : : "r"(p) : "memory");
    return p;
}

static bool count_frames(const oak_profile_site *s, void *ctx)
{
    if (s->alloc_bytes == 112) *(size_t *)ctx = s->nframes;
    return true;
}

START_TEST(a_deep_stack_is_cut_at_its_end)
{
    size_t n = 0;
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    (void)deep(1000);
    ck_assert_int_eq(oak_profile_each(NULL, OAK_PROFILE_ALLOC_BYTES, count_frames, &n), 0);
    ck_assert_uint_eq(n, OAKI_STACK_FRAMES);
    ck_assert_int_eq(test_sum("make", 0).alloc_bytes, 112);
    ck_assert_int_eq(test_sum("deep", 0).alloc_bytes, 112);
}
END_TEST

Suite *suite_observe_profile_threads(void)
{
    Suite *s = suite_create("observe/profile_threads");
    TCase *c = tcase_create("threads");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, threads_lose_no_object);
    tcase_add_test(c, rates_change_and_readers_read);
    tcase_add_test(c, a_child_has_the_profile_of_its_parent);
    tcase_add_test(c, a_deep_stack_is_cut_at_its_end);
    suite_add_tcase(s, c);
    return s;
}
