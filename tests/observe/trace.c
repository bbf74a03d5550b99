/* trace.c - tests of observe/trace*.c: what is written is a trace that a reader of Chrome's format
 * takes, with all that happened, on one clock; and it is whole or not there. */
#include "files.h"
#include "readjson.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_trace(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start(test_config());
    test_once();
}

/* ---- reading ---- */

static const json *file, *events;

static void load(const char *path)
{
    file = json_read(test_read_file(path));
    events = json_get(file, "traceEvents");
    ck_assert_int_eq(events->kind, JSON_ARRAY);
}

static void stop_and_load(void)
{
    const char *path = test_path("trace");
    ck_assert_int_eq(oak_trace_stop(path), 0);
    load(path);
}

static bool is(const json *e, const char *key, const char *text)
{
    const json *v = json_find(e, key);
    return v && v->kind == JSON_STRING && strcmp(v->string, text) == 0;
}

static double from(const json *e) { return json_number(e, "ts"); }
static double until(const json *e) { return json_number(e, "ts") + json_number(e, "dur"); }

/* The kth event of this name and phase, or NULL. */
static const json *find(const char *name, const char *phase, size_t k)
{
    for (size_t i = 0; i < events->length; i++) {
        const json *e = &events->item[i];
        if (is(e, "name", name) && is(e, "ph", phase) && k-- == 0) return e;
    }
    return NULL;
}

static size_t count(const char *name, const char *phase)
{
    size_t n = 0;
    while (find(name, phase, n)) n++;
    return n;
}

/* What every reader asks of events: names, numbers, spans of a thread that nest. */
static int by_begin(const void *a, const void *b)
{
    const json *x = *(const json *const *)a, *y = *(const json *const *)b;
    if (json_u64(x, "tid") != json_u64(y, "tid"))
        return json_u64(x, "tid") < json_u64(y, "tid") ? -1 : 1;
    if (from(x) != from(y)) return from(x) < from(y) ? -1 : 1;
    return until(x) > until(y) ? -1 : until(x) < until(y);
}

static void assert_nests(const json **spans, size_t n)
{
    const json *open[64];
    size_t depth = 0;
    qsort(spans, n, sizeof *spans, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && json_u64(spans[i], "tid") != json_u64(spans[i - 1], "tid")) depth = 0;
        while (depth > 0 && until(open[depth - 1]) <= from(spans[i]) + 0.0005) depth--;
        if (depth > 0) ck_assert_double_le(until(spans[i]), until(open[depth - 1]) + 0.0005);
        ck_assert_uint_lt(depth, 64);
        open[depth++] = spans[i];
    }
}

static void assert_is_a_trace(void)
{
    size_t n = 0;
    const json **spans = malloc((events->length + 1) * sizeof *spans);
    for (size_t i = 0; i < events->length; i++) {
        const json *e = &events->item[i];
        const char *ph = json_string(e, "ph");
        ck_assert_msg(strlen(ph) == 1 && strchr("XMCibe", *ph), "phase %s", ph);
        ck_assert_uint_gt(strlen(json_string(e, "name")), 0);
        ck_assert_uint_eq(json_u64(e, "pid"), (uint64_t)getpid());
        (void)json_u64(e, "tid");
        ck_assert_double_ge(from(e), 0);
        if (*ph == 'X') ck_assert_double_ge(json_number(e, "dur"), 0);
        if (*ph == 'X') spans[n++] = e;
        if (*ph == 'C') ck_assert_uint_ge(json_get(e, "args")->length, 1);
        if (*ph == 'b' || *ph == 'e') (void)json_string(e, "id");
    }
    assert_nests(spans, n);
    free(spans);
}

/* ---- the program's own events ---- */

static void *with_spans(void *arg)
{
    for (int i = 0; i < 10; i++) {
        oak_span_begin_arg("request", "path", arg);
        oak_span_begin("parse \"it\"");
        oak_trace_instant("here");
        oak_span_end();
        oak_span_begin("answer");
        oak_trace_counter("queue", 1.5 * i);
        oak_span_end();
        oak_span_end();
    }
    return NULL;
}

