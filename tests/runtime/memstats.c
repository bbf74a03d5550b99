/* memstats.c - tests of runtime/memstats.c: the figures are exact, and add up to what the kernel
 * says. */
#include "runtime/collector.h"
#include "runtime/meta.h"
#include "runtime/track.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <string.h>

Suite *suite_runtime_memstats(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start(test_config());
}

static void assert_adds_up(const oak_memstats *s)
{
    ck_assert_uint_eq(s->heap_sys, s->heap_inuse + s->heap_idle);
    ck_assert_uint_eq(s->sys, s->heap_sys + s->stack_sys + s->mspan_sys + s->mcache_sys +
                                  s->buck_hash_sys + s->gc_sys + s->other_sys);
    ck_assert_uint_eq(s->heap_objects, s->mallocs - s->frees);
    ck_assert_uint_eq(s->alloc, s->heap_alloc);
    ck_assert_uint_le(s->heap_alloc, s->heap_inuse);
    ck_assert_uint_le(s->heap_alloc, s->total_alloc);
    ck_assert_uint_le(s->heap_released, s->heap_idle);
    ck_assert_uint_le(s->frees, s->mallocs);
    ck_assert_uint_le(s->heap_sys, s->heap_reserved);
    ck_assert_uint_le(s->mspan_inuse, s->mspan_sys);
    ck_assert_uint_le(s->mcache_inuse, s->mcache_sys);
    ck_assert_uint_eq(s->lookups, 0);
    ck_assert_uint_eq(s->stack_sys, 0);
    ck_assert_uint_gt(s->threads, 0);
    ck_assert_uint_ge(s->heap_alloc, s->heap_objects * 16);
}

/* ---- known programs ---- */

static void *program[4000];

START_TEST(a_known_program_has_known_figures)
{
    static const uint64_t bits[] = { 1 };
    const oak_type *pair = oak_type_bitmap("pair", 16, bits);
    size_t small = 0, expected = 0;
    for (size_t i = 0; i < 3000; i++) {
        size_t n = 16 + i * 7 % 4000;
        program[i] = i % 3 == 0 ? oak_alloc(n) : i % 3 == 1 ? oak_alloc_noscan(n)
                                                            : oak_alloc_typed(pair, n / 16);
        small += oaki_classes[oaki_class_of(i % 3 == 2 ? n / 16 * 16 : n)].size;
    }
    for (size_t i = 3000; i < 3010; i++) program[i] = oak_alloc_noscan(i % 2 ? MB : 2 * MB);
    expected = small + 15 * MB;
    oak_memstats s = test_stats();
    ck_assert_uint_eq(s.mallocs, 3010);
    ck_assert_uint_eq(s.frees, 0);
    ck_assert_uint_eq(s.heap_alloc, expected);
    ck_assert_uint_eq(s.total_alloc, expected);
    oaki_large_give_back(program[3000], MB, 2 * MB - 100); /* a megabyte at the head */
    oaki_large_give_back(program[3001], 0, MB / 2);
    expected -= MB + MB / 2;
    ck_assert_uint_eq(test_stats().heap_alloc, expected);
    ck_assert_uint_eq(test_stats().heap_objects, 3010);
    for (size_t i = 0; i < 3000; i += 2)
        expected -= oak_usable_size(program[i]), oak_free(program[i]);
    s = test_stats();
    ck_assert_uint_eq(s.heap_alloc, expected);
    ck_assert_uint_eq(s.heap_objects, 1510);
    ck_assert_uint_eq(s.frees, 1500);
    ck_assert_uint_eq(s.num_gc, 0);
    test_once();
    oak_collect();
    s = test_stats();
    ck_assert_uint_eq(s.num_gc, 1);
    ck_assert_uint_eq(s.num_forced_gc, 1);
    ck_assert_uint_eq(s.heap_objects, 1510);
    ck_assert_uint_eq(s.heap_alloc, expected);
    assert_adds_up(&s);
}
END_TEST

