/* command.c - tests of the oakum command as it is built: what it accepts, what it refuses, and
 * how it exits. */
#include "run.h"
#include "tests/refuse.h"
#include "tests/skip.h"

#include <check.h>
#include <fcntl.h>
#include <oakum/oakum.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

Suite *suite_cmd_command(void);

static test_run r;

#define OAKUM(...) oakum((const char *[8]){ __VA_ARGS__ })

static void oakum(const char *const args[8])
{
    char *copy[9] = { NULL };

    for (int i = 0; i < 8; i++) copy[i] = (char *)(uintptr_t)args[i];
    test_run_oakum(&r, copy);
}

static const struct {
    const char *args[4];
    const char *err; /* what the message must hold */
} refused[] = {
    { { "leak" }, "unknown command 'leak'; did you mean 'leaks'?" },
    { { "xyzzy" }, "unknown command 'xyzzy'" },
    { { "--nothing" }, "unknown option '--nothing'" },
    { { "--verison" }, "unknown option '--verison'; did you mean '--version'?" },
    { { "foo" }, "unknown command 'foo'; 'oakum --help' tells" }, /* not top */
    { { "leaks", "xyzzy" }, "unknown scenario 'xyzzy'; 'oakum leaks --list' tells" },
    { { "leaks", "stuck-iterater" }, "did you mean 'stuck-iterator'?" },
    { { "leaks", "idle-map" }, "did you mean 'idle-map-mid-growth'?" },
    { { "leaks", "finalizer-cycle", "xyzzy" }, "unknown scenario 'xyzzy'" },
    { { "leaks", "--jsn" }, "unknown option '--jsn'; did you mean '--json'?" },
    { { "leaks", "--json=yes" }, "option '--json' takes no value" },
    { { "leaks", "--color" }, "option '--color' needs a value" },
    { { "leaks", "--color=blue" }, "auto, always or never" },
    { { "leaks", "--timeout=0" }, "--timeout takes seconds" },
    { { "leaks", "--timeout", "5x" }, "--timeout takes seconds" },
    { { "leaks", "--jobs=0" }, "--jobs takes a number from 1 to 16" },
    { { "leaks", "--html" }, "needs a value" },
    { { "leaks", "--html=" }, "--html needs the name of a file" },
    { { "leaks", "-z" }, "unknown option '-z'" },
    { { "leaks", "--", "--json" }, "unknown scenario '--json'" },
    { { "leaks", "" }, "unknown scenario ''" },
    { { "doctor", "1", "2" }, "takes one process id" },
    { { "doctor", "--jsn" }, "did you mean '--json'?" },
    { { "info", "more" }, "takes no arguments" },
    { { "info", "--more" }, "unknown option '--more'" },
    { { "version", "more" }, "takes no arguments" },
    { { "help", "xyzzy" }, "unknown command 'xyzzy'" },
    { { NULL }, "usage: oakum COMMAND" },
};

START_TEST(what_makes_no_sense_exits_2_with_one_clear_line)
{
    oakum((const char *[8]){ refused[_i].args[0], refused[_i].args[1], refused[_i].args[2] });
    ck_assert_int_eq(r.status, 2);
    ck_assert_str_eq(r.out, "");
    ck_assert_msg(strstr(r.err, refused[_i].err) != NULL, "%s", r.err);
    if (refused[_i].args[0] != NULL) ck_assert_uint_eq(test_count(r.err, "\n"), 1);
}
END_TEST

/* Errors of the system, and what each says to do. */
static const struct {
    const char *args[4];
    int status;
    const char *step;
} steps[] = {
    { { "info", "more" }, 2, "leave it out" },
    { { "version", "more" }, 2, "leave it out" },
    { { "doctor", "999999999" }, 1, "'ps -e' lists them" },
    { { "top", "999999999" }, 1, "'ps -e' lists them" },
    { { "top", "unix:/nowhere/1.sock" }, 1, "check the path" },
    { { "top", "a-name" }, 1, "'pgrep NAME' finds one" },
    { { "why", "1", "zz" }, 2, "'oakum top' shows some" },
    { { "top", "http://127.0.0.1:1/" }, 1, "check that the program still runs" },
    { { "profile", "--output=/nowhere/p", "999999999" }, 1, "'ps -e' lists them" },
    { { "snapshot", "info", "/nowhere" }, 1, "check the path" },
    { { "snapshot", "info", "/" }, 1, "name a file, not a folder" },
    { { "snapshot", "info", "/dev/null" }, 1, "oak_snapshot_save writes a whole one" },
    { { "why", "/nowhere", "0x1000" }, 1, "check the path" },
    { { "diff", "/nowhere", "/nowhere" }, 1, "check the path" },
    { { "run", "--suppressions=/nowhere", "true" }, 2, "check the path" },
    { { "run", "--suppressions=/etc/passwd", "true" }, 2, "'man oakum-run' has the format" },
};

