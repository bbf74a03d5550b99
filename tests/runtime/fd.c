/* fd.c - tests of runtime/fd.h: descriptors are known again, and out of the way, whatever the
 * limit. */
#include "runtime/fd.h"

#include <check.h>
#include <fcntl.h>
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

Suite *suite_runtime_fd(void)
{
    Suite *s = suite_create("runtime_fd");
    TCase *t = tcase_create("fd");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_number_that_is_another_files_by_now);
    if (getenv("UNDER_VALGRIND")) return s; /* it keeps the limit of descriptors to itself */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        tcase_add_loop_exit_test(t, high_numbers, 0, (int)i, (int)i + 1);
    return s;
}