START_TEST(spans_nest_on_every_thread)
{
    oak_span_begin("before the start");
    ck_assert_int_eq(oak_trace_start(0), 0);
    oak_span_end(); /* of what was not seen to begin */
    pthread_t ids[4];
    for (int i = 0; i < 4; i++) ids[i] = test_start(with_spans, "/a\xff");
    for (int i = 0; i < 4; i++) test_join(ids[i]);
    with_spans("/main");
    oak_span_end(); /* there is none */
    uint64_t t = oak_trace_now();
    oak_span_add("elsewhere", t - 5000, t);
    stop_and_load();
    with_spans("/after");
    assert_is_a_trace();
    ck_assert_uint_eq(count("request", "X"), 50);
    ck_assert_uint_eq(count("parse \"it\"", "X"), 50);
    ck_assert_uint_eq(count("answer", "X"), 50);
    ck_assert_uint_eq(count("here", "i"), 50);
    ck_assert_uint_eq(count("queue", "C"), 50);
    ck_assert_uint_eq(count("before the start", "X"), 0);
    ck_assert_double_eq_tol(from(find("elsewhere", "e", 0)) - from(find("elsewhere", "b", 0)), 5,
                            0.0001);
    ck_assert_str_eq(json_string(find("elsewhere", "e", 0), "id"),
                     json_string(find("elsewhere", "b", 0), "id"));
    size_t paths = 0;
    for (size_t i = 0; i < 50; i++)
        paths += strcmp(json_string(json_get(find("request", "X", i), "args"), "path"),
                        "/a\xef\xbf\xbd") == 0;
    ck_assert_uint_eq(paths, 40);
    ck_assert_uint_eq(json_u64(json_get(file, "otherData"), "dropped_events"), 0);
}
END_TEST

START_TEST(long_names_are_cut_and_deep_spans_dropped)
{
    char name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(oak_trace_start(0), 0);
    for (int i = 0; i < 40; i++) oak_span_begin_arg(name, name, name);
    for (int i = 0; i < 40; i++) oak_span_end();
    oak_span_begin("flat");
    oak_span_end();
    ck_assert_uint_eq(oak_trace_dropped(), 8);
    stop_and_load();
    assert_is_a_trace();
    name[30] = '\0';
    ck_assert_uint_eq(count(name, "X"), 32);
    ck_assert_uint_eq(count("flat", "X"), 1);
    ck_assert_uint_eq(json_u64(json_get(file, "otherData"), "dropped_events"), 8);
}
END_TEST

START_TEST(a_full_buffer_drops_and_says_so)
{
    ck_assert_int_eq(oak_trace_start(100), 0);
    for (int i = 0; i < 250; i++) {
        oak_span_begin("one");
        oak_span_end();
    }
    ck_assert_uint_eq(oak_trace_dropped(), 150);
    stop_and_load();
    assert_is_a_trace();
    ck_assert_uint_eq(count("one", "X"), 100);
    ck_assert_uint_eq(json_u64(json_get(file, "otherData"), "dropped_events"), 150);
    ck_assert_int_eq(oak_trace_start(300), 0); /* a larger one than this thread has */
    for (int i = 0; i < 250; i++) {
        oak_span_begin("two");
        oak_span_end();
    }
    ck_assert_uint_ge(oak_trace_dropped() + 100, 250);
    stop_and_load();
    ck_assert_uint_eq(count("one", "X"), 0);
}
END_TEST

START_TEST(spans_that_are_open_are_shown)
{
    const char *path = test_path("open");
    ck_assert_int_eq(oak_trace_start(0), 0);
    oak_span_begin("long");
    ck_assert_int_eq(oak_trace_write(path), 0);
    load(path);
    assert_is_a_trace();
    ck_assert(json_get(json_get(find("long", "X", 0), "args"), "open")->boolean);
    oak_span_end();
    stop_and_load();
    ck_assert_uint_eq(count("long", "X"), 1);
    ck_assert_ptr_null(json_find(find("long", "X", 0), "args"));
}
END_TEST

