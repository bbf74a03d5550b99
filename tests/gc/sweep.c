/* sweep.c - tests of gc/sweep.c: lazily, in the background, and by whom; counts stay exact. */
#include "gc/sweep.h"

#include "runtime/collector.h"
#include "runtime/markbits.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_sweep(void);

#define N 20000
static void *held[N];
TEST_LARGE(gc_sweep, held)

static void start(void)
{
    test_heap_start(test_config());
}

/* A mark, without the sweep that oak_collect does. */
static void mark_only(void)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
}

static size_t waiting(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t n = 0, end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        n +=
            (h->pte[page] & OAKI_PTE_CLASS) && h->spans[page].swept != (uint32_t)AO_load(&h->cycle);
    return n;
}

static void make_half(void *arg)
{
    size_t size = *(size_t *)arg;
    for (size_t i = 0; i < N; i++) {
        held[i] = oak_alloc_noscan(size ? size : 16 + i % 700);
        (void)!oak_alloc_noscan(size ? size : 16 + i % 700);
    }
}

static size_t any_size;

/* ---- lazily ---- */

START_TEST(nothing_is_swept_before_somebody_asks)
{
    test_away(make_half, &any_size);
    mark_only();
    size_t spans = waiting();
    ck_assert_uint_gt(spans, 500);
    ck_assert_uint_eq(test_objects(), 2 * N);
    test_assert_sound();
    (void)!oak_alloc_noscan(16); /* its class, and a little for the credit */
    ck_assert_uint_lt(waiting(), spans);
    ck_assert_uint_gt(waiting(), spans / 2);
    oaki_thread *t = oaki_enter();
    test_sweep_all();
    oaki_leave(t);
    ck_assert_uint_eq(waiting(), 0);
    ck_assert_uint_ge(test_objects(), N + 1);
    ck_assert_uint_le(test_objects(), N + 1 + 4);
    for (size_t i = 0; i < N; i++)
        if (oak_base(held[i]) != held[i]) ck_abort_msg("object %zu is gone", i);
    test_assert_sound();
}
END_TEST

START_TEST(allocation_reuses_the_holes)
{
    size_t size = 48;
    test_away(make_half, &size);
    mark_only();
    size_t sys = test_stats().heap_sys, inuse = test_stats().heap_inuse;
    test_away(make_half, &size); /* the old ones go now, too, but nobody has marked since */
    ck_assert_uint_eq(test_stats().heap_sys, sys);
    ck_assert_uint_le(test_stats().heap_inuse, inuse + N * size + (64 << 10));
    test_assert_sound();
}
END_TEST

START_TEST(allocating_pays_for_the_sweep_before_the_next_cycle)
{
    test_away(make_half, &any_size);
    oak_set_gc_percent(100);
    mark_only();
    size_t cycles = test_stats().num_gc, spans = waiting();
    ck_assert_uint_gt(spans, 500);
    while (waiting() > 0) {
        for (int i = 0; i < 1000; i++) (void)!oak_alloc(100);
        ck_assert_uint_eq(test_stats().num_gc, cycles); /* done in time */
    }
}
END_TEST

START_TEST(a_cycle_sweeps_what_is_left_of_the_last)
{
    test_away(make_half, &any_size);
    mark_only();
    memset(held, 0, sizeof held);
    mark_only();
    ck_assert_uint_le(test_objects(), N + 4); /* the first half is accounted for */
    oak_collect();
    ck_assert_uint_le(test_objects(), 4);
    ck_assert_uint_eq(waiting(), 0);
    test_assert_sound();
}
END_TEST

START_TEST(empty_spans_give_their_pages_back)
{
    size_t before = test_stats().heap_inuse;
    for (int i = 0; i < 5; i++) {
        test_away(make_half, &any_size);
        memset(held, 0, sizeof held);
        oak_collect();
        ck_assert_uint_le(test_stats().heap_inuse, before + (4 * 128 << 10));
    }
    test_assert_sound();
}
END_TEST

