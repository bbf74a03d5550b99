/* gclog.c - tests of observe/gclog.c: a line a cycle, true and whole, and the same as gctrace's. */
#include "files.h"
#include "gc/event.h"
#include "gc/gctrace.h"
#include "readjson.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

Suite *suite_observe_gclog(void);

#define MB ((size_t)1 << 20)
#define LINES 4096
#define TEXT MB

static void start(void)
{
    test_heap_start(test_config());
    test_once();
}

/* The objects of a log, one a line. */
static size_t read_log(const char *path, const json *out[LINES])
{
    size_t n = 0;
    char *text = test_read_file(path), *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        ck_assert_uint_lt(n, LINES);
        out[n++] = json_read(line);
    }
    return n;
}

static const json *lines[LINES];

/* ---- what it says ---- */

static void *held[256];

static void *drop(void *arg)
{
    for (size_t i = 0; i < 6000; i++) (void)!oak_alloc_noscan(16384); /* beyond a goal of 40 MB */
    return arg;
}

START_TEST(each_cycle_has_its_line_and_memstats_agree)
{
    const char *path = test_path("log");
    ck_assert_int_eq(oak_gclog_start(path), 0);
    oak_memstats s[20];
    for (size_t i = 0; i < 20; i++) {
        for (size_t k = 0; k < i * 10; k++) held[k] = oak_alloc(i * 100 + 1);
        oak_collect();
        s[i] = test_stats();
    }
    oak_set_gc_percent(100);
    test_join(test_start(drop, NULL));
    size_t least = test_stats().num_gc; /* a mark beside the program may end now */
    ck_assert_int_eq(oak_gclog_stop(), 0);
    size_t most = test_stats().num_gc;
    oak_collect();
    size_t n = read_log(path, lines);
    ck_assert_uint_ge(n, least);
    ck_assert_uint_le(n, most);
    ck_assert_uint_gt(n, 20);
    uint64_t marked = 0, longest = 0;
    for (size_t i = 0; i < n; i++) {
        const json *l = lines[i], *heap = json_get(l, "heap"), *phases = json_get(l, "phases_ns");
        uint64_t sum = 0;
        ck_assert_uint_eq(json_u64(l, "gc"), i + 1);
        ck_assert_uint_eq(json_u64(l, "pid"), (uint64_t)getpid());
        ck_assert_uint_eq(json_u64(l, "lost"), 0);
        for (size_t p = 0; p < phases->length; p++)
            if (strcmp(phases->key[p], "verify") != 0) sum += phases->item[p].whole;
        ck_assert_uint_eq(sum, json_u64(l, "pause_ns"));
        ck_assert_uint_eq(json_u64(heap, "start") - json_u64(heap, "freed"),
                          json_u64(heap, "live"));
        ck_assert_str_eq(json_string(l, "why"), i < 20 ? "asked" : "due");
        ck_assert(json_get(l, "forced")->boolean == (i < 20));
        if (i >= 20) continue;
        ck_assert_uint_eq(json_u64(l, "pause_ns"), s[i].pause_ns[i]);
        ck_assert_uint_eq(json_u64(l, "end_unix_ns"), s[i].pause_end[i]);
        ck_assert_uint_eq(json_u64(heap, "live"), s[i].heap_alloc);
        ck_assert_uint_eq(json_u64(heap, "next"), s[i].next_gc);
        marked += json_u64(json_get(l, "work"), "marked");
        ck_assert_uint_eq(marked, s[i].marked_bytes);
        if (json_u64(l, "longest_stop_ns") > longest) longest = json_u64(l, "longest_stop_ns");
        ck_assert_uint_eq(longest, s[i].pause_max_ns);
        ck_assert_uint_eq(json_u64(json_get(l, "work"), "marked"), s[i].heap_alloc);
        if (i == 0) continue;
        const json *swept = json_get(l, "swept_before");
        ck_assert_uint_eq(json_u64(swept, "scan") + json_u64(swept, "noscan") +
                              json_u64(swept, "typed"),
                          s[i - 1].heap_alloc);
    }
}
END_TEST

/* What a map of integer keys holds is not read, what one of pointers holds is
 * (key-type-reachability). */
START_TEST(scanned_bytes_are_told_from_others)
{
    const char *path = test_path("log");
    ck_assert_int_eq(oak_gclog_start(path), 0);
    held[0] = oak_alloc_noscan(5 * MB);
    held[1] = oak_alloc(2 * MB);
    oak_collect();
    oak_collect();
    ck_assert(held[0] && held[1]);
    ck_assert_int_eq(oak_gclog_stop(), 0);
    ck_assert_uint_eq(read_log(path, lines), 2);
    const json *swept = json_get(lines[1], "swept_before");
    ck_assert_uint_ge(json_u64(swept, "noscan"), 5 * MB);
    ck_assert_uint_lt(json_u64(swept, "noscan"), 5 * MB + 100000);
    ck_assert_uint_ge(json_u64(swept, "scan"), 2 * MB);
    ck_assert_uint_lt(json_u64(swept, "scan"), 2 * MB + 100000);
}
END_TEST