/* ---- collections ---- */

void *trace_held[64]; /* not static: nobody reads it */

START_TEST(pauses_have_phases_and_the_heap_is_seen)
{
    oaki_debug_switches.verify = 0; /* the world stands for it, and MemStats don't count that */
    ck_assert_int_eq(oak_trace_start(0), 0);
    for (size_t i = 0; i < 20; i++) {
        for (size_t k = 0; k < 64; k++) trace_held[k] = oak_alloc_noscan(100000);
        oak_collect();
    }
    oak_memstats s = test_stats();
    stop_and_load();
    assert_is_a_trace();
    ck_assert_uint_eq(count("GC pause", "X"), 20);
    static const char *const phases[] = { "stop the world", "prepare", "roots", "mark",
                                          "finish mark", "pace", "start the world" };
    for (size_t i = 0; i < 20; i++) {
        const json *p = find("GC pause", "X", i);
        double at = from(p);
        ck_assert_uint_eq(json_u64(json_get(p, "args"), "gc"), i + 1);
        ck_assert_double_eq_tol(json_number(p, "dur") * 1000, (double)s.pause_ns[i], 1);
        for (size_t k = 0; k < OAKI_COUNT(phases); k++) {
            const json *e = find(phases[k], "X", i);
            ck_assert_double_eq_tol(from(e), at, 0.01);
            at = until(e);
        }
        ck_assert_double_eq_tol(at, until(p), 0.01);
    }
    double top = 0;
    for (size_t i = 0; i < count("heap", "C"); i++) {
        double v = json_number(json_get(find("heap", "C", i), "args"), "bytes");
        top = v > top ? v : top;
    }
    ck_assert_double_ge(top, 64 * 100000);
    ck_assert_uint_eq(count("sweep", "X"), 19); /* that of the last cycle may go on */
}
END_TEST

static void mark_beside(uint32_t cycles)
{
    for (uint32_t n = test_stats().num_gc; test_stats().num_gc < n + cycles;) {
        (void)test_ask_beside();
        (void)!oak_alloc(1000);
    }
}

START_TEST(a_mark_beside_the_program_is_between_two_pauses)
{
    oak_config c = test_config();
    c.concurrent = 1;
    if (!test_heap_tracked(c, 0)) return;
    oaki_debug_switches.verify = 0;
    oaki_debug_switches.beside = 1;
    for (size_t k = 0; k < 64; k++) trace_held[k] = oak_alloc(100000);
    ck_assert_int_eq(oak_trace_start(0), 0);
    mark_beside(10);
    oak_memstats s = test_stats();
    stop_and_load();
    assert_is_a_trace();
    size_t n = count("concurrent mark", "X");
    ck_assert_uint_ge(n, 5);
    ck_assert_uint_eq(count("first GC pause", "X"), n);
    for (size_t i = 0, k = 0; i < n; i++, k++) {
        const json *first = find("first GC pause", "X", i), *mark = find("concurrent mark", "X", i);
        uint64_t gc = json_u64(json_get(mark, "args"), "gc");
        while (json_u64(json_get(find("GC pause", "X", k), "args"), "gc") != gc) k++;
        const json *last = find("GC pause", "X", k);
        ck_assert_uint_eq(json_u64(json_get(first, "args"), "gc"), gc);
        ck_assert_double_eq_tol(until(first), from(mark), 0.01);
        ck_assert_double_eq_tol(until(mark), from(last), 0.01);
        double pauses = (json_number(first, "dur") + json_number(last, "dur")) * 1000 +
                        json_number(json_get(mark, "args"), "stops_ns");
        ck_assert_double_eq_tol(pauses, (double)s.pause_ns[(gc + 255) % 256], 3);
    }
}
END_TEST

