/* threads.h - what tests with several threads share: start, join, wait for a word; threads that do
 * one thing until test_quit is set, and the question whether a stop holds them. */
#ifndef TESTS_THREADS_H
#define TESTS_THREADS_H

#include "runtime/collector.h"
#include "runtime/lock.h"
#include "runtime/os.h"
#include "runtime/thread.h"
#include "runtime/track.h"
#include "tests/skip.h"

#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

OAKI_UNUSED static pthread_t test_start(void *(*fn)(void *), void *arg)
{
    pthread_t id;
    ck_assert_int_eq(pthread_create(&id, NULL, fn, arg), 0);
    return id;
}

OAKI_UNUSED static void test_join(pthread_t id)
{
    ck_assert_int_eq(pthread_join(id, NULL), 0);
}

/* Until *word is at least n. */
OAKI_UNUSED static void test_wait(AO_t *word, AO_t n)
{
    while (AO_load_acquire(word) < n) oaki_os_yield();
}

/* waitpid's status. */
OAKI_UNUSED static int test_wait_child(pid_t pid)
{
    int status = -1;
    ck_assert_int_gt(pid, 0);
    while (waitpid(pid, &status, 0) < 0) {}
    return status;
}

/* A random number (Marsaglia's xorshift) of the thread that *state belongs to; not 0 at first. */
OAKI_UNUSED static uint64_t test_draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

/* What a thread finds wrong, for the one that joins it: a line. */
OAKI_UNUSED static AO_t test_wrong;

OAKI_UNUSED static void test_expect(bool right, AO_t line)
{
    if (!right) AO_store(&test_wrong, line);
}

/* The words of the functions below; each test file has its own. */
OAKI_UNUSED static AO_t test_quit, test_moved, test_masked;

OAKI_UNUSED static void test_mask(sigset_t *old)
{
    sigset_t all;
    sigfillset(&all);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &all, old), 0);
}

OAKI_UNUSED static void test_unmask(const sigset_t *old)
{
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, old, NULL), 0);
}

/* An attached thread that no signal stops, from when test_masked is 1 until the word at arg is. */
OAKI_UNUSED static void *test_stay_masked(void *arg)
{
    sigset_t old;
    ck_assert_int_eq(oak_thread_attach(), 0);
    test_mask(&old);
    AO_store_release(&test_masked, 1);
    test_wait(arg, 1);
    test_unmask(&old);
    return arg;
}

/* One that computes, and counts. */
OAKI_UNUSED static void *test_run_on(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&test_quit)) AO_fetch_and_add1((AO_t *)arg);
    return arg;
}

OAKI_UNUSED static void *test_in_and_out(void *arg)
{
    while (!AO_load(&test_quit)) {
        oaki_thread *t = oaki_enter();
        AO_fetch_and_add1(&test_moved);
        oaki_leave(t);
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

OAKI_UNUSED static void *test_block_and_unblock(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&test_quit)) {
        oak_blocking_enter();
        oak_blocking_leave();
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

OAKI_UNUSED static void *test_allocate(void *arg)
{
    while (!AO_load(&test_quit)) {
        void **p = oak_alloc(40);
        *p = p;
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

/* Attached, in a blocking region until test_go is set; counted in test_standing. */
OAKI_UNUSED static AO_t test_standing, test_go;

OAKI_UNUSED static void *test_stand(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_enter();
    AO_fetch_and_add_full(&test_standing, 1);
    while (!AO_load_acquire(&test_go)) oaki_os_sleep_ns(5000000);
    oak_blocking_leave();
    return arg;
}

OAKI_UNUSED static void test_stop_and_start(void)
{
    oaki_gc_stop_end(oaki_gc_stop_begin());
}

/* Stop the world, and see that test_moved doesn't. Nothing is asserted while it is stopped, as
 * Check takes a lock that a stopped thread may hold. */
OAKI_UNUSED static void test_standstill(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool stopped = oaki_world_stopped();
    AO_t before = AO_load(&test_moved);
    for (int i = 0; i < 2000; i++) oaki_pause();
    AO_t after = AO_load(&test_moved);
    oaki_gc_stop_end(t);
    ck_assert(stopped);
    ck_assert_uint_eq(after, before);
}

#endif
