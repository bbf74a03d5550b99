/* free.c - tests of oak_free: reuse, accounts, other threads, and every way to get it wrong. */
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_free(void);

static void start(void)
{
    test_heap_start_stressed(test_config());
}

/* ---- reuse ---- */

START_TEST(null_is_nothing)
{
    oak_free(NULL);
    ck_assert_uint_eq(test_stats().frees, 0);
}
END_TEST

START_TEST(freed_slots_are_handed_out_again)
{
    test_no_stress();
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        size_t n = c->nslots * 3;
        char **p = calloc(n, sizeof *p);
        for (size_t i = 0; i < n; i++) p[i] = oak_alloc_noscan(c->size);
        size_t inuse = test_stats().heap_inuse;
        for (int round = 0; round < 5; round++) {
            for (size_t i = 0; i < n; i++) {
                memset(p[i], 0x77, c->size);
                oak_free(p[i]);
            }
            for (size_t i = 0; i < n; i++) {
                p[i] = oak_alloc_noscan(c->size);
                ck_assert(test_is_zero(p[i], c->size));
            }
            size_t now = test_stats().heap_inuse;
            ck_assert_msg(now <= inuse + (size_t)c->npages * OAKI_PAGE,
                          "slots of %u: %zu pages more in round %d", c->size,
                          (now - inuse) >> OAKI_PAGE_SHIFT, round);
        }
        free(p);
    }
    test_assert_sound();
}
END_TEST

START_TEST(a_lone_pair_of_alloc_and_free_stays_in_one_span)
{
    size_t inuse = 0;
    for (int i = 0; i < 100000; i++) {
        oak_free(oak_alloc(64));
        oak_free(oak_alloc_noscan(3000));
        if (i == 0) inuse = test_stats().heap_inuse;
    }
    ck_assert_uint_eq(test_stats().heap_inuse, inuse);
    ck_assert_uint_eq(test_objects(), 0);
}
END_TEST

START_TEST(pages_of_large_objects_are_reused_at_once)
{
    size_t inuse = test_stats().heap_inuse, sys = 0;
    test_no_beside();
    for (int i = 0; i < 2000; i++) {
        char *p = oak_alloc_noscan((size_t)3 << 20);
        ck_assert_ptr_nonnull(p);
        ck_assert(p[0] == 0 && p[((size_t)3 << 20) - 1] == 0);
        p[0] = p[((size_t)3 << 20) - 1] = 1;
        oak_free(p);
        if (i == 0) sys = test_stats().heap_sys;
    }
    ck_assert_uint_eq(test_stats().heap_inuse, inuse);
    ck_assert_uint_eq(test_stats().heap_sys, sys);
}
END_TEST

/* ---- accounts ---- */

#define MODEL 2000
static char *held[MODEL];
static size_t held_size[MODEL];

START_TEST(counts_and_bytes_are_exact)
{
    size_t objects = 0, bytes = 0, mallocs = 0, total = 0;
    test_seed("runtime/free");
    test_no_beside();
    for (size_t i = 0, n = test_scale(60000); i < n; i++) {
        size_t k = test_below(MODEL);
        if (held[k]) {
            objects--;
            bytes -= held_size[k];
            oak_free(held[k]);
            held[k] = NULL;
        } else {
            size_t size = test_size(test_below(50) ? 2000 : 200000);
            held[k] = test_below(2) ? oak_alloc(size) : oak_alloc_noscan(size);
            held_size[k] = oak_usable_size(held[k]);
            objects++, mallocs++;
            bytes += held_size[k];
            total += held_size[k];
        }
        if (i % 97 != 0) continue;
        oak_memstats s = test_stats();
        ck_assert_uint_eq(s.heap_objects, objects);
        ck_assert_uint_eq(s.heap_alloc, bytes);
        ck_assert_uint_eq(s.mallocs, mallocs);
        ck_assert_uint_eq(s.frees, mallocs - objects);
        ck_assert_uint_eq(s.total_alloc, total);
    }
    oak_collect(); /* everything is held: nothing changes */
    ck_assert_uint_eq(test_objects(), objects);
    for (size_t k = 0; k < MODEL; k++) oak_free(held[k]);
    ck_assert_uint_eq(test_objects(), 0);
    ck_assert_uint_eq(test_stats().heap_alloc, 0);
    test_assert_sound();
}
END_TEST

