/* census.c - tests of observe/census.c: what it counts is what was made, whatever state the maps
 * and threads are in that it finds. */
#include "observe/census.h"

#include "gc/event.h"
#include "maps/classic.h"
#include "maps/map.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_census(void);

static oaki_census c;

static void start(void)
{
    test_heap_start(test_config());
}

static void take(void)
{
    ck_assert_int_eq(oaki_census_take(&c), 0);
}

static const oaki_census_type *type_named(const char *name)
{
    for (size_t i = 0; i < c.ntypes; i++)
        if (strcmp(c.types[i].name, name) == 0) return &c.types[i];
    return NULL;
}

static const oaki_map_view *map_at(const void *p)
{
    for (size_t i = 0; i < c.nmaps; i++)
        if (oaki_unhide(c.maps[i].hidden) == p) return &c.maps[i].view;
    return NULL;
}

/* ---- objects ---- */

static void *held[6000];

static void assert_agrees_with_memstats(void)
{
    ck_assert_uint_eq(c.objects, c.stats.heap_objects);
    ck_assert_uint_eq(c.bytes, c.stats.heap_alloc);
    size_t kinds = 0, spans = 0;
    for (size_t k = 0; k < OAKI_KINDS; k++) kinds += c.kind_bytes[k];
    for (size_t k = 0; k < OAKI_CLASSES; k++) spans += c.classes[k].span_bytes;
    ck_assert_uint_eq(kinds, c.bytes);
    ck_assert_uint_eq(spans, c.stats.heap_inuse);
}

START_TEST(objects_are_counted_to_the_one)
{
    static const uint64_t bits[] = { 1 };
    const oak_type *pair = oak_type_bitmap("pair", 16, bits);
    const oak_type *big = oak_type_bitmap("big", 48 << 10, calloc(6144 / 64, 8));
    for (size_t i = 0; i < 1000; i++) held[i] = oak_alloc_typed(pair, 1 + i % 2);
    for (size_t i = 1000; i < 1010; i++) held[i] = oak_alloc_typed(big, 1);
    for (size_t i = 1010; i < 2000; i++) held[i] = oak_alloc_noscan(100);
    for (size_t i = 2000; i < 2500; i++) held[i] = oak_alloc(64);
    held[2500] = oak_alloc_pinned(1 << 20);
    take();
    assert_agrees_with_memstats();
    ck_assert_uint_eq(type_named("pair")->objects, 1000);
    ck_assert_uint_eq(type_named("pair")->bytes, 500 * 16 + 500 * 32);
    ck_assert_uint_eq(type_named("big")->objects, 10);
    ck_assert_uint_eq(type_named("big")->bytes, 10 * (48 << 10));
    ck_assert_uint_eq(c.kind_bytes[OAKI_NOSCAN], 990 * 112);
    ck_assert_uint_eq(c.kind_bytes[OAKI_SCAN], 500 * 64);
    ck_assert_uint_eq(c.kind_bytes[OAKI_PINNED], 1 << 20);
    ck_assert_uint_eq(c.classes[oaki_class_of(64)].objects, 500);
    ck_assert_uint_eq(c.classes[OAKI_CLASS_LARGE].objects, 11);
    for (size_t i = 0; i < 300; i++) oak_free(held[i]), held[i] = NULL;
    take();
    assert_agrees_with_memstats();
    ck_assert_uint_eq(type_named("pair")->objects, 700);
    ck_assert(!c.sampled);
}
END_TEST

static void drop(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 5000; i++) (void)!(i % 2 ? oak_alloc_noscan(100) : oak_alloc(70000));
}

START_TEST(what_waits_for_its_sweep_does_not_count)
{
    for (size_t i = 0; i < 3000; i++) held[i] = oak_alloc_noscan(100);
    test_away(drop, NULL);
    take();
    ck_assert_uint_eq(c.objects, 8000);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED)); /* nobody sweeps yet */
    oaki_leave(t);
    take();
    ck_assert_uint_gt(c.stats.heap_objects, 7900); /* as Go counts */
    ck_assert(c.objects >= 3000 && c.objects <= 3010);
    ck_assert_uint_eq(c.cycle, 1);
}
END_TEST

