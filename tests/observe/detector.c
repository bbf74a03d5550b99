/* detector.c - tests of observe/judge*.c: programs that leak, and the same programs
 * repaired; it names what leaks in the ones and says nothing of the others. */
#include "gc/gc.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/detector.h>
#include <oakum/profile.h>
#include <string.h>

Suite *suite_observe_detector(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start(test_config());
}

/* ---- looking ---- */

static oak_finding findings[300];
TEST_LARGE(observe_detector, findings)

static size_t read_findings(void)
{
    size_t n = oak_detector_findings(findings, OAKI_COUNT(findings));
    ck_assert_uint_le(n, OAKI_COUNT(findings));
    return n;
}

static const oak_finding *find(oak_finding_kind kind)
{
    size_t n = read_findings();
    for (size_t i = 0; i < n; i++)
        if (findings[i].kind == kind && findings[i].active) return &findings[i];
    return NULL;
}

static void assert_found(oak_finding_kind kind, const char *in_evidence)
{
    const oak_finding *f = find(kind);
    ck_assert_msg(f != NULL, "no %s", oak_finding_name(kind));
    ck_assert_msg(strstr(f->evidence, in_evidence) != NULL, "%s: %s", f->subject, f->evidence);
    ck_assert_uint_gt(strlen(f->subject), 0);
    ck_assert_uint_le(f->first_seen, f->last_seen);
}

/* Nothing of at least a warning has ever been found. */
static void assert_silent(void)
{
    size_t n = read_findings();
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(findings[i].severity == OAK_SEVERITY_NOTE, "%s: %s: %s",
                      oak_finding_name(findings[i].kind), findings[i].subject,
                      findings[i].evidence);
}

/* step(i) on a thread of its own, whose stack is gone then, and a look: so many times. */
static void (*the_step)(size_t i);

static void call_step(void *arg)
{
    the_step((size_t)(uintptr_t)arg);
}

static int run(void (*step)(size_t i), size_t looks)
{
    int faults = 0;
    the_step = step;
    for (size_t i = 0; i < looks; i++) {
        test_away(call_step, (void *)(uintptr_t)i);
        faults = oak_detector_scan();
        ck_assert_int_ge(faults, 0);
    }
    return faults;
}

static void *kept[4096];

/* ---- growth ---- */

typedef struct node {
    struct node *next;
    char rest[1016];
} node;

static node *list;

static void OAKI_NOINLINE leak_nodes(size_t i)
{
    static const uint64_t bits[16] = { 1 };
    static oak_type *type;
    (void)i;
    if (!type) type = oak_type_bitmap("node", sizeof(node), bits);
    for (size_t k = 0; k < 400; k++) {
        node *n = oak_alloc_typed(type, 1);
        n->next = list;
        list = n;
    }
}

START_TEST(a_leak_is_found_by_heap_type_and_site)
{
    oak_profile_set_rate(4096);
    int faults = run(leak_nodes, 14);
    ck_assert_int_ge(faults, 3);
    assert_found(OAK_FINDING_HEAP_GROWTH, "live after collection");
    assert_found(OAK_FINDING_TYPE_GROWTH, "objects");
    ck_assert_str_eq(find(OAK_FINDING_TYPE_GROWTH)->subject, "type node");
    const oak_finding *f = find(OAK_FINDING_SITE_GROWTH);
    ck_assert_ptr_nonnull(f);
    ck_assert_msg(strstr(f->subject, "leak_nodes") != NULL, "%s", f->subject);
    ck_assert_int_eq(f->severity, OAK_SEVERITY_LEAK);
    ck_assert(f->slope > 300000 && f->slope < 500000);
    ck_assert_uint_gt(f->now, f->before + MB);
}
END_TEST

