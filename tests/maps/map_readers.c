/* map_readers.c - several threads read and walk over one default map at once, at rest and in
 * mid-growth, while another collects. Under ThreadSanitizer this shows that reads write nothing. */
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/map.h>
#include <string.h>

Suite *suite_maps_map_readers(void);

enum { READERS = 4 };

static struct {
    oak_map *m;
    const oak_map_type *type;
    uint64_t n;
    size_t rounds;
    AO_t done;
} w;

OAK_MAP_DEFINE(typed_map, uint64_t, uint64_t);

static uint64_t value_at(const void *slot)
{
    uint64_t v;
    if (w.type->flags & OAK_MAP_SCAN_VALUE) return **(uint64_t *const *)slot;
    memcpy(&v, slot, sizeof v);
    return v;
}

/* Failures are told after the threads have ended: Check's lock isn't for stopped threads. */
static const char *read_all(size_t round)
{
    oak_map_iter it;
    uint64_t given = 0;
    for (uint64_t k = 0; k < w.n + 100; k++) {
        void *v = oak_map_get(w.m, &k);
        if ((v != NULL) != (k < w.n)) return "a key is missing, or too much";
        if (v && value_at(v) != k) return "a wrong value";
        if (w.type == &typed_map_type && typed_map_get((typed_map *)w.m, k) != v)
            return "another answer of the typed map";
    }
    for (uint64_t k = 0; k < w.n + 100; k += 100) {
        uint64_t keys[100];
        void *values[100];
        for (uint64_t i = 0; i < 100; i++) keys[i] = k + i;
        oak_map_get_many(w.m, keys, 100, values);
        for (uint64_t i = 0; i < 100; i++)
            if (values[i] != oak_map_get(w.m, &keys[i])) return "another answer for many";
    }
    if (round == 0) {
        const oak_map *copy = oak_map_copy(w.m);
        if (!copy || oak_map_len(copy) != w.n) return "a copy of another length";
    }
    if (round % 2) oak_map_iter_init(&it, w.m);
    else oak_map_iter_init_random(&it, w.m);
    for (; oak_map_iter_next(&it); given++)
        if (value_at(it.value) != *(const uint64_t *)it.key) return "given: a wrong value";
    if (given != w.n) return "given: too few or too many";
    return oak_map_len(w.m) == w.n ? NULL : "another length";
}

static void *reader(void *arg)
{
    const char *broken = NULL;
    (void)arg;
    if (oak_thread_attach() != 0) return "can't attach";
    for (size_t i = 0; i < w.rounds && !broken; i++) broken = read_all(i);
    if (w.rounds > 2) {
        oak_map_stats s;
        oak_map_stats_read(w.m, &s);
        if (s.len != w.n) broken = "other statistics";
    }
    AO_fetch_and_add1(&w.done);
    return (void *)(uintptr_t)broken;
}

static void *collector(void *arg)
{
    while (AO_load_acquire(&w.done) < READERS) {
        oak_collect();
        for (int i = 0; i < 200; i++) memset(oak_alloc_noscan(64), 0xee, 64);
    }
    return arg;
}

static void put(uint64_t k)
{
    void *p = NULL;
    if (w.type->flags & OAK_MAP_SCAN_VALUE) {
        p = oak_alloc_noscan(8);
        memcpy(p, &k, 8);
    }
    memcpy(oak_map_put(w.m, &k), p ? (const void *)&p : &k, 8);
}

static void fill(const oak_map_type *t, bool growing)
{
    w.type = t;
    w.m = oak_map_new(t, 0);
    for (; w.n < test_scale(20000); w.n++) put(w.n);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    if (!growing) return;
    while (!w.m->resizing) put(w.n++);
    while (w.m->resizing && (double)(w.m->last + 1) < 0.4 * 0x1p63) put(w.n++);
    ck_assert(w.m->resizing);
}

static const oak_map_type *const types[] = { &oak_map_u64_u64, &oak_map_u64_ptr, &typed_map_type };

START_TEST(readers_beside_each_other)
{
    pthread_t readers[READERS];
    oak_config c = test_config();
    c.gc_threads = 2;
    test_heap_start_stressed(c);
    fill(types[_i / 2], _i % 2 == 1);
    for (w.rounds = 1; w.rounds <= 3; w.rounds += 2) {
        w.done = 0;
        for (int i = 0; i < READERS; i++) readers[i] = test_start(reader, NULL);
        pthread_t other = test_start(collector, NULL);
        for (int i = 0; i < READERS; i++) {
            void *broken;
            ck_assert_int_eq(pthread_join(readers[i], &broken), 0);
            ck_assert_msg(!broken, "%s", (const char *)broken);
        }
        test_join(other);
    }
    ck_assert(w.m->resizing == (_i % 2 == 1));
}
END_TEST

Suite *suite_maps_map_readers(void)
{
    Suite *s = suite_create("maps_map_readers");
    TCase *tc = tcase_create("readers");
    tcase_add_loop_test(tc, readers_beside_each_other, 0, 2 * OAKI_COUNT(types));
    suite_add_tcase(s, tc);
    return s;
}
