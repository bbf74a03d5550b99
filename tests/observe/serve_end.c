/* serve_end.c - tests of what a request of the debug server might end the program by: its library,
 * the stack of a thread, a limit. */
#include "http.h"
#include "observe/mhd.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include <check.h>
#include <errno.h>
#include <oakum/profile.h>
#include <oakum/serve.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

Suite *suite_observe_serve_end(void);

static void start(void)
{
    test_heap_start(test_config());
}

static enum MHD_Result run_into_panic(struct MHD_Daemon *daemon)
{
    (void)daemon;
    oaki_mhd_panic(NULL, "", 7, "the test wants it");
    return MHD_NO;
}

/* A client that is connected, one that waits for an answer, and one that comes later. */
static void run_on_without_a_server(void *unused)
{
    (void)unused;
    ck_assert(http_serve(NULL, NULL));
    int idle = http_connect(), waits = http_connect();
    http_send(waits, "GET /debug/trace?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (void)http_get("/metrics");
    oaki_mhd.MHD_run = run_into_panic;
    http_send(idle, "GET /metrics HTTP/1.1\r\n");
    ck_assert(http_ended(idle));
    ck_assert(http_ended(waits));
    oak_debug_serve_stop();
    ck_assert(http_serve(NULL, NULL)); /* with the table as it was */
    (void)http_get("/metrics");
    oak_debug_serve_stop();
}

START_TEST(the_server_ends_where_libmicrohttpd_would_end_the_program)
{
    char text[4096];
    start();
    if (!http_serve(NULL, NULL)) return;
    oak_debug_serve_stop();
    ck_assert_int_eq(test_capture(run_on_without_a_server, NULL, text, sizeof text), 0);
    ck_assert_msg(strstr(text, "line 7: the test wants it") != NULL, "%s", text);
}
END_TEST

/* As programs with thousands of threads have it. */
START_TEST(it_needs_no_stack_of_the_programs_usual_size)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstacksize(&attr, 64 << 10), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&attr), 0);
    start();
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    for (int i = 0; i < 100; i++) (void)!oak_alloc(100);
    if (!http_serve(NULL, NULL)) return;
    (void)http_get("/debug/pprof/heap");
    (void)http_get("/debug/pprof/heap?debug=1");
    (void)http_get("/debug/state");
    (void)http_get("/debug/threads");
    oak_debug_serve_stop();
}
END_TEST

/* A request is sent while no file may grow, and its status told when they may again: the test's own
 * protocol is a file as well. */
static int status_without_files(const char *path)
{
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
    const struct rlimit any = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
    char text[200];
    int fd = http_connect(), status = 0;
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    bool sent = setrlimit(RLIMIT_FSIZE, &none) == 0 && write(fd, text, (size_t)n) == n;
    ssize_t got;
    while ((got = read(fd, text, sizeof text - 1)) < 0 && errno == EINTR) continue;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &any), 0);
    ck_assert(sent && got > 0);
    text[got] = '\0';
    ck_assert_int_eq(sscanf(text, "HTTP/1.1 %d", &status), 1);
    close(fd);
    return status;
}

/* The server's own have no name, but the program's limit holds for them. */
START_TEST(a_limit_on_files_costs_answers_and_not_the_program)
{
    start();
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    for (int i = 0; i < 100; i++) (void)!oak_alloc(100);
    if (!http_serve(NULL, NULL)) return;
    ck_assert_int_eq(status_without_files("/debug/pprof/heap"), 503);
    ck_assert_int_eq(status_without_files("/debug/pprof/heap?debug=1"), 503);
    ck_assert_int_eq(status_without_files("/metrics"), 200);
    ck_assert_int_eq(status_without_files("/debug/state"), 200);
    (void)http_get("/debug/pprof/heap");
    oak_debug_serve_stop();
}
END_TEST

Suite *suite_observe_serve_end(void)
{
    Suite *s = suite_create("observe_serve_end");
    TCase *c = tcase_create("end");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, the_server_ends_where_libmicrohttpd_would_end_the_program);
    tcase_add_test(c, it_needs_no_stack_of_the_programs_usual_size);
    tcase_add_test(c, a_limit_on_files_costs_answers_and_not_the_program);
    suite_add_tcase(s, c);
    return s;
}