/* Freed again, it is over; then it is found anew. */
START_TEST(a_leak_that_ends_is_over)
{
    (void)run(leak_nodes, 14);
    ck_assert_ptr_nonnull(find(OAK_FINDING_HEAP_GROWTH));
    list = NULL;
    ck_assert_int_eq(oak_detector_scan(), 0);
    ck_assert_ptr_null(find(OAK_FINDING_HEAP_GROWTH));
    oak_detector_stats s;
    oak_detector_stats_read(&s);
    ck_assert_uint_eq(s.raised[OAK_FINDING_HEAP_GROWTH], 1);
    ck_assert_uint_eq(s.active[OAK_FINDING_HEAP_GROWTH], 0);
    ck_assert_uint_eq(s.looks, 15);
}
END_TEST

static void bounded_cache(size_t i)
{
    static size_t at;
    for (size_t k = 0; k < 1500; k++) kept[at++ % 4096] = oak_alloc_noscan(1000);
    (void)i;
}

static void churn(size_t i)
{
    for (size_t k = 0; k < 20000; k++) (void)!oak_alloc_noscan(64 + i);
}

static void wobble(size_t i)
{
    for (size_t k = 0; k < 4096; k++)
        kept[k] = k < 2000 + test_below(1000) ? oak_alloc_noscan(2000) : NULL;
    (void)i;
}

START_TEST(healthy_programs_are_not_reported)
{
    test_seed("observe/detector");
    oak_profile_set_rate(4096);
    (void)run(bounded_cache, 30);
    assert_silent();
    (void)run(churn, 30);
    assert_silent();
    (void)run(wobble, 40);
    assert_silent();
}
END_TEST

/* The scenario three-sigma-detector: 64 KiB a look, beside 64 MiB that come and go. */
static bool leaking;

static void small_leak(size_t i)
{
    if (leaking) kept[i % 4096] = oak_alloc_noscan(64 << 10);
    void *now_and_then = i % 40 == 20 ? oak_alloc_noscan(64 * MB) : NULL;
    if (now_and_then) kept[4095] = now_and_then;
    if (i % 40 == 21) kept[4095] = NULL;
}

START_TEST(a_small_leak_is_found_beside_a_large_temporary)
{
    leaking = false;
    (void)run(small_leak, 100);
    assert_silent();
    leaking = true;
    (void)run(small_leak, 100);
    ck_assert_ptr_nonnull(find(OAK_FINDING_HEAP_GROWTH));
}
END_TEST

START_TEST(a_step_is_a_note)
{
    (void)run(bounded_cache, 15);
    kept[0] = oak_alloc_noscan(64 * MB);
    ck_assert_int_eq(oak_detector_scan(), 0);
    assert_found(OAK_FINDING_STEP, "sigma");
    ck_assert_int_eq(find(OAK_FINDING_STEP)->severity, OAK_SEVERITY_NOTE);
    assert_silent();
}
END_TEST

/* ---- high-water mark: the scenario watermark-vs-leak ---- */

static void OAKI_NOINLINE fill_and_drop(size_t i)
{
    if (i != 3) return;
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t k = 0; k < 50000; k++) *(void **)oak_map_put(m, &k) = oak_alloc_noscan(1000);
}

START_TEST(a_high_water_mark_is_told_as_such)
{
    (void)run(fill_and_drop, 6);
    assert_found(OAK_FINDING_WATERMARK, "high-water mark, no leak");
    assert_silent();
}
END_TEST

/* ---- maps ---- */

static oak_map *map;
static oak_classic_map *classic;

static void grow_maps(size_t i)
{
    if (!map) map = oak_map_new(&oak_map_u64_u64, 0);
    if (!classic) classic = oak_classic_new(&oak_classic_int_int, 0);
    for (uint64_t k = i * 20000; k < (i + 1) * 20000; k++) {
        int64_t signed_key = (int64_t)k;
        *(uint64_t *)oak_map_put(map, &k) = k;
        *(int64_t *)oak_classic_put(classic, &signed_key) = 1;
    }
}

START_TEST(a_map_that_grows_is_named)
{
    (void)run(grow_maps, 14);
    size_t n = read_findings(), seen = 0;
    for (size_t i = 0; i < n; i++) {
        const oak_finding *f = &findings[i];
        if (f->kind != OAK_FINDING_MAP_GROWTH) continue;
        ck_assert(f->object == map || f->object == classic);
        ck_assert_uint_ge(f->now, 200000);
        seen++;
    }
    ck_assert_uint_eq(seen, 2);
}
END_TEST