/* The scenario span-pinned-by-one-object: one slot in 1024 is all that is left. */
START_TEST(the_histogram_shows_spans_that_one_object_pins)
{
    static void *one[600];
    for (size_t i = 0; i < 600 * 1024; i++) {
        void *p = oak_alloc_noscan(16);
        if (i % 1024 == 0) one[i / 1024] = p;
    }
    take();
    ck_assert_uint_ge(c.fill_bytes[10], c.stats.heap_inuse * 9 / 10);
    oak_collect();
    take();
    assert_agrees_with_memstats();
    ck_assert(c.objects >= 600 && c.objects < 700);
    ck_assert_uint_ge(c.fill_bytes[0], c.stats.heap_inuse * 9 / 10);
    ck_assert_uint_ge(c.stats.heap_inuse / c.bytes, 100);
    ck_assert_ptr_nonnull(one[0]);
}
END_TEST

/* ---- maps ---- */

static void *maps[8000];

static void fill(oak_map *m, uint64_t from, uint64_t to)
{
    for (uint64_t k = from; k < to; k++) *(uint64_t *)oak_map_put(m, &k) = k;
}

static void fill_classic(oak_classic_map *m, int64_t from, int64_t to)
{
    for (int64_t k = from; k < to; k++) *(int64_t *)oak_classic_put(m, &k) = k;
}

START_TEST(maps_are_seen_as_their_statistics_tell)
{
    oak_map *m = maps[0] = oak_map_new(&oak_map_u64_u64, 0);
    oak_classic_map *k = maps[1] = oak_classic_new(&oak_classic_int_int, 0);
    maps[2] = oak_map_new(&oak_map_u64_ptr, 0);
    size_t growing[2] = { 0 };
    for (uint64_t n = 0; n < 20000; n += 37) {
        fill(m, n, n + 37);
        fill_classic(k, (int64_t)n, (int64_t)n + 37);
        take();
        oak_map_stats s;
        oak_classic_stats cs;
        oak_map_stats_read(m, &s);
        oak_classic_stats_read(k, &cs);
        const oaki_map_view *v = map_at(m), *cv = map_at(k);
        ck_assert_uint_eq(c.maps_seen, 3);
        ck_assert_int_eq(v->kind, OAKI_MAP_DEFAULT);
        ck_assert_uint_eq(v->len, s.len);
        ck_assert(v->array_bytes >= s.array_bytes && v->array_bytes <= s.array_bytes + 512);
        ck_assert(v->old_array_bytes >= s.old_array_bytes &&
                  v->old_array_bytes <= s.old_array_bytes + 512);
        ck_assert(v->growing == s.resizing && !v->busy);
        ck_assert_uint_eq(v->growths, s.growths + s.shrinks + s.reseeds);
        ck_assert_int_eq(cv->kind, OAKI_MAP_CLASSIC);
        ck_assert_uint_eq(cv->len, cs.count);
        ck_assert_uint_eq(cv->array_bytes, cs.array_bytes);
        ck_assert_uint_eq(cv->old_array_bytes, cs.old_array_bytes);
        ck_assert(cv->growing == cs.growing && !cv->busy);
        ck_assert_uint_eq(cv->progress, cs.growing ? cs.nevacuate : 0);
        ck_assert_uint_eq(cv->growths, cs.growths);
        ck_assert_uint_eq(cv->capacity, (size_t)8 << cs.B);
        growing[0] += v->growing;
        growing[1] += cv->growing;
    }
    ck_assert(growing[0] > 0 && growing[1] > 0);
    ck_assert_uint_eq(map_at(maps[2])->len, 0);
}
END_TEST

/* A collection, and so a census, in the middle of a write of the map: at every allocation of it. */
static size_t busy, looks;
static oaki_census inner;

static void look(void)
{
    looks++;
    ck_assert_int_eq(oaki_census_take(&inner), 0);
    for (size_t i = 0; i < inner.nmaps; i++) {
        const oaki_map_view *v = &inner.maps[i].view;
        busy += v->busy;
        ck_assert_uint_le(v->len, 5000);
        ck_assert_uint_le(v->array_bytes, 1 << 20);
        ck_assert_uint_le(v->old_array_bytes, 1 << 20);
        ck_assert(v->moved >= 0 && v->moved <= 1);
    }
}

