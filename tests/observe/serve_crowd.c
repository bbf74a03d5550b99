/* serve_crowd.c - tests of the debug server with many who want what takes long, and some who went:
 * there is room for others, and nobody works for who isn't there. What takes long waits here for a
 * world that is stopped, so that no test depends on how long it takes. */
#include "observe/serve.h"

#include "http.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_serve_crowd(void);

#define WHY "GET /debug/why?addr=0x10 HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define CROWD 150

/* On TCP, and on the Unix socket. */
static bool start(int local, unsigned clients)
{
    test_heap_start(test_config());
    if (!http_serve(local ? "1" : NULL, &(oak_serve_options){ .max_clients = clients }))
        return false;
    oaki_serve_patiences.slow_read = oaki_serve_patiences.read; /* a machine with much to do */
    return true;
}

/* By a thread that isn't attached, while the world is stopped. */
static void in_a_stop(void *(*fn)(void *arg))
{
    oaki_thread *t = oaki_gc_stop_begin();
    pthread_t id = test_start(fn, NULL);
    while (!AO_load_acquire(&test_moved)) oaki_os_sleep_ns(1000000);
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}

static int crowd[CROWD];

static int status_of(const char *path)
{
    http_answer a = http_ask("GET", path, "");
    free(a.head);
    free(a.body);
    return a.status;
}

static void *crowd_and_ask(void *unused)
{
    for (int i = 0; i < CROWD; i++) http_send(crowd[i] = http_connect(), WHY);
    test_expect(status_of("/debug/") == 200, __LINE__);
    test_expect(status_of("/debug/why?addr=0x10") == 503, __LINE__);
    AO_store_release(&test_moved, 1);
    return unused;
}

START_TEST(who_asks_why_keeps_nobody_out)
{
    int found[600] = { 0 };
    if (!start(_i, 0)) return;
    in_a_stop(crowd_and_ask);
    for (int i = 0; i < CROWD; i++) found[http_receive(crowd[i], false).status]++;
    ck_assert_int_eq(found[404], OAKI_SERVE_HEAVY);
    ck_assert_int_eq(found[503], CROWD - OAKI_SERVE_HEAVY);
    ck_assert_int_eq(status_of("/debug/why?addr=0x10"), 404);
}
END_TEST

/* A why, a difference and a place for others, though there are few. */
static void *crowd_a_small_one(void *unused)
{
    http_send(http_connect(), WHY);
    while (status_of("/debug/why?addr=0x10") != 503) oaki_os_sleep_ns(1000000);
    test_expect(status_of("/debug/") == 200, __LINE__);
    AO_store_release(&test_moved, 1);
    return unused;
}

START_TEST(there_is_room_in_a_small_one_too)
{
    if (start(_i, 4)) in_a_stop(crowd_a_small_one);
}
END_TEST

/* All but the first go: what was queued for them is dropped, and one at most is being made. */
static void *crowd_and_go(void *unused)
{
    size_t fds = http_descriptors();
    for (int i = 0; i < OAKI_SERVE_HEAVY; i++) http_send(crowd[i] = http_connect(), WHY);
    while (status_of("/debug/why?addr=0x10") != 503) oaki_os_sleep_ns(1000000);
    for (int i = 1; i < OAKI_SERVE_HEAVY; i++) close(crowd[i]);
    while (http_descriptors() > fds + 3) oaki_os_sleep_ns(10000000);
    AO_store_release(&test_moved, 1);
    return unused;
}

START_TEST(nobody_looks_for_who_has_gone)
{
    if (!start(_i, 0)) return;
    in_a_stop(crowd_and_go);
    ck_assert_int_eq(http_receive(crowd[0], false).status, 404);
}
END_TEST

/* Clients over TCP, who may be anybody, leave places to the Unix socket. */
START_TEST(a_crowd_at_the_port_keeps_nobody_out_of_the_socket)
{
    if (!start(0, _i ? 4 : 16)) return;
    for (int i = 0; i < CROWD; i++) crowd[i] = http_connect();
    for (int i = 0; i < 5; i++) {
        int fd = http_connect_local();
        http_send(fd, "GET /debug/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        http_answer a = http_receive(fd, false);
        ck_assert_int_eq(a.status, 200);
        free(a.head);
        free(a.body);
        close(fd);
    }
}
END_TEST

/* ---- who sends no more ---- */

/* Some sandboxes know nothing of it. */
static bool kernel_tells(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    if (fd < 0) printf("skipped: there is no sock_diag\n");
    else close(fd);
    return fd >= 0;
}

/* Also beside others, as libmicrohttpd looks at one more than at many. */
START_TEST(who_sends_no_more_gets_the_answer)
{
    static const char *const paths[] = {
        "/debug/pprof/profile-diff?seconds=1", "/metrics", "/debug/why?addr=0x10",
        "/debug/pprof/heap?seconds=1",         "/",        "/debug/trace?seconds=1",
    };
    int fd[OAKI_COUNT(paths)];
    if (!kernel_tells() || !start(_i, 0)) return;
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    void *kept = oak_alloc(100);
    for (int times = 0; times < 3; times++) {
        for (size_t i = 0; i < OAKI_COUNT(paths); i++) {
            char text[128];
            snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", paths[i]);
            http_send(fd[i] = http_connect(), text);
            shutdown(fd[i], SHUT_WR);
        }
        for (size_t i = 0; i < OAKI_COUNT(paths); i++) {
            int status = http_receive(fd[i], false).status;
            ck_assert_msg(status == (i == 2 ? 404 : 200), "%s: %d", paths[i], status);
            ck_assert(http_ended(fd[i]));
            close(fd[i]);
        }
    }
    ck_assert_ptr_nonnull(kept);
}
END_TEST

/* The two ends of a connection. */
static bool connect_pair(int family, int end[2])
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (family == AF_UNIX) return socketpair(AF_UNIX, SOCK_STREAM, 0, end) == 0;
    struct sockaddr *a = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t n = family == AF_INET ? sizeof v4 : sizeof v6;
    int listener = socket(family, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, a, n) != 0) return false;
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, a, &n), 0);
    end[0] = socket(family, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(end[0], a, n), 0);
    end[1] = accept(listener, NULL, NULL);
    ck_assert_int_ge(end[1], 0);
    close(listener);
    return true;
}