START_TEST(pauses_tell_the_heap_and_the_next_goal)
{
    enum { N = 8 };
    static oak_memstats before[N], after[N];
    oak_set_gc_percent(1000); /* none is due */
    ck_assert_int_eq(oak_trace_start(0), 0);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < 10 + 4 * i; k++) trace_held[k] = oak_alloc_noscan(100000);
        for (size_t k = 0; k < 7; k++) (void)!oak_alloc_noscan(100000);
        before[i] = test_stats();
        oak_collect();
        after[i] = test_stats();
    }
    stop_and_load();
    ck_assert_uint_eq(count("GC pause", "X"), N);
    ck_assert_uint_eq(count("heap goal", "C"), N);
    for (size_t i = 0; i < N; i++) {
        const json *p = find("GC pause", "X", i), *a = json_get(p, "args");
        const json *goal = find("heap goal", "C", i);
        ck_assert_str_eq(json_string(a, "why"), "asked");
        ck_assert_uint_eq(json_u64(a, "heap_start"), before[i].heap_alloc);
        ck_assert_uint_eq(json_u64(a, "heap_live"), after[i].heap_alloc);
        ck_assert_uint_eq(json_u64(a, "freed"), before[i].heap_alloc - after[i].heap_alloc);
        ck_assert_uint_gt(json_u64(a, "freed"), 0);
        ck_assert_uint_ne(json_u64(a, "freed"), json_u64(a, "heap_live"));
        if (i > 0) ck_assert_uint_eq(json_u64(a, "goal"), after[i - 1].next_gc);
        ck_assert_uint_eq(json_u64(a, "threads"), after[i].threads);
        ck_assert_uint_eq(json_u64(a, "by_thread"), (uint64_t)oaki_os_tid());
        ck_assert_uint_eq(json_u64(json_get(goal, "args"), "bytes"), after[i].next_gc);
        ck_assert_double_eq_tol(from(goal), until(p), 0.01);
    }
    ck_assert_uint_ne(after[0].next_gc, after[N - 1].next_gc);
}
END_TEST

static void *churn(void *arg)
{
    static void *keep[2000];
    for (size_t i = 0; i < 60000; i++) keep[i % 2000] = oak_alloc_noscan(2000);
    return keep[7] ? arg : NULL;
}

START_TEST(sweeping_for_credit_is_seen_with_its_thread)
{
    oak_set_gc_percent(100);
    ck_assert_int_eq(oak_trace_start(0), 0);
    test_join(test_start(churn, NULL));
    stop_and_load();
    assert_is_a_trace();
    ck_assert_uint_gt(count("sweep assist", "X"), 0);
    const json *a = find("sweep assist", "X", 0);
    ck_assert_uint_gt(json_u64(json_get(a, "args"), "swept"), 0);
    ck_assert_uint_ne(json_u64(a, "tid"), (uint64_t)oaki_os_tid());
}
END_TEST

/* The alignment of the articles: of requests one is slow, since it fills the heap and meets a
 * collection of much that is live. The file alone tells: its longest pause, the largest fall of the
 * heap and the slow request are at one time. */
typedef struct node {
    struct node *next;
    char rest[48];
} node;

static node *list;

static OAKI_NOINLINE void request(size_t i, size_t slow)
{
    oak_span_begin("request");
    for (size_t k = 0; k < 200; k++) (void)!oak_alloc_noscan(64);
    if (i == slow) {
        for (size_t k = 0; k < 1500000; k++) {
            node *n = oak_alloc(sizeof *n);
            n->next = list;
            list = n;
        }
        for (size_t k = 0; k < 500; k++) (void)!oak_alloc_noscan(100000);
        oak_collect();
    }
    oak_span_end();
}

static double apart(double point, const json *span)
{
    return point < from(span) ? from(span) - point : point > until(span) ? point - until(span) : 0;
}