/* ---- beside gctrace: heap within half a megabyte, goal within one, pauses within 50 us ---- */

static char log_path[300];

static void collect_in_many_ways(void *arg)
{
    static void *live[400];
    (void)arg;
    test_no_beside(); /* the line has the time of the mark, too */
    ck_assert_int_eq(oaki_gctrace_start(), 0);
    ck_assert_int_eq(oak_gclog_start(log_path), 0);
    oak_set_gc_percent(50);
    test_seed("observe/gclog");
    for (size_t i = 0; i < 9000; i++) {
        live[test_below(400)] = oak_alloc_noscan(test_size(MB / 4));
        if (i % 500 == 0 && live[0] != live[1]) oak_collect();
    }
    ck_assert_int_eq(oak_gclog_stop(), 0);
}

/* A time of the line, and how exact it is there. */
static double clock_part(const char *text, char **end, double *unit)
{
    double v = strtod(text, end);
    const char *dot = memchr(text, '.', (size_t)(*end - text));
    size_t decimals = dot ? (size_t)(*end - dot - 1) : 0;
    *unit += decimals == 3 ? 0.001 : decimals == 2 ? 0.01 : decimals == 1 ? 0.1 : v > 0 ? 1 : 0.001;
    return v;
}

static void cross_check(const char *line, const json *l)
{
    unsigned gc, heap0, heap1, heap2, goal;
    const json *heap = json_get(l, "heap");
    ck_assert_int_eq(sscanf(line, "gc %u @", &gc), 1);
    const char *clock = strstr(line, "%: ") + 3, *rest = strstr(line, " ms cpu, ");
    ck_assert_int_eq(
        sscanf(rest, " ms cpu, %u->%u->%u MB, %u MB goal", &heap0, &heap1, &heap2, &goal), 4);
    ck_assert_uint_eq(json_u64(l, "gc"), gc);
    /* The line rounds down: what it says of a size means the middle of a megabyte. */
    ck_assert_double_le(fabs(json_number(heap, "start") / MB - (heap0 + 0.5)), 0.5);
    ck_assert_double_le(fabs(json_number(heap, "end") / MB - (heap1 + 0.5)), 0.5);
    ck_assert_double_le(fabs(json_number(heap, "live") / MB - (heap2 + 0.5)), 0.5);
    ck_assert_double_le(fabs(json_number(heap, "goal") / MB - goal), 1);
    double unit = 0, ms = 0;
    char *end;
    for (int part = 0; part < 3; part++, clock = end + 1) ms += clock_part(clock, &end, &unit);
    double off = json_number(l, "pause_ns") / 1e6 - ms; /* the line has so many digits */
    ck_assert_msg(off >= -0.05 && off <= 0.05 + unit, "gc %u: %f ms in the log, %f in the line", gc,
                  json_number(l, "pause_ns") / 1e6, ms);
    ck_assert(json_get(l, "forced")->boolean == (strstr(line, "(forced)") != NULL));
}

START_TEST(the_log_and_the_line_agree)
{
    char *text = malloc(TEXT);
    size_t n = 0;
    snprintf(log_path, sizeof log_path, "%s", test_path("log"));
    ck_assert_int_eq(test_capture(collect_in_many_ways, NULL, text, TEXT), 0);
    size_t count = read_log(log_path, lines);
    char *save;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        if (strncmp(l, "gc ", 3) != 0) continue;
        ck_assert_uint_lt(n, count);
        cross_check(l, lines[n++]);
    }
    ck_assert_uint_eq(n, count);
    ck_assert_uint_ge(n, 15);
    free(text);
}
END_TEST

/* ---- where it goes ---- */

START_TEST(a_second_start_goes_on_in_the_same_file)
{
    const char *path = test_path("log");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(oak_gclog_start(path), 0);
        oak_collect();
    }
    ck_assert_int_eq(oak_gclog_stop(), 0);
    ck_assert_int_eq(oak_gclog_stop(), 0); /* there is none */
    ck_assert_uint_eq(read_log(path, lines), 3);
}
END_TEST

