/* map_misuse.c - the default map used wrongly: writes that meet something else, functions of the
 * type's own that write, leave or collect, iterators of maps that are gone. Most meetings are made
 * in one thread, from inside hash or equal, so that nothing depends on timing. */
#include "maps/classic.h"
#include "maps/map.h"
#include "runtime/options.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/map.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_maps_map_misuse(void);

static oak_map *map;
static oak_map_iter iter;
static void (*in_hash)(void), (*in_equal)(void); /* called once each */

static void interrupt(void (**what)(void))
{
    void (*fn)(void) = *what;
    *what = NULL;
    if (fn) fn();
}

static uint64_t hash(const void *key, uint64_t seed, size_t size)
{
    interrupt(&in_hash);
    return oak_hash_bytes(key, size, seed);
}

static bool equal(const void *a, const void *b, size_t size)
{
    bool same = memcmp(a, b, size) == 0; /* before `a` may be gone */
    interrupt(&in_equal);
    return same;
}

static const oak_map_type type = { .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8,
                                   .hash = hash, .equal = equal, .name = "misused" };

static void fill(uint64_t n)
{
    map = oak_map_new(&type, 0);
    oak_map_set_seed(map, 1);
    for (uint64_t k = 0; k < n; k++) *(uint64_t *)oak_map_put(map, &k) = k;
}

static void expect_keys(uint64_t n)
{
    ck_assert_uint_eq(oak_map_len(map), n);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t *v = oak_map_get(map, &k);
        if (!v || *v != k) ck_abort_msg("key %lu", (unsigned long)k);
    }
}

/* ---- meetings ---- */

static const uint64_t one = 1;

static void do_get(void)
{
    oak_map_get(map, &one);
}

static void do_put(void)
{
    oak_map_put(map, &one);
}

static void do_add(void)
{
    oak_map_put(map, &(uint64_t){ 1000 });
}

static void do_grow(void)
{
    for (uint64_t k = 1000; k < 2000; k++) oak_map_put(map, &k);
}

static void do_delete(void)
{
    oak_map_delete(map, &one);
}

static void do_clear(void)
{
    oak_map_clear(map);
}

static void do_settle(void)
{
    oak_map_settle(map);
}

static void do_many(void)
{
    uint64_t keys[] = { 1, 7, 1, 1000 };
    void *values[4];
    oak_map_get_many(map, keys, 4, values);
}

static void do_reserve(void)
{
    oak_map_reserve(map, 10000);
}

static bool keep_all(const void *key, void *value, void *arg)
{
    (void)key, (void)value, (void)arg;
    return true;
}

static void do_retain(void)
{
    oak_map_retain(map, keep_all, NULL);
}

static void do_copy(void)
{
    oak_map_copy(map);
}

/* Into the next group: it is looked once a group. */
static void do_next(void)
{
    for (unsigned n = 0; n <= OAK_MAP_SLOTS_; n++) oak_map_iter_next(&iter);
}

static void do_stats(void)
{
    oak_map_stats s;
    oak_map_stats_read(map, &s);
}

typedef struct meeting {
    void (*outer)(void), (*inner)(void);
    bool from_hash;
    const char *message; /* NULL: harmless */
} meeting;

#define WRITES "oakum: concurrent map writes"
#define READ "oakum: concurrent map read and map write, or a read by the map's own hash or equal"
#define ITERATION "oakum: concurrent map iteration and map write"
#define WRITTEN "in a lookup"
#define FROM_HASH "a write by the map's own hash"

