/* ownmask.c - tests of runtime/ownmask.h: who blocks SIGSEGV for a moment as code of ours wants it,
 * and who does so himself, before a cycle by faults. */
#include "runtime/ownmask.h"
#include "runtime/os.h"
#include "runtime/written.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

Suite *suite_runtime_ownmask(void);

#define SEGV ((uint64_t)1 << (SIGSEGV - 1))

static AO_t step;

/* false: with system pages that are too large; and Valgrind has masks of its own. */
static bool start(void)
{
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    if (oaki_os_page_size() != 4096 || getenv("UNDER_VALGRIND")) return false;
    ck_assert(oaki_written_start());
    return true;
}

static void pause_at(AO_t odd)
{
    AO_store_release(&step, odd);
    test_wait(&step, odd + 1);
}

/* Nobody can be kept in our handlers, so this thread does what they do. */
static void *block_as_handlers(void *arg)
{
    uint64_t before = oaki_os_mask_signals(0);
    oaki_ownmask_enter(before);
    pause_at(1); /* ours */
    oaki_ownmask_leave();
    pause_at(3); /* its own */
    oaki_os_unmask_signals(before);
    pause_at(5); /* none */
    before = oaki_os_block_signals(SEGV);
    oaki_ownmask_enter(before | SEGV);
    pause_at(7); /* its own, and ours */
    oaki_ownmask_leave();
    return arg;
}

START_TEST(threads_in_our_handlers_are_no_blockers)
{
    if (!start()) return;
    pthread_t id = test_start(block_as_handlers, NULL);
    for (AO_t at = 1; at < 9; at += 2) {
        test_wait(&step, at);
        bool may = at == 1 || at == 5;
        ck_assert_int_eq(oaki_written_begin(), may);
        AO_store_release(&step, at + 1);
    }
    test_join(id);
}
END_TEST

static void *run(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&step, 1);
    while (AO_load_acquire(&step) == 1) continue;
    return arg;
}

/* As one that sleeps on for a while when the world runs again. */
START_TEST(threads_in_a_stop_are_no_blockers)
{
    if (!start()) return;
    pthread_t id = test_start(run, NULL);
    test_wait(&step, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    bool may = oaki_written_begin();
    oaki_gc_stop_end(t);
    AO_store_release(&step, 2);
    test_join(id);
    ck_assert(may);
}
END_TEST

Suite *suite_runtime_ownmask(void)
{
    Suite *s = suite_create("runtime_ownmask");
    TCase *t = tcase_create("ownmask");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, threads_in_our_handlers_are_no_blockers);
    tcase_add_test(t, threads_in_a_stop_are_no_blockers);
    return s;
}
