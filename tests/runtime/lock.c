/* lock.c - tests of runtime/lock.c: mutual exclusion, try, reset in a child, and the order check of
 * debug builds. */
#include "runtime/lock.h"
#include "runtime/thread.h"
#include "tests/capture.h"

#include <check.h>
#include <oakum/gc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_lock(void);

#define THREADS 6
#define ROUNDS 50000

static oaki_lock lock;
static size_t counter; /* not atomic: the lock must make it right */
static unsigned inside, overlaps;

static void critical(void)
{
    if (AO_int_fetch_and_add1_full(&inside) != 0) AO_int_fetch_and_add1_full(&overlaps);
    counter++;
    AO_int_fetch_and_sub1_full(&inside);
}

static void *lock_often(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        oaki_lock_acquire(&lock);
        critical();
        if (i % 4096 == 0) usleep(100); /* let the others go to sleep on it */
        oaki_lock_release(&lock);
    }
    return arg;
}

static void *try_often(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        while (!oaki_lock_try(&lock)) oaki_pause();
        critical();
        oaki_lock_release(&lock);
    }
    return arg;
}

START_TEST(one_thread_at_a_time_is_inside)
{
    pthread_t t[THREADS];
    oaki_lock_init(&lock, OAKI_RANK_PAGES);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, i == 0 ? try_often : lock_often, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    ck_assert_uint_eq(counter, (size_t)THREADS * ROUNDS);
    ck_assert_uint_eq(overlaps, 0);
    ck_assert_uint_eq(lock.word, 0);
}
END_TEST

START_TEST(try_fails_while_the_lock_is_held)
{
    oaki_lock l = OAKI_LOCK_INIT(OAKI_RANK_META);
    ck_assert(oaki_lock_try(&l));
    ck_assert(!oaki_lock_try(&l));
    oaki_lock_release(&l);
    ck_assert(oaki_lock_try(&l));
    oaki_lock_release(&l);
}
END_TEST

static void *lock_once(void *arg)
{
    oaki_lock_acquire(&lock);
    oaki_lock_release(&lock);
    return arg;
}

START_TEST(the_holder_sees_who_waits)
{
    pthread_t t;
    oaki_lock_init(&lock, OAKI_RANK_PAGES);
    oaki_lock_acquire(&lock);
    ck_assert(!oaki_lock_is_awaited(&lock));
    ck_assert_int_eq(pthread_create(&t, NULL, lock_once, NULL), 0);
    while (!oaki_lock_is_awaited(&lock)) usleep(100);
    oaki_lock_release(&lock);
    pthread_join(t, NULL);
    oaki_lock_acquire(&lock);
    ck_assert(!oaki_lock_is_awaited(&lock));
    oaki_lock_release(&lock);
}
END_TEST

/* Held by the child itself: the handlers of a fork take locks that come before this one. */
static void take_after_reset(void *arg)
{
    oaki_lock *l = arg;
    oaki_lock_acquire(l);
    if (oaki_lock_try(l)) exit(1);
    oaki_lock_reset(l);
    oaki_lock_acquire(l);
    oaki_lock_release(l);
    oaki_lock_assert_none_held();
}

START_TEST(reset_frees_a_held_lock)
{
    char err[256];
    oaki_lock l = OAKI_LOCK_INIT(OAKI_RANK_META);
    ck_assert_int_eq(test_capture(take_after_reset, &l, err, sizeof err), 0);
}
END_TEST

static void release_free_lock(void *arg)
{
    oaki_lock_release(arg);
}

START_TEST(releasing_a_free_lock_is_fatal)
{
    char err[256];
    oaki_lock l = OAKI_LOCK_INIT(OAKI_RANK_META);
    int status = test_capture(release_free_lock, &l, err, sizeof err);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    ck_assert_msg(strstr(err, "internal error") != NULL, "%s", err);
}
END_TEST

START_TEST(rising_ranks_may_be_taken_and_released_in_any_order)
{
    oaki_lock a = OAKI_LOCK_INIT(OAKI_RANK_GC), b = OAKI_LOCK_INIT(OAKI_RANK_PAGES),
              c = OAKI_LOCK_INIT(OAKI_RANK_META);
    oaki_lock_acquire(&a);
    oaki_lock_acquire(&b);
    oaki_lock_release(&a);
    oaki_lock_acquire(&c);
    oaki_lock_release(&b);
    oaki_lock_release(&c);
    oaki_lock_acquire(&a); /* nothing is held any more */
    oaki_lock_release(&a);
    oaki_lock_assert_none_held();
}
END_TEST

#ifdef OAKI_DEBUG

static void take_in_wrong_order(void *arg)
{
    oaki_lock *l = arg;
    oaki_lock_acquire(&l[0]);
    oaki_lock_acquire(&l[1]);
}

static void hold_into_none(void *arg)
{
    oaki_lock_acquire(arg);
    oaki_lock_assert_none_held();
}

static void expect_abort(void (*fn)(void *), oaki_lock *l, const char *what)
{
    char err[256];
    int status = test_capture(fn, l, err, sizeof err);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d", status);
    ck_assert_msg(strstr(err, what) != NULL, "%s", err);
}

static void *take_outside(void *lock)
{
    oaki_thread_self()->own = true;
    oaki_lock_acquire(lock);
    return NULL;
}

static void own_thread_takes(void *lock)
{
    pthread_t t;
    oak_thread_create(&t, NULL, take_outside, lock);
    pthread_join(t, NULL);
}

START_TEST(an_own_thread_outside_takes_no_lock_in_debug_builds)
{
    oaki_lock l = OAKI_LOCK_INIT(OAKI_RANK_DEFERRED);
    char what[64];
    snprintf(what, sizeof what, "of rank %d taken by an own thread that is outside",
             OAKI_RANK_DEFERRED);
    expect_abort(own_thread_takes, &l, what);
}
END_TEST

START_TEST(a_lower_or_equal_rank_is_fatal_in_debug_builds)
{
    oaki_lock lower[2] = { OAKI_LOCK_INIT(OAKI_RANK_PAGES), OAKI_LOCK_INIT(OAKI_RANK_CENTRAL) };
    oaki_lock equal[2] = { OAKI_LOCK_INIT(OAKI_RANK_CENTRAL), OAKI_LOCK_INIT(OAKI_RANK_CENTRAL) };
    expect_abort(take_in_wrong_order, lower, "taken while one of rank");
    expect_abort(take_in_wrong_order, equal, "taken while one of rank");
    expect_abort(hold_into_none, equal, "is held where none may be");
}
END_TEST

#endif

Suite *suite_runtime_lock(void)
{
    Suite *s = suite_create("runtime_lock");
    TCase *tc = tcase_create("lock");
    tcase_add_test(tc, one_thread_at_a_time_is_inside);
    tcase_add_test(tc, try_fails_while_the_lock_is_held);
    tcase_add_test(tc, the_holder_sees_who_waits);
    tcase_add_test(tc, reset_frees_a_held_lock);
    tcase_add_test(tc, releasing_a_free_lock_is_fatal);
    tcase_add_test(tc, rising_ranks_may_be_taken_and_released_in_any_order);
#ifdef OAKI_DEBUG
    tcase_add_test(tc, a_lower_or_equal_rank_is_fatal_in_debug_builds);
    tcase_add_test(tc, an_own_thread_outside_takes_no_lock_in_debug_builds);
#endif
    suite_add_tcase(s, tc);
    return s;
}
