/* serve_fields.c - tests of each figure that the debug server tells, against what the program finds
 * out by itself: MemStats, maps' own figures, threads' stacks, the detector's findings.
 *
 * The program stands still while it is asked. Both maps are in the middle of a resize, idle pages
 * are partly released, and stacks differ, so that no two figures are the same by chance. */
#include "gc/collector.h"
#include "http.h"
#include "promtext.h"
#include "readjson.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

Suite *suite_observe_serve_fields(void);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

void *serve_fields_kept[16]; /* not static: nobody reads it */
static oak_map *usual;
static oak_classic_map *classic;

/* Until a resize is well under way. */
static void fill_maps(void)
{
    oak_map_stats u;
    oak_classic_stats c;
    uint64_t i = 0;
    usual = oak_map_new(&oak_map_u64_u64, 0);
    do {
        *(uint64_t *)oak_map_put(usual, &i) = i;
        i++;
        oak_map_stats_read(usual, &u);
    } while (i < 3000 || !u.resizing || u.evacuated < 0.2 || u.evacuated > 0.9);
    classic = oak_classic_new(&oak_classic_int_int, 0);
    i = 0;
    do {
        (void)oak_classic_put(classic, &i);
        i++;
        oak_classic_stats_read(classic, &c);
    } while (i < 1000 || !c.growing || c.evacuated < c.noldbuckets / 5 ||
             c.evacuated > c.noldbuckets / 2);
}

static bool start(void)
{
    static const uint64_t bits[] = { 1 };
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    fill_maps();
    serve_fields_kept[0] = oak_alloc_noscan(3 * MB);
    serve_fields_kept[1] = oak_alloc(2 * MB);
    serve_fields_kept[2] = oak_alloc_typed(oak_type_bitmap("served", 16, bits), MB / 16);
    serve_fields_kept[3] = oak_alloc_pinned(512 * KB);
    serve_fields_kept[4] = oak_alloc_noscan(4 * MB);
    serve_fields_kept[4] = NULL;
    oak_collect();
    oak_collect();
    oak_scavenge();
    oak_free(oak_alloc_noscan(700 * KB));
    return http_serve(NULL, NULL);
}

/* ---- memory ---- */

static oak_memstats before, after; /* what was asked */

/* Between what it was before and after; the server itself takes some metadata. */
static bool is_told(double value, uint64_t a, uint64_t b, uint64_t slack)
{
    return value + (double)slack >= (double)OAKI_MIN(a, b) &&
           value <= (double)OAKI_MAX(a, b) + (double)slack;
}

#define TOLD(value, field, slack)                                                  \
    ck_assert_msg(is_told(value, before.field, after.field, slack),                \
                  #field ": told %.0f, was %llu and %llu", (double)(value),        \
                  (unsigned long long)before.field, (unsigned long long)after.field)

START_TEST(memory_is_what_memstats_say)
{
    if (!start()) return;
    before = test_stats();
    const json *state = json_read(http_get("/debug/state").body);
    after = test_stats();
    const json *m = json_get(state, "memory");
#define FIELD(name, slack) TOLD(json_number(m, #name), name, slack)
    FIELD(heap_alloc, 0);
    FIELD(heap_inuse, 0);
    FIELD(heap_idle, 0);
    FIELD(heap_released, 0);
    FIELD(heap_sys, 0);
    FIELD(next_gc, 0);
    FIELD(heap_objects, 0);
    FIELD(total_alloc, 0);
    FIELD(mallocs, 0);
    FIELD(num_gc, 0);
    FIELD(pause_total_ns, 0);
    FIELD(threads, 0);
    FIELD(finalizers_ready, 0);
    FIELD(sys, 256 * KB);
    FIELD(stack_inuse, 64 * KB);
#undef FIELD
    ck_assert_uint_gt(after.heap_released, 0);
    ck_assert_uint_lt(after.heap_released, after.heap_idle);
    ck_assert_uint_ne(after.heap_idle, after.heap_inuse);
    ck_assert_uint_eq(json_u64(state, "profile_rate"), 1);
    oak_debug_serve_stop();
}
END_TEST