static AO_t over;

static void *keep_looking(void *arg)
{
    while (!AO_load(&over)) look();
    return arg;
}

static uint64_t zero(const void *p OAKI_UNUSED, uint64_t seed OAKI_UNUSED, size_t n OAKI_UNUSED)
{
    return *(const uint64_t *)p % 50 * UINT64_C(0x9e3779b97f4a7c15);
}

static bool same(const void *a, const void *b, size_t n OAKI_UNUSED)
{
    return *(const uint64_t *)a == *(const uint64_t *)b;
}

/* By another thread: most stops find the writer in an allocation, as each one collects. */
START_TEST(a_map_in_the_middle_of_a_write_is_read)
{
    static const oak_map_type crowded = { .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8,
                                          .hash = zero, .equal = same, .name = "crowded" };
    test_no_beside();
    pthread_t id = test_start(keep_looking, NULL);
    oaki_debug_switches.stress = 1;
    while (looks <= 100 || busy <= 50) {
        maps[0] = oak_map_new(&oak_map_u64_u64, 0);
        maps[1] = oak_classic_new(&oak_classic_int_int, 0);
        maps[2] = oak_map_new(&crowded, 0);
        fill(maps[0], 0, 3000);
        for (uint64_t k = 0; k < 2900; k++) oak_map_delete(maps[0], &k);
        fill(maps[2], 0, 300);
        fill_classic(maps[1], 0, 3000);
    }
    oaki_debug_switches.stress = 0;
    AO_store(&over, 1);
    test_join(id);
    take();
    ck_assert_str_eq(map_at(maps[2])->name, "crowded");
}
END_TEST

START_TEST(of_many_maps_the_largest_are_kept)
{
    for (size_t i = 0; i < 8000; i++) {
        maps[i] = oak_map_new(&oak_map_u64_u64, 0);
        fill(maps[i], 0, i % 100 == 7 ? 3000 : 5);
    }
    for (int round = 0; round < 4; round++) take();
    ck_assert_uint_eq(c.maps_seen, 8000);
    ck_assert_uint_le(c.nmaps, OAKI_CENSUS_MAPS);
    ck_assert_uint_gt(c.map_floor, 0);
    for (size_t i = 7; i < 8000; i += 100) ck_assert_ptr_nonnull(map_at(maps[i]));
}
END_TEST

/* ---- threads and fibers ---- */

static AO_t ready, quit;

static OAKI_NOINLINE void *deep(void *arg)
{
    char frame[20000];
    memset(frame, 1, sizeof frame);
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_enter();
    AO_fetch_and_add_full(&ready, 1);
    while (!AO_load_acquire(&quit)) oaki_os_sleep_ns(1000000);
    oak_blocking_leave();
    __asm__("" : : "r"(frame) : "memory");
    return arg;
}

static uintptr_t sp_of(int tid)
{
    for (size_t i = 0; i < c.nthreads; i++)
        if (c.threads[i].tid == tid) return c.threads[i].sp;
    return 0;
}

START_TEST(threads_are_seen_with_their_stacks)
{
    pthread_t ids[100];
    for (size_t i = 0; i < 100; i++) ids[i] = test_start(deep, NULL);
    test_wait(&ready, 100);
    take();
    ck_assert_uint_eq(c.nthreads, 101);
    size_t blocked = 0, selves = 0, bytes = 0;
    for (size_t i = 0; i < c.nthreads; i++) {
        blocked += c.threads[i].blocked;
        selves += c.threads[i].self;
        bytes += c.threads[i].stack_bytes;
        if (c.threads[i].blocked) ck_assert_uint_gt(c.threads[i].stack_bytes, 20000);
    }
    ck_assert_uint_eq(blocked, 100);
    ck_assert_uint_eq(selves, 1);
    ck_assert_uint_eq(bytes, c.stats.stack_inuse);
    int tid = c.threads[0].self ? c.threads[1].tid : c.threads[0].tid;
    uintptr_t sp = sp_of(tid);
    take();
    ck_assert_uint_eq(sp_of(tid), sp); /* it has not moved */
    AO_store_release(&quit, 1);
    for (size_t i = 0; i < 100; i++) test_join(ids[i]);
    take();
    ck_assert_uint_eq(c.nthreads, 1);
}
END_TEST

