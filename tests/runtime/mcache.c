/* mcache.c - tests of runtime/mcache.c and central.c: runs, flushes, caches of threads that end. */
#include "runtime/collector.h"
#include "runtime/markbits.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

Suite *suite_runtime_mcache(void);

/* The linker hands calls of oak_alloc_typed to a test's own (tests/maps/classic_oom.c). */
void *__real_oak_alloc_typed(const oak_type *t, size_t count);

static void start(void)
{
    test_heap_start(test_config());
}

static oaki_span *span_of(const void *p)
{
    return oaki_span_of_offset(oaki_heap_offset(p));
}

/* ---- runs ---- */

START_TEST(a_fresh_span_is_handed_out_in_order_to_its_last_slot)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        char *p = oak_alloc(c->size), *first = p;
        oaki_span *s = span_of(p);
        ck_assert_ptr_eq(p, oaki_span_start(s));
        for (unsigned i = 1; i < c->nslots; i++) {
            char *next = oak_alloc(c->size);
            ck_assert_ptr_eq(next, first + (size_t)i * c->size);
            ck_assert_uint_eq(s->list, OAKI_LIST_CACHED);
        }
        ck_assert_ptr_ne(span_of(oak_alloc(c->size)), s);
        ck_assert_uint_eq(s->list, OAKI_LIST_FULL);
        ck_assert_uint_eq(s->nalloc, c->nslots);
    }
    test_assert_sound();
}
END_TEST

START_TEST(counts_leave_out_what_is_left_in_runs)
{
    for (unsigned i = 1; i <= 700; i++) {
        ck_assert_ptr_nonnull(oak_alloc(48));
        oak_memstats s = test_stats();
        ck_assert_uint_eq(s.heap_objects, i);
        ck_assert_uint_eq(s.mallocs, i);
        ck_assert_uint_eq(s.heap_alloc, i * 48);
    }
}
END_TEST

START_TEST(only_the_fast_path_is_the_fast_path)
{
    ck_assert(oaki_mcache_is_fast_path((uintptr_t)&__real_oak_alloc_typed));
    ck_assert(oaki_mcache_is_fast_path((uintptr_t)&__real_oak_alloc_typed + 8));
    ck_assert(!oaki_mcache_is_fast_path((uintptr_t)&oak_free));
    ck_assert(!oaki_mcache_is_fast_path((uintptr_t)&oaki_mcache_refill));
    ck_assert(!oaki_mcache_is_fast_path((uintptr_t)&start));
    ck_assert(!oaki_mcache_is_fast_path(0));
}
END_TEST

/* ---- lists ---- */

#define LISTED 4096
static char *listed[2 * LISTED]; /* those that were freed are NULL */

/* Fills two spans, or so, and frees some of it. */
static void make_holes(const oaki_class *c, uint64_t *draw)
{
    size_t n = OAKI_MIN(2 * c->nslots, LISTED);
    memset(listed, 0, sizeof listed);
    for (size_t i = 0; i < n; i++) {
        listed[i] = oak_alloc(c->size);
        memset(listed[i], 0xff, c->size);
    }
    unsigned share = 2 + (unsigned)(test_draw(draw) % 4);
    for (size_t i = 0; i < n; i++) {
        if (test_draw(draw) % share != 0) continue;
        oak_free(listed[i]);
        listed[i] = NULL;
    }
}

static void note(char *p, size_t size, size_t *n)
{
    ck_assert(test_is_zero(p + sizeof p, size - sizeof p)); /* and so not there before */
    memset(p, 0xff, size);
    listed[LISTED + (*n)++] = p;
}

