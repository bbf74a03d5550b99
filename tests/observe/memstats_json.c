/* memstats_json.c - tests of observe/memstats_json.c: each field of Go's MemStats is there, under
 * its name, with the value that the struct has. */
#include "readjson.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <string.h>

Suite *suite_observe_memstats_json(void);

static void start(void)
{
    test_heap_start(test_config());
}

/* runtime.MemStats of Go 1.19, in its order, as its documentation lists it. */
static const char *const go_names[] = {
    "Alloc", "TotalAlloc", "Sys", "Lookups", "Mallocs", "Frees", "HeapAlloc", "HeapSys", "HeapIdle",
    "HeapInuse", "HeapReleased", "HeapObjects", "StackInuse", "StackSys", "MSpanInuse", "MSpanSys",
    "MCacheInuse", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys", "NextGC", "LastGC",
    "PauseTotalNs", "PauseNs", "PauseEnd", "NumGC", "NumForcedGC", "GCCPUFraction", "EnableGC",
    "DebugGC", "BySize",
};

static char text[64 << 10];

static const json *read_stats(const oak_memstats *s)
{
    size_t n = oak_memstats_json(s, text, sizeof text);
    ck_assert_uint_lt(n, sizeof text);
    ck_assert_uint_eq(n, strlen(text));
    return json_read(text);
}

START_TEST(every_field_of_gos_is_there_in_gos_order)
{
    oak_memstats s = test_stats();
    const json *v = read_stats(&s);
    for (size_t i = 0; i < OAKI_COUNT(go_names); i++) ck_assert_str_eq(v->key[i], go_names[i]);
}
END_TEST

/* Each word of the struct holds another value, so that a mix-up shows. */
START_TEST(every_field_has_its_own_value)
{
    oak_memstats s = { 0 };
    uint64_t *alloc = &s.alloc;
    size_t words = offsetof(oak_memstats, pause_ns) / sizeof *alloc;
    for (size_t i = 0; i < words; i++) alloc[i] = UINT64_MAX - i;
    for (size_t i = 0; i < 256; i++) s.pause_ns[i] = 1000 + i, s.pause_end[i] = 2000 + i;
    s.num_gc = 31;
    s.num_forced_gc = 32;
    s.gc_cpu_fraction = 0.125;
    s.enable_gc = true;
    for (size_t i = 0; i < 60; i++)
        s.by_size[i] = (oak_size_stats){ (uint32_t)i + 1, 3000 + i, 4000 + i };
    s.meta_sys = 51, s.heap_reserved = 52, s.threads = 53, s.finalizers = 54;
    s.finalizers_ready = 55, s.finalizer_cycles = 56, s.finalizer_cycle_bytes = 57;
    s.weak_refs = 58, s.weak_refs_cleared = 59, s.zones = 60, s.zones_inuse = 61;
    s.num_concurrent_gc = 62, s.num_minor_gc = 63, s.marked_bytes = 64, s.rescanned_bytes = 65;
    s.pages_asked = 66, s.pages_dirty = 67, s.tracking_faults = 68, s.pause_max_ns = 69;
    s.heap_retained = 70, s.external = 71;
    const json *v = read_stats(&s);
    ck_assert_uint_eq(words, 24);
    for (size_t i = 0; i < words; i++) ck_assert_uint_eq(json_u64(v, go_names[i]), UINT64_MAX - i);
    const json *ns = json_get(v, "PauseNs"), *ends = json_get(v, "PauseEnd");
    ck_assert_uint_eq(ns->length, 256);
    ck_assert_uint_eq(ends->length, 256);
    for (size_t i = 0; i < 256; i++) {
        ck_assert_uint_eq(ns->item[i].whole, 1000 + i);
        ck_assert_uint_eq(ends->item[i].whole, 2000 + i);
    }
    ck_assert_uint_eq(json_u64(v, "NumGC"), 31);
    ck_assert_uint_eq(json_u64(v, "NumForcedGC"), 32);
    ck_assert_double_eq(json_number(v, "GCCPUFraction"), 0.125);
    ck_assert(json_get(v, "EnableGC")->boolean);
    ck_assert(!json_get(v, "DebugGC")->boolean);
    const json *sizes = json_get(v, "BySize");
    ck_assert_uint_eq(sizes->length, 60);
    for (size_t i = 0; i < 60; i++) {
        ck_assert_uint_eq(json_u64(&sizes->item[i], "Size"), i + 1);
        ck_assert_uint_eq(json_u64(&sizes->item[i], "Mallocs"), 3000 + i);
        ck_assert_uint_eq(json_u64(&sizes->item[i], "Frees"), 4000 + i);
    }
    static const char *const own[] = { "MetaSys", "HeapReserved", "Threads", "Finalizers",
                                       "FinalizersReady", "FinalizerCycles",
                                       "FinalizerCycleBytes", "WeakRefs", "WeakRefsCleared",
                                       "Zones", "ZonesInuse", "NumConcurrentGC", "NumMinorGC",
                                       "MarkedBytes", "RescannedBytes", "PagesAsked", "PagesDirty",
                                       "TrackingFaults", "PauseMaxNs", "HeapRetained", "External" };
    for (size_t i = 0; i < OAKI_COUNT(own); i++) ck_assert_uint_eq(json_u64(v, own[i]), 51 + i);
}
END_TEST