START_TEST(each_error_says_what_to_do)
{
    char end[64];

    oakum((const char *[8]){ steps[_i].args[0], steps[_i].args[1], steps[_i].args[2] });
    snprintf(end, sizeof(end), "; %s\n", steps[_i].step);
    ck_assert_msg(strlen(r.err) > strlen(end), "%s", r.err);
    ck_assert_str_eq(r.err + strlen(r.err) - strlen(end), end);
    ck_assert_int_eq(r.status, steps[_i].status);
}
END_TEST

static const struct {
    const char *args[4];
    const char *out;
} told[] = {
    { { "--help" }, "usage: oakum COMMAND" },
    { { "help" }, "usage: oakum COMMAND" },
    { { "help", "help" }, "usage: oakum COMMAND" },
    { { "-h" }, "usage: oakum COMMAND" },
    { { "leaks", "--help" }, "usage: oakum leaks" },
    { { "leaks", "-h" }, "--timeout=SECONDS" },
    { { "help", "leaks" }, "usage: oakum leaks" },
    { { "info", "--help" }, "usage: oakum info" },
    { { "version", "--help" }, "usage: oakum version" },
    { { "leaks", "--list" }, "thread-stack-leak" },
};

START_TEST(help_goes_to_stdout_and_exits_0)
{
    oakum((const char *[8]){ told[_i].args[0], told[_i].args[1] });
    ck_assert_int_eq(r.status, 0);
    ck_assert_str_eq(r.err, "");
    ck_assert_msg(strstr(r.out, told[_i].out) != NULL, "%s", r.out);
}
END_TEST

/* Each command of the help, which has them indented by two, once more among the first lines of the
 * manual. */
START_TEST(the_manual_begins_with_every_command)
{
    static char manual[65536];
    FILE *f = fopen(TEST_SRCDIR "/../docs/oakum.1.in", "r");
    ck_assert_ptr_nonnull(f);
    manual[fread(manual, 1, sizeof(manual) - 1, f)] = '\0';
    fclose(f);
    char *end = strstr(manual, ".SH DESCRIPTION");
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    OAKUM("help");
    size_t n = 0;
    for (const char *at = r.out; (at = strstr(at, "\n  ")) != NULL; n++) {
        char name[16], line[32];
        ck_assert_int_eq(sscanf(at += 3, "%15s", name), 1);
        snprintf(line, sizeof(line), "oakum %s", name);
        ck_assert_msg(strstr(manual, line) != NULL, "%s is missing", name);
    }
    ck_assert_uint_ge(n, 10);
}
END_TEST

START_TEST(version_is_the_library_s)
{
    char line[64];

    snprintf(line, sizeof(line), "oakum %s\n", oak_version());
    OAKUM("version");
    ck_assert_str_eq(r.out, line);
    OAKUM("--version");
    ck_assert_str_eq(r.out, line);
}
END_TEST

START_TEST(info_shows_every_option_with_its_value)
{
    setenv("OAKUM_GC_PERCENT", "57", 1);
    OAKUM("info");
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "address range"));
    ck_assert_ptr_nonnull(strstr(r.out, "metadata"));
    ck_assert_ptr_nonnull(strstr(r.out, "57 "));
    ck_assert_ptr_nonnull(strstr(r.out, "(set in the environment)"));
#define HAS(field, type, def, min, max, help) ck_assert_ptr_nonnull(strstr(r.out, help));
    OAK_OPTIONS(HAS)
#undef HAS
    size_t options = offsetof(oak_config, pointer_tags) / sizeof(size_t); /* and those in a word */
    ck_assert_uint_ge(test_count(r.out, "OAKUM_"), options);
}
END_TEST