static double metric(const char *text, const char *name)
{
    char sample[96];
    snprintf(sample, sizeof sample, "oakum_%s", name);
    return prom_value(text, sample);
}

START_TEST(metrics_are_what_memstats_say)
{
    if (!start()) return;
    before = test_stats();
    const char *text = http_get("/metrics").body;
    after = test_stats();
#define METRIC(name, field, slack) TOLD(metric(text, name), field, slack)
    METRIC("heap_alloc_bytes", heap_alloc, 0);
    METRIC("heap_objects", heap_objects, 0);
    METRIC("heap_inuse_bytes", heap_inuse, 0);
    METRIC("heap_idle_bytes", heap_idle, 0);
    METRIC("heap_released_bytes", heap_released, 0);
    METRIC("heap_retained_bytes", heap_retained, 0);
    METRIC("heap_next_gc_bytes", next_gc, 0);
    METRIC("alloc_bytes_total", total_alloc, 0);
    METRIC("mallocs_total", mallocs, 0);
    METRIC("frees_total", frees, 0);
    METRIC("gc_cycles_total", num_gc, 0);
    METRIC("gc_forced_cycles_total", num_forced_gc, 0);
    METRIC("finalizers", finalizers, 0);
    METRIC("weak_references", weak_refs, 0);
    METRIC("zones", zones, 0);
    METRIC("zones_inuse_bytes", zones_inuse, 0);
    METRIC("threads", threads, 0);
    METRIC("stacks_inuse_bytes", stack_inuse, 64 * KB);
    METRIC("sys_bytes{use=\"heap\"}", heap_sys, 0);
    METRIC("sys_bytes{use=\"mspan\"}", mspan_sys, 0);
    METRIC("sys_bytes{use=\"mcache\"}", mcache_sys, 0);
    METRIC("sys_bytes{use=\"profile\"}", buck_hash_sys, 0);
    METRIC("sys_bytes{use=\"gc\"}", gc_sys, 0);
    METRIC("sys_bytes{use=\"other\"}", other_sys, 256 * KB);
#undef METRIC
    ck_assert_uint_ne(after.gc_sys, after.other_sys);
    ck_assert_uint_ne(after.mspan_sys, after.mcache_sys);
    ck_assert_uint_ne(after.num_gc, 0);
    ck_assert(fabs(metric(text, "gc_stopped_seconds_total") - (double)after.pause_total_ns / 1e9) <
              1e-6);
    oak_debug_serve_stop();
}
END_TEST

/* Where marks are beside the program, each has more than one; what verify=1 takes is none. */
START_TEST(all_pauses_are_told)
{
    oak_config c = test_config();
    c.concurrent = 1;
    if (!test_heap_tracked(c, 0) || !http_serve(NULL, NULL)) return;
    oaki_debug_switches.beside = 1;
    before = test_stats();
    while (test_stats().num_gc < before.num_gc + 5) {
        (void)test_ask_beside();
        serve_fields_kept[0] = oak_alloc(1000);
    }
    oak_collect();
    after = test_stats();
    const char *text = http_get("/metrics").body;
    double total = (double)(after.pause_total_ns - before.pause_total_ns) / 1e9;
    ck_assert_double_eq_tol(metric(text, "gc_pause_seconds_sum"), total, 1e-6);
    ck_assert_double_ge(metric(text, "gc_pause_seconds_count"), after.num_gc - before.num_gc + 4);
    const json *cycles = json_get(json_read(http_get("/debug/state").body), "cycles");
    ck_assert_uint_ge(cycles->length, 5);
    for (size_t i = 0; i < cycles->length; i++) {
        const json *g = &cycles->item[i];
        size_t at = (json_u64(g, "gc") + 255) % 256;
        ck_assert_uint_eq(json_u64(g, "pause_ns"), after.pause_ns[at]);
    }
    oak_debug_serve_stop();
}
END_TEST