/* ---- in the background ---- */

START_TEST(the_background_sweeps_while_nobody_allocates)
{
    oak_config c = test_config();
    c.background_sweep = 1;
    test_heap_start(c);
    /* a small heap is left to those who allocate */
    void *much = oak_alloc_pinned((size_t)64 << 20);
    ck_assert_ptr_nonnull(much);
    for (int round = 0; round < 3; round++) {
        test_away(make_half, &any_size);
        mark_only();
        for (int i = 0; i < 3000 && waiting() > 0; i++) oaki_os_sleep_ns(10000000);
        ck_assert_uint_eq(waiting(), 0);
        ck_assert_uint_le(test_objects(), N + 5);
        test_assert_sound();
    }
}
END_TEST

static AO_t failed, freeing, freed;

static void *free_it(void *arg)
{
    oak_free(oak_alloc(16)); /* attached */
    AO_store_release(&freeing, 1);
    oak_free(arg);
    AO_store_release(&freed, 1);
    return NULL;
}

/* Swept, and not yet back in its list: whoever frees it then has to wait. */
START_TEST(a_large_object_is_freed_after_its_sweep_has_ended)
{
    test_heap_start(test_config());
    held[0] = oak_alloc_noscan(100000);
    mark_only();
    oaki_thread *t = oaki_enter();
    unsigned sc = OAKI_SPANCLASS(OAKI_NOSCAN, OAKI_CLASS_LARGE);
    oaki_span *s = oaki_central_next_waiting(&oaki_the_heap.zone0, sc);
    ck_assert_ptr_nonnull(s);
    ck_assert(oaki_gc_sweep_span(s, false));
    pthread_t id = test_start(free_it, held[0]);
    test_wait(&freeing, 1);
    oaki_os_sleep_ns(20000000);
    ck_assert_uint_eq(AO_load(&freed), 0);
    oaki_central_give(s);
    test_join(id);
    oaki_leave(t);
    test_assert_sound();
}
END_TEST

static void *mutate(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    unsigned char *mine[100] = { NULL };
    for (size_t i = 0, n = test_scale(60000); i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t k = (x >> 33) % 100, size = 1 + (x >> 20) % ((x >> 40) % 256 ? 500 : 60000);
        if (mine[k] && mine[k][0] != (unsigned char)k) AO_store(&failed, 1);
        if (mine[k] && x >> 62 == 0) oak_free(mine[k]);
        mine[k] = x >> 63 ? oak_alloc(size) : oak_alloc_noscan(size);
        if (mine[k][0] || mine[k][size - 1]) AO_store(&failed, 1);
        mine[k][0] = mine[k][size - 1] = (unsigned char)k;
        if ((x >> 32) % 4096 == 0) oak_collect();
    }
    return NULL;
}

/* The background, the credit, ensure_swept of oak_free and the next cycle, all at once. */
START_TEST(everybody_sweeps_at_once)
{
    oak_config c = test_config();
    pthread_t ids[3];
    c.background_sweep = 1;
    c.gc_percent = 20;
    test_heap_start(c);
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(mutate, (void *)(i + 1));
    for (int i = 0; i < 20; i++) {
        mark_only();
        test_assert_sound();
    }
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&failed), 0);
    oak_collect();
    oak_collect();
    ck_assert_uint_le(test_objects(), 8);
    test_assert_sound();
}
END_TEST

/* ---- who asks what is alive meanwhile ---- */

enum { LOOKERS = 6, MARKS = 250, LARGE = 100, LARGE_SIZE = 100000 };

static AO_t quit, looks, lost;

static void look(void)
{
    while (!AO_load_acquire(&quit)) {
        for (size_t i = 0; i < 100; i++)
            if (oak_base(held[i]) != held[i]) AO_fetch_and_add(&lost, 1);
        AO_fetch_and_add(&looks, 1);
    }
}

