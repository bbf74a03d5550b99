/* threads.h - what tests with several threads share: start, join, wait for a word. */
#ifndef TESTS_THREADS_H
#define TESTS_THREADS_H

#include "runtime/base.h"
#include "runtime/os.h"

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

/* waitpid's status. */
OAKI_UNUSED static int test_wait_child(pid_t pid)
{
    int status = -1;
    ck_assert_int_gt(pid, 0);
    while (waitpid(pid, &status, 0) < 0) {}
    return status;
}

#endif
