/* serve_trace.c - tests of the trace that the debug server gives: what is in it, that it fits into
 * an answer, whose it is, and that it ends when nobody waits for it any more. And what any other
 * answer says that is too large. */
#include "http.h"
#include "observe/serve.h"
#include "observe/trace.h"
#include "readjson.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Suite *suite_observe_serve_trace(void);

static bool start(void)
{
    test_heap_start(test_config());
    return http_serve(NULL, NULL);
}

/* A request for a trace of so many seconds, which is under way when this returns. */
static int ask(const char *seconds)
{
    char text[128];
    int fd = http_connect();
    snprintf(text, sizeof text, "GET /debug/trace?seconds=%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
             seconds);
    http_send(fd, text);
    while (!oak_trace_running()) oaki_os_sleep_ns(1000000);
    return fd;
}

static size_t named(const json *events, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < events->length; i++)
        n += strcmp(json_string(&events->item[i], "name"), name) == 0;
    return n;
}

START_TEST(it_has_what_happens_meanwhile)
{
    if (!start()) return;
    oak_span_begin("too early");
    oak_span_end();
    int fd = ask("1");
    oak_span_begin("a request");
    oak_collect();
    oak_span_end();
    http_answer a = http_receive(fd, false);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(http_header(&a, "Content-Disposition"), "trace.json"));
    ck_assert(!oak_trace_running());
    const json *events = json_get(json_read(a.body), "traceEvents");
    ck_assert_uint_eq(named(events, "a request"), 1);
    ck_assert_uint_eq(named(events, "too early"), 0);
    ck_assert_uint_ge(events->length, 5);
    oak_debug_serve_stop();
}
END_TEST

START_TEST(a_trace_of_the_program_is_left_alone)
{
    if (!start()) return;
    ck_assert_int_eq(oak_trace_start(0), 0);
    http_answer a = http_ask("GET", "/debug/trace?seconds=1", "");
    ck_assert_int_eq(a.status, 409);
    ck_assert_msg(strstr(a.body, "under way") != NULL, "%s", a.body);
    ck_assert(oak_trace_running());
    ck_assert_int_eq(oak_trace_stop(NULL), 0);
    /* and one that it begins meanwhile */
    int fd = ask("1");
    ck_assert_int_eq(oak_trace_start(0), 0);
    a = http_receive(fd, false);
    ck_assert_int_eq(a.status, 409);
    ck_assert_msg(strstr(a.body, "of its own") != NULL, "%s", a.body);
    ck_assert(oak_trace_running());
    oak_debug_serve_stop();
}
END_TEST

enum { THREADS = 8, SPANS = 500 };

/* The first thread has few events. */
static void *record(void *number)
{
    for (int i = 0; i < (number ? SPANS : 3); i++) {
        oak_span_begin_arg("one of many spans", "key", "value");
        oak_span_end();
    }
    return NULL;
}

static uint64_t left_out(const json *events)
{
    uint64_t n = 0;
    for (size_t i = 0; i < events->length; i++)
        if (strcmp(json_string(&events->item[i], "name"), "events left out") == 0)
            n += json_u64(json_get(&events->item[i], "args"), "events");
    return n;
}

/* What a body can't take is left out, of each thread a part. */
START_TEST(a_trace_that_is_too_large_tells_what_is_missing)
{
    static const size_t mosts[] = { SIZE_MAX, 200 << 10, 60 << 10, 0 };
    test_heap_start(test_config());
    for (size_t k = 0; k < OAKI_COUNT(mosts); k++) {
        int fd = memfd_create("oakum-test", MFD_CLOEXEC);
        AO_t trace = oaki_trace_begin(1000);
        ck_assert(fd >= 0 && trace != 0);
        for (uintptr_t i = 0; i < THREADS; i++) test_join(test_start(record, (void *)i));
        ck_assert_int_eq(oaki_trace_end(trace, fd, mosts[k]), 0);
        off_t n = lseek(fd, 0, SEEK_END);
        char *text = calloc(1, (size_t)n + 1);
        ck_assert_int_eq(pread(fd, text, (size_t)n, 0), n);
        close(fd);
        const json *all = json_read(text), *events = json_get(all, "traceEvents");
        uint64_t missing = left_out(events), spans = named(events, "one of many spans");
        ck_assert_uint_eq(spans + missing, 3 + (THREADS - 1) * SPANS);
        ck_assert_uint_ge(json_u64(json_get(all, "otherData"), "dropped_events"), missing);
        if (mosts[k] == 0) continue;
        ck_assert_uint_le((size_t)n, mosts[k]);
        ck_assert_uint_eq(named(events, "events left out"), k == 0 ? 0 : THREADS - 1);
        ck_assert_uint_gt(spans, 3);
    }
}
END_TEST

static void wait_for_the_end(void)
{
    for (int i = 0; i < 20000 && oak_trace_running(); i++) oaki_os_sleep_ns(1000000);
    ck_assert(!oak_trace_running());
}

START_TEST(it_ends_when_its_client_goes)
{
    if (!start()) return;
    close(ask("600"));
    wait_for_the_end();
    (void)http_get("/metrics");
    close(ask("600")); /* the next one is not refused */
    wait_for_the_end();
    oak_debug_serve_stop();
}
END_TEST

START_TEST(it_ends_with_the_server)
{
    if (!start()) return;
    int fd = ask("600");
    oak_debug_serve_stop();
    ck_assert(!oak_trace_running());
    ck_assert(http_ended(fd));
}
END_TEST

/* ---- other answers ---- */

static void make_much(oaki_request *r)
{
    static const char piece[1 << 16];
    for (size_t n = 0; n <= OAKI_BODY_MAX; n += sizeof piece)
        oaki_body_put(&r->body, piece, sizeof piece);
}

START_TEST(an_answer_that_is_too_large_says_so)
{
    static const oaki_route much = { "/debug/much", OAKI_MAKER_LIGHT, false, 0, make_much, "" };
    test_heap_start(test_config());
    oaki_route_add(&much);
    if (!http_serve(NULL, NULL)) return;
    http_answer a = http_ask("GET", "/debug/much", "");
    ck_assert_int_eq(a.status, 503);
    ck_assert_msg(strstr(a.body, "larger than 64 MiB") != NULL, "%s", a.body);
}
END_TEST

Suite *suite_observe_serve_trace(void)
{
    Suite *s = suite_create("observe_serve_trace");
    TCase *c = tcase_create("trace");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, it_has_what_happens_meanwhile);
    tcase_add_test(c, a_trace_of_the_program_is_left_alone);
    tcase_add_test(c, a_trace_that_is_too_large_tells_what_is_missing);
    tcase_add_test(c, it_ends_when_its_client_goes);
    tcase_add_test(c, it_ends_with_the_server);
    tcase_add_test(c, an_answer_that_is_too_large_says_so);
    suite_add_tcase(s, c);
    return s;
}
