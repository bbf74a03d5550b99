/* runner.c - tests of `oakum leaks` on scenarios that are made to pass, to miss, to crash and to
 * hang.
 *
 * This file takes the place of tests/scenarios/list.c: the command sees these scenarios only. */
#include "run.h"

#include "cmd/cmd.h"
#include "tests/scenarios/results.h"
#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_cmd_runner(void);

/* ---- scenarios ---- */

static void *kept;

/* A row of a scenario that measures as real ones do: else the leak detector would not have looked,
 * which fails it. */
static void begin(scn *s, const char *what)
{
    scn_row(s, "%s", what);
    (void)scn_live();
}

static void keep_a_megabyte(void *arg)
{
    (void)arg;
    kept = scn_must(oak_alloc_noscan(1 << 20));
}

static void measure_a_megabyte(scn *s)
{
    double start = scn_live(), live;

    scn_keep(&kept); /* or the variable, which nobody reads, would not be written */
    scn_row(s, "a megabyte, kept");
    scn_on_thread(keep_a_megabyte, NULL);
    live = scn_live() - start;
    scn_retained(s, live, SCN_BYTES);
    scn_go(s, "1,048,576");
    scn_pointed(s, "a \"quoted\" word, a backslash \\ and a\ttab");
    scn_expect_bytes(s, "retained", live, 1 << 20, 5);
    kept = NULL;
    scn_expect_none(s, "retained when dropped", scn_live() - start);
    scn_figure(s, "not a number", (double)NAN, SCN_RATIO);
}

static void miss(scn *s)
{
    scn_row(s, "what holds");
    scn_expect(s, "two", 2, 2, 2);
    scn_row(s, "what does not");
    scn_expect(s, "three", 3, 0, 1);
    scn_expect_true(s, "a lie", false);
}

/* The first time in a directory it misses. */
static void waver(scn *s)
{
    begin(s, "right the second time");
    scn_expect_true(s, "second run", access("waved", F_OK) == 0);
    fclose(fopen("waved", "w"));
}

static void crash(scn *s)
{
    scn_row(s, "before the crash");
    scn_expect_true(s, "a truth", true);
    scn_row(s, "while it crashes");
    scn_expect_true(s, "a truth", true);
    signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler */
    raise(SIGSEGV);
}

static void hang(scn *s)
{
    scn_row(s, "for ever");
    for (;;) pause();
}

static void misuse(scn *s)
{
    int on_the_stack = 0;

    scn_row(s, "a bad free");
    oak_free(&on_the_stack);
}

static void leave(scn *s)
{
    scn_row(s, "on the way out");
    _exit(7);
}

static void run_out(scn *s)
{
    scn_row(s, "too much");
    scn_must(NULL);
}

/* Whether a file is there within a second. */
static bool appears(const char *name)
{
    for (int i = 0; i < 100; i++) {
        if (access(name, F_OK) == 0) return true;
        usleep(10000);
    }
    return false;
}

/* Each waits for the other: they pass if they run side by side. */
static void meet(scn *s, const char *mine, const char *other)
{
    begin(s, "waiting for the other");
    fclose(fopen(mine, "w"));
    scn_expect_true(s, "the other is there", appears(other));
}

static void meet_right(scn *s)
{
    meet(s, "left", "right");
}

static void meet_left(scn *s)
{
    meet(s, "right", "left");
}

/* One that runs alone, and one that may run beside others: they never see each other. */
static void stay_alone(scn *s, const char *mine, const char *other)
{
    bool seen = false;

    begin(s, "looking around");
    fclose(fopen(mine, "w"));
    for (int i = 0; i < 20; i++) {
        seen = seen || access(other, F_OK) == 0;
        usleep(5000);
    }
    unlink(mine);
    scn_expect_true(s, "nobody is there", !seen);
}

static void hermit(scn *s)
{
    stay_alone(s, "hermit", "guest");
}

static void guest(scn *s)
{
    stay_alone(s, "guest", "hermit");
}