START_TEST(variables_for_programs_are_not_the_command_s)
{
    char path[] = "/tmp/oakum-command-XXXXXX";

    ck_assert_int_ge(mkstemp(path), 0);
    ck_assert_int_eq(unlink(path), 0);
    setenv("OAKUM_PROFILE", path, 1);
    OAKUM("info");
    ck_assert_int_eq(r.status, 0);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(info_says_why_marks_are_in_stops)
{
    OAKUM("info");
    ck_assert_ptr_nonnull(strstr(r.out, "\nmarking        "));
    setenv("OAKUM_CONCURRENT", "0", 1);
    OAKUM("info");
    ck_assert_ptr_nonnull(
        strstr(r.out, "\nmarking        in one pause, as OAKUM_CONCURRENT says\n"));
    unsetenv("OAKUM_CONCURRENT");
    setenv("OAKUM_TRACKING", "none", 1);
    OAKUM("info");
    ck_assert_ptr_nonnull(
        strstr(r.out, "\nmarking        in one pause, as OAKUM_TRACKING says\n"));
    test_refuse(SYS_userfaultfd);
    setenv("OAKUM_TRACKING", "userfaultfd", 1);
    OAKUM("info");
    ck_assert_ptr_nonnull(strstr(r.out, "\nmarking        in one pause; userfaultfd: Operation "
                                        "not permitted (EPERM)\n"));
    setenv("OAKUM_TRACKING", "any", 1);
    OAKUM("info");
    ck_assert_ptr_nonnull(strstr(r.out, "\nmarking        concurrent (page faults); "
                                        "userfaultfd: Operation not permitted (EPERM)\n"));
}
END_TEST

static const struct {
    const char *host, *name, *value; /* of OAKUM_HOST, and another variable */
    const char *line;
} hosts[] = {
    { "cpus=1,memory=80M", "OAKUM_THRIFT", "1",
      "\nhost           1 processor, a memory limit of 73400320 bytes (control groups: 73400320)\n"
    },
    { "memory=0", "OAKUM_THRIFT", "1", ", no memory limit\n" },
    { "memory=80M", "OAKUM_MEMORY_LIMIT", "32M",
      "a memory limit of 33554432 bytes (control groups: 73400320)\n" },
    { "write_ns=700,write_huge_ns=41", "OAKUM_THRIFT", "1",
      "  first write to a protected page           700 ns   huge       41 ns\n" },
    { "protect_ns=42,wake_ns=43", "OAKUM_THRIFT", "1",
      "  protecting a page                          42 ns" },
    { "ask_ns=44", "OAKUM_THRIFT", "1", "  asking whether a page was written          44 ns" },
    { "fresh_ns=45,stop_ns=0", "OAKUM_THRIFT", "1",
      "  first use of a fresh page                  45 ns" },
    { "wake_ns=46", "OAKUM_THRIFT", "1", "  waking a thread                            46 ns\n" },
    { "stop_ns=47", "OAKUM_THRIFT", "1", "  stopping a thread                          47 ns\n" },
    { "stop_ns=0", "OAKUM_THRIFT", "1", "  stopping a thread                        unknown\n" },
    { "write_ns=700", "OAKUM_PAUSE_GOAL", "0", " mode\ndecided        each cycle is one pause\n" },
    { "write_ns=700", "OAKUM_CONCURRENT", "0",
      " 10000 us\ndecided        longer pauses too, as marking is never concurrent\n"
      "now            one pause: concurrent marking is off; 1 of " },
    { "write_ns=700", "OAKUM_TRACKING", "none",
      "  longer pauses too, as marking is never concurrent\n" },
    /* from here on pages can be tracked */
    { "write_ns=700", "OAKUM_THRIFT", "1",
      "  marking is concurrent where a pause would be longer, at any cost; from 1 ms on "
      "at up to 15 % of the time\n"
      "now            one pause: a pause is short enough; 1 of " },
    { "write_ns=700", "OAKUM_THRIFT", "1", " mark; pages are tracked and huge\n" },
    { "write_ns=3001", "OAKUM_THRIFT", "1", "  longer pauses too, as first writes are dear\n" },
    { "write_ns=3001", "OAKUM_THRIFT", "1", " mark; pages are not tracked and huge\n" },
    { "write_ns=3001", "OAKUM_HUGE_PAGES", "0",
      "  longer pauses too where first writes take over 15 % of the time\n" },
    { "write_ns=3001", "OAKUM_PAUSE_GOAL", "1000", " mark; pages are tracked and small\n" },
    { "write_ns=3001", "OAKUM_TRACKING", "faults",
      "  marking is concurrent where a pause would be longer, at any cost\n" },
    { "write_ns=30001", "OAKUM_TRACKING", "faults",
      "  longer pauses too, as first writes are dear\n" },
};

#define HOSTS_UNTRACKED 13 /* rows that need no tracking */

START_TEST(info_says_what_is_decided_by)
{
    unsetenv("OAKUM_TRACKING");
    setenv("OAKUM_HOST", hosts[_i].host, 1);
    setenv(hosts[_i].name, hosts[_i].value, 1);
    OAKUM("info");
    ck_assert_int_eq(r.status, 0);
    if (_i >= HOSTS_UNTRACKED &&
        test_skip(strstr(r.out, "marking        in one pause;") != NULL, "no way of tracking"))
        return;
    ck_assert_msg(strstr(r.out, hosts[_i].line) != NULL, "%s", r.out);
}
END_TEST

static const char *const ids[] = {
    "unbounded-global-map",
    "leaked-thread-holding-map",
    "struct-field-map-lifetime",
    "watermark-vs-leak",
    "key-type-reachability",
    "delete-does-not-release",
    "audit-cache-unbounded",
    "syncmap-delayed-delete",
    "weak-reference-pool",
    "short-lived-churn-missed",
    "thread-stack-leak",
    "pool-misuse",
    "finalizer-cycle",
    "idle-connection-pool",
    "gc-thrash",
    "floating-garbage",
    "hash-collision-chain",
    "overflow-buckets-vs-free",
    "delete-gc-blind-spot",
    "collision-rate-monitor",
    "concurrent-map-comparison",
    "range-insert-delete-pins-oldbuckets",
    "stuck-iterator",
    "field-map-iteration-stalls-growth",
    "syncmap-dirty-promotion",
    "deferred-closure-capture",
    "escaped-closure-capture",
    "idle-map-mid-growth",
    "sticky-olditerator-flag",
    "emptied-mid-growth",
    "deleted-all-mid-growth",
    "span-pinned-by-one-object",
    "nan-keys",
    "clear-during-range",
    "interior-pointer-pins-array",
    "concurrent-range-mid-growth",
    "controlled-growth-experiment",
    "growth-steps",
    "rebuild-vs-delete",
    "string-key-substring-pin",
    "three-sigma-detector",
    "heap-profile-of-a-map",
};

START_TEST(every_scenario_is_listed)
{
    OAKUM("leaks", "--list", "--json");
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_null(test_json_error(r.out));
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        ck_assert_msg(strstr(r.out, ids[i]) != NULL, "%s is missing", ids[i]);
    ck_assert_uint_eq(test_count(r.out, "\"id\": "), sizeof(ids) / sizeof(ids[0]));
}
END_TEST

START_TEST(a_scenario_runs_and_prints_json)
{
    OAKUM("leaks", "--json", "struct-field-map-lifetime");
    ck_assert_msg(r.status == 0, "%s", r.out);
    ck_assert_ptr_null(test_json_error(r.out));
    ck_assert_uint_eq(test_count(r.out, "\"policy\": \"classic\", \"retained\""), 4);
    ck_assert_uint_eq(test_count(r.out, "\"policy\": \"default\", \"retained\""), 4);
    ck_assert_ptr_nonnull(strstr(r.out, "\"versions\": {\"oakum\": \""));
    ck_assert_uint_eq(test_count(r.out, "\"scenario\": "), 8);
}
END_TEST

START_TEST(a_scenario_runs_and_prints_a_plain_table)
{
    OAKUM("leaks", "finalizer-cycle");
    ck_assert_msg(r.status == 0, "%s", r.out);
    ck_assert_ptr_null(strchr(r.out, '\033'));
    ck_assert_ptr_null(strchr(r.out, '\r'));
    ck_assert_ptr_null(strchr(r.err, '\r'));
    ck_assert_ptr_nonnull(strstr(r.err, "[1/1] finalizer-cycle: ok"));
    ck_assert_ptr_nonnull(strstr(r.out, "all as expected"));
}
END_TEST

/* Runs it with a stdout that can't be written. */
static int to_full_disk(int argc, char **argv)
{
    int fd = open("/dev/full", O_WRONLY);

    (void)argc;
    dup2(fd, STDOUT_FILENO);
    execv(argv[0], argv);
    return 127;
}

static int to_nobody(int argc, char **argv)
{
    int ends[2];

    (void)argc;
    signal(SIGPIPE, SIG_IGN);
    if (pipe(ends) != 0) return 127;
    close(ends[0]);
    dup2(ends[1], STDOUT_FILENO);
    execv(argv[0], argv);
    return 127;
}

START_TEST(output_that_is_lost_is_an_error)
{
    static char built[] = TEST_OAKUM, help[] = "--help";
    char *argv[] = { getenv("OAKUM_BIN") != NULL ? getenv("OAKUM_BIN") : built, help, NULL };

    test_run_function(&r, to_full_disk, argv);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "cannot write the output: No space left on device; free"));
    test_run_function(&r, to_nobody, argv);
    ck_assert_int_eq(r.status, 1);
    ck_assert_str_eq(r.err, "");
}
END_TEST