START_TEST(who_has_gone_is_told_from_who_sends_no_more)
{
    int end[2];
    static const int families[] = { AF_INET, AF_INET6, AF_UNIX };
    if (!kernel_tells() || !connect_pair(families[_i], end)) return;
    ck_assert(!oaki_serve_peer_gone(end[1]));
    ck_assert_int_eq(write(end[0], "x", 1), 1);
    ck_assert(!oaki_serve_peer_gone(end[1]));
    char byte;
    ck_assert_int_eq(read(end[1], &byte, 1), 1);
    shutdown(end[0], SHUT_WR);
    while (recv(end[1], &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0) oaki_os_yield();
    ck_assert(!oaki_serve_peer_gone(end[1]));
    close(end[0]);
    ck_assert(oaki_serve_peer_gone(end[1]));
    close(end[1]);
    ck_assert(connect_pair(families[_i], end));
    struct linger reset = { 1, 0 };
    setsockopt(end[0], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(end[0]);
    while (!oaki_serve_peer_gone(end[1])) oaki_os_yield();
}
END_TEST

/* ---- bytes that mean something to C ---- */

static const struct {
    const char *text;
    size_t n;
} nuls[] = {
#define TEXT(s) { s, sizeof(s) - 1 }
    TEXT("GET /metrics\0x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    TEXT("GET /metrics HTTP/1.1\r\nHost: localhost\0.example.com\r\n\r\n"),
    TEXT("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n"),
    TEXT("GET /metrics?addr=0x1\0 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    TEXT("GET /debug/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
};

START_TEST(a_request_with_a_nul_is_refused)
{
    size_t which = (size_t)_i % OAKI_COUNT(nuls);
    if (!start((size_t)_i >= OAKI_COUNT(nuls), 0)) return;
    int fd = http_connect();
    ck_assert_int_eq(send(fd, nuls[which].text, nuls[which].n, MSG_NOSIGNAL),
                     (ssize_t)nuls[which].n);
    ck_assert_int_eq(http_receive(fd, false).status, 400);
    ck_assert(http_ended(fd));
    ck_assert_int_eq(status_of("/metrics"), 200);
}
END_TEST

static const struct {
    const char *escaped, *plain;
} parts[] = {
    { "", "" },
    { "/debug/", "/debug/" },
    { "%2Fmetrics%3f", "/metrics?" },
    { "/metrics%00x", "/metrics%00x" },
    { "%", "%" },
    { "%4", "%4" },
    { "%zz%4", "%zz%4" },
    { "%%41%C3%a4%ff", "%A\xc3\xa4\xff" },
    { "%2500", "%00" },
    { "%40%0", "@%0" },
};

START_TEST(parts_of_an_address_are_decoded)
{
    char text[32];
    snprintf(text, sizeof text, "%s", parts[_i].escaped);
    ck_assert_uint_eq(oaki_http_unescape(text), strlen(parts[_i].plain));
    ck_assert_str_eq(text, parts[_i].plain);
}
END_TEST

Suite *suite_observe_serve_crowd(void)
{
    Suite *s = suite_create("observe_serve_crowd");
    TCase *c = tcase_create("crowd");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, who_asks_why_keeps_nobody_out, 0, 2);
    tcase_add_loop_test(c, there_is_room_in_a_small_one_too, 0, 2);
    tcase_add_loop_test(c, a_crowd_at_the_port_keeps_nobody_out_of_the_socket, 0, 2);
    tcase_add_loop_test(c, nobody_looks_for_who_has_gone, 0, 2);
    tcase_add_loop_test(c, who_sends_no_more_gets_the_answer, 0, 2);
    tcase_add_loop_test(c, who_has_gone_is_told_from_who_sends_no_more, 0, 3);
    tcase_add_loop_test(c, a_request_with_a_nul_is_refused, 0, 2 * OAKI_COUNT(nuls));
    tcase_add_loop_test(c, parts_of_an_address_are_decoded, 0, OAKI_COUNT(parts));
    suite_add_tcase(s, c);
    return s;
}