/* Text of all kinds, for the page. */
static void hostile_text(scn *s)
{
    scn_row(s, "<script>alert('x')</script> & \"quotes\"");
    scn_retained(s, 1, SCN_COUNT);
    scn_go(s, "<b>1</b>");
    scn_pointed(s, "</td></table>");
    scn_expect(s, "<i>one</i>", 2, 1, 1);
}

/* Slower than those that are named behind it. */
static void dawdle(scn *s)
{
    begin(s, "at last");
    usleep(300000);
    scn_expect_true(s, "a truth", true);
}

/* What a terminal sends to the command, in the middle of a scenario. */
static void interrupt(scn *s)
{
    scn_row(s, "interrupted");
    kill(getppid(), SIGINT);
    for (;;) pause(); /* it ends with its parent */
}

static void say_nothing(scn *s)
{
    (void)s;
}

static void expect_nothing(scn *s)
{
    scn_row(s, "no expectation");
    scn_retained(s, 1, SCN_COUNT);
}

static void skip(scn *s)
{
    scn_row(s, "too large for this machine");
    scn_skip(s, "not enough memory");
}

#define SCENARIOS(X)             \
    X(keeps, measure_a_megabyte) \
    X(misses, miss)              \
    X(crashes, crash)            \
    X(hangs, hang)               \
    X(misuses, misuse)           \
    X(leaves, leave)             \
    X(dry, run_out)              \
    X(silent, say_nothing)       \
    X(aimless, expect_nothing)   \
    X(skips, skip)               \
    X(wavers, waver)             \
    X(left, meet_right)          \
    X(right, meet_left)          \
    X(guest, guest)              \
    X(hostile, hostile_text)     \
    X(dawdles, dawdle)           \
    X(interrupts, interrupt)

#define DEFINE(name, fn) \
    { .id = #name, .class = 'N', .source = "tests", .leak = "leak of " #name, .run = fn },
static const scn_scenario fakes[] = {
    SCENARIOS(DEFINE){ .id = "hermit",
                       .class = 'N',
                       .source = "tests",
                       .leak = "leak of hermit",
                       .alone = true,
                       .run = hermit },
};
#undef DEFINE

const scn_scenario *const scn_scenarios[] = {
    &fakes[0],  &fakes[1],  &fakes[2],  &fakes[3],  &fakes[4],  &fakes[5],
    &fakes[6],  &fakes[7],  &fakes[8],  &fakes[9],  &fakes[10], &fakes[11],
    &fakes[12], &fakes[13], &fakes[14], &fakes[15], &fakes[16], &fakes[17], NULL,
};

/* ---- tests ---- */

static test_run r;

#define LEAKS(...) test_run_leaks(&r, (const char *[3]){ __VA_ARGS__ })

START_TEST(a_scenario_that_holds_exits_0_and_shows_what_it_measured)
{
    LEAKS("keeps");
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "1,048,576"));
    ck_assert_ptr_nonnull(strstr(r.out, "all as expected"));
    ck_assert_ptr_null(strstr(r.out, "FAIL"));
    ck_assert_str_eq(strchr(r.err, '\0') - 2, "s\n"); /* progress: plain lines */
}
END_TEST

START_TEST(a_missed_expectation_exits_1_and_is_told_with_the_figure_seen)
{
    LEAKS("misses");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.out, "FAIL  three: 3, expected 0 to 1"));
    ck_assert_ptr_nonnull(strstr(r.out, "FAIL  a lie: no"));
    ck_assert_ptr_null(strstr(r.out, "two: 2")); /* what holds is told when asked for */
    ck_assert_ptr_nonnull(strstr(r.out, "2 rows, 1 not as expected, in 1 scenario"));
    LEAKS("misses", "--verbose");
    ck_assert_ptr_nonnull(strstr(r.out, "ok    two: 2, expected 2"));
}
END_TEST