static const meeting meetings[] = {
    { do_put, do_put, false, WRITES },   { do_put, do_add, false, WRITES },
    { do_put, do_delete, false, WRITES }, { do_put, do_clear, false, WRITES },
    { do_put, do_get, false, READ },
    { do_put, do_next, false, ITERATION },
    { do_delete, do_put, false, WRITES },
    { do_delete, do_delete, false, WRITES },
    { do_delete, do_clear, false, WRITES },
    { do_delete, do_get, false, READ },
    { do_delete, do_next, false, ITERATION },
    { do_get, do_get, false, NULL },
    { do_get, do_next, false, NULL },
    { do_get, do_grow, false, WRITTEN },
    { do_get, do_clear, false, WRITTEN },
    { do_get, do_delete, false, WRITTEN },
    { do_get, do_add, false, WRITTEN },
    { do_get, do_add, true, FROM_HASH },
    { do_get, do_delete, true, FROM_HASH },
    { do_put, do_grow, true, FROM_HASH },
    { do_delete, do_clear, true, FROM_HASH },
    { do_put, do_stats, false, READ },
    { do_delete, do_stats, false, READ },
    { do_get, do_stats, false, NULL },
    { do_stats, do_add, true, FROM_HASH },
    { do_stats, do_delete, true, FROM_HASH },
    { do_stats, do_get, true, NULL },
    { do_get, do_get, true, NULL },
    { do_put, do_get, true, NULL },
    { do_put, do_next, true, NULL },
    { do_put, do_many, false, READ },
    { do_put, do_reserve, false, WRITES },
    { do_put, do_retain, false, WRITES },
    { do_put, do_copy, false, READ },
    { do_get, do_reserve, false, WRITTEN },
    { do_get, do_copy, false, NULL },
    { do_get, do_retain, false, NULL }, /* which deletes nothing */
    { do_many, do_add, false, WRITTEN },
    { do_many, do_clear, false, WRITTEN },
    { do_many, do_delete, true, FROM_HASH },
    { do_many, do_get, true, NULL },
    { do_many, do_many, false, NULL },
    { do_reserve, do_put, true, WRITES },
    { do_reserve, do_retain, true, WRITES },
    { do_reserve, do_get, true, READ },
    { do_reserve, do_copy, true, READ },
};

static void meet(void *arg)
{
    const meeting *m = arg;
    fill(40);
    oak_map_iter_init(&iter, map);
    oak_map_iter_next(&iter);
    if (m->from_hash) in_hash = m->inner;
    else in_equal = m->inner;
    m->outer();
    in_hash = in_equal = NULL;
}

START_TEST(a_write_that_meets_something)
{
    char out[512];
    meeting m = meetings[_i];
    if (m.message) test_dies(meet, &m, m.message);
    if (m.message) return;
    int status = test_capture(meet, &m, out, sizeof out);
    ck_assert_msg(status == 0, "status %x: %s", (unsigned)status, out);
}
END_TEST

/* The second hash of a put in a resize is that of an entry that moves. */
static void (*const moving_inner[])(void) = { do_put, do_delete, do_clear, do_settle };
static void (*after_hash)(void);

static void arm(void)
{
    in_hash = after_hash;
}

static void write_from_a_move(void *arg)
{
    uint64_t k = 2000;
    fill(k);
    for (; !map->resizing; k++) oak_map_put(map, &k);
    after_hash = moving_inner[(uintptr_t)arg];
    for (; map->resizing; k++) {
        in_hash = arm;
        oak_map_put(map, &k);
    }
}

START_TEST(a_write_from_the_hash_of_a_move)
{
    test_dies(write_from_a_move, (void *)(uintptr_t)_i, WRITES);
}
END_TEST

/* ---- leaving and allocating ---- */

static jmp_buf out;

static void leave(void)
{
    longjmp(out, 1);
}

/* Go's panicking hash: the map is as it was, and can be used. */
START_TEST(a_hash_that_leaves)
{
    static uint64_t n;
    test_heap_start_stressed(test_config());
    fill(0);
    for (n = 0; n < 2000; n++) {
        for (int what = 0; what < 3; what++) {
            uint64_t k = what == 1 && n > 0 ? n / 2 : n;
            in_hash = leave;
            if (setjmp(out) == 0) {
                if (what == 0) oak_map_get(map, &k);
                else oak_map_put(map, &k);
                ck_abort_msg("the hash wasn't asked");
            }
        }
        if (oak_map_len(map) != n) ck_abort_msg("len %zu", oak_map_len(map));
        *(uint64_t *)oak_map_put(map, &n) = n;
    }
    expect_keys(n);
}
END_TEST

static int turns;

static void collect_here(void)
{
    if (++turns % 64 == 0) oak_collect();
    memset(oak_alloc_noscan(48), 0xee, 48);
}

static uint64_t collecting_hash(const void *key, uint64_t seed, size_t size)
{
    collect_here();
    return oak_hash_bytes(key, size, seed);
}

static bool collecting_equal(const void *a, const void *b, size_t size)
{
    collect_here();
    return memcmp(a, b, size) == 0;
}

