/* task.c - tests of runtime/task.c: what /proc tells of threads, and texts with lines of any
 * length. */
#include "runtime/task.h"
#include "runtime/base.h"
#include "runtime/os.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_runtime_task(void);

static char path[] = "/tmp/oakum-task.XXXXXX";

static void write_text(size_t long_line)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    FILE *f = fdopen(fd, "w");
    ck_assert_ptr_nonnull(f);
    fputs("Name:\ta name\nState:\tS (sleeping)\nGroups:\t", f);
    for (size_t i = 0; i < long_line; i++) fputs("SigBlk:\t1 ", f);
    fputs("\nxSigBlk:\t2\nSigBlk:\t0000000000000400\nSigIgn:\t", f);
    for (int i = 0; i < 100; i++) fputc('0' + i % 10, f);
    fputs("\nLast:\t7\nEnd:\t8", f);
    ck_assert_int_eq(fclose(f), 0);
}

/* A user may be in 65,536 groups, whose line stands before those that are wanted. */
START_TEST(lines_are_found_behind_one_of_any_length)
{
    static const size_t lengths[] = { 0, 1, 25, 26, 1000, 65536 };
    oaki_task_line line[] = { { .label = "SigBlk:\t" },
                              { .label = "State:\t" },
                              { .label = "SigIgn:\t" },
                              { .label = "None:\t" },
                              { .label = "Last:\t" } };
    write_text(lengths[_i]);
    ck_assert_int_eq(oaki_task_lines(AT_FDCWD, path, line, OAKI_COUNT(line)), 0);
    unlink(path);
    ck_assert_str_eq(line[0].value, "0000000000000400");
    ck_assert_str_eq(line[1].value, "S (sleeping)");
    ck_assert_str_eq(line[2].value, "01234567890123456789012"); /* cut */
    ck_assert_str_eq(line[3].value, "");
    ck_assert_str_eq(line[4].value, "7");
}
END_TEST

START_TEST(a_text_that_is_not_there_has_a_reason)
{
    oaki_task_line line = { .label = "State:\t" };
    ck_assert_int_eq(oaki_task_lines(AT_FDCWD, "/proc/self/task/0/status", &line, 1), -1);
    ck_assert(oaki_task_none(errno));
    ck_assert_str_eq(line.value, "");
}
END_TEST

START_TEST(a_thread_of_this_process_is_known)
{
    oaki_task t;
    ck_assert(oaki_task_read(oaki_os_tid(), &t));
    ck_assert_int_eq(t.state, 'R');
    ck_assert(!t.worker && !oaki_task_is_dead(&t));
    ck_assert(!oaki_task_read(0, &t));
    ck_assert(oaki_task_none(errno));
}
END_TEST

Suite *suite_runtime_task(void)
{
    Suite *s = suite_create("runtime/task");
    TCase *t = tcase_create("task");
    tcase_add_loop_test(t, lines_are_found_behind_one_of_any_length, 0, 6);
    tcase_add_test(t, a_text_that_is_not_there_has_a_reason);
    tcase_add_test(t, a_thread_of_this_process_is_known);
    suite_add_tcase(s, t);
    return s;
}
