/* fd.c - tests of runtime/fd.h: descriptors are known again, and out of the way, whatever the
 * limit. */
#include "runtime/fd.h"
#include "runtime/os.h"

#include "tests/skip.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

Suite *suite_runtime_fd(void);

START_TEST(a_number_that_is_another_files_by_now)
{
    oaki_fd_file file;
    int pair[2];
    ck_assert_int_eq(pipe(pair), 0);
    ck_assert(oaki_fd_note(pair[0], &file));
    ck_assert(oaki_fd_is(pair[0], &file));
    ck_assert(oaki_fd_is(pair[1], &file)); /* one pipe */
    close(pair[1]);
    ck_assert_int_eq(dup2(STDIN_FILENO, pair[0]), pair[0]);
    ck_assert(!oaki_fd_is(pair[0], &file));
    close(pair[0]);
    ck_assert(!oaki_fd_is(pair[0], &file));
    ck_assert(!oaki_fd_note(pair[0], &file));
    ck_assert(!oaki_fd_note(-1, &file));
}
END_TEST

/* The limit, and the number that the first of them gets: -1 for none. */
static const struct {
    rlim_t limit;
    int number;
} cases[] = { { 4096, 1000 }, { 1008, 1000 }, { 1007, 999 }, { 1000, 992 },
              { 64, 56 },     { 12, 4 },      { 11, 3 },     { 6, 3 },      { 3, -1 } };

START_TEST(high_numbers)
{
    struct rlimit limit = { cases[_i].limit, 4096 };
    for (int fd = STDERR_FILENO + 1; fd < 4096; fd++) (void)close(fd);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(1);
    int copy = oaki_fd_copy_high(STDERR_FILENO), again = dup(STDERR_FILENO);
    bool right = copy == cases[_i].number && (copy < 0 || fcntl(copy, F_GETFD) == FD_CLOEXEC);
    right = right && (copy < 0 || close(copy) == 0);
    int moved = again >= 0 ? oaki_fd_move_high(again) : -1;
    right = right && (copy < 0 ? moved == again : moved == copy);
    _exit(right ? 0 : 1);
}
END_TEST

/* ---- room for them ---- */

static int table_size(void)
{
    char line[256];
    int size = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "FDSize: %d", &size) != 1) {}
    ck_assert(f && size > 0);
    fclose(f);
    return size;
}

/* false: this C library does not tell that there is one thread. */
static bool allow_many(void)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_lt(table_size(), 1000);
    return !test_skip(!oaki_os_alone(), "libc does not tell of other threads");
}

START_TEST(room_is_made_while_there_is_one_thread)
{
    if (!allow_many()) return;
    errno = E2BIG;
    oaki_fd_make_room();
    ck_assert_int_eq(errno, E2BIG);
    ck_assert_int_gt(table_size(), 1000);
    ck_assert_int_eq(fcntl(1000, F_GETFD), -1);
}
END_TEST

START_TEST(the_heap_starts_with_room)
{
    oak_config cfg;
    if (!allow_many()) return;
    oak_config_default(&cfg);
    cfg.concurrent = 1;
    cfg.tracking = OAK_TRACKING_USERFAULTFD;
    ck_assert_int_eq(oak_init(&cfg), 0);
    ck_assert_int_gt(table_size(), 1000);
}
END_TEST

static void *nothing(void *arg)
{
    return arg;
}

START_TEST(no_room_is_made_among_threads)
{
    pthread_t id;
    if (!allow_many()) return;
    ck_assert_int_eq(pthread_create(&id, NULL, nothing, NULL), 0);
    int before = table_size();
    oaki_fd_make_room();
    ck_assert_int_eq(table_size(), before);
    pthread_join(id, NULL);
}
END_TEST

Suite *suite_runtime_fd(void)
{
    Suite *s = suite_create("runtime_fd");
    TCase *t = tcase_create("fd");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_number_that_is_another_files_by_now);
    if (test_skip_valgrind()) return s; /* it keeps the limit of descriptors to itself */
    tcase_add_test(t, room_is_made_while_there_is_one_thread);
    tcase_add_test(t, the_heap_starts_with_room);
    tcase_add_test(t, no_room_is_made_among_threads);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        tcase_add_loop_exit_test(t, high_numbers, 0, (int)i, (int)i + 1);
    return s;
}
