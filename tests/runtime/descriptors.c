/* descriptors.c - tests of a program that closes the descriptors by which its writes are told, in
 * all of the process or in a thread's own table. */
#include "gc/concurrent/concurrent.h"
#include "gc/trace/trace.h"
#include "runtime/dirty.h"
#include "runtime/fd.h"
#include "runtime/os.h"
#include "tests/descriptors.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define SLOTS ((size_t)1 << 14)
#include "tests/moving.h"

Suite *suite_runtime_descriptors(void);

#define HIGH 1000 /* as fd.c */
#define UNSHARE 2 /* CLOSE_RANGE_UNSHARE, which older headers lack */

static bool start(void)
{
    oak_config c = test_config_beside(OAK_TRACKING_USERFAULTFD);
    c.gc_threads = 2;
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.markers = 0;
    table = oak_alloc(SLOTS * sizeof *table);
    for (size_t i = 0; i < SLOTS; i++) table[i] = new_thing(i);
    oaki_debug_switches.beside = 1;
    return true;
}

static void await_end(void)
{
    while (oaki_concurrent_requested()) move_some();
}

/* A cycle beside the program that was told all that it asked. */
static void mark_and_be_told(void)
{
    await_end();
    size_t refused = oaki_dirty_refusals();
    test_await_mark();
    await_end();
    ck_assert_uint_eq(oaki_dirty_refusals(), refused);
    check_table();
}

static void expect_userfaultfd(void)
{
    oak_writes_told told;
    ck_assert(oak_heap_tells_writes(&told));
    ck_assert_str_eq(told.by, "userfaultfd");
    ck_assert_ptr_null(told.refused);
}

/* ---- in all of the process ---- */

typedef struct numbers {
    int fd[2];
    size_t n;
} numbers;

static numbers ours(bool uffd, bool pagemap)
{
    numbers x = { .n = 0 };
    if (uffd) x.fd[x.n++] = test_descriptor(TEST_UFFD);
    if (pagemap) x.fd[x.n++] = test_descriptor(TEST_PAGEMAP);
    for (size_t i = 0; i < x.n; i++) ck_assert_int_ge(x.fd[i], 0);
    return x;
}

static void close_them(const numbers *x)
{
    for (size_t i = 0; i < x->n; i++) ck_assert_int_eq(close(x->fd[i]), 0);
}

/* With the world stopped, as a mark doesn't get on meanwhile. */
static void in_mid_mark(void (*fn)(const numbers *x), const numbers *x)
{
    for (bool marking = false; !marking;) {
        test_await_mark();
        oaki_thread *t = oaki_gc_stop_begin();
        ck_assert_ptr_nonnull(t);
        marking = oaki_is_marking_concurrently();
        if (marking) fn(x);
        oaki_gc_stop_end(t);
    }
}

static const struct {
    bool uffd, pagemap;
} which[] = { { true, false }, { false, true }, { true, true } };

START_TEST(closed_in_mid_mark)
{
    if (!start()) return;
    mark_and_be_told();
    for (int round = 0; round < 5; round++) {
        numbers x = ours(which[_i].uffd, which[_i].pagemap);
        in_mid_mark(close_them, &x);
        await_end();
        check_table();
        mark_and_be_told();
        (void)ours(true, true);
    }
    expect_userfaultfd();
    test_assert_sound();
}
END_TEST

START_TEST(closed_between_two)
{
    if (!start()) return;
    for (int round = 0; round < 5; round++) {
        mark_and_be_told();
        numbers x = ours(which[_i].uffd, which[_i].pagemap);
        close_them(&x);
    }
    mark_and_be_told();
    expect_userfaultfd();
    test_assert_sound();
}
END_TEST

static int own_file;

static void take_numbers(const numbers *x)
{
    for (size_t i = 0; i < x->n; i++) ck_assert_int_eq(dup2(own_file, x->fd[i]), x->fd[i]);
}

/* A page map of its own would answer, and a userfaultfd take what is asked of it. */
START_TEST(numbers_that_are_the_programs_by_now)
{
    oaki_fd_file file;
    if (!start()) return;
    mark_and_be_told();
    own_file = memfd_create("own", MFD_CLOEXEC);
    ck_assert(oaki_fd_note(own_file, &file));
    numbers x = ours(true, true);
    in_mid_mark(take_numbers, &x);
    await_end();
    for (int round = 0; round < 3; round++) {
        mark_and_be_told();
        numbers now = ours(true, true);
        for (size_t i = 0; i < x.n; i++) {
            ck_assert(oaki_fd_is(x.fd[i], &file));
            ck_assert(now.fd[0] != x.fd[i] && now.fd[1] != x.fd[i]);
        }
    }
    expect_userfaultfd();
}
END_TEST

START_TEST(numbers_out_of_the_way)
{
    struct rlimit limit;
    int before = dup(STDERR_FILENO);
    if (!start()) return;
    int after = dup(STDERR_FILENO);
    ck_assert_int_eq(after, before + 1);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    numbers x = ours(true, true);
    for (size_t i = 0; i < x.n && limit.rlim_cur > HIGH + 8; i++) ck_assert_int_ge(x.fd[i], HIGH);
}
END_TEST

