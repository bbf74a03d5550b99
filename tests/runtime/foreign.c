/* foreign.c - tests of learning of writes by faults where a page can't be made writable again: the
 * program's own mappings over its objects, sealed ones, mappings that run out, a limit on data. */
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

Suite *suite_runtime_foreign(void);

#define PAGES 64
#define PAGE ((size_t)4096)
#define FIRST 20 /* of the pages that are another's */
#define LAST 29
#ifndef SYS_mseal
#define SYS_mseal 462 /* since Linux 6.10 */
#endif

static char *memory; /* PAGES pages of the heap */

static void protect_all(void)
{
    ck_assert(oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
}

static bool start(void)
{
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    if (test_skip(oaki_os_page_size() != PAGE, "pages are not of 4 KiB")) return false;
    memory = memset(oak_alloc(PAGES * PAGE), 1, PAGES * PAGE);
    ck_assert(test_written_start());
    return true;
}

static char *foreign(void)
{
    return memory + FIRST * PAGE;
}

static size_t foreign_size(void)
{
    return (LAST + 1 - FIRST) * PAGE;
}

/* All others are told of and can be written, before and after all is opened. */
static void others_work(void)
{
    for (int round = 0; round < 3; round++) {
        protect_all();
        for (size_t page = 0; page < PAGES; page++)
            if (page < FIRST || page > LAST) memory[page * PAGE] = (char)round;
        size_t from = oaki_heap_offset(memory);
        size_t n = oaki_dirty_take(from, from + FIRST * PAGE, false, NULL, NULL);
        ck_assert_uint_eq(n, FIRST);
        oaki_dirty_unprotect(0, AO_load(&oaki_the_heap.used));
        memory[(LAST + 1) * PAGE] = 1;
        ck_assert(oaki_dirty_may());
    }
    oak_writes_told told;
    ck_assert(oak_heap_tells_writes(&told));
    ck_assert_str_eq(told.by, "page faults");
}

/* The program may only read it, whatever it asks for. */
START_TEST(a_file_over_an_object)
{
    char name[] = "/tmp/oakum-foreign-XXXXXX", path[64];
    if (!start()) return;
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)foreign_size()), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int readonly = open(path, O_RDONLY | O_CLOEXEC);
    unlink(name);
    protect_all();
    ck_assert_ptr_eq(mmap(foreign(), foreign_size(), PROT_READ, MAP_SHARED | MAP_FIXED, readonly,
                           0),
                     foreign());
    others_work();
}
END_TEST

static bool seal(void)
{
    return syscall(SYS_mseal, foreign(), foreign_size(), 0) == 0;
}

/* While it is read only, or before. */
START_TEST(sealed_pages_of_an_object)
{
    if (!start()) return;
    if (_i) protect_all();
    if (test_skip(!seal(), "there is no mseal")) return;
    others_work();
}
END_TEST

static void write_foreign(int sig)
{
    (void)sig;
    _exit(3);
}

/* What the program has sealed is its own affair: its handler is told. */
START_TEST(a_write_to_a_sealed_page)
{
    signal(SIGSEGV, write_foreign);
    if (!start()) _exit(3);
    protect_all();
    if (!seal()) _exit(3);
    memory[FIRST * PAGE] = 1;
}
END_TEST

#define ATTEMPTS 3000

static void *write_first(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (AO_load_acquire((AO_t *)arg) == 0) memory[0]++;
    return arg;
}

/* Before the seal that refuses it the pages are read only for a moment, again and again: who writes
 * there meanwhile has done nothing wrong. */
START_TEST(a_write_while_protecting_is_refused)
{
    static AO_t over;
    signal(SIGSEGV, write_foreign);
    if (!start()) return;
    if (test_skip(!seal(), "there is no mseal")) return;
    size_t from = oaki_heap_offset(memory);
    pthread_t id = test_start(write_first, &over);
    for (int i = 0; i < ATTEMPTS; i++)
        ck_assert(oaki_dirty_protect(from, from + PAGES * PAGE));
    AO_store_release(&over, 1);
    test_join(id);
}
END_TEST