static void build_garbage(void *arg)
{
    for (size_t i = 0; i < 20000; i++) (void)!oak_alloc(16 + i % 3000);
    for (size_t i = 0; i < 20; i++) (void)!oak_alloc(MB);
    (void)arg;
}

START_TEST(a_collection_takes_off_exactly_what_went)
{
    oak_memstats before = test_stats();
    test_away(build_garbage, NULL);
    ck_assert_uint_eq(test_stats().heap_objects, before.heap_objects + 20020);
    oak_collect();
    oak_memstats s = test_stats();
    ck_assert_uint_le(s.heap_objects, before.heap_objects + 4);
    if (s.heap_objects == before.heap_objects) ck_assert_uint_eq(s.heap_alloc, before.heap_alloc);
    ck_assert_uint_eq(s.mallocs, before.mallocs + 20020);
    assert_adds_up(&s);
}
END_TEST

/* ---- the kernel's view ---- */

static void *held[6000];

/* Write to every page of the span: what was never touched has no memory, and nobody can tell. */
OAKI_NO_ASAN static void touch_span(const void *p)
{
    const oaki_span *s = oaki_span_of_offset(oaki_heap_offset(p));
    char *end = oaki_span_start(s) + s->npages * OAKI_PAGE;
    for (char *at = oaki_span_start(s); at < end; at += 4096) {
        char c = *at;
        __asm__("" : "+r"(c)); /* may be another now, so it has to be written */
        *at = c;
    }
}

static void use_heap(void)
{
    for (size_t i = 0, n = test_scale(60000); i < n; i++) {
        size_t k = test_below(OAKI_COUNT(held)), size = test_size(test_below(100) ? 2000 : MB);
        if (held[k] && test_below(2)) oak_free(held[k]);
        held[k] = test_below(2) ? oak_alloc(size) : oak_alloc_noscan(size);
        touch_span(held[k]);
    }
}

START_TEST(the_range_holds_what_smaps_says)
{
    const oaki_heap *h = &oaki_the_heap;
    test_seed("runtime/memstats");
    for (int round = 0; round < 4; round++) {
        use_heap();
        if (round) oak_collect();
        if (round > 1) oak_scavenge();
        oak_memstats s = test_stats();
        assert_adds_up(&s);
        size_t rss = test_smaps_rss(h->base, h->base + h->reserved);
        ck_assert_uint_eq(s.heap_sys, AO_load(&h->used));
        ck_assert_msg(rss == s.heap_sys - s.heap_released, "smaps: %zu, memstats: %zu", rss,
                      (size_t)(s.heap_sys - s.heap_released));
    }
}
END_TEST

START_TEST(the_tables_take_no_more_than_is_said)
{
    const oaki_heap *h = &oaki_the_heap;
    test_seed("runtime/memstats");
    use_heap();
    oak_collect();
    size_t before = oaki_meta_mapped();
    oak_memstats s = test_stats();
    size_t after = oaki_meta_mapped(); /* another thread may have begun in between, or since */
    uintptr_t pte = (uintptr_t)h->pte, spans = (uintptr_t)h->spans;
    uintptr_t alloc = (uintptr_t)h->alloc;
    size_t structs = test_smaps_rss(spans, spans + (h->reserved >> 7));
    size_t bits = test_smaps_rss(alloc, alloc + (h->reserved >> 7)) +
                  test_smaps_rss(pte, pte + (h->reserved >> 11));
    for (size_t p = 0; p < OAKI_PLANES; p++)
        bits += test_smaps_rss((uintptr_t)h->mark[p], (uintptr_t)h->mark[p] + (h->reserved >> 9));
    ck_assert_uint_le(structs, s.mspan_sys);
    ck_assert_uint_le(bits, s.gc_sys);
    ck_assert_uint_gt(bits, 0);
    ck_assert_uint_le(oaki_meta_resident(), oaki_meta_mapped() + 4096);
    ck_assert_uint_ge(s.meta_sys, OAKI_MIN(before, after));
    ck_assert_uint_le(s.meta_sys, OAKI_MAX(before, after));
}
END_TEST

