/* serve_table.c - tests of the table of descriptors that the debug server's loop has for itself:
 * what the program closes, and what has the numbers then; and where there can't be such a table. */
#include "observe/serve.h"

#include "http.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

Suite *suite_observe_serve_table(void);

static void start(void)
{
    test_heap_start(test_config());
}

/* As a daemon does. */
static void close_all(void)
{
    for (int fd = STDERR_FILENO + 1; fd < 65536; fd++) (void)close(fd);
}

#define SPARE 8

/* All but the standard ones, as a daemon does; and something else gets all of the numbers, but some
 * for whoever asks, and for the workers: a socket, whose other end has what is sent to any of them.
 * The server has its own, and leaves those alone. */
static void close_all_and_ask(void)
{
    char byte;
    struct stat s;
    int pair[2];
    close_all();
    for (int i = 0; i < SPARE; i++) (void)open("/dev/null", O_RDWR); /* check writes to one */
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) _exit(3);
    int last = pair[0];
    for (int fd; (fd = dup(pair[0])) >= 0;) last = fd;
    bool right = last > pair[1] + SPARE;
    for (int i = 0; i < SPARE; i++) right = right && close(last--) == 0;
    for (int i = 0; i < 3; i++) right = right && http_ask("GET", "/metrics", "").status == 200;
    oak_debug_serve_stop();
    right = right && recv(pair[1], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
    for (int fd = pair[0]; fd <= last; fd++) right = right && fstat(fd, &s) == 0;
    _exit(right ? 0 : 1);
}

/* The table that it parts is the child's own, which has no threads yet. */
static bool can_part_otherwise(void)
{
    test_refuse(SYS_close_range);
    return unshare(CLONE_FILES) == 0;
}

/* By close_range, and where that is refused. */
START_TEST(a_program_that_closes_all_descriptors)
{
    if (test_skip_asan() || test_skip_valgrind()) return; /* one table for all threads */
    start();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit few = { 2000, 2000 };
        if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(2);
        if (_i && !can_part_otherwise()) _exit(0);
        if (!http_serve(NULL, NULL)) _exit(0);
        if (!oaki_wake_is_apart()) _exit(4);
        close_all_and_ask();
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

#define PAIRS 12

/* What comes in the server's numbers is read by nobody, and stays open when its other end goes. */
static void close_all_and_look(void)
{
    char text[] = "precious";
    int pair[PAIRS][2];
    struct stat s;
    bool right = true;
    close_all();
    (void)open("/dev/null", O_RDWR); /* check writes to one */
    for (int i = 0; i < PAIRS; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]) != 0) _exit(3);
        right = right && send(pair[i][0], text, sizeof text, 0) == sizeof text &&
                send(pair[i][1], text, sizeof text, 0) == sizeof text;
    }
    sleep(2); /* the loop looks around once a second */
    for (int i = 0; i < PAIRS; i++) {
        for (int end = 0; end < 2; end++)
            right = right && recv(pair[i][end], text, sizeof text, MSG_DONTWAIT) == sizeof text;
        close(pair[i][1]);
    }
    sleep(2);
    for (int i = 0; i < PAIRS; i++) right = right && fstat(pair[i][0], &s) == 0;
    _exit(right ? 0 : 1);
}

/* Its own listeners get the numbers: their clients are its own to accept. */
static void close_all_and_listen(void)
{
    int listener[PAIRS];
    bool right = true;
    close_all();
    (void)open("/dev/null", O_RDWR); /* check writes to one */
    for (int i = 0; i < PAIRS; i++) {
        struct sockaddr_un name = { .sun_family = AF_UNIX }; /* the system chooses a name */
        socklen_t n = sizeof name.sun_family;
        listener[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        right = right && bind(listener[i], (struct sockaddr *)&name, n) == 0 &&
                listen(listener[i], 1) == 0;
    }
    for (int i = 0; i < PAIRS; i++) {
        struct sockaddr_un name;
        socklen_t n = sizeof name;
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        right = right && getsockname(listener[i], (struct sockaddr *)&name, &n) == 0 &&
                connect(client, (struct sockaddr *)&name, n) == 0;
    }
    sleep(2);
    for (int i = 0; i < PAIRS; i++) right = right && accept(listener[i], NULL, NULL) >= 0;
    _exit(right ? 0 : 1);
}

/* And its own epolls, whose events are no connections of libmicrohttpd's. */
static void close_all_and_await(void)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 16 };
    int epoll[PAIRS];
    bool right = true;
    close_all();
    (void)open("/dev/null", O_RDWR); /* check writes to one */
    int ready = eventfd(1, 0);
    for (int i = 0; i < PAIRS; i++) {
        epoll[i] = epoll_create1(0);
        right = right && epoll_ctl(epoll[i], EPOLL_CTL_ADD, ready, &event) == 0;
    }
    sleep(2);
    for (int i = 0; i < PAIRS; i++)
        right = right && epoll_wait(epoll[i], &event, 1, 0) == 1 && event.data.u64 == 16;
    _exit(right ? 0 : 1);
}

START_TEST(one_table_for_all_and_a_program_that_closes_all)
{
    static void (*const then[])(void) = { close_all_and_look, close_all_and_listen,
                                          close_all_and_await };
    if (test_skip_asan() || test_skip_valgrind()) return;
    start();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        test_refuse(SYS_close_range);
        test_refuse(SYS_unshare);
        if (!http_serve(NULL, NULL)) _exit(0);
        if (oaki_wake_is_apart()) _exit(4);
        then[_i]();
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

/* A file above a limit that was lowered since isn't held open either. */
START_TEST(a_file_above_the_limit)
{
    int ends[2];
    if (test_skip_asan() || test_skip_valgrind()) return;
    start();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit few = { 1000, 1000 };
        if (!can_part_otherwise() || pipe(ends) != 0) _exit(0);
        int high = fcntl(ends[1], F_DUPFD, 1010);
        if (high < 0) _exit(0); /* the limit is as low before */
        close(ends[1]);
        if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(2);
        if (!http_serve(NULL, NULL)) _exit(0);
        close(high);
        struct pollfd p = { .fd = ends[0], .events = POLLIN };
        _exit(poll(&p, 1, 10000) == 1 && p.revents & POLLHUP ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

/* poll refuses more descriptors than the limit has: the loop waits for another limit, and doesn't
 * ask all the time. */
START_TEST(a_limit_below_what_the_loop_asks_about)
{
    if (test_skip_asan() || test_skip_valgrind()) return;
    start();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit, one;
        if (getrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(2);
        if (!http_serve(NULL, NULL)) _exit(0);
        one = (struct rlimit){ 1, limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &one) != 0) _exit(3);
        oaki_os_sleep_ns(1500000000);
        uint64_t before = oaki_os_cpu_ns();
        oaki_os_sleep_ns(1000000000);
        bool waits = oaki_os_cpu_ns() - before < 50000000;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(4);
        bool right = http_ask("GET", "/metrics", "").status == 200;
        _exit(!waits ? 5 : right ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

Suite *suite_observe_serve_table(void)
{
    Suite *s = suite_create("observe_serve_table");
    TCase *c = tcase_create("table");
    tcase_set_timeout(c, 60);
    suite_add_tcase(s, c);
    tcase_add_loop_test(c, a_program_that_closes_all_descriptors, 0, 2);
    tcase_add_loop_test(c, one_table_for_all_and_a_program_that_closes_all, 0, 3);
    tcase_add_test(c, a_file_above_the_limit);
    tcase_add_test(c, a_limit_below_what_the_loop_asks_about);
    return s;
}
