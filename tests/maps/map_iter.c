/* map_iter.c - the default map's iterators where it is the hash that decides: entries that lie
 * outside of their homes, keys whose object was another's, hashes that write, and where an
 * iterator begins. */
#include "maps/map.h"
#include "model.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/step.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

Suite *suite_maps_map_iter(void);

/* Of two homes, which one group each has, the first has two entries more than its group takes. */
enum { FIRST = OAK_MAP_SLOTS_ + 2, SECOND = 3, ALL = FIRST + SECOND };

static oak_map *map;
static size_t calls_left;     /* of the hash, until it writes */
static void (*in_hash)(void); /* then, once */
static bool wrote;

/* A key's first word is its hash, but for what the map makes of it. */
static uint64_t hash(const void *key, uint64_t seed OAKI_UNUSED, size_t size OAKI_UNUSED)
{
    void (*fn)(void) = in_hash;
    if (fn && calls_left-- == 0) {
        in_hash = NULL;
        wrote = true;
        fn();
    }
    return oak_map_load8_(key);
}

/* Under the seed that the map has now. */
static uint64_t word_of(uint64_t home, uint64_t i)
{
    return model_unmix(home << 63 | (i + 1) << 24 | i, map->seed, map->mult);
}

static void new_map(const oak_map_type *t)
{
    test_heap_start_stressed(test_config());
    map = oak_map_new(t, 0);
    oak_map_set_seed(map, 7);
}

/* ---- objects of keys ---- */

typedef struct large {
    uint64_t word, n;
    char rest[OAK_MAP_INDIRECT_];
} large;

static const oak_map_type large_type = { .key = OAK_KEY_CUSTOM, .key_size = sizeof(large),
                                         .value_size = 8, .hash = hash };

static large large_key(uint64_t n)
{
    return (large){ .word = n < FIRST ? word_of(0, n) : word_of(1, n), .n = n };
}

static void put_large(uint64_t n)
{
    large k = large_key(n);
    ck_assert_ptr_nonnull(oak_map_put(map, &k));
}

/* The place of the pointer to the key's object. */
static void *cell_of(uint64_t n)
{
    const struct oak_map_array_ *a = &map->array[0];
    for (size_t g = 0; g < oaki_map_array_groups(map, 0); g++)
        for (unsigned used = oaki_map_used(oaki_map_tags(a, g)); used; used &= used - 1) {
            char *e = oaki_map_entry(map, a, g, oaki_ctz(used));
            if (((const large *)oak_map_stored_key_(map->type, e))->n == n) return e;
        }
    ck_abort_msg("no key %lu", (unsigned long)n);
    return NULL;
}

/* An iterator has taken down a key that is deleted then, and another one, which it comes to later,
 * is in the object that was the deleted one's. It is given there, and not before. */
START_TEST(a_key_in_the_object_of_a_deleted_one_is_given_once)
{
    enum { DELETED = 5 };
    oak_map_iter it;
    unsigned char given[ALL + 1] = { 0 };
    new_map(&large_type);
    for (uint64_t n = 0; n < ALL; n++) put_large(n);
    ck_assert(map->bits == 1 && !map->resizing);
    oak_map_iter_init(&it, map);
    ck_assert(oak_map_iter_next(&it));
    given[((const large *)it.key)->n]++;
    ck_assert_uint_eq(given[DELETED], 0);
    large *object, *place, k = large_key(DELETED);
    memcpy(&object, cell_of(DELETED), sizeof object);
    ck_assert(oak_map_delete(map, &k));
    put_large(ALL);
    memcpy(&place, cell_of(ALL), sizeof place);
    *object = *place;
    memcpy(cell_of(ALL), &object, sizeof object);
    while (oak_map_iter_next(&it)) given[((const large *)it.key)->n]++;
    for (size_t n = 0; n <= ALL; n++)
        if (given[n] != (n != DELETED)) ck_abort_msg("key %zu was given %d times", n, given[n]);
}
END_TEST

/* ---- hashes that write ---- */

static const oak_map_type words[] = {
    { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = hash },
    { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = hash, .flags = OAK_MAP_KEY_UPDATE },
};

static void put_word(uint64_t word)
{
    ck_assert_ptr_nonnull(oak_map_put(map, &word));
}

static void add_one(void)
{
    put_word(~UINT64_C(0));
}

static uint64_t first_word; /* under the first seed */

static void delete_one(void)
{
    (void)oak_map_delete(map, &first_word);
}

typedef struct writing {
    const oak_map_type *type;
    bool reseeds;
    size_t call;
} writing;