START_TEST(what_can_not_be_opened_is_an_error)
{
    errno = 0;
    ck_assert_int_eq(oak_gclog_start("/nowhere/at/all"), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(oak_gclog_start(test_directory()), -1);
    ck_assert_int_eq(errno, EISDIR);
    char fifo[64] = "/tmp/oakum-test-XXXXXX";
    int fd = mkstemp(fifo);
    ck_assert(fd >= 0 && unlink(fifo) == 0 && mkfifo(fifo, 0600) == 0);
    ck_assert_int_eq(oak_gclog_start(fifo), -1); /* nobody reads it */
    ck_assert_int_eq(errno, ENXIO);
    close(fd);
    unlink(fifo);
    ck_assert_int_eq(oak_gclog_start_fd(-1), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(oak_gclog_stop(), 0);
}
END_TEST

START_TEST(a_full_disk_is_told_of_at_the_end)
{
    ck_assert_int_eq(oak_gclog_start("/dev/full"), 0);
    for (int i = 0; i < 5; i++) oak_collect();
    errno = 0;
    ck_assert_int_eq(oak_gclog_stop(), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(oak_gclog_stop(), 0);
}
END_TEST

static void limit_files(size_t bytes)
{
    struct rlimit r;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes ? bytes : r.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* The pieces of lines in the file: what is no JSON; *whole: what is. */
static size_t count_pieces(const char *path, size_t *whole)
{
    size_t pieces = 0;
    char *text = test_read_file(path), *save;
    ck_assert_ptr_null(strstr(text, "\n\n"));
    *whole = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (json_valid(line, strlen(line))) ++*whole;
        else pieces++;
    return pieces;
}

/* The disk is full, has a bit of room for a while, is full, and has room again. */
START_TEST(a_torn_line_tears_no_other)
{
    const char *path = test_path("log");
    size_t whole, room = 1;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(oak_gclog_start(path), 0);
    oak_collect();
    for (size_t i = 0; i < 5; i++) {
        struct stat st;
        ck_assert_int_eq(stat(path, &st), 0);
        limit_files((size_t)st.st_size + room);
        for (int k = 0; k < 3; k++) oak_collect();
        limit_files(0);
        oak_collect();
        room = room * 3;
    }
    ck_assert_int_eq(oak_gclog_stop(), -1);
    ck_assert_int_eq(errno, EFBIG);
    ck_assert_uint_eq(count_pieces(path, &whole), 5);
    ck_assert_uint_eq(whole, 6);
}
END_TEST

START_TEST(a_log_goes_on_behind_a_torn_line)
{
    const char *path = test_path("log");
    size_t whole;
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100);
    ck_assert_int_eq(oak_gclog_start(path), 0);
    oak_collect();
    ck_assert_int_eq(oak_gclog_stop(), -1);
    limit_files(0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(oak_gclog_start(path), 0);
        oak_collect();
        ck_assert_int_eq(oak_gclog_stop(), 0);
    }
    ck_assert_uint_eq(count_pieces(path, &whole), 1);
    ck_assert_uint_eq(whole, 2);
}
END_TEST

START_TEST(a_closed_pipe_raises_no_signal)
{
    int fd[2];
    ck_assert_int_eq(pipe(fd), 0);
    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(oak_gclog_start_fd(fd[1]), 0);
    oak_collect();
    close(fd[0]);
    for (int i = 0; i < 5; i++) oak_collect();
    ck_assert_int_eq(oak_gclog_stop(), -1);
    ck_assert_int_eq(errno, EPIPE);
    ck_assert_int_eq(close(fd[1]), 0); /* is the caller's */
}
END_TEST

START_TEST(a_full_pipe_holds_nobody_up_and_lost_lines_are_counted)
{
    int fd[2];
    char *text = malloc(TEXT);
    ck_assert_int_eq(pipe(fd), 0);
    ck_assert_int_eq(oak_gclog_start_fd(fd[1]), 0);
    for (int i = 0; i < 300; i++) oak_collect(); /* far more than the 64 KiB of a pipe */
    ssize_t n = read(fd[0], text, TEXT - 1);
    ck_assert_int_gt(n, 10000);
    oak_collect();
    ck_assert_int_eq(oak_gclog_stop(), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ssize_t more = read(fd[0], text + n, TEXT - 1 - (size_t)n);
    text[n + more] = '\0';
    size_t count = 0;
    uint64_t lost = 0;
    char *save;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save), count++)
        lost += json_u64(json_read(l), "lost");
    ck_assert_uint_gt(lost, 0);
    ck_assert_uint_eq(lost + count, 301);
    free(text);
}
END_TEST

/* ---- the environment ---- */

static void start_with_log(void *arg)
{
    setenv("OAKUM_GC_LOG", arg, 1);
    (void)!oak_alloc(1);
    test_once();
    oak_collect();
    ck_assert_int_eq(oak_gclog_stop(), 0);
}

START_TEST(the_environment_starts_it)
{
    char out[1024];
    const char *path = test_path("log");
    ck_assert_int_eq(test_capture(start_with_log, (void *)(uintptr_t)path, out, sizeof out), 0);
    ck_assert_str_eq(out, "");
    ck_assert_uint_eq(read_log(path, lines), 1);
    ck_assert_int_eq(test_capture(start_with_log, (char[]){ "/nowhere/x" }, out, sizeof out), 0);
    ck_assert_str_eq(out, "oakum: OAKUM_GC_LOG=/nowhere/x: can't be opened (errno 2): there is no "
                          "log\n");
    ck_assert_int_eq(test_capture(start_with_log, (char[]){ "" }, out, sizeof out), 0);
    ck_assert_str_eq(out, "");
}
END_TEST

/* ---- threads, fork ---- */

static void *collect_often(void *arg)
{
    for (size_t i = 0, n = test_scale(150); i < n; i++) oak_collect();
    return arg;
}

START_TEST(lines_are_whole_and_in_order_beside_threads)
{
    pthread_t ids[3];
    const char *path = test_path("log"), *other = test_path("other");
    ck_assert_int_eq(oak_gclog_start(path), 0);
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(collect_often, NULL);
    for (size_t i = 0; i < 40; i++) /* another file now and then */
        ck_assert_int_eq(oak_gclog_start(i % 2 ? path : other), 0);
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    ck_assert_int_eq(oak_gclog_stop(), 0);
    size_t n = read_log(path, lines), more;
    for (size_t i = 1; i < n; i++)
        ck_assert_uint_gt(json_u64(lines[i], "gc"), json_u64(lines[i - 1], "gc"));
    more = read_log(other, lines);
    ck_assert_uint_le(n + more, test_stats().num_gc);
    ck_assert_uint_gt(n, 0);
}
END_TEST

START_TEST(a_child_goes_on_under_its_own_number)
{
    const char *path = test_path("log");
    ck_assert_int_eq(oak_gclog_start(path), 0);
    oak_collect();
    pid_t pid = fork();
    if (pid == 0) {
        oak_collect();
        _exit(oak_gclog_stop() == 0 ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    oak_collect();
    ck_assert_int_eq(oak_gclog_stop(), 0);
    ck_assert_uint_eq(read_log(path, lines), 3);
    ck_assert_uint_eq(json_u64(lines[1], "pid"), (uint64_t)pid);
    ck_assert_uint_eq(json_u64(lines[2], "pid"), (uint64_t)getpid());
}
END_TEST

/* As daemons do: closes what it doesn't know. The number may be that of the next file. 0: that file
 * is still empty. */
static int close_and_open(const char *other)
{
    int fd[1100], status = 0;
    struct stat st;
    for (int i = 3; i < 1100; i++) (void)close(i);
    for (size_t i = 0; i < OAKI_COUNT(fd); i++)
        if ((fd[i] = open(other, O_WRONLY | O_CREAT, 0600)) < 0) return 2;
    oak_collect();
    if (oak_gclog_stop() != -1 || errno != EBADF) status = 3;
    if (stat(other, &st) != 0 || st.st_size != 0) status = 4;
    for (size_t i = 0; i < OAKI_COUNT(fd); i++)
        if (close(fd[i]) != 0) status = 5;
    return status;
}

START_TEST(a_number_that_is_another_file_is_left_alone)
{
    const char *path = test_path("log"), *other = test_path("data");
    ck_assert_int_eq(oak_gclog_start(path), 0);
    oak_collect();
    pid_t pid = fork();
    if (pid == 0) _exit(close_and_open(other));
    ck_assert_int_eq(test_wait_child(pid), 0);
    ck_assert_int_eq(oak_gclog_stop(), 0);
    ck_assert_uint_eq(read_log(path, lines), 1);
}
END_TEST

Suite *suite_observe_gclog(void)
{
    Suite *s = suite_create("observe/gclog");
    TCase *c = tcase_create("gclog");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, each_cycle_has_its_line_and_memstats_agree);
    tcase_add_test(c, scanned_bytes_are_told_from_others);
    tcase_add_test(c, the_log_and_the_line_agree);
    tcase_add_test(c, a_second_start_goes_on_in_the_same_file);
    tcase_add_test(c, what_can_not_be_opened_is_an_error);
    tcase_add_test(c, a_full_disk_is_told_of_at_the_end);
    tcase_add_test(c, a_torn_line_tears_no_other);
    tcase_add_test(c, a_log_goes_on_behind_a_torn_line);
    tcase_add_test(c, a_closed_pipe_raises_no_signal);
    tcase_add_test(c, a_full_pipe_holds_nobody_up_and_lost_lines_are_counted);
    tcase_add_test(c, lines_are_whole_and_in_order_beside_threads);
    tcase_add_test(c, a_child_goes_on_under_its_own_number);
    tcase_add_test(c, a_number_that_is_another_file_is_left_alone);
    suite_add_tcase(s, c);
    c = tcase_create("environment");
    tcase_add_test(c, the_environment_starts_it);
    suite_add_tcase(s, c);
    return s;
}
