/* crew.c - tests of runtime/crew.c: threads of Oakum's end when they are told to, and are gone
 * then; and of oak_shutdown in a program that holds the static library. */
#include "runtime/crew.h"
#include "runtime/heap.h"
#include "runtime/mappings.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <errno.h>
#include <unistd.h>

Suite *suite_runtime_crew(void);

#define FOR_EVER (UINT64_MAX / 2)

static oaki_waker waker;
static AO_t begun, ended;

static void *waits(void *arg)
{
    unsigned seen = 0;
    AO_fetch_and_add1_full(&begun);
    while (oaki_crew_wait(&waker, &seen)) continue;
    AO_fetch_and_add1_full(&ended);
    return arg;
}

static void *naps(void *arg)
{
    AO_fetch_and_add1_full(&begun);
    while (oaki_crew_nap(UINT64_C(3600000000000))) continue;
    AO_fetch_and_add1_full(&ended);
    return arg;
}

static void *works(void *arg)
{
    AO_fetch_and_add1_full(&begun);
    while (!oaki_crew_ends()) oaki_os_yield();
    AO_fetch_and_add1_full(&ended);
    return arg;
}

static void spawn(void *(*fn)(void *), bool attach)
{
    ck_assert_int_eq(oaki_thread_spawn("oakum/test", fn, NULL, attach), 0);
}

START_TEST(all_end_when_they_are_told_to)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    spawn(waits, false);
    spawn(waits, true);
    spawn(naps, false);
    spawn(naps, true);
    spawn(works, false);
    test_wait(&begun, 5);
    ck_assert(oaki_crew_end(true, FOR_EVER));
    ck_assert_uint_eq(AO_load(&ended), 5);
    ck_assert_ptr_null(oaki_the_heap.threads->next);
    ck_assert_int_eq(oaki_thread_spawn("oakum/test", waits, NULL, false), ECANCELED);
    oaki_crew_resume();
    spawn(waits, false);
    test_wait(&begun, 6);
}
END_TEST

/* After chroot the system tells of threads by tgkill alone. */
static void end_without_proc(void *unused)
{
    (void)unused;
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(chroot("/usr/lib"), 0);
    ck_assert_int_ne(access("/proc/self", F_OK), 0);
    for (AO_t i = 0; i < 50; i++) {
        spawn(waits, false);
        spawn(naps, true);
        test_wait(&begun, 2 * i + 2);
        ck_assert(oaki_crew_end(true, FOR_EVER));
        ck_assert_uint_eq(AO_load(&ended), 2 * i + 2);
        oaki_crew_resume();
    }
}

START_TEST(without_proc_they_end_too)
{
    if (test_skip(geteuid() != 0, "chroot needs root")) return;
    test_child(end_without_proc, NULL);
}
END_TEST

/* One that has just been started is waited for, too. */
START_TEST(none_is_missed_as_it_starts)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    for (AO_t i = 0; i < 200; i++) {
        spawn(i % 2 ? waits : naps, i % 3 == 0);
        ck_assert(oaki_crew_end(true, FOR_EVER));
        ck_assert_uint_eq(AO_load(&ended), i + 1);
        oaki_crew_resume();
    }
}
END_TEST

START_TEST(the_attached_end_first)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    spawn(waits, true);
    spawn(works, false);
    test_wait(&begun, 2);
    ck_assert(oaki_crew_end(false, FOR_EVER));
    ck_assert_uint_eq(AO_load(&ended), 1);
    oaki_crew_resume();
    ck_assert(oaki_crew_end(true, FOR_EVER));
    ck_assert_uint_eq(AO_load(&ended), 2);
}
END_TEST

static AO_t go;

static void *stays(void *arg)
{
    AO_fetch_and_add1_full(&begun);
    test_wait(&go, 1);
    return arg;
}

START_TEST(one_that_does_not_end_is_told_of)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    spawn(stays, false);
    test_wait(&begun, 1);
    ck_assert(!oaki_crew_end(true, 1000000));
    AO_store(&go, 1);
    ck_assert(oaki_crew_end(true, FOR_EVER));
}
END_TEST

/* A thread keeps no seat beyond its end: more are started than there are seats. */
START_TEST(seats_are_taken_again)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store(&go, 1);
    for (int i = 0; i < 500; i++)
        while (oaki_thread_spawn("oakum/test", stays, NULL, false) == EAGAIN) oaki_os_yield();
}
END_TEST

/* ---- the table of mappings ---- */

START_TEST(all_mappings_are_known)
{
    enum { N = 600 };
    static char *p[N];
    size_t page = oaki_os_page_size();
    ck_assert_int_eq(oak_thread_attach(), 0);
    size_t before = oaki_mappings_count();
    ck_assert_uint_gt(before, 0);
    for (size_t i = 0; i < N; i++) {
        p[i] = i % 2 ? oaki_os_map(2 * page) : oaki_os_reserve(2 * page, page);
        ck_assert_ptr_nonnull(p[i]);
    }
    ck_assert_uint_eq(oaki_mappings_count(), before + N);
    for (size_t i = 0; i < N; i++) oaki_os_shorten(p[i], 2 * page, page);
    ck_assert_uint_eq(oaki_mappings_count(), before + N);
    for (size_t i = 1; i < N; i += 2)
        ck_assert_ptr_nonnull(p[i] = oaki_os_remap(p[i], page, 4 * page));
    ck_assert_uint_eq(oaki_mappings_count(), before + N);
    for (size_t i = 0; i < N; i++) oaki_os_release(p[i], i % 2 ? 4 * page : page);
    ck_assert_uint_eq(oaki_mappings_count(), before);
}
END_TEST

/* ---- oak_shutdown ---- */

START_TEST(a_static_library_ends_once)
{
    for (int i = 0; i < 100000; i++) ck_assert_ptr_nonnull(oak_alloc(100));
    oak_collect();
    ck_assert_uint_gt(oaki_mappings_count(), 0);
    ck_assert_int_eq(oak_shutdown(), 0);
    ck_assert_uint_eq(oaki_mappings_count(), 0);
    ck_assert_int_eq(oak_shutdown(), 0);
    errno = 0;
    ck_assert_int_eq(oak_init(NULL), -1);
    ck_assert_int_eq(errno, ENOTSUP);
    errno = 0;
    ck_assert_ptr_null(oak_alloc(100));
    ck_assert_int_eq(errno, ENOTSUP);
    pid_t pid = fork();
    if (pid == 0) _exit(oak_alloc(100) != NULL);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

Suite *suite_runtime_crew(void)
{
    Suite *s = suite_create("runtime_crew");
    TCase *t = tcase_create("threads");
    tcase_add_test(t, all_end_when_they_are_told_to);
    tcase_add_test(t, without_proc_they_end_too);
    tcase_add_test(t, none_is_missed_as_it_starts);
    tcase_add_test(t, the_attached_end_first);
    tcase_add_test(t, one_that_does_not_end_is_told_of);
    tcase_add_test(t, seats_are_taken_again);
    suite_add_tcase(s, t);
    t = tcase_create("mappings");
    tcase_add_test(t, all_mappings_are_known);
    suite_add_tcase(s, t);
    t = tcase_create("shutdown");
    tcase_add_test(t, a_static_library_ends_once);
    suite_add_tcase(s, t);
    return s;
}