static void write_in_hash(void *arg)
{
    const writing *w = arg;
    void (*write)(void) = w->call % 2 ? add_one : delete_one;
    oak_map_iter it;
    new_map(w->type);
    for (uint64_t n = 0; n < ALL; n++) put_word(word_of(n >= FIRST, n));
    first_word = word_of(0, 0);
    oak_map_iter_init(&it, map);
    calls_left = w->call;
    if (!w->reseeds) in_hash = write;
    ck_assert(oak_map_iter_next(&it));
    if (w->reseeds) {
        for (uint64_t n = ALL, seed = map->seed; map->seed == seed; n++) put_word(word_of(0, n));
        in_hash = write;
    } else {
        put_word(word_of(1, ALL)); /* ends the walk */
    }
    while (oak_map_iter_next(&it)) {}
    if (wrote) fprintf(stderr, "the hash wrote\n");
}

/* Whichever call of the hash it is, that tells a position, that takes a key down, or that asks what
 * was given before a new seed. */
START_TEST(a_hash_that_writes_under_an_iterator)
{
    enum { CALLS = 60 };
    char out[512];
    size_t died = 0;
    for (size_t call = 0; call < CALLS; call++) {
        writing w = { &words[_i % 2], _i / 2, call };
        int status = test_capture(write_in_hash, &w, out, sizeof out);
        bool told = WIFSIGNALED(status) && strstr(out, "oakum: a write by the map's own hash");
        if (!told && (status != 0 || *out))
            ck_abort_msg("call %zu: status %x: %s", call, (unsigned)status, out);
        died += told;
    }
    ck_assert_uint_ge(died, 5);
}
END_TEST

/* ---- where it begins ---- */

/* Who takes what a new iterator gives first, and adds as much, takes from everywhere: no homes are
 * crowded for it, and no larger array is wanted. */
START_TEST(a_queue_by_new_iterators_needs_no_larger_array)
{
    enum { N = 15000, TURNS = 4 * N };
    oak_map_stats before, after;
    oak_map_iter it;
    uint64_t next = 0;
    new_map(&oak_map_u64_u64);
    while (next < N) oak_map_put(map, &(uint64_t){ next++ });
    ck_assert_int_eq(oak_map_settle(map), 0);
    oak_map_stats_read(map, &before);
    for (size_t turn = 0; turn < TURNS; turn++) {
        oak_map_iter_init(&it, map);
        ck_assert(oak_map_iter_next(&it) && oak_map_delete(map, it.key));
        oak_map_put(map, &(uint64_t){ next++ });
    }
    oak_map_stats_read(map, &after);
    ck_assert_uint_eq(after.groups, before.groups);
    ck_assert_uint_eq(after.growths, before.growths);
}
END_TEST

/* ---- what a step costs ---- */

#if defined(__x86_64__)
static size_t traps;

static void on_trap(int sig)
{
    (void)sig;
    traps++;
}

/* Instructions of a walk over some integer keys. */
static size_t walk(const oak_map_type *t)
{
    size_t n = 0;
    oak_map_iter it;
    map = oak_map_new(t, 0);
    oak_map_set_seed(map, 7);
    for (uint64_t k = 0; k < 1000; k++) ck_assert_ptr_nonnull(oak_map_put(map, &k));
    traps = 0;
    test_single_step(true);
    for (oak_map_iter_init(&it, map); oak_map_iter_next(&it);) n++;
    test_single_step(false);
    ck_assert_uint_eq(n, 1000);
    return traps;
}

START_TEST(keys_of_four_bytes_cost_no_more_than_those_of_eight)
{
    struct sigaction act = { .sa_handler = on_trap };
    if (test_skip(!test_can_step(), "no single steps here")) return;
    test_heap_start(test_config());
    ck_assert_int_eq(sigaction(SIGTRAP, &act, NULL), 0);
    size_t eight = walk(&oak_map_u64_u64), four = walk(&oak_map_u32_u32);
    printf("%zu and %zu instructions\n", four, eight);
    ck_assert_uint_le(four, eight + eight / 8);
}
END_TEST
#endif

Suite *suite_maps_map_iter(void)
{
    Suite *s = suite_create("maps_map_iter");
    TCase *tc = tcase_create("iterators");
    tcase_add_test(tc, a_key_in_the_object_of_a_deleted_one_is_given_once);
    tcase_add_loop_test(tc, a_hash_that_writes_under_an_iterator, 0, 4);
    tcase_add_test(tc, a_queue_by_new_iterators_needs_no_larger_array);
#if defined(__x86_64__)
    tcase_add_test(tc, keys_of_four_bytes_cost_no_more_than_those_of_eight);
#endif
    suite_add_tcase(s, tc);
    return s;
}