static const struct {
    const char *scenario, *what, *failure;
} failures[] = {
    { "crashes", "while it crashes", "killed by SIGSEGV" },
    { "hangs", "for ever", "no end within 1 s, killed" },
    { "misuses", "a bad free", "killed by SIGABRT" },
    { "leaves", "on the way out", "ended early with status 7" },
    { "dry", "too much", "out of memory" },
    { "silent", "leak of silent", "reported no row" },
    { "aimless", "no expectation", "the row expects nothing" },
};

START_TEST(what_ends_a_scenario_is_a_failing_row_of_its_own)
{
    LEAKS(failures[_i].scenario,
          strcmp(failures[_i].scenario, "hangs") == 0 ? "--timeout=1" : NULL);
    ck_assert_int_eq(r.status, 1);
    ck_assert_msg(strstr(r.out, failures[_i].what) != NULL, "%s", r.out);
    ck_assert_msg(strstr(r.out, failures[_i].failure) != NULL, "%s", r.out);
    ck_assert_ptr_nonnull(strstr(r.out, "1 not as expected"));
}
END_TEST

START_TEST(misuse_is_told_in_the_words_of_the_library)
{
    LEAKS("misuses");
    ck_assert_msg(strstr(r.out, "oak_free") != NULL, "%s", r.out);
}
END_TEST

START_TEST(rows_from_before_a_crash_stay)
{
    LEAKS("crashes");
    ck_assert_ptr_nonnull(strstr(r.out, "before the crash"));
    ck_assert_ptr_nonnull(strstr(r.out, "2 rows, 1 not as expected"));
}
END_TEST

START_TEST(a_skipped_row_is_no_failure)
{
    LEAKS("skips");
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "not enough memory"));
    ck_assert_ptr_nonnull(strstr(r.out, "1 skipped"));
}
END_TEST

START_TEST(others_run_after_one_that_fails)
{
    LEAKS("crashes", "keeps", "--json");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_null(test_json_error(r.out));
    ck_assert_uint_eq(test_count(r.out, "\"scenario\": "), 3);
    ck_assert_uint_eq(test_count(r.out, "\"ok\": false, \"skipped\""), 1);
    ck_assert_ptr_nonnull(strstr(r.out, "\"failed_scenarios\": 1"));
}
END_TEST

START_TEST(json_escapes_what_it_must)
{
    LEAKS("keeps", "--json");
    ck_assert_ptr_null(test_json_error(r.out));
    ck_assert_ptr_nonnull(strstr(r.out, "a \\\"quoted\\\" word, a backslash \\\\ and a\\u0009tab"));
    ck_assert_ptr_nonnull(strstr(r.out, "\"not a number\", \"value\": null"));
}
END_TEST

START_TEST(a_scenario_that_misses_a_figure_gets_a_second_chance)
{
    char folder[] = "/tmp/oakum-test-XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    LEAKS("wavers");
    unlink("waved");
    rmdir(folder);
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "all as expected, 1 repeated"));
    ck_assert_ptr_nonnull(strstr(r.err, "wavers: not as expected: \"right the second time\""));
    LEAKS("misses"); /* a third it doesn't get */
    ck_assert_int_eq(r.status, 1);
    ck_assert_uint_eq(test_count(r.err, "once more"), 1);
}
END_TEST

/* In a folder of its own, which is gone afterwards. */
static char folder[64];

static void enter_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/oakum-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

static void leave_folder(void)
{
    static const char *const names[] = { "left", "right", "hermit", "guest" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) unlink(names[i]);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_msg(rmdir(folder) == 0, "something is left in %s", folder);
}

START_TEST(scenarios_run_side_by_side_if_there_is_room)
{
    enter_folder();
    LEAKS("left", "right", "--jobs=2");
    ck_assert_msg(r.status == 0, "%s", r.out);
    ck_assert_ptr_nonnull(strstr(r.err, "[2/2] "));
    leave_folder();
    enter_folder();
    LEAKS("left", "right", "--jobs=1");
    ck_assert_int_eq(r.status, 1); /* the first waits in vain, twice */
    leave_folder();
}
END_TEST

