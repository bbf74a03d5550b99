/* options.c - tests of runtime/options.c: defaults, every form of a value in the environment, and
 * what is said about a bad one. */
#include "runtime/options.h"
#include "tests/capture.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_options(void);

static size_t parsed_size(const char *s)
{
    size_t v = 12345;
    ck_assert_msg(oaki_parse_size(s, 0, SIZE_MAX, &v) == 0, "%s", s);
    return v;
}

START_TEST(a_size_is_a_number_with_a_power_of_1024)
{
    ck_assert_uint_eq(parsed_size("0"), 0);
    ck_assert_uint_eq(parsed_size("1"), 1);
    ck_assert_uint_eq(parsed_size("0064"), 64);
    ck_assert_uint_eq(parsed_size("3K"), 3 << 10);
    ck_assert_uint_eq(parsed_size("64M"), 64 << 20);
    ck_assert_uint_eq(parsed_size("64m"), 64 << 20);
    ck_assert_uint_eq(parsed_size("5G"), (size_t)5 << 30);
    ck_assert_uint_eq(parsed_size("2T"), (size_t)2 << 40);
    ck_assert_uint_eq(parsed_size("18446744073709551615"), SIZE_MAX);
    ck_assert_uint_eq(parsed_size("16777215T"), (size_t)16777215 << 40);
}
END_TEST

START_TEST(a_bad_size_changes_nothing)
{
    static const char *const bad[] = { "",          "K",
                                       "-1",        "+1",
                                       " 1",        "1 ",
                                       "1KB",       "1KK",
                                       "1.5M",      "0x10",
                                       "1P",        "1k1",
                                       "abc",       "1\n",
                                       "M1",        "18446744073709551616",
                                       "16777216T", "99999999999999999999999999" };
    for (size_t i = 0; i < OAKI_COUNT(bad); i++) {
        size_t v = 77;
        errno = 0;
        ck_assert_msg(oaki_parse_size(bad[i], 0, SIZE_MAX, &v) == -1, "%s", bad[i]);
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_uint_eq(v, 77);
    }
    size_t v = 77;
    ck_assert_int_eq(oaki_parse_size("9", 10, 20, &v), -1);
    ck_assert_int_eq(oaki_parse_size("21", 10, 20, &v), -1);
    ck_assert_uint_eq(v, 77);
    ck_assert_int_eq(oaki_parse_size("10", 10, 20, &v), 0);
    ck_assert_int_eq(oaki_parse_size("20", 10, 20, &v), 0);
}
END_TEST

START_TEST(a_whole_number_may_be_negative)
{
    int v = 0;
    ck_assert_int_eq(oaki_parse_int("-1", -1, 100, &v), 0);
    ck_assert_int_eq(v, -1);
    ck_assert_int_eq(oaki_parse_int("100", -1, 100, &v), 0);
    ck_assert_int_eq(v, 100);
    ck_assert_int_eq(oaki_parse_int("2147483647", INT_MIN, INT_MAX, &v), 0);
    ck_assert_int_eq(v, INT_MAX);
    ck_assert_int_eq(oaki_parse_int("-2147483647", INT_MIN, INT_MAX, &v), 0);
    ck_assert_int_eq(v, -INT_MAX);
    static const char *const bad[] = { "",
                                       "-",
                                       "--1",
                                       "+1",
                                       "1K",
                                       " 1",
                                       "1 ",
                                       "0x1",
                                       "-2",
                                       "101",
                                       "1.0",
                                       "4294967297",
                                       "99999999999999999999" };
    for (size_t i = 0; i < OAKI_COUNT(bad); i++) {
        v = 77;
        ck_assert_msg(oaki_parse_int(bad[i], -1, 100, &v) == -1, "%s", bad[i]);
        ck_assert_int_eq(v, 77);
    }
}
END_TEST