/* ---- mappings that run out ---- */

/* Each second page takes two more, until there are none; unmapping the n bytes gives them back. */
static char *use_up_mappings(size_t *n)
{
    *n = (size_t)1 << 33;
    char *all = mmap(NULL, *n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(all, MAP_FAILED);
    for (size_t at = PAGE; at < *n; at += 2 * PAGE)
        if (mprotect(all + at, PAGE, PROT_READ) != 0) return all;
    munmap(all, *n);
    return NULL; /* no limit worth the name */
}

/* Pages that are opened, and others for which a mapping would have to be parted: those that were
 * open for a moment may have been written. */
START_TEST(pages_that_open_before_others_fail)
{
    size_t n, first = 32 * PAGE, some = 48 * PAGE;
    if (!start()) return;
    size_t from = oaki_heap_offset(memory);
    ck_assert_int_eq(madvise(memory, first, MADV_DONTDUMP), 0); /* a mapping of its own */
    protect_all();
    ck_assert_uint_eq(oaki_dirty_take(from, from + some, false, NULL, NULL), 0);
    char *all = use_up_mappings(&n);
    if (test_skip(!all, "there is no limit on mappings")) return;
    oaki_dirty_unprotect(from, from + some);
    munmap(all, n);
    ck_assert_uint_eq(oaki_dirty_take(from, from + some, false, NULL, NULL), 32);
    memset(memory, 2, some);
    ck_assert_uint_eq(oaki_dirty_take(from, from + some, false, NULL, NULL), 48);
}
END_TEST

/* ---- a limit on data ---- */

static void limit_data(rlim_t n)
{
    struct rlimit data;
    ck_assert_int_eq(getrlimit(RLIMIT_DATA, &data), 0);
    data.rlim_cur = n;
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &data), 0);
}

START_TEST(no_cycle_by_faults_while_data_is_limited)
{
    if (!start()) return;
    test_dirty_begin();
    limit_data((rlim_t)1 << 40);
    ck_assert(!oaki_dirty_begin());
    ck_assert(!oaki_dirty_may());
    oak_collect();
    limit_data(RLIM_INFINITY);
    ck_assert(oaki_dirty_may());
    test_dirty_begin();
}
END_TEST

START_TEST(no_faults_where_data_is_limited_at_the_start)
{
    oak_writes_told told;
    if (test_skip_asan()) return; /* it maps memory of its own */
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    limit_data((rlim_t)1 << 40);
    ck_assert(!oak_heap_tells_writes(&told));
    ck_assert_ptr_nonnull(strstr(told.refused, oaki_os_page_size() == PAGE ? "RLIMIT_DATA" : ""));
    ck_assert_int_eq(told.error, ENOTSUP);
}
END_TEST

#define SAID_WHY 7 /* a status */

static void end_with(const char *message)
{
    _exit(strstr(message, "no memory to make a page") ? SAID_WHY : 1);
}

START_TEST(a_limit_that_comes_while_pages_are_read_only)
{
    if (!start()) _exit(SAID_WHY);
    oak_set_fatal_handler(end_with);
    protect_all();
    limit_data(PAGE);
    memory[0] = 2;
}
END_TEST

Suite *suite_runtime_foreign(void)
{
    Suite *s = suite_create("runtime_foreign");
    TCase *t = tcase_create("foreign");
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    if (test_skip_valgrind()) return s; /* it has mappings and limits of its own */
    tcase_add_test(t, a_file_over_an_object);
    tcase_add_loop_test(t, sealed_pages_of_an_object, 0, 2);
    tcase_add_exit_test(t, a_write_to_a_sealed_page, 3);
    tcase_add_test(t, a_write_while_protecting_is_refused);
    tcase_add_test(t, pages_that_open_before_others_fail);
    tcase_add_test(t, no_cycle_by_faults_while_data_is_limited);
    tcase_add_test(t, no_faults_where_data_is_limited_at_the_start);
    tcase_add_exit_test(t, a_limit_that_comes_while_pages_are_read_only, SAID_WHY);
    return s;
}