START_TEST(live_bytes_are_told_by_kind)
{
    static const struct {
        const char *kind;
        size_t bytes;
    } live[] = { { "conservative", 2 * MB },
                 { "noscan", 3 * MB },
                 { "typed", MB },
                 { "pinned", 512 * KB } };
    if (!start()) return;
    const char *text = http_get("/metrics").body;
    for (size_t i = 0; i < OAKI_COUNT(live); i++) {
        char name[64];
        snprintf(name, sizeof name, "live_bytes{kind=\"%s\"}", live[i].kind);
        double told = metric(text, name);
        ck_assert_msg(told >= (double)live[i].bytes && told < (double)(live[i].bytes + 300 * KB),
                      "%s %.0f", name, told);
    }
    oak_debug_serve_stop();
}
END_TEST

/* One of a hundred objects of 64 bytes lives on. */
static void keep_few(void *arg)
{
    void **few = arg;
    for (size_t i = 0; i < 20000; i++) {
        void *p = oak_alloc_noscan(64);
        if (i % 100 == 0) few[i / 100] = p;
    }
}

/* As if the control group's limit had just been read. */
static void assume_group_limit(size_t bytes)
{
    AO_store(&oaki_gc.plan.limits_ns, (AO_t)oaki_os_now_ns());
    AO_store(&oaki_the_heap.group_limit, bytes);
}

START_TEST(limits_and_how_full_spans_are_is_told)
{
    if (!start()) return;
    assume_group_limit(0);
    ck_assert_ptr_null(strstr(http_get("/metrics").body, "oakum_memory_limit_bytes"));
    assume_group_limit(800 * MB);
    ck_assert(metric(http_get("/metrics").body, "memory_limit_bytes") == 800.0 * (double)MB);
    keep_few(serve_fields_kept[5] = oak_alloc(200 * sizeof(void *)));
    oak_set_memory_limit(900 * MB);
    oak_set_heap_max(1000 * MB);
    oak_collect();
    oaki_os_sleep_ns(1100000000); /* who asks within a second is told the same */
    assume_group_limit(950 * MB);
    const char *text = http_get("/metrics").body;
    ck_assert(metric(text, "memory_limit_bytes") == 900.0 * (double)MB);
    ck_assert(metric(text, "heap_max_bytes") == 1000.0 * (double)MB);
    const json *tenths = json_get(json_get(json_read(http_get("/debug/state").body), "memory"),
                                  "span_bytes_by_tenths");
    ck_assert_uint_eq(tenths->length, 11);
    double all = 0;
    for (unsigned i = 0; i < 11; i++) {
        char name[64];
        snprintf(name, sizeof name, "span_bytes{full=\"%u\"}", 10 * i);
        ck_assert(metric(text, name) == tenths->item[i].number);
        all += tenths->item[i].number;
    }
    ck_assert_double_ge(tenths->item[0].number, 1e6);
    ck_assert_double_le(tenths->item[0].number, 1.5e6);
    ck_assert_double_le(all, (double)test_stats().heap_inuse);
    oak_debug_serve_stop();
}
END_TEST

/* ---- maps ---- */

static const json *map_at(const json *maps, const void *p)
{
    char address[32];
    const json *all = json_get(maps, "largest");
    snprintf(address, sizeof address, "%p", p);
    for (size_t i = 0; i < all->length; i++)
        if (strcmp(json_string(&all->item[i], "address"), address) == 0) return &all->item[i];
    ck_abort_msg("no map at %s", address);
    return NULL;
}

static void check_usual(const json *m, const oak_map_stats *s)
{
    ck_assert_str_eq(json_string(m, "kind"), "default");
    ck_assert_uint_eq(json_u64(m, "entries"), s->len);
    ck_assert_uint_eq(json_u64(m, "slots"), s->groups * 15);
    ck_assert_double_eq_tol(json_number(m, "load"), s->load, 1e-6);
    ck_assert_uint_eq(json_u64(m, "array_bytes"), s->array_bytes);
    ck_assert_uint_eq(json_u64(m, "old_array_bytes"), s->old_array_bytes);
    ck_assert(json_get(m, "growing")->boolean);
    ck_assert_double_eq_tol(json_number(m, "moved"), s->evacuated, 1e-6);
    ck_assert_uint_eq(json_u64(m, "growths"), s->growths);
    ck_assert(!json_get(m, "bad_hash")->boolean);
    ck_assert_int_eq(json_get(m, "crowded")->kind, JSON_NULL); /* not known meanwhile */
}