static int to_closed(int argc, char **argv)
{
    (void)argc;
    close(STDOUT_FILENO);
    execv(argv[0], argv);
    return 127;
}

/* The page is the first file that is opened. */
START_TEST(a_file_is_not_taken_for_a_closed_standard_output)
{
    static char built[] = TEST_OAKUM, leaks[] = "leaks", name[] = "finalizer-cycle";
    char *argv[] = { getenv("OAKUM_BIN") != NULL ? getenv("OAKUM_BIN") : built, leaks, name, NULL,
                     NULL };
    char path[] = "/tmp/oakum-test-XXXXXX", option[64], start[64] = "", end[64] = "";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(option, sizeof(option), "--html=%s", path);
    argv[3] = option;
    test_run_function(&r, to_closed, argv);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "the output: Bad file descriptor; it is closed"));
    fd = open(path, O_RDONLY);
    ck_assert_int_gt(read(fd, start, sizeof(start) - 1), 0);
    ck_assert_ptr_eq(strstr(start, "<!DOCTYPE html>"), start);
    ck_assert_int_gt(lseek(fd, -8, SEEK_END), 0);
    ck_assert_int_eq(read(fd, end, sizeof(end) - 1), 8);
    ck_assert_str_eq(end, "</html>\n");
    close(fd);
    unlink(path);
}
END_TEST