/* ---- between threads ---- */

#define RING 1024
static void *ring[RING];
static AO_t put, got;

static void *freer(void *arg)
{
    size_t n = *(size_t *)arg;
    ck_assert_int_eq(oak_thread_attach(), 0); /* its stack holds what the ring no longer does */
    for (size_t i = 0; i < n; i++) {
        while (AO_load_acquire(&put) <= i) oaki_os_yield();
        unsigned char *p = ring[i % RING];
        if (p[0] != (unsigned char)i) ck_abort_msg("object %zu was changed", i);
        ring[i % RING] = NULL;
        oak_free(p);
        AO_store_release(&got, i + 1);
    }
    return NULL;
}

static void feed(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (i - AO_load_acquire(&got) >= RING) oaki_os_yield();
        unsigned char *p = oak_alloc_noscan(16 + i % 300);
        if (p[0] != 0) ck_abort_msg("object %zu is not zero", i);
        p[0] = (unsigned char)i;
        ring[i % RING] = p;
        AO_store_release(&put, i + 1);
    }
}

START_TEST(one_thread_allocates_and_another_frees)
{
    size_t n = test_scale(1000000), inuse = 0;
    pthread_t id = test_start(freer, &n);
    feed(n);
    test_join(id);
    inuse = test_stats().heap_inuse;
    ck_assert_uint_eq(test_objects(), 0);
    ck_assert_uint_eq(test_stats().mallocs, n);
    ck_assert_uint_le(inuse, 8 << 20); /* reused: it would take 170 MB */
    test_assert_sound();
}
END_TEST

START_TEST(the_same_with_collections)
{
    size_t n = test_scale(300000);
    oak_set_gc_percent(20);
    pthread_t id = test_start(freer, &n);
    feed(n / 2);
    oak_collect();
    AO_t seen = AO_load(&put);
    for (size_t i = seen; i < n; i++) {
        while (i - AO_load_acquire(&got) >= RING) oaki_os_yield();
        unsigned char *p = oak_alloc_noscan(16 + i % 300);
        p[0] = (unsigned char)i;
        ring[i % RING] = p;
        AO_store_release(&put, i + 1);
        if (i % 5000 == 0) oak_collect();
    }
    test_join(id);
    ck_assert_uint_eq(test_objects(), 0);
    test_assert_sound();
}
END_TEST

/* ---- before the sweep ---- */

START_TEST(objects_in_spans_that_wait_can_be_freed)
{
    enum { N = 6000 };
    static char *live[N], *large[20];
    test_no_beside();
    for (int i = 0; i < N; i++) {
        live[i] = oak_alloc(16 + (size_t)i % 2000);
        (void)!oak_alloc(16 + (size_t)i % 2000); /* garbage between them */
    }
    for (int i = 0; i < 20; i++) large[i] = oak_alloc(100000);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    for (int i = 0; i < N; i += 2) {
        oak_free(live[i]);
        ck_assert_ptr_null(oak_base(live[i]));
    }
    for (int i = 0; i < 20; i += 2) oak_free(large[i]);
    for (int i = 1; i < N; i += 2) ck_assert_ptr_eq(oak_base(live[i]), live[i]);
    t = oaki_enter();
    test_sweep_all();
    oaki_leave(t);
    ck_assert_uint_le(test_objects(), N / 2 + 10 + 4);
    ck_assert_uint_ge(test_objects(), N / 2 + 10);
    test_assert_sound();
}
END_TEST

/* ---- misuse ---- */

static void free_twice(void *arg)
{
    char *p = oak_alloc((size_t)arg), *other = oak_alloc((size_t)arg);
    oak_free(p);
    oak_free(p);
    oak_free(other);
}

static void free_inside(void *arg)
{
    char *p = oak_alloc((size_t)arg);
    oak_free(p + (size_t)arg / 2);
}