static void check_classic(const json *m, const oak_classic_stats *s)
{
    ck_assert_str_eq(json_string(m, "kind"), "classic");
    ck_assert_uint_eq(json_u64(m, "entries"), s->count);
    ck_assert_uint_eq(json_u64(m, "slots"), (size_t)8 << s->B);
    ck_assert_uint_eq(json_u64(m, "array_bytes"), s->array_bytes);
    ck_assert_uint_eq(json_u64(m, "old_array_bytes"), s->old_array_bytes);
    ck_assert(json_get(m, "growing")->boolean);
    ck_assert(json_get(m, "same_size")->boolean == s->same_size);
    ck_assert_double_eq_tol(json_number(m, "moved"),
                            (double)s->nevacuate / (double)s->noldbuckets, 1e-6);
    ck_assert_uint_eq(json_u64(m, "growths"), s->growths + s->same_size_growths);
}

START_TEST(maps_are_what_they_say_of_themselves)
{
    oak_map_stats u;
    oak_classic_stats c;
    if (!start()) return;
    const json *maps = json_read(http_get("/debug/maps").body);
    const char *text = http_get("/metrics").body;
    oak_map_stats_read(usual, &u);
    oak_classic_stats_read(classic, &c);
    check_usual(map_at(maps, usual), &u);
    check_classic(map_at(maps, classic), &c);
    ck_assert_uint_eq(json_u64(maps, "count"), 2);
    ck_assert_uint_eq(json_u64(maps, "entries"), u.len + c.count);
    ck_assert_uint_eq(json_u64(maps, "array_bytes"), u.array_bytes + c.array_bytes);
    ck_assert_uint_eq(json_u64(maps, "old_array_bytes"), u.old_array_bytes + c.old_array_bytes);
    ck_assert_uint_eq(json_u64(maps, "growing"), 2);
    ck_assert_uint_gt(c.old_array_bytes, 0);
    ck_assert_uint_ne(u.old_array_bytes, u.array_bytes);
#define OF_MAPS(name, of_usual, of_classic)                                                \
    do {                                                                                   \
        ck_assert(metric(text, name "{kind=\"default\"}") == (double)(of_usual));          \
        ck_assert(metric(text, name "{kind=\"classic\"}") == (double)(of_classic));        \
    } while (0)
    OF_MAPS("map_entries", u.len, c.count);
    OF_MAPS("map_array_bytes", u.array_bytes, c.array_bytes);
    OF_MAPS("map_old_array_bytes", u.old_array_bytes, c.old_array_bytes);
    OF_MAPS("maps_growing", 1, 1);
#undef OF_MAPS
    oak_debug_serve_stop();
}
END_TEST

/* ---- threads ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static AO_t ready;
static int tids[2];

static OAKI_NOINLINE void hold(size_t which, void *frame)
{
    __asm__ __volatile__("" : : "r"(frame) : "memory");
    tids[which] = oaki_os_tid();
    oak_blocking_enter();
    AO_fetch_and_add1(&ready);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    oak_blocking_leave();
}

static void *hold_little(void *arg)
{
    char frame[100 * KB];
    oak_thread_attach();
    memset(frame, 1, sizeof frame);
    hold(0, frame);
    return arg;
}

static void *hold_much(void *arg)
{
    char frame[700 * KB];
    oak_thread_attach();
    memset(frame, 1, sizeof frame);
    hold(1, frame);
    return arg;
}

static size_t stack_of(int tid)
{
    size_t n = 0;
    oaki_thread *self = oaki_gc_stop_begin();
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (t->tid == tid) n = oaki_thread_stack_inuse(t);
    oaki_gc_stop_end(self);
    return n;
}

START_TEST(stacks_are_as_deep_as_they_are)
{
    if (!start()) return;
    pthread_mutex_lock(&gate);
    pthread_t id[2] = { test_start(hold_little, NULL), test_start(hold_much, NULL) };
    test_wait(&ready, 2);
    const json *threads = json_read(http_get("/debug/threads").body);
    const json *stacks = json_get(threads, "stacks");
    ck_assert_uint_eq(json_u64(threads, "count"), stacks->length);
    for (size_t k = 0; k < 2; k++) {
        size_t found = 0, deep = stack_of(tids[k]);
        for (size_t i = 0; i < stacks->length; i++) {
            if (json_number(&stacks->item[i], "id") != tids[k]) continue;
            found++;
            ck_assert_uint_eq(json_u64(&stacks->item[i], "stack_bytes"), deep);
            ck_assert(json_get(&stacks->item[i], "blocked")->boolean);
            ck_assert(!json_get(&stacks->item[i], "asks")->boolean);
        }
        ck_assert_uint_eq(found, 1);
        ck_assert_uint_ge(deep, (k ? 700 : 100) * KB);
    }
    pthread_mutex_unlock(&gate);
    for (size_t k = 0; k < 2; k++) test_join(id[k]);
    oak_debug_serve_stop();
}
END_TEST

/* ---- findings ---- */