/* Slots one by one until the run is empty, then a list; about as many as there were at first. */
static size_t take_lists(const oaki_class *c, unsigned sc, uint64_t *draw)
{
    size_t n = 0, chained = 0;
    oaki_thread *t = oaki_enter();
    while (n < OAKI_MIN(2 * c->nslots, LISTED)) {
        const oaki_run *r = &t->mcache->run[sc];
        char *first = oaki_mcache_refill(t, sc), *last = first;
        bool empty = r->next == r->end;
        size_t got = oaki_mcache_chain(t->mcache, sc, &last,
                                       OAKI_MIN(1 + test_draw(draw) % 40, LISTED - n - 1));
        if (!empty) ck_assert_uint_eq(got, 0);
        *(char **)(void *)last = NULL;
        chained += got;
        for (char *next; first; first = next) {
            next = *(char **)(void *)first;
            note(first, c->size, &n);
            if (next) got--;
        }
        ck_assert_uint_eq(got, 0);
    }
    oaki_leave(t);
    ck_assert_uint_le(n, LISTED);
    return chained;
}

static void expect_allocated(char *p, size_t size)
{
    ck_assert_ptr_eq(oak_base(p), p);
    for (size_t at = 0; at < size; at += OAKI_GRANULE)
        ck_assert(oaki_bit_get(oaki_the_heap.alloc, oaki_heap_offset(p) + at));
}

START_TEST(lists_are_of_free_slots_each_once)
{
    size_t chained = 0;
    uint64_t draw = (uint64_t)time(NULL) << 8 | (unsigned)_i;
    printf("runtime/mcache: list %d, seed %llu\n", _i, (unsigned long long)draw);
    for (unsigned cls = 1; oaki_classes[cls].size <= 512; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        make_holes(c, &draw);
        size_t before = test_stats().mallocs;
        chained += take_lists(c, OAKI_SPANCLASS(OAKI_SCAN, cls), &draw);
        size_t n = LISTED;
        while (n < 2 * LISTED && listed[n]) n++;
        ck_assert_uint_eq(test_stats().mallocs - before, n - LISTED);
        for (size_t i = 0; i < 2 * LISTED; i++)
            if (listed[i]) expect_allocated(listed[i], c->size);
        test_assert_sound();
    }
    if (!oaki_debug_switches.stress && !oaki_debug_switches.beside) ck_assert_uint_gt(chained, 0);
}
END_TEST

/* ---- a thread stopped in the fast path ---- */

static AO_t ready, go;
static char *held[OAKI_CLASSES], *in_hand[OAKI_CLASSES];

/* Spins in user code with an address of the fast path on its stack: so does one that was stopped
 * half way. */
static void *half_way(void *arg)
{
    void *(*stack[2])(const oak_type *, size_t) = { __real_oak_alloc_typed,
                                                   __real_oak_alloc_typed };
    for (unsigned cls = 1; cls < oaki_nclasses; cls++)
        held[cls] = oak_alloc(oaki_classes[cls].size);
    __asm__("" ::"r"(stack) : "memory");
    AO_store_release(&ready, 1);
    while (!AO_load_acquire(&go)) {}
    __asm__("" ::"r"(stack) : "memory");
    return arg;
}

/* Returns how many slots it may have. */
static size_t start_half_way(pthread_t *id)
{
    *id = test_start(half_way, NULL);
    test_wait(&ready, 1);
    size_t slots = 0;
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        if (2 * c->size > 8192) continue; /* a run is one slot, and used up */
        in_hand[cls] = held[cls] + c->size;
        slots++;
    }
    return slots;
}

START_TEST(the_slot_that_a_stopped_thread_may_have_lives_through_the_cycle)
{
    pthread_t id;
    size_t slots = start_half_way(&id);
    for (int i = 0; i < 3; i++) {
        oak_collect();
        test_assert_sound();
        for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
            ck_assert_ptr_eq(oak_base(held[cls]), held[cls]);
            if (in_hand[cls] && i == 0) ck_assert_ptr_eq(oak_base(in_hand[cls]), in_hand[cls]);
        }
        if (i == 0) ck_assert_uint_eq(test_objects(), oaki_nclasses - 1 + slots);
    }
    AO_store_release(&go, 1);
    test_join(id);
    memset(in_hand, 0, sizeof in_hand);
    memset(held, 0, sizeof held);
    oak_collect();
    ck_assert_uint_le(test_objects(), 4);
    test_assert_sound();
}
END_TEST

