/* serve.c - tests of the debug server's answers: each address says what is so, in a form that its
 * readers accept; and who gets none. */
#include "observe/serve.h"

#include "http.h"
#include "observe/census.h"
#include "observe/reading.h"
#include "observe/serve_json.h"
#include "observe/site.h"
#include "promtext.h"
#include "readjson.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_observe_serve(void);

static void *kept[1000];
static oak_map *numbers;
static oak_classic_map *classic;

static size_t waiting_threads(void)
{
    static oaki_census c;
    size_t n = 0;
    ck_assert_int_eq(oaki_census_take(&c), 0);
    for (size_t i = 0; i < c.nthreads; i++) n += c.threads[i].blocked;
    return n;
}

static bool start(const oak_serve_options *o)
{
    test_heap_start(test_config());
    test_once();
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    for (size_t i = 0; i < 1000; i++) kept[i] = oak_alloc(64);
    numbers = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t i = 0; i < 5000; i++) *(uint64_t *)oak_map_put(numbers, &i) = i;
    classic = oak_classic_new(&oak_classic_int_int, 0);
    for (uint64_t i = 0; i < 300; i++) (void)oak_classic_put(classic, &i);
    oak_collect();
    if (!http_serve(NULL, o)) return false;
    while (waiting_threads() < 2) oaki_os_yield(); /* its workers */
    return true;
}

/* ---- every address ---- */

static const struct {
    const char *path, *type;
} answers[] = {
    { "/", "text/html; charset=utf-8" },
    { "/metrics", "text/plain; version=0.0.4; charset=utf-8" },
    { "/debug", "text/plain; charset=utf-8" },
    { "/debug/", "text/plain; charset=utf-8" },
    { "/debug/state", "application/json; charset=utf-8" },
    { "/debug/memstats", "application/json; charset=utf-8" },
    { "/debug/host", "application/json; charset=utf-8" },
    { "/debug/gc", "application/json; charset=utf-8" },
    { "/debug/maps", "application/json; charset=utf-8" },
    { "/debug/threads", "application/json; charset=utf-8" },
    { "/debug/leaks", "application/json; charset=utf-8" },
    { "/debug/pprof/heap", "application/octet-stream" },
    { "/debug/pprof/heap?debug=1", "text/plain; charset=utf-8" },
    { "/debug/pprof/allocs", "application/octet-stream" },
    { "/debug/pprof/profile-diff?seconds=1", "application/octet-stream" },
    { "/debug/trace?seconds=1", "application/json; charset=utf-8" },
};

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

START_TEST(every_address_answers)
{
    if (!start(NULL)) return;
    http_answer a = http_get(answers[_i].path), head = http_ask("HEAD", answers[_i].path, "");
    ck_assert_str_eq(http_header(&a, "Content-Type"), answers[_i].type);
    ck_assert_str_eq(http_header(&a, "X-Content-Type-Options"), "nosniff");
    ck_assert_str_eq(http_header(&a, "Cache-Control"), "no-store");
    ck_assert_ptr_nonnull(strstr(http_header(&a, "Content-Security-Policy"), "default-src 'none'"));
    ck_assert_ptr_null(http_header(&a, "Access-Control-Allow-Origin"));
    ck_assert_uint_gt(a.n, 0);
    if (strstr(answers[_i].type, "json")) json_read(a.body);
    ck_assert_int_eq(head.status, 200);
    ck_assert_str_eq(http_header(&head, "Content-Type"), answers[_i].type);
    oak_debug_serve_stop();
}
END_TEST

START_TEST(the_list_names_every_address)
{
    if (!start(NULL)) return;
    http_answer a = http_get("/debug/");
    for (char *line = strtok(a.body, "\n"); line; line = strtok(NULL, "\n")) {
        char path[64];
        ck_assert_int_eq(sscanf(line, "%63s", path), 1);
        ck_assert_ptr_nonnull(oaki_route_find(path));
    }
    ck_assert_ptr_null(oaki_route_find("/debug/x"));
    ck_assert_ptr_null(oaki_route_find(""));
}
END_TEST

/* ---- what is told ---- */