static void free_next(void *arg)
{
    char *p = oak_alloc((size_t)arg);
    oak_free(p + oak_usable_size(p)); /* never handed out */
}

START_TEST(double_and_interior_frees_are_fatal)
{
    const size_t sizes[] = { 16, 48, 1000, 2896, 32768, 32769, 5000000 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        bool large = sizes[i] > OAKI_SMALL_MAX;
        test_dies(free_twice, (void *)sizes[i],
                  large ? "points to free memory" : "was it freed already?");
        test_dies(free_inside, (void *)sizes[i], "points into an object, ");
    }
}
END_TEST

START_TEST(freeing_what_was_never_handed_out_is_fatal)
{
    const size_t sizes[] = { 16, 48, 1000, 2896 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++)
        test_dies(free_next, (void *)sizes[i], "is not in a live object");
}
END_TEST

static void free_it(void *arg)
{
    oak_free(arg);
}

static void resize_it(void *arg)
{
    (void)!oak_realloc(arg, 10);
}

static void finalize_it(void *arg)
{
    oak_finalizer_set(arg, (oak_finalizer)abort, NULL);
}

START_TEST(foreign_pointers_are_fatal)
{
    static char data[100];
    char local[100], *host = malloc(100), *ours = oak_alloc(16);
    char *behind = (char *)oaki_the_heap.base + AO_load(&oaki_the_heap.used);
    void *foreign[] = { data, local, host, (void *)8, (void *)UINTPTR_MAX, behind };
    for (size_t i = 0; i < OAKI_COUNT(foreign); i++) {
        test_dies(free_it, foreign[i], "oakum: oak_free: ");
        test_dies(free_it, foreign[i], "is not a pointer into Oakum's heap");
        test_dies(resize_it, foreign[i], "oakum: oak_realloc: ");
        test_dies(resize_it, foreign[i], "is not a pointer into Oakum's heap");
        test_dies(finalize_it, foreign[i], "oak_finalizer_set");
    }
    oak_free(ours);
    test_dies(resize_it, ours, "oakum: oak_realloc: ");
    test_dies(finalize_it, ours, "oak_finalizer_set");
    free(host);
}
END_TEST

static void free_garbage(void *arg)
{
    char *p = oak_alloc(64);
    uintptr_t hidden = ~(uintptr_t)p;
    (void)arg;
    p = NULL;
    oaki_debug_switches.poison = 1;
    for (int i = 0; i < 3; i++) oak_collect();
    oak_free((void *)~hidden);
    oak_free((void *)~hidden); /* in case a stale word had kept it */
}

START_TEST(freeing_what_was_collected_is_fatal)
{
    test_dies(free_garbage, NULL, "oakum: oak_free: ");
}
END_TEST

/* One line, with a newline at its end only. */
START_TEST(the_message_is_one_line)
{
    char data[8], text[96];
    snprintf(text, sizeof text, "oakum: oak_free: %p is not a pointer into Oakum's heap\n",
             (void *)data);
    test_dies(free_it, data, text);
}
END_TEST

Suite *suite_runtime_free(void)
{
    Suite *s = suite_create("runtime/free");
    TCase *c = tcase_create("free");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, null_is_nothing);
    tcase_add_test(c, freed_slots_are_handed_out_again);
    tcase_add_test(c, a_lone_pair_of_alloc_and_free_stays_in_one_span);
    tcase_add_test(c, pages_of_large_objects_are_reused_at_once);
    tcase_add_test(c, counts_and_bytes_are_exact);
    tcase_add_test(c, one_thread_allocates_and_another_frees);
    tcase_add_test(c, the_same_with_collections);
    tcase_add_test(c, objects_in_spans_that_wait_can_be_freed);
    tcase_add_test(c, double_and_interior_frees_are_fatal);
    tcase_add_test(c, freeing_what_was_never_handed_out_is_fatal);
    tcase_add_test(c, foreign_pointers_are_fatal);
    tcase_add_test(c, freeing_what_was_collected_is_fatal);
    tcase_add_test(c, the_message_is_one_line);
    suite_add_tcase(s, c);
    return s;
}