START_TEST(one_that_measures_time_runs_alone)
{
    enter_folder();
    if (_i == 0)
        LEAKS("guest", "hermit", "--jobs=4");
    else
        LEAKS("hermit", "guest", "--jobs=4");
    ck_assert_msg(r.status == 0, "%s", r.out);
    leave_folder();
}
END_TEST

START_TEST(the_table_keeps_its_order_whoever_ends_first)
{
    LEAKS("dawdles", "skips", "--jobs=2");
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.err, "[1/2] skips"));
    ck_assert(strstr(r.out, "dawdles: ") < strstr(r.out, "skips: "));
}
END_TEST

START_TEST(json_has_the_heap_over_time)
{
    LEAKS("keeps", "--json");
    ck_assert_ptr_nonnull(strstr(r.out, "\"heap_over_time\": ["));
    ck_assert_ptr_nonnull(strstr(r.out, "{\"id\": \"keeps\", \"policy\": null, \"points\": [["));
}
END_TEST

START_TEST(a_scenario_named_twice_runs_once)
{
    LEAKS("skips", "skips", "--json");
    ck_assert_uint_eq(test_count(r.out, "\"scenario\": "), 1);
}
END_TEST

START_TEST(colour_is_only_there_when_it_is_asked_for)
{
    LEAKS("misses");
    ck_assert_ptr_null(strchr(r.out, '\033'));
    ck_assert_ptr_null(strchr(r.err, '\033'));
    LEAKS("misses", "--color=always");
    ck_assert_ptr_nonnull(strstr(r.out, "\033[1;31mFAIL\033[0m"));
    LEAKS("misses", "--color=always", "--json");
    ck_assert_ptr_null(strchr(r.out, '\033'));
}
END_TEST

/* Lines stay within the width, whatever it is, and have no blanks at their ends. */
START_TEST(the_table_keeps_to_its_width)
{
    static const char *const given[] = { "20", "100", "140", "1000", "no number" };
    static const size_t most[] = { 80, 100, 140, 160, 132 };

    setenv("COLUMNS", given[_i], 1);
    LEAKS("keeps", "crashes", "misuses");
    for (const char *line = r.out; *line != '\0'; line += strcspn(line, "\n") + 1) {
        size_t n = strcspn(line, "\n");

        if (strncmp(line, "    FAIL", 8) == 0) continue; /* said whole, not cut */
        ck_assert_msg(n <= most[_i], "%zu columns: %.*s", n, (int)n, line);
        ck_assert(n == 0 || line[n - 1] != ' ');
    }
}
END_TEST

Suite *suite_cmd_runner(void)
{
    Suite *s = suite_create("cmd_runner");
    TCase *c = tcase_create("runner");

    tcase_add_test(c, a_scenario_that_holds_exits_0_and_shows_what_it_measured);
    tcase_add_test(c, a_missed_expectation_exits_1_and_is_told_with_the_figure_seen);
    tcase_add_loop_test(c, what_ends_a_scenario_is_a_failing_row_of_its_own, 0,
                        sizeof(failures) / sizeof(failures[0]));
    tcase_add_test(c, misuse_is_told_in_the_words_of_the_library);
    tcase_add_test(c, rows_from_before_a_crash_stay);
    tcase_add_test(c, a_skipped_row_is_no_failure);
    tcase_add_test(c, others_run_after_one_that_fails);
    tcase_add_test(c, json_escapes_what_it_must);
    tcase_add_test(c, a_scenario_that_misses_a_figure_gets_a_second_chance);
    tcase_add_test(c, scenarios_run_side_by_side_if_there_is_room);
    tcase_add_loop_test(c, one_that_measures_time_runs_alone, 0, 2);
    tcase_add_test(c, the_table_keeps_its_order_whoever_ends_first);
    tcase_add_test(c, json_has_the_heap_over_time);
    tcase_add_test(c, a_scenario_named_twice_runs_once);
    tcase_add_test(c, colour_is_only_there_when_it_is_asked_for);
    tcase_add_loop_test(c, the_table_keeps_to_its_width, 0, 5);
    suite_add_tcase(s, c);
    return s;
}