START_TEST(metrics_are_in_the_format_and_true)
{
    if (!start(NULL)) return;
    oak_collect();
    http_answer a = http_get("/metrics");
    ck_assert_uint_gt(prom_check(a.body), 50);
    oak_memstats s = test_stats();
    ck_assert(prom_value(a.body, "oakum_heap_alloc_bytes") == (double)s.heap_alloc);
    ck_assert(prom_value(a.body, "oakum_gc_cycles_total") == (double)s.num_gc);
    ck_assert(prom_value(a.body, "oakum_gc_pause_seconds_count") == 1);
    ck_assert(prom_value(a.body, "oakum_gc_pause_seconds_bucket{le=\"+Inf\"}") == 1);
    ck_assert(prom_value(a.body, "oakum_gc_pause_seconds_sum") > 0);
    ck_assert(prom_value(a.body, "oakum_maps{kind=\"default\"}") == 1);
    ck_assert(prom_value(a.body, "oakum_map_entries{kind=\"default\"}") == 5000);
    ck_assert(prom_value(a.body, "oakum_maps{kind=\"classic\"}") == 1);
    ck_assert(prom_value(a.body, "oakum_map_entries{kind=\"classic\"}") == 300);
    ck_assert(prom_value(a.body, "oakum_map_array_bytes{kind=\"default\"}") >= 5000 * 16);
    ck_assert(prom_value(a.body, "oakum_threads") == 3);
    ck_assert(prom_value(a.body, "oakum_live_bytes{kind=\"conservative\"}") >= 64000);
}
END_TEST

START_TEST(json_is_true)
{
    if (!start(NULL)) return;
    oak_collect();
    const json *stats = json_read(http_get("/debug/memstats").body);
    ck_assert_uint_eq(json_u64(stats, "NumGC"), test_stats().num_gc);
    const json *maps = json_read(http_get("/debug/maps").body);
    ck_assert_uint_eq(json_u64(maps, "count"), 2);
    ck_assert_uint_eq(json_u64(maps, "entries"), 5300);
    const json *largest = json_get(maps, "largest");
    ck_assert_uint_eq(largest->length, 2);
    ck_assert_uint_eq(json_u64(&largest->item[0], "entries"), 5000);
    ck_assert_str_eq(json_string(&largest->item[1], "kind"), "classic");
    ck_assert_uint_eq(json_get(json_read(http_get("/debug/maps?n=1").body), "largest")->length, 1);
    const json *cycles = json_get(json_read(http_get("/debug/gc").body), "cycles");
    ck_assert_uint_eq(cycles->length, 1);
    ck_assert_uint_eq(json_u64(&cycles->item[0], "gc"), test_stats().num_gc);
    const json *threads = json_read(http_get("/debug/threads").body);
    ck_assert_uint_eq(json_u64(threads, "count"), 3);
    bool named = false, waits = false;
    const json *stacks = json_get(threads, "stacks");
    for (size_t i = 0; i < stacks->length; i++) {
        const char *name = json_string(&stacks->item[i], "name");
        named |= strcmp(name, "oakum/serve-1") == 0;
        waits |= strcmp(name, "oakum/serve-2") == 0 &&
                 json_get(&stacks->item[i], "blocked")->boolean;
    }
    ck_assert(named);
    ck_assert(waits); /* in a blocking region: no stop signals it */
    const json *state = json_read(http_get("/debug/state").body);
    ck_assert_uint_eq(json_u64(state, "pid"), (uint64_t)getpid());
    ck_assert_uint_eq(json_u64(json_get(state, "memory"), "num_gc"), test_stats().num_gc);
}
END_TEST

START_TEST(since_leaves_out_what_is_known)
{
    char path[64];
    if (!start(NULL)) return;
    for (int i = 0; i < 300; i++) oak_collect();
    oak_memstats s = test_stats();
    const json *all = json_get(json_read(http_get("/debug/gc").body), "cycles");
    ck_assert_uint_eq(all->length, OAKI_READING_CYCLES);
    ck_assert_uint_eq(json_u64(&all->item[OAKI_READING_CYCLES - 1], "gc"), s.num_gc);
    snprintf(path, sizeof path, "/debug/gc?since=%u", s.num_gc - 3);
    const json *three = json_get(json_read(http_get(path).body), "cycles");
    ck_assert_uint_eq(three->length, 3);
    snprintf(path, sizeof path, "/debug/gc?since=%u", s.num_gc);
    ck_assert_uint_eq(json_get(json_read(http_get(path).body), "cycles")->length, 0);
}
END_TEST

/* All that ask within a second share a stop of the world. */
START_TEST(a_reading_is_shared)
{
    if (!start(NULL)) return;
    size_t before = oaki_reading_count();
    uint64_t begin = oaki_os_now_ns();
    for (int i = 0; i < 60; i++) (void)http_get(answers[1 + i % 8].path);
    size_t seconds = (size_t)((oaki_os_now_ns() - begin) / OAKI_READING_AGE_NS);
    ck_assert_uint_ge(oaki_reading_count() - before, 1);
    ck_assert_uint_le(oaki_reading_count() - before, seconds + 2);
}
END_TEST