START_TEST(a_hash_and_an_equal_that_allocate_and_collect)
{
    oak_map_type t = type;
    t.flags = OAK_MAP_SCAN_VALUE;
    t.hash = collecting_hash;
    t.equal = collecting_equal;
    test_heap_start_stressed(test_config());
    uint64_t n = OAKI_MAX(test_scale(3000), 500);
    map = oak_map_new(&t, 0);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t *p = oak_alloc_noscan(8);
        *p = k;
        *(uint64_t **)oak_map_put(map, &k) = p;
    }
    for (uint64_t k = 0; k < n; k++)
        if (k % 8 && !oak_map_delete(map, &k)) ck_abort_msg("key %lu", (unsigned long)k);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t **v = oak_map_get(map, &k);
        if (k % 8 ? v != NULL : !v || **v != k) ck_abort_msg("key %lu", (unsigned long)k);
    }
}
END_TEST

/* ---- threads ---- */

/* Puts over a key that is there: nothing is moved, so that nothing breaks before it is seen. */
/* Valgrind switches threads after so many basic blocks: without this, always at the same place of a
 * loop. */
static void pause_a_little(uint64_t *random)
{
    for (uint64_t n = test_draw(random) % 8; n > 0; n--) __asm__ __volatile__("" : : : "memory");
}

static void *put_for_ever(void *arg OAKI_UNUSED)
{
    for (uint64_t random = 1;;) {
        oak_map_put(map, &one);
        pause_a_little(&random);
    }
    return NULL;
}

static void *get_for_ever(void *arg OAKI_UNUSED)
{
    for (uint64_t random = 1;;) {
        oak_map_get(map, &one);
        pause_a_little(&random);
    }
    return NULL;
}

static void *walk_for_ever(void *arg OAKI_UNUSED)
{
    for (oak_map_iter it;;)
        for (oak_map_iter_init(&it, map); oak_map_iter_next(&it);) {}
    return NULL;
}

static void *look_for_ever(void *arg OAKI_UNUSED)
{
    for (;;) do_stats();
    return NULL;
}

static void *(*const beside[])(void *) = { put_for_ever, get_for_ever, walk_for_ever,
                                           look_for_ever };

static void write_beside(void *arg)
{
    map = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t k = 0; k < 100; k++) oak_map_put(map, &k);
    test_start(put_for_ever, NULL);
    test_start(beside[(uintptr_t)arg], NULL);
    alarm(60);
    for (;;) pause();
}

START_TEST(a_write_beside_another_thread)
{
    static const char *const seen[] = { WRITES, READ, ITERATION, READ };
    char text[512];
#ifdef __SANITIZE_THREAD__
    if (test_skip(true, "it is a race, of which ThreadSanitizer tells")) return;
#endif
    int status = test_capture(write_beside, (void *)(uintptr_t)_i, text, sizeof text);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x: %s",
                  (unsigned)status, text);
    ck_assert_msg(strstr(text, seen[_i]) || strstr(text, WRITES), "said: %s", text);
}
END_TEST

/* ---- iterators of maps that are gone ---- */

static oak_map_iter *lost; /* in memory that isn't scanned */

static void *lose_a_map(void *arg)
{
    uintptr_t steps = (uintptr_t)arg;
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t k = 0; k < 1000; k++) oak_map_put(m, &k);
    oak_map_iter_init(lost, m);
    while (steps-- > 0) oak_map_iter_next(lost);
    return NULL;
}

static void *reuse(void *byte)
{
    for (int i = 0; i < 4000; i++)
        for (size_t size = 200; size < 400; size += 32)
            memset(oak_alloc_noscan(size), (int)(uintptr_t)byte, size);
    return NULL;
}

static const struct {
    uintptr_t steps;
    int byte; /* what the memory is filled with; negative: with nothing */
} losses[] = { { 0, -1 }, { 0, 0 }, { 0, 255 }, { 3, -1 }, { 3, 0 }, { 3, 255 }, { 3, 1 } };

static void use_after_the_map(void *arg)
{
    int i = *(int *)arg, given = 0;
    test_heap_start(test_config());
    lost = malloc(sizeof *lost);
    test_join(test_start(lose_a_map, (void *)losses[i].steps));
    oak_collect();
    oak_collect();
    if (losses[i].byte >= 0) test_join(test_start(reuse, (void *)(uintptr_t)losses[i].byte));
    while (given < 100000 && oak_map_iter_next(lost)) given++;
}

