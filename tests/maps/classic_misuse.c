/* classic_misuse.c - what is fatal: writing to a nil map, and operations that meet a write under
 * way. They are made to meet in one thread, from inside a hash or equal function, so that nothing
 * depends on timing. */
#include "maps/classic.h"
#include "tests/capture.h"
#include <check.h>
#include <signal.h>
#include <sys/wait.h>

static oak_classic_map *map;
static void (*meanwhile)(void); /* called once, by the next hash or equal */

static void interrupt(void)
{
    void (*fn)(void) = meanwhile;
    meanwhile = NULL;
    if (fn) fn();
}

static uint64_t interrupted_hash(const void *key, uint64_t seed, size_t size)
{
    interrupt();
    return oak_classic_hash_bytes(key, seed, size);
}

static bool interrupted_equal(const void *a, const void *b, size_t size)
{
    interrupt();
    return oak_classic_equal_bytes(a, b, size);
}

static const oak_classic_type type = { 8, 8, interrupted_hash, interrupted_equal, 0 };
/* The same map, when only one of them is to interrupt. */
static const oak_classic_type quiet_hash = { 8, 8, oak_classic_hash_bytes, interrupted_equal, 0 };
static const oak_classic_type quiet_equal = { 8, 8, interrupted_hash, oak_classic_equal_bytes, 0 };

static void fill(int64_t n)
{
    map = oak_classic_new(&type, 0);
    for (int64_t k = 0; k < n; k++) oak_classic_put(map, &k);
}

static const int64_t one = 1;

static void do_get(void)
{
    oak_classic_get(map, &one);
}

static void do_put(void)
{
    oak_classic_put(map, &one);
}

static void do_delete(void)
{
    oak_classic_delete(map, &one);
}

static void do_clear(void)
{
    oak_classic_clear(map);
}

/* The hash that a put asks for first comes before the write; what follows it is inside. */
static void do_after_hash(void)
{
    meanwhile = do_put;
}

static oak_classic_iter iter;

static void do_next(void)
{
    oak_classic_iter_next(&iter);
}

/* While `outer` runs, `inner` does. */
typedef struct meeting {
    void (*outer)(void), (*inner)(void);
    const char *message; /* NULL: harmless */
} meeting;

static void meet(void *arg)
{
    const meeting *w = arg;
    fill(5);
    oak_classic_iter_init(&iter, map);
    map->type = &quiet_hash;
    meanwhile = w->inner;
    w->outer();
}

static const meeting meetings[] = {
    { do_put, do_put, "oakum: concurrent map writes" },
    { do_put, do_delete, "oakum: concurrent map writes" },
    { do_put, do_clear, "oakum: concurrent map writes" },
    { do_put, do_get, "oakum: concurrent map read and map write" },
    { do_put, do_next, "oakum: concurrent map iteration and map write" },
    { do_delete, do_put, "oakum: concurrent map writes" },
    { do_delete, do_get, "oakum: concurrent map read and map write" },
    { do_delete, do_next, "oakum: concurrent map iteration and map write" },
    { do_get, do_get, NULL },
    { do_get, do_next, NULL },
};

static void expect(void (*fn)(void *), void *arg, const char *message)
{
    char out[512];
    int status = test_capture(fn, arg, out, sizeof out);
    if (!message) {
        ck_assert_msg(status == 0, "ended with %d: %s", status, out);
        return;
    }
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d: %s", status, out);
    ck_assert_msg(strstr(out, message) != NULL, "said: %s", out);
}

START_TEST(operations_that_meet_a_write)
{
    meeting w = meetings[_i];
    expect(meet, &w, w.message);
}
END_TEST

/* In a growth the hash is asked too while a write is under way. */
static void put_while_evacuating(void *arg OAKI_UNUSED)
{
    int64_t k = 26;
    fill(26);
    oak_classic_put(map, &k); /* begins to grow: two of four old buckets are evacuated at most */
    map->type = &quiet_equal;
    for (k = 0; k < 26 && oaki_classic_growing(map); k++) {
        meanwhile = do_after_hash;
        oak_classic_put(map, &k);
    }
    ck_abort_msg("the growth ended unnoticed");
}

START_TEST(a_write_from_the_hash_of_an_evacuation)
{
    expect(put_while_evacuating, NULL, "oakum: concurrent map writes");
}
END_TEST

static void flip_writing(void)
{
    map->flags ^= OAKI_WRITING;
}

/* Two writers that both pass the first test leave the flag off for the one that ends last. */
static void end_without_flag(void *arg OAKI_UNUSED)
{
    fill(5);
    map->type = &quiet_hash;
    meanwhile = flip_writing;
    oak_classic_put(map, &one);
}

START_TEST(a_write_that_ends_after_another_did)
{
    expect(end_without_flag, NULL, "oakum: concurrent map writes");
}
END_TEST

static void put_nil(void *arg OAKI_UNUSED)
{
    oak_classic_put(NULL, &one);
}

START_TEST(a_put_in_a_nil_map)
{
    expect(put_nil, NULL, "oakum: assignment to entry in nil map");
}
END_TEST

static void seed_late(void *arg OAKI_UNUSED)
{
    fill(1);
    oak_classic_clear(map);
    oak_classic_set_seed(map, 1);
}

static void seed_nil(void *arg OAKI_UNUSED)
{
    oak_classic_set_seed(NULL, 1);
}

START_TEST(a_seed_after_a_put_or_of_no_map)
{
    expect(seed_late, NULL, "oak_classic_set_seed: the map has been written");
    expect(seed_nil, NULL, "oak_classic_set_seed: NULL is no map");
}
END_TEST

Suite *suite_maps_classic_misuse(void)
{
    Suite *s = suite_create("maps_classic_misuse");
    TCase *tc = tcase_create("fatal");
    tcase_add_loop_test(tc, operations_that_meet_a_write, 0, OAKI_COUNT(meetings));
    tcase_add_test(tc, a_write_from_the_hash_of_an_evacuation);
    tcase_add_test(tc, a_write_that_ends_after_another_did);
    tcase_add_test(tc, a_put_in_a_nil_map);
    tcase_add_test(tc, a_seed_after_a_put_or_of_no_map);
    suite_add_tcase(s, tc);
    return s;
}
