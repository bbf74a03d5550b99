/* trace.c - tests of gc/gctrace.c: Go's line, byte for byte. The expected texts were worked out by
 * hand from what Go 1.19 prints (whole milliseconds from 10 up, two digits below, truncated). */
#include "gc/gctrace.h"

#include "tests/capture.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

Suite *suite_gc_trace(void);

static const char *line(const oaki_gctrace *t)
{
    static char buf[400];
    size_t n = oaki_gctrace_format(buf, sizeof buf, t);
    ck_assert_uint_lt(n, sizeof buf);
    ck_assert_uint_eq(n, strlen(buf));
    return buf;
}

START_TEST(a_whole_line_is_gos)
{
    oaki_gctrace t = {
        .cycle = 12,
        .since_start = 1234567890,
        .cpu_fraction = 0.0199,
        .stop = 18400,
        .mark = 1234567,
        .mark_end = 3700,
        .stop_cpu = 36900,
        .mark_cpu = 10999999,
        .mark_end_cpu = 7400,
        .heap_start = (size_t)4 << 20,
        .heap_end = ((size_t)5 << 20) - 1,
        .heap_live = (size_t)1 << 20,
        .goal = (size_t)5 << 20,
        .processors = 2,
    };
    ck_assert_str_eq(line(&t), "gc 12 @1.234s 1%: 0.018+1.2+0.003 ms clock, "
                               "0.036+0/10/0+0.007 ms cpu, 4->4->1 MB, 5 MB goal, 0 MB stacks, "
                               "0 MB globals, 2 P\n");
    t.forced = true;
    t.stacks = (size_t)3 << 20;
    t.globals = (size_t)7 << 20;
    ck_assert_ptr_nonnull(strstr(line(&t), " 3 MB stacks, 7 MB globals, 2 P (forced)\n"));
}
END_TEST

START_TEST(milliseconds_are_written_as_go_writes_them)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } golden[] = {
        { 0, "0" },           { 999, "0" },
        { 1000, "0.001" },    { 9999, "0.009" },
        { 10000, "0.010" },   { 99999, "0.099" },
        { 100000, "0.10" },   { 999999, "0.99" },
        { 1000000, "1.0" },   { 9999999, "9.9" },
        { 10000000, "10" },   { 10999999, "10" },
        { 123456789, "123" }, { 60000000000, "60000" },
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        oaki_gctrace t = { .mark = golden[i].ns };
        char want[64];
        snprintf(want, sizeof want, "%%: 0+%s+0 ms clock", golden[i].text);
        ck_assert_msg(strstr(line(&t), want) != NULL, "%s is not in %s", want, line(&t));
    }
}
END_TEST

START_TEST(the_start_is_in_seconds_with_milliseconds)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } golden[] = {
        { 0, "gc 0 @0.000s 0%" },
        { 1999999, "gc 0 @0.001s 0%" },
        { 45000000, "gc 0 @0.045s 0%" },
        { 3600000000000, "gc 0 @3600.000s 0%" },
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        oaki_gctrace t = { .since_start = golden[i].ns };
        ck_assert_int_eq(strncmp(line(&t), golden[i].text, strlen(golden[i].text)), 0);
    }
}
END_TEST

START_TEST(the_largest_values_fit_one_line)
{
    oaki_gctrace t;
    memset(&t, 0xff, sizeof t);
    t.cpu_fraction = 1;
    t.forced = true;
    const char *text = line(&t);
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
}
END_TEST

static void print(void *arg)
{
    oaki_gctrace_cycle(arg);
}

START_TEST(the_line_goes_to_stderr)
{
    oaki_gctrace t = { .cycle = 3, .processors = 1 };
    char out[512];
    ck_assert_int_eq(test_capture(print, &t, out, sizeof out), 0);
    ck_assert_str_eq(out, line(&t));
}
END_TEST

Suite *suite_gc_trace(void)
{
    Suite *s = suite_create("gc/trace");
    TCase *c = tcase_create("line");
    tcase_add_test(c, a_whole_line_is_gos);
    tcase_add_test(c, milliseconds_are_written_as_go_writes_them);
    tcase_add_test(c, the_start_is_in_seconds_with_milliseconds);
    tcase_add_test(c, the_largest_values_fit_one_line);
    tcase_add_test(c, the_line_goes_to_stderr);
    suite_add_tcase(s, c);
    return s;
}