START_TEST(an_iterator_whose_map_was_collected_ends_or_tells)
{
    char text[512];
    int status = test_capture(use_after_the_map, &_i, text, sizeof text);
    bool told = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, "oakum: ");
    ck_assert_msg(status == 0 || told, "status %x: %s", (unsigned)status, text);
}
END_TEST

/* ---- other misuse ---- */

static void seed_late(void *arg OAKI_UNUSED)
{
    fill(1);
    oak_map_set_seed(map, 1);
}

static jmp_buf fatal_out;

static void handler(const char *message)
{
    ck_assert_ptr_nonnull(strstr(message, "nil map"));
    longjmp(fatal_out, 1);
}

START_TEST(a_late_seed_and_a_handler_that_leaves)
{
    test_dies(seed_late, NULL, "oakum: oak_map_set_seed");
    oak_set_fatal_handler(handler);
    if (setjmp(fatal_out) == 0) {
        oak_map_put(NULL, &one);
        ck_abort_msg("a put in a nil map returned");
    }
    oak_set_fatal_handler(NULL);
}
END_TEST

/* ---- a broken rule, with verify=1 ---- */

#ifdef OAKI_DEBUG
/* A write checks the map, if a mark has ended since it was checked. */
static void break_and_write(void *collect)
{
    uint64_t k = 1000;
    fill(10);
    oaki_debug_switches.verify = 1; /* the start reads it from the environment */
    oak_collect();
    *(uint64_t *)oak_map_put(map, &k) = 0;
    if (collect) oak_collect();
    map->len++;
    oak_map_put(map, &(uint64_t){ k + 1 });
    _exit(3);
}

static void break_and_write_classic(void *arg)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    oaki_debug_switches.verify = 1;
    for (uint64_t k = 0; k < 4; k++) *(uint64_t *)oak_classic_put(m, &k) = k;
    (void)arg;
    oak_collect();
    m->count++;
    oak_classic_put(m, &(uint64_t){ 5 });
    _exit(3);
}

static bool keep(const void *key, void *value, void *arg)
{
    return key && value && !arg;
}

static void reserve_or_pass(void *pass)
{
    fill(10);
    oaki_debug_switches.verify = 1;
    oak_collect();
    map->len++;
    if (pass) (void)oak_map_retain(map, keep, NULL);
    else (void)oak_map_reserve(map, 12);
    _exit(3);
}

START_TEST(the_first_write_after_a_mark_finds_a_broken_rule)
{
    static char yes;
    const char *counted = "broken rule: map: there are as many entries as it has counted";
    test_dies(break_and_write, &yes, counted);
    test_dies(break_and_write_classic, &yes, "broken rule: classic: count is the number");
    test_dies(reserve_or_pass, NULL, counted);
    test_dies(reserve_or_pass, &yes, counted);
    char out[512];
    int status = test_capture(break_and_write, NULL, out, sizeof out);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "%s", out); /* no second check */
}
END_TEST
#endif

Suite *suite_maps_map_misuse(void)
{
    Suite *s = suite_create("maps_map_misuse");
    TCase *tc = tcase_create("misuse");
    tcase_add_loop_test(tc, a_write_that_meets_something, 0, OAKI_COUNT(meetings));
    tcase_add_loop_test(tc, a_write_from_the_hash_of_a_move, 0, OAKI_COUNT(moving_inner));
    tcase_add_test(tc, a_hash_that_leaves);
    tcase_add_test(tc, a_hash_and_an_equal_that_allocate_and_collect);
    tcase_add_loop_test(tc, a_write_beside_another_thread, 0, OAKI_COUNT(beside));
    tcase_add_loop_test(tc, an_iterator_whose_map_was_collected_ends_or_tells, 0,
                        OAKI_COUNT(losses));
    tcase_add_test(tc, a_late_seed_and_a_handler_that_leaves);
#ifdef OAKI_DEBUG
    tcase_add_test(tc, the_first_write_after_a_mark_finds_a_broken_rule);
#endif
    suite_add_tcase(s, tc);
    return s;
}