START_TEST(the_largest_values_fit_what_is_promised)
{
    oak_memstats s;
    memset(&s, 0xff, sizeof s);
    s.gc_cpu_fraction = -1.2345678901234567e-300;
    s.enable_gc = s.debug_gc = true;
    ck_assert_uint_lt(oak_memstats_json(&s, NULL, 0), 32 << 10);
}
END_TEST

START_TEST(a_small_buffer_gets_the_beginning)
{
    oak_memstats s = test_stats();
    char small[20];
    size_t n = oak_memstats_json(&s, text, sizeof text);
    memset(small, 'x', sizeof small);
    ck_assert_uint_eq(oak_memstats_json(&s, small, 10), n);
    ck_assert_str_eq(small, "{\"Alloc\":");
    ck_assert_int_eq(small[10], 'x');
    ck_assert_uint_eq(oak_memstats_json(&s, small, 0), n);
}
END_TEST

/* ---- by size ---- */

static void *held[3000];

static void sum_sizes(const oak_memstats *s, uint64_t *mallocs, uint64_t *frees)
{
    *mallocs = *frees = 0;
    uint32_t last = 0;
    for (size_t i = 0; i < OAKI_COUNT(s->by_size) && s->by_size[i].size; i++) {
        ck_assert_uint_gt(s->by_size[i].size, last);
        ck_assert_uint_ge(s->by_size[i].mallocs, s->by_size[i].frees);
        last = s->by_size[i].size;
        *mallocs += s->by_size[i].mallocs;
        *frees += s->by_size[i].frees;
    }
    ck_assert_uint_eq(last, OAKI_SMALL_MAX);
}

static const oak_size_stats *size_of(const oak_memstats *s, size_t n)
{
    return &s->by_size[oaki_class_of(n) - 1];
}

START_TEST(sizes_are_counted_to_the_object)
{
    uint64_t mallocs, frees;
    for (size_t i = 0; i < 3000; i++)
        held[i] = oak_alloc_noscan(i < 1000 ? 48 : i < 2999 ? 500 : 99999);
    for (size_t i = 0; i < 100; i++) oak_free(held[i]);
    oak_memstats s = test_stats();
    ck_assert_uint_eq(size_of(&s, 48)->mallocs, 1000);
    ck_assert_uint_eq(size_of(&s, 48)->frees, 100);
    ck_assert_uint_eq(size_of(&s, 500)->mallocs, 1999);
    ck_assert_uint_eq(size_of(&s, 500)->frees, 0);
    memset(held, 0, sizeof held);
    oak_collect();
    s = test_stats();
    ck_assert_uint_eq(size_of(&s, 48)->mallocs, 1000);
    ck_assert_uint_ge(size_of(&s, 48)->frees, 995);
    sum_sizes(&s, &mallocs, &frees);
    ck_assert_uint_eq(mallocs + 1, s.mallocs); /* the large one */
    ck_assert_uint_eq(frees + 1, s.frees);
}
END_TEST

static void *use(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    void *mine[64] = { NULL };
    for (size_t i = 0; i < 20000; i++) {
        size_t k = test_draw(&x) % 64, n = test_draw(&x) % 3000;
        if (mine[k] && test_draw(&x) % 2) oak_free(mine[k]);
        mine[k] = test_draw(&x) % 2 ? oak_alloc(n) : oak_alloc_noscan(n);
    }
    return NULL;
}

START_TEST(sizes_add_up_beside_threads)
{
    pthread_t ids[3];
    oak_set_gc_percent(100);
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(use, (void *)(i + 7));
    for (size_t i = 0; i < 50; i++) {
        uint64_t mallocs, frees;
        oak_memstats s = test_stats();
        sum_sizes(&s, &mallocs, &frees);
        ck_assert_uint_eq(mallocs, s.mallocs);
        ck_assert_uint_le(frees > s.frees ? frees - s.frees : s.frees - frees, 3);
    }
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    uint64_t mallocs, frees;
    oak_memstats s = test_stats();
    sum_sizes(&s, &mallocs, &frees);
    ck_assert_uint_eq(mallocs, s.mallocs);
    ck_assert_uint_eq(frees, s.frees);
}
END_TEST

Suite *suite_observe_memstats_json(void)
{
    Suite *s = suite_create("observe/memstats_json");
    TCase *c = tcase_create("memstats");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, every_field_of_gos_is_there_in_gos_order);
    tcase_add_test(c, every_field_has_its_own_value);
    tcase_add_test(c, the_largest_values_fit_what_is_promised);
    tcase_add_test(c, a_small_buffer_gets_the_beginning);
    tcase_add_test(c, sizes_are_counted_to_the_object);
    tcase_add_test(c, sizes_add_up_beside_threads);
    suite_add_tcase(s, c);
    return s;
}