/* Another may cache the span before that thread frees it again, as while a mark goes on: there is
 * no sweep in between. */
START_TEST(its_span_counts_as_written_to)
{
    pthread_t id;
    (void)start_half_way(&id);
    oaki_thread *t = oaki_gc_stop_begin();
    ck_assert_ptr_nonnull(t);
    for (unsigned cls = 1; cls < oaki_nclasses; cls++)
        if (in_hand[cls]) ck_assert(!oaki_span_of_offset(oaki_heap_offset(in_hand[cls]))->needzero);
    oaki_gc_flush_caches();
    for (unsigned cls = 1; cls < oaki_nclasses; cls++)
        if (in_hand[cls]) ck_assert(oaki_span_of_offset(oaki_heap_offset(in_hand[cls]))->needzero);
    oaki_gc_stop_end(t);
    AO_store_release(&go, 1);
    test_join(id);
}
END_TEST

/* ---- threads that end ---- */

static void *one_of_each(void *arg)
{
    void **out = arg;
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        out[cls] = oak_alloc_noscan(oaki_classes[cls].size);
        ck_assert(test_is_zero(out[cls], oaki_classes[cls].size));
        memset(out[cls], 0xee, oaki_classes[cls].size);
    }
    return NULL;
}

#define THREADS 200
static void *kept[THREADS][OAKI_CLASSES];
TEST_LARGE(runtime_mcache, kept)

START_TEST(the_next_thread_goes_on_where_the_last_one_ended)
{
    for (size_t i = 0; i < THREADS; i++) {
        test_join(test_start(one_of_each, kept[i]));
        ck_assert_uint_eq(test_objects(), (i + 1) * (oaki_nclasses - 1));
    }
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        size_t nslots = oaki_classes[cls].nslots, seen = 0;
        size_t spans = (THREADS + nslots - 1) / nslots;
        for (size_t i = 0; i < THREADS; i++) {
            ck_assert_uint_eq(span_of(kept[i][cls])->cls, cls);
            bool first = true;
            for (size_t k = 0; k < i && first; k++)
                first = span_of(kept[k][cls]) != span_of(kept[i][cls]);
            seen += first;
        }
        ck_assert_uint_eq(seen, spans);
    }
    test_assert_sound();
}
END_TEST

/* What a cache had taken and not handed out is no reason to collect. */
START_TEST(threads_that_come_and_go_do_not_cause_collections)
{
    oak_set_gc_percent(100);
    size_t collections = test_stats().num_gc;
    for (size_t i = 0; i < THREADS; i++) test_join(test_start(one_of_each, kept[i]));
    size_t bytes = test_stats().total_alloc, least = 4 << 20; /* min_heap */
    ck_assert_uint_le(test_stats().num_gc - collections, bytes / least + 1);
}
END_TEST

static void *make_and_free(void *arg)
{
    void *mine[100];
    for (size_t size = 16; size <= 4096; size *= 2) {
        for (size_t i = 0; i < 100; i++) mine[i] = oak_alloc(size);
        for (size_t i = 0; i < 100; i++) oak_free(mine[i]);
    }
    return arg;
}

START_TEST(freeing_by_hand_and_ending_causes_none_either)
{
    oak_set_gc_percent(100);
    for (int i = 0; i < 100; i++) {
        test_join(test_start(make_and_free, NULL));
        ck_assert_uint_le(AO_load(&oaki_the_heap.live), 2 << 20);
    }
    ck_assert_uint_eq(test_stats().num_gc, 0);
}
END_TEST

static void drop_some(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 5000; i++) (void)!oak_alloc(16 + i % 4000);
}

START_TEST(the_cache_of_a_thread_that_ended_is_recovered)
{
    oak_collect();
    size_t before = test_objects(), caches = test_stats().mcache_inuse;
    for (int i = 0; i < 20; i++) test_away(drop_some, NULL);
    ck_assert_uint_eq(test_objects(), before + 20 * 5000);
    ck_assert_uint_eq(test_stats().mcache_inuse, caches);
    oak_collect();
    ck_assert_uint_le(test_objects(), before + 4);
    test_assert_sound();
}
END_TEST

