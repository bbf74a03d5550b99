/* threads.h - what tests with several threads share: start, join, wait for a word. */
#ifndef TESTS_THREADS_H
#define TESTS_THREADS_H

#include "runtime/base.h"
#include "runtime/os.h"
#include "runtime/track.h"

#include <check.h>
#include <pthread.h>
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

/* For tests that AddressSanitizer's own runtime doesn't survive, so that they are left out with it.
 * A child inherits the locks of its allocator as they are,
 * and hangs when another thread had one. And a thread that leaves by SYS_exit runs no destructors
 * of thread-specific data, which it checks in the next thread on that stack. */
OAKI_UNUSED static bool test_breaks_asan(void)
{
#ifdef OAKI_ASAN
    return true;
#else
    return false;
#endif
}

/* waitpid's status. */
OAKI_UNUSED static int test_wait_child(pid_t pid)
{
    int status = -1;
    ck_assert_int_gt(pid, 0);
    while (waitpid(pid, &status, 0) < 0) {}
    return status;
}

#endif