/* ---- beside running threads ---- */

static AO_t stop, done;

static void *mutate(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    void *mine[50] = { NULL };
    while (!AO_load_acquire(&stop)) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t k = (x >> 33) % 50;
        if (mine[k] && x >> 63) oak_free(mine[k]);
        mine[k] = oak_alloc((x >> 40) % 64 ? (x >> 20) % 3000 : 100000);
    }
    AO_fetch_and_add_full(&done, 1);
    return NULL;
}

static void *read_often(void *arg)
{
    uint64_t mallocs = 0, frees = 0, total = 0, cycles = 0;
    for (size_t i = 0, n = test_scale(1000); i < n; i++) {
        oak_memstats s;
        oak_memstats_read(&s);
        assert_adds_up(&s);
        ck_assert(s.mallocs >= mallocs && s.frees >= frees && s.total_alloc >= total &&
                  s.num_gc >= cycles);
        mallocs = s.mallocs, frees = s.frees, total = s.total_alloc, cycles = s.num_gc;
    }
    AO_fetch_and_add_full(&done, 1);
    return arg;
}

START_TEST(the_figures_agree_at_any_moment)
{
    pthread_t ids[5];
    oak_set_gc_percent(100);
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(mutate, (void *)(i + 1));
    for (size_t i = 3; i < 5; i++) ids[i] = test_start(read_often, NULL);
    for (size_t i = 3; i < 5; i++) test_join(ids[i]);
    AO_store_release(&stop, 1);
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&done), 5);
    ck_assert_uint_gt(test_stats().num_gc, 0);
    ck_assert_uint_eq(test_stats().threads, 1);
    test_assert_sound();
}
END_TEST

START_TEST(the_ring_of_pauses_holds_the_newest)
{
    test_once();
    for (unsigned i = 1; i <= 600; i++) {
        oak_collect();
        if (i % 50 != 1 && i != 256 && i != 257) continue;
        oak_memstats s = test_stats();
        unsigned last = (s.num_gc + 255) % 256;
        ck_assert_uint_eq(s.num_gc, i);
        ck_assert_uint_gt(s.pause_ns[last], 0);
        ck_assert_uint_eq(s.pause_end[last], s.last_gc);
        ck_assert_uint_ge(s.pause_total_ns, s.pause_ns[last]);
        if (i > 1) ck_assert_uint_ge(s.pause_end[last], s.pause_end[(s.num_gc + 254) % 256]);
    }
}
END_TEST

START_TEST(before_the_start_there_is_something_to_read)
{
    oak_memstats s;
    memset(&s, 0xff, sizeof s);
    oak_memstats_read(&s); /* starts Oakum */
    assert_adds_up(&s);
    ck_assert_uint_eq(s.mallocs, 0);
    ck_assert(s.enable_gc);
    oak_gc_disable();
    ck_assert(!test_stats().enable_gc);
    oak_gc_enable();
}
END_TEST

Suite *suite_runtime_memstats(void)
{
    Suite *s = suite_create("runtime/memstats");
    TCase *c = tcase_create("memstats");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_known_program_has_known_figures);
    tcase_add_test(c, a_collection_takes_off_exactly_what_went);
    tcase_add_test(c, the_range_holds_what_smaps_says);
    tcase_add_test(c, the_tables_take_no_more_than_is_said);
    tcase_add_test(c, the_figures_agree_at_any_moment);
    tcase_add_test(c, the_ring_of_pauses_holds_the_newest);
    suite_add_tcase(s, c);
    c = tcase_create("start");
    tcase_add_test(c, before_the_start_there_is_something_to_read);
    suite_add_tcase(s, c);
    return s;
}