START_TEST(parked_fibers_are_seen)
{
    size_t size = oak_stack_min() + 16; /* of which aligning takes up to 15 */
    for (size_t i = 0; i < 3; i++) {
        held[i] = oak_fiber_new(malloc(size), size, NULL);
        ck_assert_ptr_nonnull(held[i]);
    }
    take();
    ck_assert_uint_eq(c.fibers, 3);
    ck_assert_uint_eq(c.nthreads, 4);
    oak_fiber_free(held[1]);
    take();
    ck_assert_uint_eq(c.fibers, 2);
    ck_assert_uint_eq(type_named("oak_fiber")->objects, 3);
}
END_TEST

/* ---- beside threads ---- */

static void *use(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    oak_classic_map *k = oak_classic_new(&oak_classic_int_ptr, 0);
    while (!AO_load(&test_quit)) {
        uint64_t key = test_draw(&x) % 3000;
        if (test_draw(&x) % 3) *(void **)oak_map_put(m, &key) = oak_alloc(test_draw(&x) % 500);
        else oak_map_delete(m, &key);
        if (test_draw(&x) % 3) *(void **)oak_classic_put(k, &key) = oak_alloc(test_draw(&x) % 500);
        else oak_classic_delete(k, &key);
    }
    return NULL;
}

START_TEST(it_is_right_beside_threads_and_in_a_child)
{
    pthread_t ids[3];
    oak_set_gc_percent(100);
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(use, (void *)(i + 3));
    for (size_t i = 0; i < test_scale(300); i++) {
        take();
        ck_assert_uint_le(c.objects, c.stats.heap_objects);
        ck_assert_uint_le(c.bytes, c.stats.heap_alloc);
        ck_assert_uint_le(c.maps_seen, 60);
        ck_assert_uint_le(c.nthreads, 4);
        if (i % 50) continue;
        pid_t pid = test_breaks_asan() ? 0 : fork();
        if (pid == 0 && !test_breaks_asan()) {
            take();
            _exit(c.nthreads == 1 ? 0 : 1);
        }
        if (pid) ck_assert_int_eq(test_wait_child(pid), 0);
    }
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    oaki_census_free(&c);
    take();
    oaki_census_free(&c);
}
END_TEST

START_TEST(a_census_keeps_nothing_alive)
{
    static oaki_census all;
    for (size_t i = 0; i < 400; i++) maps[i] = oak_map_new(&oak_map_u64_u64, 100);
    ck_assert_int_eq(oaki_census_take(&all), 0);
    ck_assert_uint_eq(all.maps_seen, 400);
    memset(maps, 0, sizeof maps);
    oak_collect();
    oak_collect();
    take();
    ck_assert_uint_le(c.maps_seen, 3);
    ck_assert_uint_eq(all.nmaps, 400);
}
END_TEST

Suite *suite_observe_census(void)
{
    Suite *s = suite_create("observe/census");
    TCase *t = tcase_create("census");
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, objects_are_counted_to_the_one);
    tcase_add_test(t, what_waits_for_its_sweep_does_not_count);
    tcase_add_test(t, the_histogram_shows_spans_that_one_object_pins);
    tcase_add_test(t, maps_are_seen_as_their_statistics_tell);
    tcase_add_test(t, a_map_in_the_middle_of_a_write_is_read);
    tcase_add_test(t, of_many_maps_the_largest_are_kept);
    tcase_add_test(t, threads_are_seen_with_their_stacks);
    tcase_add_test(t, parked_fibers_are_seen);
    tcase_add_test(t, it_is_right_beside_threads_and_in_a_child);
    tcase_add_test(t, a_census_keeps_nothing_alive);
    suite_add_tcase(s, t);
    return s;
}