static bool on_classic;

static void fill_then_delete(size_t i)
{
    if (i == 0) grow_maps(0);
    for (uint64_t k = 20000; i == 0 && k < 200000; k++) {
        int64_t signed_key = (int64_t)k;
        *(uint64_t *)oak_map_put(map, &k) = k;
        if (on_classic) *(int64_t *)oak_classic_put(classic, &signed_key) = 1;
    }
    for (int64_t k = 0; i == 1 && k < 200000; k++) {
        uint64_t key = (uint64_t)k;
        oak_map_delete(map, &key);
        oak_classic_delete(classic, &k);
    }
}

START_TEST(an_emptied_map_is_sparse_only_where_its_array_stays)
{
    on_classic = false;
    (void)run(fill_then_delete, 5);
    assert_silent();
    on_classic = true;
    ck_assert_int_eq(run(fill_then_delete, 5), 1);
    assert_found(OAK_FINDING_MAP_SPARSE, "array much larger than its entries: 0 of ");
    ck_assert_ptr_eq(find(OAK_FINDING_MAP_SPARSE)->object, classic);
}
END_TEST

START_TEST(a_map_made_for_more_is_not_sparse)
{
    map = oak_map_new(&oak_map_u64_u64, 1000000);
    classic = oak_classic_new(&oak_classic_int_int, 1000000);
    uint64_t k = 7;
    *(uint64_t *)oak_map_put(map, &k) = k;
    *(int64_t *)oak_classic_put(classic, &k) = 1;
    for (int i = 0; i < 5; i++) ck_assert_int_eq(oak_detector_scan(), 0);
    assert_silent();
}
END_TEST

static void idle_mid_growth(size_t i)
{
    if (i > 0) return;
    classic = oak_classic_new(&oak_classic_int_int, 0);
    map = oak_map_new(&oak_map_u64_u64, 0);
    for (int64_t k = 0; k < 425985; k++) *(int64_t *)oak_classic_put(classic, &k) = 1;
    for (uint64_t k = 0;; k++) {
        oak_map_stats s;
        *(uint64_t *)oak_map_put(map, &k) = k;
        if (k % 64 == 0 && k > 100000) {
            oak_map_stats_read(map, &s);
            if (s.resizing) break;
        }
    }
}

START_TEST(old_buckets_that_are_held_are_found)
{
    ck_assert_int_eq(run(idle_mid_growth, 2), 0);
    ck_assert_int_ge(oak_detector_scan(), 0);
    ck_assert_int_eq(oak_detector_scan(), 1);
    assert_found(OAK_FINDING_MAP_STUCK, "growing without progress for ");
    ck_assert_ptr_eq(find(OAK_FINDING_MAP_STUCK)->object, classic);
    for (int64_t k = 0; k < 425985; k++)
        *(int64_t *)oak_classic_put(classic, &k) = 2; /* writes finish it */
    ck_assert_int_eq(oak_detector_scan(), 0);
}
END_TEST

static uint64_t one_hash(const void *p OAKI_UNUSED, uint64_t seed OAKI_UNUSED, size_t n OAKI_UNUSED)
{
    return 12345;
}

START_TEST(a_bad_hash_is_found_and_keys_alike_are_not)
{
    static const oak_classic_type bad = { 8, 8, one_hash, oak_classic_equal_bytes, 0 };
    oak_classic_map *m[3];
    m[0] = oak_classic_new(&bad, 0);
    m[1] = oak_classic_new(&oak_classic_int_int, 0);
    m[2] = oak_classic_new(&oak_classic_int_int, 0);
    for (int64_t k = 0; k < 4000; k++) *(int64_t *)oak_classic_put(m[0], &k) = k;
    for (int64_t k = 0; k < 50000; k++) {
        int64_t ms = 1700000000000 + k, spread = k << 32;
        *(int64_t *)oak_classic_put(m[1], &ms) = k;
        *(int64_t *)oak_classic_put(m[2], &spread) = k;
    }
    for (int i = 0; i < 3; i++) ck_assert_int_eq(oak_detector_scan(), 1);
    ck_assert_ptr_eq(find(OAK_FINDING_MAP_HASH)->object, m[0]);
}
END_TEST