/* ---- leaks ---- */

static oak_map *leaking;

static __attribute__((noinline)) void leak(uint64_t key)
{
    *(void **)oak_map_put(leaking, &key) = oak_alloc(4000);
}

/* What the detector finds is here, as JSON and as a metric, and its site leads to an object. */
START_TEST(a_leak_is_told_with_its_site)
{
    char path[64];
    if (!start(NULL)) return;
    leaking = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t i = 0; i < 20 * 200; i++) {
        leak(i);
        if (i % 200 == 0) ck_assert_int_ge(oak_detector_scan(), 0);
    }
    const json *leaks = json_read(http_get("/debug/leaks").body);
    ck_assert_uint_eq(json_u64(leaks, "looks"), 20);
    const json *findings = json_get(leaks, "findings"), *found = NULL;
    for (size_t i = 0; i < findings->length; i++)
        if (strcmp(json_string(&findings->item[i], "kind"), "site-growth") == 0)
            found = &findings->item[i];
    ck_assert_ptr_nonnull(found);
    ck_assert_str_eq(json_string(found, "severity"), "leak");
    ck_assert_ptr_nonnull(strstr(json_string(found, "subject"), "leak (serve.c:"));
    snprintf(path, sizeof path, "/debug/why?site=%u", (unsigned)json_u64(found, "site"));
    const json *root = json_get(json_read(http_get(path).body), "root");
    ck_assert_str_eq(json_string(root, "where"), "leaking");
    const char *metrics = http_get("/metrics").body;
    prom_check(metrics);
    ck_assert(prom_value(metrics, "oakum_detector_findings{kind=\"site-growth\"}") == 1);
    ck_assert(prom_value(metrics, "oakum_detector_looks_total") == 20);
}
END_TEST

void *serve_queue[20]; /* not static: it is only written to */

static void fill_queue(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < 300; i++)
        serve_queue[i % OAKI_COUNT(serve_queue)] = oak_alloc(64);
}

static unsigned site_of(const char *function)
{
    oaki_site_reading *sites;
    long n = oaki_sites_read(&sites), found = -1;
    char name[200];
    for (long i = 0; i < n && found < 0; i++) {
        (void)oaki_site_format(sites[i].site, 2, name, sizeof name);
        if (strstr(name, function)) found = (long)sites[i].site->id;
    }
    ck_assert_int_ge(found, 0);
    free(sites);
    return (unsigned)found;
}

/* No collection has seen yet that the oldest are dead. */
START_TEST(a_site_whose_oldest_objects_are_dead_leads_to_one)
{
    char path[64];
    if (!start(NULL)) return;
    test_away(fill_queue, NULL);
    snprintf(path, sizeof path, "/debug/why?site=%u", site_of("fill_queue"));
    http_answer a = http_get(path);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(json_string(json_get(json_read(a.body), "root"), "where"), "serve_queue");
}
END_TEST

/* ---- paths ---- */

START_TEST(why_tells_the_path)
{
    char path[96], text[64];
    if (!start(NULL)) return;
    snprintf(path, sizeof path, "/debug/why?addr=%p", kept[500]);
    const json *why = json_read(http_get(path).body);
    snprintf(text, sizeof text, "%p", kept[500]);
    ck_assert_str_eq(json_string(why, "object"), text);
    ck_assert(json_get(why, "reached")->boolean);
    ck_assert_str_eq(json_string(json_get(why, "root"), "where"), "kept");
    ck_assert_uint_eq(json_get(why, "steps")->length, 1);
    http_answer a = http_ask("GET", path, "Accept: text/plain\r\n");
    ck_assert_str_eq(http_header(&a, "Content-Type"), "text/plain; charset=utf-8");
    ck_assert_ptr_nonnull(strstr(a.body, "global `kept`+4000"));
    snprintf(path, sizeof path, "/debug/why?text=1&addr=%p", kept[500]);
    ck_assert_ptr_nonnull(strstr(http_get(path).body, "global `kept`+4000"));
}
END_TEST

static char key[] = "a\"\\\n\x01\x7f\xff\xc3(<script>";
static uintptr_t hidden;

static void put_under_key(void *unused)
{
    (void)unused;
    kept[0] = oak_map_new(&oak_map_cstring_ptr, 0);
    void *p = *(void **)oak_map_put(kept[0], &(char *){ key }) = oak_alloc(100);
    hidden = ~(uintptr_t)p;
}