static void *look_from_anywhere(void *arg)
{
    bool in_region = arg != NULL;
    ck_assert_int_eq(oak_thread_attach(), 0);
    if (in_region) oak_blocking_enter();
    look();
    if (in_region) oak_blocking_leave();
    return NULL;
}

/* There are more of them than processors, so that some lose theirs in the middle of a question,
 * while the sweep ends and the next mark clears M. Half of them no stop holds. */
START_TEST(what_lives_is_found_at_any_time)
{
    size_t size = 64, marks = test_scale(MARKS);
    pthread_t ids[LOOKERS];
    start();
    test_away(make_half, &size);
    for (size_t i = 0; i < LOOKERS; i++)
        ids[i] = test_start(look_from_anywhere, i % 2 ? held : NULL);
    test_wait(&looks, 1);
    for (size_t i = 0; i < marks; i++) mark_only();
    AO_store_release(&quit, 1);
    for (size_t i = 0; i < LOOKERS; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&lost), 0);
}
END_TEST

static uintptr_t hidden[LARGE];
static AO_t open_to, inside; /* lookers, and how many of them are */

static void make_large(void *arg)
{
    for (size_t i = 0; i < LARGE; i++) hidden[i] = ~(uintptr_t)oak_alloc_noscan(LARGE_SIZE);
    (void)arg;
}

static void *look_at_hidden(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load_acquire(&quit)) {
        AO_fetch_and_add_full(&inside, 1);
        for (size_t i = 0; i < LARGE && AO_load_acquire(&open_to); i++)
            if (oak_base((void *)~hidden[i])) AO_fetch_and_add(&lost, 1);
        AO_fetch_and_add_full(&inside, (AO_t)-1);
        oaki_os_yield();
    }
    return arg;
}

/* Nothing is made while they look. */
START_TEST(what_has_died_is_not_found_while_it_is_swept)
{
    pthread_t ids[2];
    size_t dead = 0;
    start();
    for (size_t i = 0; i < 2; i++) ids[i] = test_start(look_at_hidden, NULL);
    for (size_t round = 0, n = test_scale(200); round < n; round++) {
        test_away(make_large, NULL);
        mark_only();
        for (size_t i = 0; i < LARGE; i++) {
            if (oak_base((void *)~hidden[i])) hidden[i] = ~(uintptr_t)NULL; /* it seems to live */
            else dead++;
        }
        AO_store_full(&open_to, 1);
        oaki_thread *t = oaki_enter();
        test_sweep_all();
        oaki_leave(t);
        AO_store_full(&open_to, 0);
        while (AO_load_acquire(&inside) > 0) oaki_os_yield();
    }
    AO_store_release(&quit, 1);
    for (size_t i = 0; i < 2; i++) test_join(ids[i]);
    ck_assert_uint_gt(dead, 0);
    ck_assert_uint_eq(AO_load(&lost), 0);
}
END_TEST

/* ---- what of A stays ---- */

enum { ALL, NONE, SOME, FIRST_HALF, WAYS };

static bool stays(int way, size_t i, size_t n)
{
    return way == ALL || (way == SOME && test_below(3) > 0) || (way == FIRST_HALF && i < n / 2);
}

/* Spans of each class, full but for what is freed by hand. */
static void make_each_class(void *arg)
{
    int way = *(int *)arg;
    size_t kept = 0;
    for (unsigned c = 1; c < oaki_nclasses; c++) {
        size_t n = 3 * oaki_classes[c].nslots;
        for (size_t i = 0; i < n; i++) {
            void *p = oak_alloc_noscan(oaki_classes[c].size);
            if (stays(way, i, n)) held[kept++ % N] = p;
            else if (way == SOME && test_below(8) == 0) oak_free(p);
        }
    }
    ck_assert_uint_lt(kept, N);
}

