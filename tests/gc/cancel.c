/* cancel.c - a thread that may be cancelled anywhere, and is while the world stands: it cleans up
 * when the world runs again, and not in its place in the stop. */
#include "gc/gc.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>

Suite *suite_gc_cancel(void);

#define STOP_NS 20000000u

static AO_t ready, cleaned, counter;

static void clean_up(void *arg)
{
    (void)arg;
    AO_store_full(&cleaned, 1);
}

/* Nothing but what may be cancelled. */
static void *compute(void *arg)
{
    int type;
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_cleanup_push(clean_up, NULL);
    AO_store_full(&ready, 1);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    for (;;) AO_store(&counter, AO_load(&counter) + 1);
    pthread_cleanup_pop(0);
    return arg;
}

START_TEST(who_is_cancelled_in_a_stop_cleans_up_after_it)
{
    test_heap_start(test_config());
    for (int round = 0; round < 10; round++) {
        void *result = NULL;
        AO_store(&ready, 0);
        AO_store(&cleaned, 0);
        AO_store(&counter, 0);
        pthread_t id = test_start(compute, NULL);
        test_wait(&ready, 1);
        while (AO_load(&counter) == 0) oaki_os_yield();
        oaki_thread *t = oaki_gc_stop_begin();
        int e = pthread_cancel(id);
        oaki_os_sleep_ns(STOP_NS);
        AO_t in_stop = AO_load(&cleaned);
        oaki_gc_stop_end(t);
        ck_assert_int_eq(e, 0);
        ck_assert_int_eq(pthread_join(id, &result), 0);
        ck_assert_uint_eq(in_stop, 0);
        ck_assert_uint_eq(AO_load(&cleaned), 1);
        ck_assert_ptr_eq(result, PTHREAD_CANCELED);
        oak_collect();
    }
}
END_TEST

Suite *suite_gc_cancel(void)
{
    Suite *s = suite_create("gc_cancel");
    TCase *t = tcase_create("cancel");
    tcase_add_test(t, who_is_cancelled_in_a_stop_cleans_up_after_it);
    suite_add_tcase(s, t);
    return s;
}