/* The key is shown, whatever it is. */
START_TEST(labels_of_any_bytes_are_valid_json)
{
    char path[64];
    if (!start(NULL)) return;
    test_away(put_under_key, NULL);
    snprintf(path, sizeof path, "/debug/why?addr=%#zx", ~hidden);
    http_answer a = http_get(path);
    ck_assert_msg(json_valid(a.body, a.n), "%s", a.body);
    ck_assert_ptr_nonnull(strstr(a.body, "key"));
    const oak_label label = { .key = key, .value = key, .value_len = sizeof key };
    ck_assert_int_ge(oak_labels_push(&label, 1), 0);
    kept[1] = oak_alloc(5000);
    oak_collect();
    ck_assert_uint_gt(http_get("/debug/pprof/heap").n, 100);
    ck_assert_ptr_nonnull(strstr(http_get("/debug/pprof/heap?debug=1").body, "<script>"));
}
END_TEST

static const struct {
    const char *path;
    int status;
    const char *why;
} wrong[] = {
    { "/debug/why", 400, "which object?" },
    { "/debug/why?addr=", 400, "addr must be an address" },
    { "/debug/why?addr=hello", 400, "addr must be an address" },
    { "/debug/why?addr=0x", 400, "addr must be an address" },
    { "/debug/why?addr=-1", 400, "addr must be an address" },
    { "/debug/why?addr=0x1%00", 400, "addr must be an address" },
    { "/debug/why?addr=0x12345678901234567890", 400, "addr must be an address" },
    { "/debug/why?addr=0", 404, "no live object" },
    { "/debug/why?addr=0xdeadbeef", 404, "no live object" },
    { "/debug/why?addr=0xffffffffffffffff", 404, "no live object" },
    { "/debug/why?site=", 400, "site must be" },
    { "/debug/why?site=x", 400, "site must be" },
    { "/debug/why?site=4294967295", 404, "no live object" },
    { "/debug/pprof/heap?seconds=0", 400, "seconds must be" },
    { "/debug/pprof/heap?seconds=601", 400, "seconds must be" },
    { "/debug/pprof/heap?seconds=1e3", 400, "seconds must be" },
    { "/debug/pprof/profile-diff?seconds=", 400, "seconds must be" },
    { "/debug/maps?n=0", 400, "n must be" },
    { "/debug/maps?n=5000", 400, "n must be" },
    { "/debug/gc?since=x", 400, "since must be" },
    { "/favicon.ico", 404, "there is nothing here" },
    { "/debug/pprof", 404, "there is nothing here" },
    { "/../etc/passwd", 404, "there is nothing here" },
    { "//", 404, "there is nothing here" },
};

START_TEST(what_makes_no_sense_is_told_in_a_line)
{
    if (!start(NULL)) return;
    http_answer a = http_ask("GET", wrong[_i].path, "");
    ck_assert_int_eq(a.status, wrong[_i].status);
    ck_assert_msg(strstr(a.body, wrong[_i].why) == a.body, "%s", a.body);
    ck_assert_ptr_eq(strchr(a.body, '\n'), a.body + a.n - 1);
    ck_assert_str_eq(http_header(&a, "Content-Type"), "text/plain; charset=utf-8");
}
END_TEST

/* ---- profiles ---- */

START_TEST(a_profile_is_packed)
{
    if (!start(NULL)) return;
    http_answer a = http_get("/debug/pprof/heap");
    ck_assert_uint_eq((unsigned char)a.body[0], 0x1f);
    ck_assert_uint_eq((unsigned char)a.body[1], 0x8b);
    ck_assert_ptr_nonnull(strstr(http_header(&a, "Content-Disposition"), "heap.pb.gz"));
}
END_TEST

/* No tail calls, and not the same code: the profile is to have their frames. */
static __attribute__((noinline)) void *made_before(size_t n)
{
    void *p = oak_alloc(n);
    __asm__("" : "+r"(p));
    return p;
}

static __attribute__((noinline)) void *made_meanwhile(size_t n)
{
    void *p = oak_alloc(n + 8);
    __asm__("" : "+r"(p));
    return p;
}

