/* weak.c - tests of gc/refs/weak.c: references clear when their object goes, and only then. */
#include "gc/refs/finalizer.h"

#include "away.h"
#include "tests/capture.h"

#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

Suite *suite_gc_weak(void);

#define MANY 5000
#define LUCK 4

static void *strong[MANY];
static oak_weak *weak[MANY];

static void make_all(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++) {
        strong[i] = oak_alloc(16 + 8 * ((size_t)i % 50));
        weak[i] = oak_weak_new(strong[i]);
        ck_assert_ptr_nonnull(weak[i]);
    }
}

START_TEST(a_reference_lives_as_long_as_its_object)
{
    unsigned seed = (unsigned)time(NULL);
    printf("gc/weak seed %u\n", seed);
    srand(seed);
    test_build(make_all, NULL);
    for (int left = MANY; left > 0; left -= MANY / 5) {
        for (int i = 0; i < MANY; i++)
            if (rand() % left < MANY / 5) strong[i] = NULL;
        oak_collect();
        int stray = 0;
        for (int i = 0; i < MANY; i++) {
            if (strong[i])
                ck_assert_ptr_eq(oak_weak_get(weak[i]), strong[i]);
            else
                stray += oak_weak_get(weak[i]) != NULL;
        }
        ck_assert_int_le(stray, LUCK);
    }
}
END_TEST

START_TEST(the_count_is_of_references_that_live)
{
    oak_memstats s;
    test_build(make_all, NULL);
    oak_collect();
    oak_memstats_read(&s);
    ck_assert_uint_eq(s.weak_refs, MANY);
    memset(weak, 0, sizeof *weak * (MANY / 2)); /* handles go, objects stay */
    oak_collect();
    oak_memstats_read(&s);
    ck_assert_uint_ge(s.weak_refs, MANY / 2);
    ck_assert_uint_le(s.weak_refs, MANY / 2 + LUCK);
    memset(strong, 0, sizeof strong);
    oak_collect();
    oak_memstats_read(&s);
    ck_assert_uint_le(s.weak_refs, LUCK);
}
END_TEST

START_TEST(the_start_of_an_object_has_one_handle)
{
    char *p = oak_alloc(100);
    oak_weak *a = oak_weak_new(p), *inner = oak_weak_new(p + 10), *b = oak_weak_new(p);
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, inner);
    ck_assert_ptr_eq(oak_weak_get(a), p);
    ck_assert_ptr_eq(oak_weak_get(inner), p + 10);
    char *q = oak_alloc(100);
    oak_weak *first = oak_weak_new(q + 99);
    ck_assert_ptr_ne(oak_weak_new(q), first);
    ck_assert_ptr_eq(oak_weak_get(first), q + 99);
    ck_assert_ptr_eq(oak_weak_get(oak_weak_new(q)), q);
}
END_TEST

/* ---- finalizers ---- */

static void *reborn;
static size_t runs;

static void publish(void *obj, void *ctx)
{
    ck_assert_ptr_null(oak_weak_get(weak[0]));
    ck_assert_ptr_null(oak_weak_get(weak[1]));
    ck_assert_ptr_nonnull(oak_weak_get(weak[2]));
    reborn = obj;
    runs++;
    (void)ctx;
}

static void make_finalizable(void *arg)
{
    (void)arg;
    void **p = oak_alloc(32);
    strong[2] = oak_alloc(16);
    p[0] = oak_alloc(16);
    p[1] = oak_weak_new(strong[2]); /* a handle that only the object holds */
    weak[0] = oak_weak_new(p);
    weak[1] = oak_weak_new(p[0]);
    weak[2] = p[1];
    oak_finalizer_set(p, publish, NULL);
}

START_TEST(references_are_cleared_before_the_finalizer_and_stay_so)
{
    test_build(make_finalizable, NULL);
    oak_collect();
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert_uint_eq(runs, 1);
    ck_assert_ptr_nonnull(reborn);
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(weak[0]));
    ck_assert_ptr_null(oak_weak_get(weak[1]));
    oak_weak *again = oak_weak_new(reborn);
    ck_assert_ptr_ne(again, weak[0]);
    ck_assert_ptr_eq(oak_weak_get(again), reborn);
}
END_TEST

static bool target_seen;

static void use_handle(void *obj, void *ctx)
{
    weak[0] = *(oak_weak **)obj;
    target_seen = oak_weak_get(weak[0]) == strong[0];
    (void)ctx;
}

static void make_holder(void *arg)
{
    (void)arg;
    oak_weak **p = oak_alloc(16);
    strong[0] = oak_alloc(64);
    *p = oak_weak_new(strong[0]);
    oak_finalizer_set(p, use_handle, NULL);
}

START_TEST(a_handle_that_only_a_finalizable_object_holds_still_works)
{
    test_build(make_holder, NULL);
    oak_collect();
    oak_collect();
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert(target_seen);
    strong[0] = NULL;
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(weak[0]));
}
END_TEST