START_TEST(pause_and_fall_of_the_heap_and_slow_request_are_at_one_time)
{
    test_seed("observe/trace");
    size_t slow = 20 + test_below(100);
    ck_assert_int_eq(oak_trace_start(0), 0);
    for (size_t i = 0; i < 150; i++) request(i, slow);
    stop_and_load();
    assert_is_a_trace();
    const json *longest = NULL, *worst = NULL;
    for (size_t i = 0; i < count("request", "X"); i++) {
        const json *e = find("request", "X", i);
        if (!longest || json_number(e, "dur") > json_number(longest, "dur")) longest = e;
    }
    for (size_t i = 0; i < count("GC pause", "X"); i++) {
        const json *e = find("GC pause", "X", i);
        if (!worst || json_number(e, "dur") > json_number(worst, "dur")) worst = e;
    }
    double fall = 0, when = 0, last = 0;
    for (size_t i = 0; i < count("heap", "C"); i++) {
        const json *e = find("heap", "C", i);
        double v = json_number(json_get(e, "args"), "bytes");
        if (i > 0 && last - v > fall) fall = last - v, when = from(e);
        last = v;
    }
    ck_assert(worst && longest);
    ck_assert_double_ge(fall, 20.0 * MB);
    ck_assert_double_le(apart(when, worst), 5000);
    ck_assert_double_le(apart(from(worst), longest), 5000);
    ck_assert_double_le(apart(until(worst), longest), 5000);
}
END_TEST

/* ---- maps ---- */

static void fill_maps(void *arg)
{
    (void)arg;
    for (int round = 0; round < 3; round++) {
        oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
        oak_classic_map *c = oak_classic_new(&oak_classic_int_int, 0);
        for (uint64_t k = 0; k < 5000; k++) *(uint64_t *)oak_map_put(m, &k) = k;
        for (int64_t k = 0; k < 5000; k++) *(int64_t *)oak_classic_put(c, &k) = k;
        for (uint64_t k = 0; k < 4990; k++) oak_map_delete(m, &k);
        if (round == 1) oak_map_clear(m);
        if (round == 1) oak_classic_clear(c);
    }
}

START_TEST(resizes_of_maps_begin_and_end)
{
    ck_assert_int_eq(oak_trace_start(0), 0);
    test_away(fill_maps, NULL);
    stop_and_load();
    assert_is_a_trace();
    static const char *const names[] = { "map resize", "classic map resize" };
    for (size_t k = 0; k < 2; k++) {
        size_t begins = count(names[k], "b"), ends = count(names[k], "e"), open = 0;
        ck_assert_uint_ge(begins, 20);
        ck_assert(begins >= ends && begins - ends <= 3);
        double last = 0;
        for (size_t i = 0; i < events->length; i++) { /* no end but of what began, in order */
            const json *e = &events->item[i];
            if (!is(e, "name", names[k])) continue;
            open += is(e, "ph", "b");
            ck_assert_uint_gt(open, 0);
            open -= is(e, "ph", "e");
            ck_assert_uint_le(open, 3);
            ck_assert_double_ge(from(e), last);
            last = from(e);
        }
        const json *b = json_get(find(names[k], "b", 3), "args");
        ck_assert_uint_gt(json_u64(b, "to_slots"), json_u64(b, "from_slots"));
    }
}
END_TEST

/* ---- threads that come and go, starts and stops at any time ---- */

static void *trace_always(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    while (!AO_load(&test_quit)) {
        size_t depth = test_draw(&x) % 5;
        for (size_t i = 0; i < depth; i++) oak_span_begin_arg("work", "k", "v");
        if (test_draw(&x) % 8 == 0) (void)!oak_alloc_noscan(test_draw(&x) % 5000);
        oak_trace_counter("c", (double)depth);
        for (size_t i = 0; i < depth; i++) oak_span_end();
    }
    return NULL;
}

static void *short_life(void *arg)
{
    oak_span_begin("short");
    oak_span_end();
    return arg;
}