/* Told apart from what was there; the server answers others while it waits. */
START_TEST(a_difference_is_of_what_came_meanwhile)
{
    if (!start(NULL)) return;
    for (size_t i = 0; i < 100; i++) kept[i] = made_before(1000);
    oak_collect();
    int fd = http_connect();
    char line[128];
    snprintf(line, sizeof line,
             "GET /debug/pprof/profile-diff?seconds=%d&debug=1 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
             test_slow() ? 10 : 1);
    http_send(fd, line);
    ck_assert_ptr_nonnull(strstr(http_get("/debug/pprof/heap?debug=1").body, "made_before"));
    struct pollfd answer = { .fd = fd, .events = POLLIN };
    for (size_t i = 0; poll(&answer, 1, 20) == 0; i++) kept[100 + i % 900] = made_meanwhile(1000);
    http_answer a = http_receive(fd, false);
    ck_assert_int_eq(a.status, 200);
    ck_assert_msg(strstr(a.body, "made_meanwhile") != NULL, "%s", a.body);
    ck_assert_ptr_null(strstr(a.body, "made_before"));
}
END_TEST

/* As the worker calls it, but at moments that depend on no clock. */
START_TEST(a_difference_across_a_collection_is_of_what_lived)
{
    if (!start(NULL)) return;
    oaki_request *r = calloc(1, sizeof *r);
    ck_assert_ptr_nonnull(r);
    r->text = r->has_seconds = true;
    r->seconds = 1;
    oaki_serve_heap(r);
    ck_assert_ptr_nonnull(r->base);
    for (size_t i = 0; i < 100; i++) kept[i] = made_meanwhile(1000);
    oak_collect();
    for (size_t i = 0; i < 100; i++) (void)made_before(1000);
    oaki_serve_heap(r);
    oaki_body_put(&r->body, "", 1);
    ck_assert(!r->body.failed);
    ck_assert_msg(strstr(r->body.p, "made_meanwhile") != NULL, "%s", r->body.p);
    ck_assert_msg(strstr(r->body.p, "made_before") == NULL, "%s", r->body.p);
    oaki_request_free(r);
}
END_TEST