static const struct {
    const char *text;
    bool valid;
} json[] = {
    { "{}", true },
    { " [1, -0.5e+3, true, null, \"\\u00e9\\n\"] ", true },
    { "{\"a\": {\"b\": []}}", true },
    { "", false },
    { "{", false },
    { "[1,]", false },
    { "{\"a\" 1}", false },
    { "{} {}", false },
    { "\"\t\"", false },
    { "\"\\x\"", false },
    { "01", false },
    { "nan", false },
    { "[1 2]", false },
};

START_TEST(the_test_s_own_json_reader_can_tell)
{
    ck_assert_int_eq(test_json_error(json[_i].text) == NULL, json[_i].valid);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_cmd_command(void)
{
    Suite *s = suite_create("cmd_command");
    TCase *c = tcase_create("command");

    tcase_add_loop_test(c, the_test_s_own_json_reader_can_tell, 0, COUNT(json));
    tcase_add_loop_test(c, what_makes_no_sense_exits_2_with_one_clear_line, 0, COUNT(refused));
    tcase_add_loop_test(c, each_error_says_what_to_do, 0, COUNT(steps));
    tcase_add_loop_test(c, help_goes_to_stdout_and_exits_0, 0, COUNT(told));
    tcase_add_test(c, the_manual_begins_with_every_command);
    tcase_add_test(c, version_is_the_library_s);
    tcase_add_test(c, info_shows_every_option_with_its_value);
    tcase_add_test(c, variables_for_programs_are_not_the_command_s);
    tcase_add_loop_test(c, info_says_what_is_decided_by, 0, (int)(sizeof hosts / sizeof *hosts));
    tcase_add_test(c, info_says_why_marks_are_in_stops);
    tcase_add_test(c, every_scenario_is_listed);
    tcase_add_test(c, a_scenario_runs_and_prints_json);
    tcase_add_test(c, a_scenario_runs_and_prints_a_plain_table);
    tcase_add_test(c, output_that_is_lost_is_an_error);
    tcase_add_test(c, a_file_is_not_taken_for_a_closed_standard_output);
    suite_add_tcase(s, c);
    return s;
}