static OAKI_NOINLINE void leak(oak_map *m, uint64_t key)
{
    *(void **)oak_map_put(m, &key) = oak_alloc(4000);
}

static void check_finding(const json *told, const oak_finding *f)
{
    char address[32];
    snprintf(address, sizeof address, "%p", f->object);
    ck_assert_str_eq(json_string(told, "kind"), oak_finding_name(f->kind));
    ck_assert_str_eq(json_string(told, "subject"), f->subject);
    ck_assert_str_eq(json_string(told, "evidence"), f->evidence);
    ck_assert(json_get(told, "active")->boolean == f->active);
    ck_assert_uint_eq(json_u64(told, "before"), f->before);
    ck_assert_uint_eq(json_u64(told, "now"), f->now);
    ck_assert_double_eq_tol(json_number(told, "slope"), f->slope, fabs(f->slope) * 1e-6);
    ck_assert_uint_eq(json_u64(told, "looks"), f->looks);
    ck_assert_uint_eq(json_u64(told, "first_seen_unix_ns"), f->first_seen);
    ck_assert_uint_eq(json_u64(told, "last_seen_unix_ns"), f->last_seen);
    ck_assert_uint_eq(json_u64(told, "first_gc"), f->first_cycle);
    ck_assert_uint_eq(json_u64(told, "last_gc"), f->last_cycle);
    if (f->object) ck_assert_str_eq(json_string(told, "object"), address);
    if (f->type) ck_assert_str_eq(json_string(told, "type"), oak_type_name(f->type));
    if (f->site >= 0) ck_assert_uint_eq(json_u64(told, "site"), (uint64_t)f->site);
    ck_assert(json_find(told, "site") != NULL || f->site < 0);
}

START_TEST(findings_are_the_detectors)
{
    static oak_finding f[64];
    size_t moved = 0;
    if (!start()) return;
    oak_map *m = serve_fields_kept[10] = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t i = 0; i < 24 * 200; i++) {
        leak(m, i);
        if (i % 200 == 0) ck_assert_int_ge(oak_detector_scan(), 0);
    }
    const json *told = json_get(json_read(http_get("/debug/leaks").body), "findings");
    size_t n = oak_detector_findings(f, OAKI_COUNT(f));
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_le(n, OAKI_COUNT(f));
    ck_assert_uint_eq(told->length, n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(json_u64(&told->item[i], "id"), f[i].id);
        check_finding(&told->item[i], &f[i]);
        moved += f[i].before > 0 && f[i].before != f[i].now && f[i].first_seen != f[i].last_seen;
    }
    ck_assert_uint_gt(moved, 0);
    oak_debug_serve_stop();
}
END_TEST

Suite *suite_observe_serve_fields(void)
{
    Suite *s = suite_create("observe_serve_fields");
    TCase *t = tcase_create("fields");
    tcase_add_test(t, memory_is_what_memstats_say);
    tcase_add_test(t, metrics_are_what_memstats_say);
    tcase_add_test(t, all_pauses_are_told);
    tcase_add_test(t, live_bytes_are_told_by_kind);
    tcase_add_test(t, limits_and_how_full_spans_are_is_told);
    tcase_add_test(t, maps_are_what_they_say_of_themselves);
    tcase_add_test(t, stacks_are_as_deep_as_they_are);
    tcase_add_test(t, findings_are_the_detectors);
    suite_add_tcase(s, t);
    return s;
}
