/* input.c - tests of how the command reads whole files. */
#include "cmd/cmd.h"

#include "tests/heap.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_cmd_input(void);

START_TEST(a_file_of_any_length_is_read)
{
    static const size_t lengths[] = { 0, 1, 4094, 4095, 4096, 4097, 8191, 8192, 100000 };
    char *want = malloc(100000), path[] = "/tmp/oakum-test-XXXXXX";
    int fd = mkstemp(path);

    ck_assert(fd >= 0 && want != NULL);
    for (size_t i = 0; i < 100000; i++) want[i] = (char)(i % 251);
    for (size_t i = 0; i < OAKI_COUNT(lengths); i++) {
        size_t n = 1;
        char *text;

        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(pwrite(fd, want, lengths[i], 0), (ssize_t)lengths[i]);
        text = cmd_read_file(path, &n);
        ck_assert_ptr_nonnull(text);
        ck_assert_uint_eq(n, lengths[i]);
        ck_assert(memcmp(text, want, n) == 0 && text[n] == '\0');
        free(text);
    }
    free(want);
    close(fd);
    unlink(path);
}
END_TEST

START_TEST(a_file_whose_size_is_not_told_is_read)
{
    size_t n;
    char *text = cmd_read_file("/proc/self/status", &n);

    ck_assert_ptr_nonnull(text);
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_eq(strlen(text), n);
    free(text);
}
END_TEST

START_TEST(what_is_no_file_is_an_error)
{
    size_t n;

    ck_assert_ptr_null(cmd_read_file("/no/such/file", &n));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(cmd_read_file("/", &n));
    ck_assert_int_eq(errno, EISDIR);
    ck_assert_ptr_null(cmd_read_file("/dev/zero", &n));
    ck_assert_int_eq(errno, ESPIPE);
}
END_TEST

Suite *suite_cmd_input(void)
{
    Suite *s = suite_create("cmd_input");
    TCase *c = tcase_create("input");

    tcase_add_test(c, a_file_of_any_length_is_read);
    tcase_add_test(c, a_file_whose_size_is_not_told_is_read);
    tcase_add_test(c, what_is_no_file_is_an_error);
    suite_add_tcase(s, c);
    return s;
}