START_TEST(at_most_so_many_differences_wait)
{
    int fd[OAKI_SERVE_DIFFS];
    if (!start(NULL)) return;
    for (int i = 0; i < OAKI_SERVE_DIFFS; i++) {
        fd[i] = http_connect();
        http_send(fd[i], "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    http_answer a;
    do a = http_ask("GET", "/debug/pprof/heap?seconds=1", "");
    while (a.status == 200);
    ck_assert_int_eq(a.status, 503);
    (void)http_get("/metrics");
    close(fd[0]); /* who has gone makes room */
    do a = http_ask("GET", "/debug/pprof/heap?seconds=1", "");
    while (a.status == 503);
    ck_assert_int_eq(a.status, 200);
    oak_debug_serve_stop(); /* which waits for none of them */
    ck_assert(http_ended(fd[1]));
}
END_TEST

START_TEST(a_profile_that_is_off_is_told)
{
    test_heap_start(test_config());
    if (!http_serve(NULL, NULL)) return;
    http_answer a = http_ask("GET", "/debug/pprof/heap", "");
    ck_assert_int_eq(a.status, 409);
    ck_assert_ptr_nonnull(strstr(a.body, "OAKUM_PROFILE_RATE"));
    ck_assert_str_eq(http_header(&a, "X-Go-Pprof"), "1");
}
END_TEST

/* ---- who gets no answer ---- */

static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW", "get" };

START_TEST(get_and_head_only)
{
    if (!start(NULL)) return;
    http_answer a = http_ask(methods[_i], "/debug/state", "Content-Length: 0\r\n");
    ck_assert_int_eq(a.status, 405);
    ck_assert_str_eq(http_header(&a, "Allow"), "GET, HEAD");
    a = http_ask("GET", "/debug/state", "Content-Length: 5\r\n");
    ck_assert_int_eq(a.status, 413);
}
END_TEST

static const struct {
    const char *host;
    bool allowed;
} hosts[] = {
    { "localhost", true },
    { "LOCALHOST:80", true },
    { "127.0.0.1", true },
    { "127.0.0.1:65535", true },
    { "10.1.2.3:1", true },
    { "[::1]", true },
    { "[::1]:8080", true },
    { "my.host", true },
    { "MY.HOST:1", true },
    { "", false },
    { ":80", false },
    { "evil.example", false },
    { "localhost.evil.example", false },
    { "127.0.0.1.evil.example", false },
    { "127.0.0.1:x", false },
    { "127.0.0.1:123456", false },
    { "localhost:80@evil", false },
    { "[::1", false },
    { "[::1]x", false },
    { "[localhost]", false },
    { "0x7f000001", false },
    { "my.host.", false },
};

START_TEST(a_foreign_host_is_refused)
{
    char header[128];
    ck_assert_int_eq(oaki_http_host_allowed(hosts[_i].host, "my.host"), hosts[_i].allowed);
    if (!start(&(oak_serve_options){ .host = "my.host" })) return;
    snprintf(header, sizeof header, "Host: %s\r\n", hosts[_i].host);
    ck_assert_int_eq(http_ask("GET", "/debug/state", header).status,
                     hosts[_i].allowed ? 200 : 403);
}
END_TEST

START_TEST(one_host_header_and_no_pages_of_others)
{
    if (!start(NULL)) return;
    ck_assert_int_eq(
        http_ask("GET", "/metrics", "Host: localhost\r\nHost: evil.example\r\n").status, 400);
    ck_assert_int_eq(http_ask("GET", "/metrics", "Sec-Fetch-Site: cross-site\r\n").status, 403);
    ck_assert_int_eq(http_ask("GET", "/metrics", "Sec-Fetch-Site: same-origin\r\n").status, 200);
    ck_assert_int_eq(http_ask("GET", "/metrics", "Sec-Fetch-Site: none\r\n").status, 200);
    int fd = http_connect();
    http_send(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    ck_assert_int_eq(http_receive(fd, false).status, 400);
}
END_TEST

/* ---- the page ---- */

static const char *nonce_of(const http_answer *a, char out[33])
{
    const char *policy = http_header(a, "Content-Security-Policy");
    const char *at = strstr(policy, "'nonce-");
    ck_assert_ptr_nonnull(at);
    ck_assert_ptr_nonnull(strstr(policy, "frame-ancestors 'none'"));
    ck_assert_ptr_null(strstr(policy, "unsafe"));
    snprintf(out, 33, "%s", at + 7);
    return out;
}

START_TEST(the_page_s_script_has_a_nonce_of_its_own)
{
    char first[33], second[33], tag[64];
    if (!start(NULL)) return;
    http_answer a = http_get("/"), b = http_get("/");
    nonce_of(&a, first);
    nonce_of(&b, second);
    ck_assert_str_ne(first, second);
    snprintf(tag, sizeof tag, "<script nonce=\"%s\">", first);
    ck_assert_ptr_nonnull(strstr(a.body, tag));
    ck_assert_ptr_null(strstr(a.body, "0123456789abcdef0123456789abcdef"));
    const char *script = strstr(a.body, "<script");
    ck_assert_ptr_null(strstr(script + 1, "<script"));
    ck_assert_ptr_null(strstr(a.body, " src="));
    ck_assert_ptr_null(strstr(a.body, "innerHTML"));
    ck_assert_ptr_null(strstr(a.body, "https://"));
}
END_TEST

Suite *suite_observe_serve(void)
{
    Suite *s = suite_create("observe_serve");
    TCase *c = tcase_create("answers");
    tcase_add_loop_test(c, every_address_answers, 0, COUNT(answers));
    tcase_add_test(c, the_list_names_every_address);
    tcase_add_test(c, metrics_are_in_the_format_and_true);
    tcase_add_test(c, json_is_true);
    tcase_add_test(c, since_leaves_out_what_is_known);
    tcase_add_test(c, a_reading_is_shared);
    tcase_add_test(c, a_leak_is_told_with_its_site);
    tcase_add_test(c, a_site_whose_oldest_objects_are_dead_leads_to_one);
    tcase_add_test(c, why_tells_the_path);
    tcase_add_test(c, labels_of_any_bytes_are_valid_json);
    tcase_add_loop_test(c, what_makes_no_sense_is_told_in_a_line, 0, COUNT(wrong));
    tcase_add_test(c, a_profile_is_packed);
    tcase_add_test(c, a_difference_is_of_what_came_meanwhile);
    tcase_add_test(c, a_difference_across_a_collection_is_of_what_lived);
    tcase_add_test(c, at_most_so_many_differences_wait);
    tcase_add_test(c, a_profile_that_is_off_is_told);
    tcase_add_test(c, the_page_s_script_has_a_nonce_of_its_own);
    suite_add_tcase(s, c);
    c = tcase_create("refusals");
    tcase_add_loop_test(c, get_and_head_only, 0, COUNT(methods));
    tcase_add_loop_test(c, a_foreign_host_is_refused, 0, COUNT(hosts));
    tcase_add_test(c, one_host_header_and_no_pages_of_others);
    suite_add_tcase(s, c);
    return s;
}