/* ---- finalizers, weak references ---- */

static void never(void *obj OAKI_UNUSED, void *ctx OAKI_UNUSED) {}

static void make_cycles(size_t i)
{
    for (size_t k = 0; i == 0 && k < 100; k++) {
        void **a = oak_alloc(16), **b = oak_alloc(16);
        *a = b, *b = a;
        ck_assert_int_eq(oak_finalizer_set(a, never, NULL), 0);
        ck_assert_int_eq(oak_finalizer_set(b, never, NULL), 0);
    }
}

START_TEST(finalizer_cycles_are_found)
{
    (void)run(make_cycles, 4);
    assert_found(OAK_FINDING_FINALIZER_CYCLE, "reach themselves");
    ck_assert_uint_ge(find(OAK_FINDING_FINALIZER_CYCLE)->now, 190);
}
END_TEST

static AO_t in_finalizer, leave_finalizer;

static void blocks(void *obj OAKI_UNUSED, void *ctx OAKI_UNUSED)
{
    AO_store_release(&in_finalizer, 1);
    while (!AO_load_acquire(&leave_finalizer)) oaki_os_sleep_ns(1000000);
}

static void *run_finalizers(void *arg)
{
    (void)oak_finalizers_run();
    return arg;
}

static void make_finalizable(size_t i)
{
    for (size_t k = 0; i == 0 && k < 50; k++) (void)!oak_finalizer_set(oak_alloc(16), blocks, NULL);
}

START_TEST(a_stuck_finalizer_is_found)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.finalizer_ms = 20;
    ck_assert_int_eq(oak_detector_prepare(&cfg), 0);
    (void)run(make_finalizable, 2);
    pthread_t id = test_start(run_finalizers, NULL);
    test_wait(&in_finalizer, 1);
    oaki_os_sleep_ns(30000000);
    ck_assert_int_ge(oak_detector_scan(), 1);
    assert_found(OAK_FINDING_FINALIZER_STUCK, "wait behind it");
    AO_store_release(&leave_finalizer, 1);
    test_join(id);
    (void)oak_detector_scan();
    ck_assert_ptr_null(find(OAK_FINDING_FINALIZER_STUCK));
}
END_TEST

static void make_pool(size_t i)
{
    for (size_t k = 0; i == 0 && k < 3000; k++) kept[k] = oak_weak_new(oak_alloc_noscan(1000));
}

START_TEST(dead_entries_of_weak_pools_are_found)
{
    (void)run(make_pool, 3);
    assert_found(OAK_FINDING_WEAK_DEAD, "whose objects have gone");
    memset(kept, 0, sizeof kept);
    (void)oak_detector_scan();
    ck_assert_ptr_null(find(OAK_FINDING_WEAK_DEAD));
}
END_TEST

/* ---- threads ---- */

START_TEST(threads_that_stand_still_are_found_once_they_are_many)
{
    static pthread_t ids[300];
    ck_assert_int_eq(oak_detector_scan(), 0);
    for (size_t i = 0; i < 200; i++) ids[i] = test_start(test_stand, NULL);
    test_wait(&test_standing, 200);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(oak_detector_scan(), 0);
    for (size_t i = 200; i < 300; i++) ids[i] = test_start(test_stand, NULL);
    test_wait(&test_standing, 300);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(oak_detector_scan(), 0);
    ck_assert_int_eq(oak_detector_scan(), 1);
    assert_found(OAK_FINDING_THREADS_BLOCKED, "300 threads have stood still");
    AO_store_release(&test_go, 1);
    for (size_t i = 0; i < 300; i++) test_join(ids[i]);
    ck_assert_int_eq(oak_detector_scan(), 0);
}
END_TEST