/* After a mark: a bit for each granule of a slot that is allocated and marked. */
static uint64_t *what_is_to_stay(size_t words, size_t *dead)
{
    const oaki_heap *h = &oaki_the_heap;
    uint64_t *want = calloc(words, sizeof *want);
    memcpy(want, h->alloc, words * sizeof *want);
    for (size_t page = 0; page < words / OAKI_PAGE_WORDS; page += h->spans[page].npages) {
        const oaki_span *s = &h->spans[page];
        if (s->cls == 0 || s->cls == OAKI_CLASS_LARGE) continue;
        size_t off = page << OAKI_PAGE_SHIFT;
        memset(want + page * OAKI_PAGE_WORDS, 0, s->npages * OAKI_PAGE_WORDS * sizeof *want);
        for (size_t i = 0; i < oaki_classes[s->cls].nslots; i++, off += s->size) {
            if (!oaki_bit_get(h->alloc, off)) continue;
            if (oaki_mark_get(off)) oaki_bits_set(want, off, s->size);
            else ++*dead;
        }
    }
    return want;
}

START_TEST(what_is_marked_stays_whole_and_nothing_else)
{
    size_t dead = 0;
    test_no_beside();
    test_seed("gc/sweep");
    test_away(make_each_class, &_i);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    size_t words = AO_load(&oaki_the_heap.used) / OAKI_GRANULE / 64;
    uint64_t *want = what_is_to_stay(words, &dead);
    test_sweep_all();
    oaki_leave(t);
    for (size_t w = 0; w < words; w++)
        if (oaki_the_heap.alloc[w] != want[w])
            ck_abort_msg("class %u, word %zu: %#lx for %#lx",
                         oaki_the_heap.pte[w / OAKI_PAGE_WORDS] & OAKI_PTE_CLASS,
                         w % OAKI_PAGE_WORDS, (long)oaki_the_heap.alloc[w], (long)want[w]);
    ck_assert(_i == ALL ? dead < 100 : dead > 1000);
    test_assert_sound();
    free(want);
}
END_TEST

/* ---- poison ---- */

START_TEST(poison_fills_what_died_and_nothing_else)
{
    size_t size = 64;
    oaki_debug_switches.poison = 1;
    test_away(make_half, &size);
    for (size_t i = 0; i < N; i++) memset(held[i], 0x42, size);
    oak_collect();
    size_t poisoned = 0;
    for (size_t i = 0; i < N; i++) {
        const unsigned char *p = held[i], *next = p + size;
        if (p[0] != 0x42 || p[size - 1] != 0x42) ck_abort_msg("object %zu was changed", i);
        if (!oak_base(next) && oaki_heap_contains(next))
            poisoned += next[0] == 0xdb && next[63] == 0xdb;
    }
    ck_assert_uint_ge(poisoned, N - 500);
}
END_TEST

Suite *suite_gc_sweep(void)
{
    Suite *s = suite_create("gc/sweep");
    TCase *c = tcase_create("lazy");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, nothing_is_swept_before_somebody_asks);
    tcase_add_test(c, allocation_reuses_the_holes);
    tcase_add_test(c, allocating_pays_for_the_sweep_before_the_next_cycle);
    tcase_add_test(c, a_cycle_sweeps_what_is_left_of_the_last);
    tcase_add_test(c, empty_spans_give_their_pages_back);
    tcase_add_loop_test(c, what_is_marked_stays_whole_and_nothing_else, ALL, WAYS);
    tcase_add_test(c, poison_fills_what_died_and_nothing_else);
    suite_add_tcase(s, c);
    c = tcase_create("background");
    tcase_add_test(c, the_background_sweeps_while_nobody_allocates);
    tcase_add_test(c, a_large_object_is_freed_after_its_sweep_has_ended);
    tcase_add_test(c, everybody_sweeps_at_once);
    tcase_add_test(c, what_lives_is_found_at_any_time);
    tcase_add_test(c, what_has_died_is_not_found_while_it_is_swept);
    suite_add_tcase(s, c);
    return s;
}