START_TEST(the_defaults_are_those_of_the_table_and_in_range)
{
    oak_config cfg;
    memset(&cfg, 0xff, sizeof cfg);
    clearenv(); /* make check-paths sets one of them */
    oak_config_default(&cfg);
#define EQUAL(field, type, def, min, max, help) \
    ck_assert_msg(cfg.field == (oak_option_##type)def, #field);
    OAK_OPTIONS(EQUAL)
#undef EQUAL
    ck_assert_ptr_null(oaki_options_check(&cfg));
}
END_TEST

START_TEST(a_variable_has_no_unit_in_its_name)
{
    oak_config cfg;
    setenv("OAKUM_PAUSE_GOAL", "2500", 1);
    setenv("OAKUM_PAUSE_GOAL_US", "9", 1);
    setenv("OAKUM_DECAY", "7", 1);
    oak_config_default(&cfg);
    ck_assert_int_eq(cfg.pause_goal_us, 2500);
    ck_assert_int_eq(cfg.decay_ms, 7);
}
END_TEST

START_TEST(the_first_field_out_of_range_is_named)
{
    oak_config cfg;
    oak_config_default(&cfg);
    cfg.huge_pages = 2;
    ck_assert_str_eq(oaki_options_check(&cfg), "huge_pages");
    cfg.gc_percent = -2;
    ck_assert_str_eq(oaki_options_check(&cfg), "gc_percent");
    cfg.heap_reserve = (size_t)17 << 40;
    ck_assert_str_eq(oaki_options_check(&cfg), "heap_reserve");
}
END_TEST

/* What the next child makes of the environment; prints the fields to stderr, after any complaint.
 */
static void read_environment(void *arg)
{
    oak_config cfg;
    oak_config_default(&cfg);
    fprintf(stderr, "%d %zu %zu %d %d %d", cfg.gc_percent, cfg.min_heap, cfg.memory_limit,
            oaki_debug_switches.gctrace, oaki_debug_switches.stress, oaki_debug_switches.verify);
    (void)arg;
}

/* The whole program may have been started with one. */
static void without_switches(void)
{
    unsetenv("OAKUM_DEBUG");
    unsetenv("OAKUM_TRACKING");
}

static void expect(const char *variable, const char *value, const char *text)
{
    char err[2048];
    if (value) setenv(variable, value, 1);
    ck_assert_int_eq(test_capture(read_environment, NULL, err, sizeof err), 0);
    ck_assert_str_eq(err, text);
    unsetenv(variable);
}

START_TEST(good_values_are_taken_silently)
{
    expect("NOTHING", NULL, "100 0 0 0 0 0");
    expect("OAKUM_GC_PERCENT", "50", "50 0 0 0 0 0");
    expect("OAKUM_GC_PERCENT", "-1", "-1 0 0 0 0 0");
    expect("OAKUM_MIN_HEAP", "64K", "100 65536 0 0 0 0");
    expect("OAKUM_MEMORY_LIMIT", "1G", "100 0 1073741824 0 0 0");
    expect("OAKUM_DEBUG", "gctrace=1", "100 0 0 1 0 0");
    expect("OAKUM_DEBUG", "gctrace=1,stress=1000,verify=1", "100 0 0 1 1000 1");
    expect("OAKUM_DEBUG", ",verify=1,,", "100 0 0 0 0 1");
    expect("OAKUM_DEBUG", "", "100 0 0 0 0 0");
}
END_TEST

START_TEST(a_bad_value_is_named_with_the_form_that_is_accepted)
{
    expect("OAKUM_GC_PERCENT", "fast",
           "oakum: OAKUM_GC_PERCENT=fast is ignored: it must be a whole number from -1 to "
           "100000\n100 0 0 0 0 0");
    expect("OAKUM_GC_PERCENT", "",
           "oakum: OAKUM_GC_PERCENT= is ignored: it must be a whole number from -1 to 100000\n100 "
           "0 0 0 0 0");
    expect("OAKUM_MIN_HEAP", "4MB",
           "oakum: OAKUM_MIN_HEAP=4MB is ignored: it must be a number of bytes, which may end in "
           "K, M, G or T\n"
           "100 0 0 0 0 0");
    expect("OAKUM_HEAP_RESERVE", "17T",
           "oakum: OAKUM_HEAP_RESERVE=17T is ignored: it must be a number of bytes, which may end "
           "in K, M, G or T, at most 17592186044416\n"
           "100 0 0 0 0 0");
    expect("OAKUM_MEMORY_LIMIT", "-1",
           "oakum: OAKUM_MEMORY_LIMIT=-1 is ignored: it must be a number of bytes, which may end "
           "in K, M, G or T\n"
           "100 0 0 0 0 0");
}
END_TEST

static void read_tracking(void *arg)
{
    oak_config cfg;
    (void)arg;
    oak_config_default(&cfg);
    fprintf(stderr, "%d", (int)cfg.tracking);
}

START_TEST(a_name_is_one_of_those_that_there_are)
{
    static const struct {
        const char *value, *text;
    } cases[] = {
        { "userfaultfd", "0" },
        { "faults", "1" },
        { "any", "2" },
        { "none", "3" },
        { "fault", "oakum: OAKUM_TRACKING=fault is ignored: it must be one of userfaultfd faults "
                   "any none\n0" },
        { "", "oakum: OAKUM_TRACKING= is ignored: it must be one of userfaultfd faults any "
              "none\n0" },
    };
    char err[256];
    oak_config cfg;
    for (size_t i = 0; i < OAKI_COUNT(cases); i++) {
        setenv("OAKUM_TRACKING", cases[i].value, 1);
        ck_assert_int_eq(test_capture(read_tracking, NULL, err, sizeof err), 0);
        ck_assert_str_eq(err, cases[i].text);
    }
    unsetenv("OAKUM_TRACKING");
    oak_config_default(&cfg);
    cfg.tracking = OAK_TRACKINGS_N;
    ck_assert_str_eq(oaki_options_check(&cfg), "tracking");
}
END_TEST

START_TEST(a_bad_switch_is_named_and_the_others_count)
{
    expect("OAKUM_DEBUG", "verify=1,gctrace=2,stress=3",
           "oakum: OAKUM_DEBUG: gctrace=2 is ignored: it must be gctrace=N with N from 0 to 1\n100 "
           "0 0 0 3 1");
    expect("OAKUM_DEBUG", "verify",
           "oakum: OAKUM_DEBUG: verify is ignored: it must be verify=N with N from 0 to 1\n100 "
           "0 0 0 0 0");
    char text[512];
    snprintf(text, sizeof text,
             "oakum: OAKUM_DEBUG: gctrce is unknown; the switches are"
#define NAME(name, min, max, help) " " #name
             OAKI_DEBUG_SWITCHES(NAME)
#undef NAME
                 " guard\n100 0 0 0 0 1");
    expect("OAKUM_DEBUG", "gctrce=1,verify=1", text);
    expect("OAKUM_DEBUG", "guard=pages,verify=1",
           "oakum: OAKUM_DEBUG: guard=pages is ignored: it must be guard, guard=page, "
           "guard=continue or guard=page+continue\n100 0 0 0 0 1");
    static const char *const wrong[] = { "", "1", "page+", "+page", "PAGE", "page=1" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char value[64];
        snprintf(value, sizeof value, "guard=%s", wrong[i]);
        snprintf(text, sizeof text,
                 "oakum: OAKUM_DEBUG: guard=%s is ignored: it must be guard, guard=page, "
                 "guard=continue or guard=page+continue\n100 0 0 0 0 0",
                 wrong[i]);
        expect("OAKUM_DEBUG", value, text);
    }
}
END_TEST

START_TEST(a_very_long_value_is_refused_in_one_line)
{
    char value[5000], err[8192];
    memset(value, '9', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    setenv("OAKUM_GC_PERCENT", value, 1);
    setenv("OAKUM_DEBUG", value, 1);
    ck_assert_int_eq(test_capture(read_environment, NULL, err, sizeof err), 0);
    const char *first_end = strchr(err, '\n');
    ck_assert_ptr_nonnull(first_end);
    ck_assert_ptr_nonnull(strstr(err, "OAKUM_GC_PERCENT="));
    ck_assert_ptr_nonnull(strstr(err, "whole number from -1 to 100000\n"));
    ck_assert_ptr_nonnull(strstr(err, "\n100 0 0 0 0 0"));
}
END_TEST

/* As a program does that changes an option and starts. */
static void read_and_start(void *arg)
{
    oak_config cfg;
    (void)arg;
    oak_config_default(&cfg);
    if (oak_init(&cfg) != 0 || oak_init(NULL) != 0) abort();
    setenv("OAKUM_MIN_HEAP", "tiny", 1);
    oak_config_default(&cfg);
}

START_TEST(each_bad_variable_is_named_once)
{
    char err[2048];
    setenv("OAKUM_GC_PERCENT", "fast", 1);
    setenv("OAKUM_STOP_SIGNAL", "9", 1);
    setenv("OAKUM_DEBUG", "verify=2,nothing", 1);
    ck_assert_int_eq(test_capture(read_and_start, NULL, err, sizeof err), 0);
    static const char *const said[] = { "OAKUM_GC_PERCENT=fast", "OAKUM_STOP_SIGNAL=9",
                                        "OAKUM_DEBUG: verify=2", "OAKUM_DEBUG: nothing",
                                        "OAKUM_MIN_HEAP=tiny" };
    size_t lines = 0;
    for (const char *p = err; (p = strchr(p, '\n')) != NULL; p++) lines++;
    ck_assert_msg(lines == OAKI_COUNT(said), "%s", err);
    for (size_t i = 0; i < OAKI_COUNT(said); i++)
        ck_assert_msg(strstr(err, said[i]) != NULL, "%s", err);
}
END_TEST

Suite *suite_runtime_options(void)
{
    Suite *s = suite_create("runtime_options");
    TCase *tc = tcase_create("options");
    tcase_add_checked_fixture(tc, without_switches, NULL);
    tcase_add_test(tc, a_size_is_a_number_with_a_power_of_1024);
    tcase_add_test(tc, a_bad_size_changes_nothing);
    tcase_add_test(tc, a_whole_number_may_be_negative);
    tcase_add_test(tc, the_defaults_are_those_of_the_table_and_in_range);
    tcase_add_test(tc, a_variable_has_no_unit_in_its_name);
    tcase_add_test(tc, the_first_field_out_of_range_is_named);
    tcase_add_test(tc, good_values_are_taken_silently);
    tcase_add_test(tc, a_bad_value_is_named_with_the_form_that_is_accepted);
    tcase_add_test(tc, a_name_is_one_of_those_that_there_are);
    tcase_add_test(tc, a_bad_switch_is_named_and_the_others_count);
    tcase_add_test(tc, each_bad_variable_is_named_once);
    tcase_add_test(tc, a_very_long_value_is_refused_in_one_line);
    suite_add_tcase(s, tc);
    return s;
}