/* ---- many threads ---- */

static AO_t bad;

static void *churn(void *arg)
{
    uint64_t x = (uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;
    unsigned char *mine[64] = { NULL };
    size_t sizes[64] = { 0 };
    for (size_t i = 0, n = test_scale(100000); i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t k = x % 64, size = 1 + (x >> 20) % (x & 64 ? 200 : 9000);
        unsigned char stamp = (unsigned char)(uintptr_t)&mine[k];
        if (mine[k] && (mine[k][0] != stamp || mine[k][sizes[k] - 1] != stamp)) AO_store(&bad, 1);
        if (mine[k] && (x >> 8) % 3 == 0) oak_free(mine[k]);
        mine[k] = x & 128 ? oak_alloc(size) : oak_alloc_noscan(size);
        if (!test_is_zero(mine[k], size)) AO_store(&bad, 1);
        memset(mine[k], stamp, size);
        sizes[k] = size;
    }
    return NULL;
}

START_TEST(threads_do_not_share_slots)
{
    pthread_t ids[4];
    oak_set_gc_percent(100);
    for (size_t i = 0; i < 4; i++) ids[i] = test_start(churn, (void *)(i + 1));
    for (int i = 0; i < 5; i++) test_assert_sound();
    for (size_t i = 0; i < 4; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&bad), 0);
    test_assert_sound();
}
END_TEST

static void *free_it(void *p)
{
    oak_free(p);
    return NULL;
}

/* Who frees finds a span that waits for its sweep, and waits for its lock; meanwhile another has
 * swept it and given it back, with objects in it that the last mark knew nothing of. */
START_TEST(a_span_that_another_has_swept_is_not_swept_again)
{
    void *p[8];
    for (size_t i = 0; i < 8; i++) p[i] = oak_alloc(8192);
    size_t off = oaki_heap_offset(p[0]);
    oaki_span *s = oaki_span_of_offset(off);
    oaki_central *c = &oaki_the_heap.central0[OAKI_SPANCLASS(s->kind, s->cls)];
    ck_assert_uint_eq(s->list, OAKI_LIST_FULL);
    ck_assert_ptr_eq(oaki_span_of_offset(oaki_heap_offset(p[1])), s);
    oaki_mark_set(off);
    ck_assert(!oaki_mark_get(oaki_heap_offset(p[1])));
    oaki_lock_acquire(&c->lock);
    s->swept--;
    pthread_t id = test_start(free_it, p[0]);
    while (AO_int_load_acquire(&c->lock.word) != 2) oaki_os_yield();
    s->swept++;
    oaki_lock_release(&c->lock);
    test_join(id);
    ck_assert_ptr_null(oak_base(p[0]));
    for (size_t i = 1; i < 8; i++) ck_assert_ptr_eq(oak_base(p[i]), p[i]);
    test_assert_sound();
}
END_TEST

Suite *suite_runtime_mcache(void)
{
    Suite *s = suite_create("runtime/mcache");
    TCase *c = tcase_create("cache");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_fresh_span_is_handed_out_in_order_to_its_last_slot);
    tcase_add_test(c, counts_leave_out_what_is_left_in_runs);
    tcase_add_loop_test(c, lists_are_of_free_slots_each_once, 0, 4);
    tcase_add_test(c, only_the_fast_path_is_the_fast_path);
    tcase_add_test(c, the_slot_that_a_stopped_thread_may_have_lives_through_the_cycle);
    tcase_add_test(c, its_span_counts_as_written_to);
    tcase_add_test(c, the_next_thread_goes_on_where_the_last_one_ended);
    tcase_add_test(c, threads_that_come_and_go_do_not_cause_collections);
    tcase_add_test(c, freeing_by_hand_and_ending_causes_none_either);
    tcase_add_test(c, the_cache_of_a_thread_that_ended_is_recovered);
    tcase_add_test(c, threads_do_not_share_slots);
    tcase_add_test(c, a_span_that_another_has_swept_is_not_swept_again);
    suite_add_tcase(s, c);
    return s;
}