static pthread_t leaked[400];
static size_t nleaked;

static void leak_threads(size_t i)
{
    (void)i;
    for (size_t k = 0; k < 8; k++) leaked[nleaked++] = test_start(test_stand, NULL);
    test_wait(&test_standing, nleaked);
}

START_TEST(threads_that_become_more_are_found)
{
    (void)run(leak_threads, 14);
    assert_found(OAK_FINDING_THREAD_GROWTH, "their stacks hold");
    AO_store_release(&test_go, 1);
    for (size_t i = 0; i < nleaked; i++) test_join(leaked[i]);
}
END_TEST

/* ---- collections and memory ---- */

static void OAKI_NOINLINE make_garbage(void *arg)
{
    for (size_t i = 0; i < (size_t)(uintptr_t)arg; i++) (void)!oak_alloc(1024);
}

static void OAKI_NOINLINE hold_list(void *arg)
{
    for (size_t i = 0; i < (size_t)(uintptr_t)arg; i++) {
        node *n = oak_alloc(sizeof *n);
        n->next = list;
        list = n;
    }
}

START_TEST(thrashing_is_found_at_a_small_growth_setting_only)
{
    ck_assert_int_eq(oak_detector_prepare(NULL), 0);
    test_away(hold_list, (void *)(uintptr_t)40000);
    oak_collect();
    oak_set_gc_percent(100);
    test_away(make_garbage, (void *)(uintptr_t)120000);
    ck_assert_int_eq(oak_detector_scan(), 0);
    oak_set_gc_percent(2);
    test_away(make_garbage, (void *)(uintptr_t)60000);
    oak_set_gc_percent(-1);
    ck_assert_int_eq(oak_detector_scan(), 1);
    assert_found(OAK_FINDING_THRASH, "of the processor time in three collections");
}
END_TEST

static void pin_spans(size_t i)
{
    for (size_t k = 0; i == 0 && k < 4000 * 512; k++) {
        void *p = oak_alloc_noscan(16);
        if (k % 512 == 0) kept[k / 512] = p;
    }
}

START_TEST(spans_pinned_by_one_object_are_found)
{
    ck_assert_int_eq(run(pin_spans, 3), 1);
    assert_found(OAK_FINDING_FRAGMENTED, "less than 10 % full");
    ck_assert_ptr_nonnull(kept[1]);
    memset(kept, 0, sizeof kept);
    ck_assert_int_eq(oak_detector_scan(), 0);
}
END_TEST

Suite *suite_observe_detector(void)
{
    Suite *s = suite_create("observe/detector");
    TCase *c = tcase_create("detector");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_leak_is_found_by_heap_type_and_site);
    tcase_add_test(c, a_leak_that_ends_is_over);
    tcase_add_test(c, healthy_programs_are_not_reported);
    tcase_add_test(c, a_small_leak_is_found_beside_a_large_temporary);
    tcase_add_test(c, a_step_is_a_note);
    tcase_add_test(c, a_high_water_mark_is_told_as_such);
    tcase_add_test(c, a_map_that_grows_is_named);
    tcase_add_test(c, an_emptied_map_is_sparse_only_where_its_array_stays);
    tcase_add_test(c, a_map_made_for_more_is_not_sparse);
    tcase_add_test(c, old_buckets_that_are_held_are_found);
    tcase_add_test(c, a_bad_hash_is_found_and_keys_alike_are_not);
    tcase_add_test(c, finalizer_cycles_are_found);
    tcase_add_test(c, a_stuck_finalizer_is_found);
    tcase_add_test(c, dead_entries_of_weak_pools_are_found);
    tcase_add_test(c, threads_that_stand_still_are_found_once_they_are_many);
    tcase_add_test(c, threads_that_become_more_are_found);
    tcase_add_test(c, thrashing_is_found_at_a_small_growth_setting_only);
    tcase_add_test(c, spans_pinned_by_one_object_are_found);
    suite_add_tcase(s, c);
    return s;
}