START_TEST(closed_where_none_can_be_opened)
{
    oak_writes_told told;
    if (!start()) return;
    mark_and_be_told();
    numbers x = ours(true, true);
    test_refuse(SYS_userfaultfd);
    if (_i) in_mid_mark(close_them, &x);
    else close_them(&x);
    while (oak_heap_tells_writes(&told)) {
        if (!test_ask_beside()) oak_collect();
        move_some();
    }
    ck_assert_str_eq(told.refused, "userfaultfd");
    ck_assert_int_eq(told.error, EPERM);
    oak_collect();
    check_table();
    test_assert_sound();
}
END_TEST

/* ---- in a thread's own table ---- */

static bool get_own_table(void)
{
    return syscall(SYS_close_range, INT_MAX, INT_MAX, UNSHARE) == 0 || unshare(CLONE_FILES) == 0;
}

/* As one does that is about to run what it doesn't trust. */
static bool leave_all(void)
{
    return get_own_table() && test_close(TEST_UFFD) && test_close(TEST_PAGEMAP);
}

/* In mid mark, so that it asks what was written, and between two. */
static void *collect_without(void *refuse)
{
    test_expect(leave_all(), __LINE__);
    if (refuse) test_refuse_alone(SYS_userfaultfd);
    for (int round = 0; round < 5; round++) {
        size_t refused = oaki_dirty_refusals();
        while (oaki_dirty_refusals() == refused) {
            test_await_mark();
            move_some();
            oak_collect();
        }
        check_table();
        oak_collect();
        check_table();
    }
    test_expect(test_descriptor(TEST_UFFD) < 0, __LINE__);
    return NULL;
}

START_TEST(a_thread_without_them_collects)
{
    if (!start()) return;
    test_once(); /* what it asks for ends the mark, by a stop of its own */
    mark_and_be_told();
    numbers x = ours(true, true);
    test_join(test_start(collect_without, _i ? &x : NULL));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    mark_and_be_told();
    numbers now = ours(true, true);
    ck_assert_mem_eq(&x, &now, sizeof x);
    expect_userfaultfd();
    test_assert_sound();
}
END_TEST

/* It starts no thread that would be without them for good. */
static void *collect_first(void *arg)
{
    test_expect(leave_all(), __LINE__);
    test_expect(!test_ask_beside(), __LINE__);
    oak_collect();
    test_expect(oaki_workers_count() == 1, __LINE__);
    return arg;
}

START_TEST(a_thread_without_them_is_the_first_to_collect)
{
    if (!start()) return;
    test_join(test_start(collect_first, NULL));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    oak_collect();
    ck_assert_uint_eq(oaki_workers_count(), 2);
    mark_and_be_told();
    expect_userfaultfd();
}
END_TEST

static AO_t holds, let_go;

static void *hold(void *arg)
{
    test_expect(get_own_table(), __LINE__);
    AO_store_release(&holds, 1);
    test_wait(&let_go, 1);
    return arg;
}

/* All others are without them, until it ends. */
START_TEST(a_thread_that_alone_has_them)
{
    if (!start()) return;
    mark_and_be_told();
    pthread_t id = test_start(hold, NULL);
    test_wait(&holds, 1);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    numbers x = ours(true, true);
    in_mid_mark(close_them, &x);
    for (int round = 0; round < 5; round++) {
        await_end();
        ck_assert(!oaki_dirty_begin());
        ck_assert(!oaki_dirty_may());
        move_some();
        oak_collect();
        check_table();
    }
    expect_userfaultfd();
    AO_store_release(&let_go, 1);
    test_join(id);
    while (!oaki_dirty_begin()) oak_collect(); /* its table lives a little longer */
    mark_and_be_told();
    (void)ours(true, true);
}
END_TEST

static void mark_in_child(void *arg)
{
    (void)arg;
    ck_assert(test_written_start());
    mark_and_be_told();
    (void)ours(true, true);
}

static void *fork_without(void *arg)
{
    test_expect(leave_all(), __LINE__);
    test_child(mark_in_child, NULL);
    return arg;
}

START_TEST(a_child_of_a_thread_without_them)
{
    if (!start()) return;
    mark_and_be_told();
    test_join(test_start(fork_without, NULL));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    mark_and_be_told();
}
END_TEST

Suite *suite_runtime_descriptors(void)
{
    Suite *s = suite_create("runtime_descriptors");
    TCase *t = tcase_create("descriptors");
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    if (test_skip_valgrind()) return s; /* it knows no userfaultfd */
    tcase_add_loop_test(t, closed_in_mid_mark, 0, OAKI_COUNT(which));
    tcase_add_loop_test(t, closed_between_two, 0, OAKI_COUNT(which));
    tcase_add_test(t, numbers_that_are_the_programs_by_now);
    tcase_add_test(t, numbers_out_of_the_way);
    tcase_add_loop_test(t, closed_where_none_can_be_opened, 0, 2);
    tcase_add_loop_test(t, a_thread_without_them_collects, 0, 2);
    tcase_add_test(t, a_thread_without_them_is_the_first_to_collect);
    tcase_add_test(t, a_thread_that_alone_has_them);
    tcase_add_test(t, a_child_of_a_thread_without_them);
    return s;
}
