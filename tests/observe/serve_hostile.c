/* serve_hostile.c - tests of the debug server against those who mean it harm, or mean nothing:
 * many at once, the slow, the silent, the too long, and random bytes. After each of them it answers
 * as before, and nothing of them stays. */
#include "observe/serve.h"

#include "http.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_serve_hostile(void);

/* On TCP, and on the Unix socket. */
static bool start(int local, unsigned clients)
{
    test_heap_start(test_config());
    return http_serve(local ? "1" : NULL, &(oak_serve_options){ .max_clients = clients });
}

/* Those of the server too, so: until it has closed them. */
static void wait_for_descriptors(size_t n)
{
    while (http_descriptors() > n) oaki_os_sleep_ns(10000000);
}

static void assert_serves(void)
{
    ck_assert_ptr_nonnull(strstr(http_get("/metrics").body, "oakum_heap_alloc_bytes"));
}

/* ---- many ---- */

#define CLIENTS 100

static void ask_without_reading(int fd)
{
    for (int i = 0; i < 20; i++)
        http_send(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
                      "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static void *one_of_many(void *arg)
{
    static const char *const paths[] = { "/metrics", "/", "/debug/state", "/debug/maps",
                                         "/debug/threads", "/debug/why?addr=0x1" };
    for (uintptr_t i = 0; i < 5; i++) {
        uintptr_t which = ((uintptr_t)arg + i) % 6;
        http_answer a = http_ask("GET", paths[which], "");
        bool full = which == 5 && a.status == 503; /* of those who ask why */
        test_expect(full || a.status == (which == 5 ? 404 : 200), __LINE__);
        free(a.head);
        free(a.body);
    }
    return arg;
}

START_TEST(a_hundred_clients_of_whom_some_never_read)
{
    pthread_t id[CLIENTS];
    int mute[CLIENTS / 4];
    if (!start(_i, 0)) return;
    /* the others are slow too, where the machine has more to do */
    oaki_serve_patiences.slow_read = oaki_serve_patiences.read;
    size_t fds = http_descriptors();
    for (int i = 0; i < CLIENTS / 4; i++) ask_without_reading(mute[i] = http_connect());
    for (uintptr_t i = 0; i < CLIENTS; i++) id[i] = test_start(one_of_many, (void *)i);
    for (int i = 0; i < CLIENTS; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    assert_serves();
    for (int i = 0; i < CLIENTS / 4; i++) close(mute[i]);
    wait_for_descriptors(fds);
}
END_TEST

/* Who says nothing makes way when somebody else wants in. */
START_TEST(the_silent_keep_nobody_out)
{
    int fd[8];
    if (!start(_i, 4)) return;
    oaki_serve_patiences.slow_read = 100000000;
    for (int i = 0; i < 8; i++) fd[i] = http_connect(); /* four of them wait to be accepted */
    assert_serves();
    ck_assert(http_ended(fd[0]));
}
END_TEST

START_TEST(those_who_never_read_keep_nobody_out)
{
    int fd[4];
    if (!start(_i, 4)) return;
    oaki_serve_patiences.slow_send = oaki_serve_patiences.slow_read = 100000000;
    for (int i = 0; i < 4; i++) {
        fd[i] = http_connect();
        for (int j = 0; j < 20; j++) ask_without_reading(fd[i]);
    }
    assert_serves();
}
END_TEST

/* ---- slow ---- */

START_TEST(a_header_that_drips_is_cut_off)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    if (!start(_i, 0)) return;
    oaki_serve_patiences.read = 500000000;
    int fd = http_connect();
    http_send(fd, request);
    uint64_t begin = oaki_os_now_ns();
    while (oaki_os_now_ns() - begin < 15000000000u) {
        if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) break; /* never silent for long */
        oaki_os_sleep_ns(50000000);
    }
    ck_assert(http_ended(fd));
    ck_assert_uint_lt(oaki_os_now_ns() - begin, 14000000000u);
    assert_serves();
}
END_TEST

START_TEST(a_connection_is_kept_for_the_next_request)
{
    if (!start(_i, 0)) return;
    int fd = http_connect();
    for (int i = 0; i < 20; i++) {
        http_send(fd, "GET /debug/state HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ck_assert_int_eq(http_receive(fd, false).status, 200);
    }
    http_send(fd, "HEAD /debug/state HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(http_receive(fd, true).status, 200);
    http_send(fd, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(http_receive(fd, false).status, 404);
}
END_TEST

START_TEST(who_goes_before_the_answer_is_no_harm)
{
    if (!start(_i, 0)) return;
    size_t fds = http_descriptors();
    for (int i = 0; i < 200; i++) {
        int fd = http_connect();
        http_send(fd, i % 2 ? "GET /metrics HTTP/1.1\r\n"
                            : "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\n");
        http_send(fd, "Host: localhost\r\n\r\n");
        close(fd);
    }
    assert_serves();
    wait_for_descriptors(fds);
}
END_TEST

/* ---- long ---- */

/* begin, then n bytes of `fill`, then end; what comes of it is no 200. */
static void ask_long(const char *begin, size_t n, const char *end)
{
    size_t head = strlen(begin), tail = strlen(end);
    char *text = malloc(head + n + tail + 1);
    memcpy(text, begin, head);
    memset(text + head, 'a', n);
    memcpy(text + head + n, end, tail + 1);
    int fd = http_connect();
    http_send(fd, text);
    int status = http_receive(fd, false).status;
    ck_assert_msg(status == 0 || (status >= 400 && status < 500), "%d", status);
    close(fd);
    free(text);
}

START_TEST(what_is_too_long_is_refused)
{
    if (!start(_i, 0)) return;
    size_t fds = http_descriptors();
    for (size_t n = 16 << 10; n <= (size_t)4 << 20; n *= 4) {
        ask_long("GET /", n, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ask_long("GET /metrics?addr=", n, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ask_long("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ", n, "\r\n\r\n");
        ask_long("GET /metrics HTTP/1.1\r\nHost: ", n, "\r\n\r\n");
        ask_long("", n, "\r\n\r\n");
    }
    assert_serves();
    wait_for_descriptors(fds);
}
END_TEST

/* begin, then n times `part`, then end, in one piece; the status of the answer. */
static int ask_with_parts(const char *begin, const char *part, size_t n, const char *end)
{
    size_t size = strlen(part), head = strlen(begin);
    char *text = malloc(head + n * size + strlen(end) + 1);
    memcpy(text, begin, head);
    for (size_t i = 0; i < n; i++) memcpy(text + head + i * size, part, size);
    memcpy(text + head + n * size, end, strlen(end) + 1);
    int fd = http_connect();
    http_send(fd, text);
    http_answer a = http_receive(fd, false);
    ck_assert(http_ended(fd));
    close(fd);
    free(text);
    return a.status;
}

#define LINE " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

static const struct {
    size_t n;
    int arguments, headers, cookies; /* the answers */
} parts[] = {
    { 1, 200, 200, 200 },      { 100, 200, 200, 200 },    { 150, 414, 431, 431 },
    { 250, 414, 431, 431 },    { 300, 414, 431, 431 },    { 500, 414, 431, 431 },
    { 1500, 414, 431, 431 },   { 3000, 414, 431, 431 },   { 20000, 414, 431, 431 },
};

/* Nobody goes without an answer, however many there are. */
START_TEST(many_parts_are_answered)
{
    if (!start(_i, 0)) return;
    for (size_t i = 0; i < OAKI_COUNT(parts); i++) {
        size_t n = parts[i].n;
        ck_assert_int_eq(ask_with_parts("GET /debug/?x=1", "&a=1", n, LINE "\r\n"),
                         parts[i].arguments);
        ck_assert_int_eq(ask_with_parts("GET /debug/" LINE, "A: b\r\n", n, "\r\n"),
                         parts[i].headers);
        ck_assert_int_eq(ask_with_parts("GET /debug/" LINE "Cookie: a=b", ";a=1", n, "\r\n\r\n"),
                         parts[i].cookies);
    }
    ck_assert_int_eq(ask_with_parts("GET /debug/?", "x", 15000, LINE "\r\n"), 200);
    ck_assert_int_eq(ask_with_parts("GET /debug/?", "x&yyyyyyyyyyyyyy", 100, LINE "\r\n"), 200);
    ck_assert_int_eq(ask_with_parts("GET /debug/?", "x", 17000, LINE "\r\n"), 414);
    ck_assert_int_eq(ask_with_parts("GET /debug/" LINE "X: ", "x", 17000, "\r\n\r\n"), 431);
    assert_serves();
}
END_TEST

/* Requests behind each other are not one with many parts. */
START_TEST(a_row_of_requests_is_answered)
{
    char text[8192] = "";
    if (!start(_i, 0)) return;
    for (size_t n = 0; n < 100; n++)
        snprintf(text + 35 * n, 36, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    int fd = http_connect();
    http_send(fd, text);
    for (int i = 0; i < 100; i++) ck_assert_int_eq(http_receive(fd, false).status, 200);
}
END_TEST

/* More than there are places for, who say nothing or half of a request, and stay. */
START_TEST(many_half_open_ones)
{
    int fd[100];
    if (!start(_i, 8)) return;
    oaki_serve_patiences.slow_read = 20000000;
    for (int i = 0; i < 100; i++) {
        fd[i] = http_connect();
        if (i % 2) http_send(fd[i], "GET /metrics HTTP/1.1\r\nHost: local");
    }
    assert_serves();
    for (int i = 0; i < 100; i++) close(fd[i]);
}
END_TEST

START_TEST(many_headers_are_refused)
{
    if (!start(_i, 0)) return;
    int fd = http_connect();
    http_send(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 5000; i++) {
        char line[32];
        snprintf(line, sizeof line, "X-%d: y\r\n", i);
        http_send(fd, line);
    }
    http_send(fd, "\r\n");
    ck_assert_int_ne(http_receive(fd, false).status, 200);
    assert_serves();
}
END_TEST

/* ---- random bytes ---- */

static const char *const pieces[] = {
    "GET ", "HEAD ", "POST ", "/", "/metrics", "/debug/state", "/debug/why?addr=0x", "/debug/gc",
    "?since=", "&text=1", "%00", "%zz", "%", "..", " HTTP/1.1", " HTTP/1.0", " HTTP/9.9", "\r\n",
    "\n", "\r\n\r\n", "Host: localhost\r\n", "Host: x\r\n", "Host:\r\n", "Content-Length: 5\r\n",
    "Content-Length: -1\r\n", "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n", "Connection: keep-alive\r\n",
    "Connection: close\r\n", "Authorization: Bearer \r\n", "Expect: 100-continue\r\n", ":", " ",
    "\t", "\x80\xff",
    "5\r\nhello", "0\r\n\r\n", "seconds=1", "n=4096", "&", "=", ";", "Upgrade: h2c\r\n",
    "Sec-Fetch-Site: x\r\n",
};

static size_t compose(char *out, size_t room)
{
    size_t n = 0, parts = 1 + test_below(24);
    for (size_t i = 0; i < parts && n + 64 < room; i++) {
        if (test_below(4) == 0) {
            for (size_t k = test_below(16); k > 0; k--) out[n++] = (char)test_random();
        } else {
            const char *p = pieces[test_below(sizeof pieces / sizeof pieces[0])];
            memcpy(out + n, p, strlen(p));
            n += strlen(p);
        }
    }
    for (size_t k = test_below(8) == 0 ? 1 + test_below(3) : 0; n > 0 && k > 0; k--)
        out[test_below(n)] = (char)test_random();
    return n;
}

/* Half of them close before an answer can come, some only for writing. */
static void ask_random(void)
{
    char text[2048], some[512];
    size_t n = compose(text, sizeof text);
    int fd = http_connect();
    (void)!send(fd, text, n, MSG_NOSIGNAL);
    if (test_below(4) == 0) (void)!send(fd, "\r\n\r\n", 4, MSG_NOSIGNAL);
    if (test_below(2) == 0) {
        shutdown(fd, SHUT_WR);
        while (recv(fd, some, sizeof some, 0) > 0) {}
    }
    close(fd);
}

START_TEST(random_bytes_do_no_harm)
{
    test_seed("serve_hostile");
    if (!start(_i, 0)) return;
    oaki_serve_patiences.read = 300000000;
    size_t fds = http_descriptors(), times = test_scale(600);
    for (size_t i = 0; i < times; i++) {
        ask_random();
        if (i % 200 == 0) assert_serves();
    }
    assert_serves();
    wait_for_descriptors(fds);
    oak_debug_serve_stop();
    ck_assert_ptr_null(test_check_heap());
}
END_TEST

Suite *suite_observe_serve_hostile(void)
{
    Suite *s = suite_create("observe_serve_hostile");
    TCase *c = tcase_create("hostile");
    tcase_add_loop_test(c, a_hundred_clients_of_whom_some_never_read, 0, 2);
    tcase_add_loop_test(c, the_silent_keep_nobody_out, 0, 2);
    tcase_add_loop_test(c, those_who_never_read_keep_nobody_out, 0, 2);
    tcase_add_loop_test(c, a_header_that_drips_is_cut_off, 0, 2);
    tcase_add_loop_test(c, a_connection_is_kept_for_the_next_request, 0, 2);
    tcase_add_loop_test(c, who_goes_before_the_answer_is_no_harm, 0, 2);
    tcase_add_loop_test(c, what_is_too_long_is_refused, 0, 2);
    tcase_add_loop_test(c, many_parts_are_answered, 0, 2);
    tcase_add_loop_test(c, a_row_of_requests_is_answered, 0, 2);
    tcase_add_loop_test(c, many_half_open_ones, 0, 2);
    tcase_add_loop_test(c, many_headers_are_refused, 0, 2);
    tcase_add_loop_test(c, random_bytes_do_no_harm, 0, 2);
    suite_add_tcase(s, c);
    return s;
}
