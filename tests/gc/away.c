/* away.c - run a piece of a test on a thread of its own. */
#include "away.h"

#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>

typedef struct piece {
    void (*fn)(void *arg);
    void *arg;
} piece;

static void *start(void *arg)
{
    piece *p = arg;
    p->fn(p->arg);
    return NULL;
}

void test_away(void (*fn)(void *arg), void *arg)
{
    piece p = { fn, arg };
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, start, &p), 0);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
}

void test_build(void (*fn)(void *arg), void *arg)
{
    oak_gc_disable();
    test_away(fn, arg);
    oak_gc_enable();
}

static void run(void *arg)
{
    *(size_t *)arg = oak_finalizers_run();
}

size_t test_run_finalizers(void)
{
    size_t n;
    test_away(run, &n);
    return n;
}

void test_start(int finalizer_thread)
{
    oak_config c;
    oak_config_default(&c);
    c.finalizer_thread = finalizer_thread;
    c.gc_percent = -1;
    ck_assert_int_eq(oak_init(&c), 0);
}