START_TEST(traces_start_and_end_at_any_time_beside_threads)
{
    pthread_t ids[3];
    const char *path = test_path("trace");
    oak_set_gc_percent(100);
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(trace_always, (void *)(i + 5));
    for (size_t i = 0, n = test_scale(60); i < n; i++) {
        ck_assert_int_eq(oak_trace_start(i % 3 ? 200 : 0), 0);
        for (size_t k = 0; k < 5; k++) test_join(test_start(short_life, NULL));
        if (i % 7 == 0) oak_collect();
        if (i % 5 == 0) ck_assert_int_eq(oak_trace_write(path), 0);
        if (i % 5 == 1) continue; /* started again without an end */
        ck_assert_int_eq(oak_trace_stop(i % 5 == 2 ? NULL : path), 0);
        ck_assert(!oak_trace_running());
        if (i % 10) continue;
        load(path);
        assert_is_a_trace();
        ck_assert_uint_eq(count("short", "X"), 5);
    }
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    ck_assert_uint_eq(test_entries(test_directory()), 1);
}
END_TEST

/* ---- where it goes ---- */

static void assert_fails(const char *path, int error)
{
    ck_assert_int_eq(oak_trace_start(0), 0);
    for (int i = 0; i < 3000; i++) oak_trace_instant("something");
    errno = 0;
    ck_assert_int_eq(oak_trace_write(path), -1);
    ck_assert_int_eq(errno, error);
    ck_assert(oak_trace_running());
    errno = 0;
    ck_assert_int_eq(oak_trace_stop(path), -1);
    ck_assert_int_eq(errno, error);
    ck_assert(!oak_trace_running());
}

START_TEST(a_trace_that_can_not_be_written_leaves_nothing)
{
    assert_fails("/dev/full", ENOSPC);
    assert_fails("/nowhere/trace", ENOENT);
    assert_fails(test_directory(), EISDIR);
    ck_assert_uint_eq(test_entries(test_directory()), 0);
    errno = 0;
    ck_assert_int_eq(oak_trace_write(test_path("x")), -1); /* none is under way */
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(oak_trace_stop(test_path("x")), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(oak_trace_stop(NULL), 0);
    ck_assert_int_eq(oak_trace_start(SIZE_MAX), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(test_entries(test_directory()), 0);
}
END_TEST

START_TEST(a_child_has_no_trace_and_may_start_its_own)
{
    const char *path = test_path("child");
    ck_assert_int_eq(oak_trace_start(0), 0);
    oak_span_begin("parent");
    pid_t pid = fork();
    if (pid == 0) {
        bool off = !oak_trace_running();
        oak_span_end();
        bool on = oak_trace_start(0) == 0;
        oak_span_begin("child");
        oak_span_end();
        oak_collect();
        _exit(off && on && oak_trace_stop(path) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    oak_span_end();
    stop_and_load();
    ck_assert_uint_eq(count("parent", "X"), 1);
    ck_assert_uint_eq(count("child", "X"), 0);
    load(path);
    ck_assert_uint_eq(count("child", "X"), 1);
    ck_assert_uint_eq(count("parent", "X"), 0);
    ck_assert_uint_eq(count("GC pause", "X"), 1);
}
END_TEST

Suite *suite_observe_trace(void)
{
    Suite *s = suite_create("observe/trace");
    TCase *c = tcase_create("trace");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, spans_nest_on_every_thread);
    tcase_add_test(c, long_names_are_cut_and_deep_spans_dropped);
    tcase_add_test(c, a_full_buffer_drops_and_says_so);
    tcase_add_test(c, spans_that_are_open_are_shown);
    tcase_add_test(c, pauses_have_phases_and_the_heap_is_seen);
    tcase_add_test(c, pauses_tell_the_heap_and_the_next_goal);
    tcase_add_test(c, sweeping_for_credit_is_seen_with_its_thread);
    tcase_add_test(c, pause_and_fall_of_the_heap_and_slow_request_are_at_one_time);
    tcase_add_test(c, resizes_of_maps_begin_and_end);
    tcase_add_test(c, traces_start_and_end_at_any_time_beside_threads);
    tcase_add_test(c, a_trace_that_can_not_be_written_leaves_nothing);
    tcase_add_test(c, a_child_has_no_trace_and_may_start_its_own);
    suite_add_tcase(s, c);
    c = tcase_create("trace beside");
    tcase_add_test(c, a_mark_beside_the_program_is_between_two_pauses);
    suite_add_tcase(s, c);
    return s;
}