/* ---- freeing by hand ---- */

START_TEST(oak_free_of_the_object_clears)
{
    char *p = oak_alloc(48);
    oak_weak *a = oak_weak_new(p), *b = oak_weak_new(p + 8);
    oak_free(p);
    ck_assert_ptr_null(oak_weak_get(a));
    ck_assert_ptr_null(oak_weak_get(b));
    ck_assert_uint_eq(oaki_weak_count(), 0);
    ck_assert_ptr_null(oak_weak_get(NULL)); /* what oak_weak_new gives when there is no memory */
}
END_TEST

START_TEST(oak_free_of_the_handle_is_noticed)
{
    char *p = oak_alloc(48);
    oak_gc_disable(); /* the inner handles are dropped */
    for (int i = 0; i < 100; i++) {
        oak_weak *w = oak_weak_new(p), *inner = oak_weak_new(p + 1);
        oak_free(w);
        ck_assert_ptr_eq(oak_weak_get(inner), p + 1);
        if (i % 2) continue;
        oak_free(inner); /* whose record has moved */
        ck_assert_uint_eq(oaki_weak_count(), (size_t)i);
        oak_weak_new(p + 2); /* stays */
    }
    oak_free(p);
    ck_assert_uint_eq(oaki_weak_count(), 0);
}
END_TEST

/* ---- threads ---- */

#define SLOTS 64
#define ROUNDS 300
#define MAGIC 0x5ca1ab1e

typedef struct thing {
    unsigned magic, slot;
} thing;

static AO_t done;

static void fill(unsigned slot)
{
    thing *t = oak_alloc(48);
    t->magic = MAGIC;
    t->slot = slot;
    strong[slot] = t;
    AO_store_release((AO_t *)&weak[slot], (AO_t)oak_weak_new(t));
}

static void *read_often(void *arg)
{
    unsigned seen = 0;
    oak_thread_attach(); /* before it holds a handle */
    for (unsigned i = 0; !AO_load_acquire(&done); i++) {
        unsigned slot = i * 7 % SLOTS;
        thing *t = oak_weak_get((oak_weak *)AO_load_acquire((AO_t *)&weak[slot]));
        if (!t) continue;
        for (int spin = 0; spin < 20; spin++) oaki_pause();
        ck_assert_uint_eq(t->magic, MAGIC);
        ck_assert_uint_eq(t->slot, slot);
        seen++;
    }
    *(unsigned *)arg = seen;
    return NULL;
}

START_TEST(what_was_read_stays_while_others_collect)
{
    pthread_t t[2];
    unsigned seen[2], refilled = 0;
    for (unsigned i = 0; i < SLOTS; i++) fill(i);
    for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, read_often, &seen[i]);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = i % 3; k < SLOTS; k += 3) strong[k] = NULL;
        oak_collect();
        for (unsigned k = 0; k < SLOTS; k++) {
            if (oak_weak_get(weak[k])) continue;
            memset(oak_alloc(48), 0xee, 48); /* reuse what was freed */
            fill(k);
            refilled++;
        }
    }
    AO_store_release(&done, 1);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    ck_assert_uint_gt(refilled, ROUNDS);
    ck_assert_uint_gt(seen[0] + seen[1], 0);
}
END_TEST

static void *get_unattached(void *arg)
{
    return oak_weak_get(arg);
}

START_TEST(a_thread_that_is_not_attached_may_read)
{
    pthread_t t;
    void *p = oak_alloc(16), *got;
    ck_assert_int_eq(pthread_create(&t, NULL, get_unattached, oak_weak_new(p)), 0);
    pthread_join(t, &got);
    ck_assert_ptr_eq(got, p);
}
END_TEST

static void refer_to_foreign(void *arg)
{
    oak_weak_new(arg);
}

START_TEST(a_foreign_pointer_is_fatal)
{
    char out[256];
    int status = test_capture(refer_to_foreign, &done, out, sizeof out);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_nonnull(strstr(out, "oak_weak_new: "));
}
END_TEST

static void start(void)
{
    test_start(0);
}

Suite *suite_gc_weak(void)
{
    Suite *s = suite_create("gc/weak");
    TCase *c = tcase_create("weak");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_reference_lives_as_long_as_its_object);
    tcase_add_test(c, the_count_is_of_references_that_live);
    tcase_add_test(c, the_start_of_an_object_has_one_handle);
    tcase_add_test(c, references_are_cleared_before_the_finalizer_and_stay_so);
    tcase_add_test(c, a_handle_that_only_a_finalizable_object_holds_still_works);
    tcase_add_test(c, oak_free_of_the_object_clears);
    tcase_add_test(c, oak_free_of_the_handle_is_noticed);
    tcase_add_test(c, what_was_read_stays_while_others_collect);
    tcase_add_test(c, a_thread_that_is_not_attached_may_read);
    tcase_add_test(c, a_foreign_pointer_is_fatal);
    suite_add_tcase(s, c);
    return s;
}
