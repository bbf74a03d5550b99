/* map_steps.c - the default map with a collection at each instruction of its own, where its keys'
 * hashes are chosen: crowded homes and the tail, a new seed, and adds in the middle of a shrink.
 *
 * Keys are words whose full hash is what a test wants, under the map's first seed. */
#include "maps/map.h"
#include "model.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/step.h"

#include <check.h>
#include <stdio.h>

Suite *suite_maps_map_steps(void);

enum { BITS = 6, HOMES = 1 << BITS, MANY = 4000, ONE = 1 };

static struct {
    oak_map *m;
    size_t wrong;
} w; /* the only root */

static bool boxed; /* values are objects; else nothing of a segment is scanned */
static uint64_t seed, mult; /* the map's first ones */
static unsigned char there[HOMES][MANY]; /* the i-th key of a home of 64 */
TEST_LARGE(maps_map_steps, there)

static uint64_t key_of(size_t home, size_t i)
{
    return model_unmix((uint64_t)home << (64 - BITS) | (uint64_t)(i + 1) << 24 | i, seed, mult);
}

/* An object that says whose it is. */
static uint64_t *box_of(uint64_t k)
{
    uint64_t *box = oak_alloc_noscan(32);
    box[0] = k;
    box[1] = ~k;
    return box;
}

static void set_value(void *slot, uint64_t k, uint64_t *box)
{
    if (boxed) *(uint64_t **)slot = box;
    else *(uint64_t *)slot = ~k;
}

static bool has_value(void *slot, uint64_t k)
{
    if (!slot) return false;
    if (!boxed) return *(uint64_t *)slot == ~k;
    uint64_t *box = *(uint64_t **)slot;
    return box && oak_base(box) == box && box[0] == k && box[1] == ~k;
}

/* Which writes are stepped through: none; all as long as that brings something; each. */
typedef enum steps { NONE, SOME, EACH } steps;

static void put(size_t home, size_t i, steps how)
{
    uint64_t k = key_of(home, i), *box = boxed ? box_of(k) : NULL;
    if (how) test_steps_on(how == EACH);
    set_value(oak_map_put(w.m, &k), k, box);
    if (how) test_steps_off();
    there[home][i] = 1;
}

static void delete(size_t home, size_t i, steps how)
{
    uint64_t k = key_of(home, i);
    if (how) test_steps_on(how == EACH);
    w.wrong += !oak_map_delete(w.m, &k);
    if (how) test_steps_off();
    there[home][i] = 0;
}

static void look(void)
{
    size_t len = 0, given = 0;
    for (size_t home = 0; home < HOMES; home++)
        for (size_t i = 0; i < MANY; i++) {
            if (!there[home][i]) continue;
            uint64_t k = key_of(home, i);
            w.wrong += !has_value(oak_map_get(w.m, &k), k);
            len++;
        }
    oak_map_iter it;
    for (oak_map_iter_init(&it, w.m); oak_map_iter_next(&it); given++)
        w.wrong += !has_value(it.value, *(const uint64_t *)it.key);
    w.wrong += oak_map_len(w.m) != len || given != len;
    const char *broken = oaki_map_check(w.m);
    if (broken) ck_abort_msg("not so: %s", broken);
}

static void begin(bool boxes)
{
    boxed = boxes;
    test_heap_start(test_config());
    test_only_root(&w, sizeof w);
    w.m = oak_map_new(boxed ? &oak_map_u64_ptr : &oak_map_u64_u64, 0);
    oak_map_set_seed(w.m, 7);
    seed = w.m->seed;
    mult = w.m->mult;
    test_steps_begin(ONE);
}

static void end(size_t least)
{
    look();
    size_t n = test_steps_end();
    printf("%zu collections\n", n);
    if (test_skip(!test_can_step(), "no single steps here")) return;
    ck_assert_uint_ge(n, least);
    ck_assert_uint_eq(w.wrong, 0);
    test_assert_sound();
}

/* ---- crowds ---- */

/* Some homes have more than their groups take, the last one among them: what went past is told of,
 * and no more when it is deleted; tails, tags and directories become longer. */
START_TEST(crowded_homes)
{
    enum { HOT = 70, TAGS = 16 * OAK_MAP_SLOTS_ }; /* that there are tags for in the tail */
    static const size_t hot[] = { 0, 20, HOMES - 1 };
    begin(_i);
    for (size_t i = 0; i < 6; i++)
        for (size_t home = 0; home < HOMES; home++) put(home, i, SOME);
    for (size_t i = 6; i < HOT; i++)
        for (size_t h = 0; h < OAKI_COUNT(hot); h++) put(hot[h], i, SOME);
    for (size_t i = HOT; i < TAGS + 25; i++) put(HOMES - 1, i, i < TAGS + 10 ? SOME : EACH);
    ck_assert_uint_gt(w.m->more->groups[0], HOMES + 16);
    look();
    for (size_t i = HOT; i < TAGS + 25; i++) delete(HOMES - 1, i, i < TAGS + 10 ? SOME : EACH);
    for (size_t i = 0; i < HOT - 3; i++)
        for (size_t h = 0; h < OAKI_COUNT(hot); h++) delete(hot[h], i, SOME);
    look();
    test_steps_on(true);
    oak_map_iter it;
    for (oak_map_iter_init(&it, w.m); oak_map_iter_next(&it);)
        w.wrong += !has_value(it.value, *(const uint64_t *)it.key);
    test_steps_off();
    end(300);
}
END_TEST

/* ---- a new seed ---- */

/* All in one home, until one lies 200 groups behind it. */
START_TEST(a_new_seed_against_an_attack)
{
    enum { BEFORE = 200 * OAK_MAP_SLOTS_ };
    size_t i = 0;
    begin(true); /* the other way takes as long */
    for (; i < BEFORE - 4; i++) put(0, i, NONE);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    ck_assert_uint_eq(w.m->seed, seed);
    for (; i < MANY && w.m->seed == seed; i++) put(0, i, EACH);
    ck_assert_uint_eq(w.m->more->reseeds, 1);
    end(300);
}
END_TEST

/* Entries that are left side by side in a large array get a small one, and a new order. */
START_TEST(a_new_seed_for_what_is_left)
{
    enum { DENSE = 26, LEFT = 40, SPARSE = 200 }; /* in 256 groups */
    begin(_i);
    for (size_t i = 0; i < LEFT; i++)
        for (size_t home = 0; home < (i < DENSE ? HOMES : 2); home++) put(home, i, NONE);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    ck_assert_uint_eq(w.m->bits, BITS + 2);
    for (size_t home = HOMES - 1; home > 1 && w.m->seed == seed; home--)
        for (size_t i = 0; i < DENSE && w.m->seed == seed; i++)
            delete(home, i, oak_map_len(w.m) < SPARSE + 4 ? EACH : NONE);
    ck_assert_uint_ne(w.m->seed, seed);
    ck_assert_uint_gt(oak_map_len(w.m), 2 * LEFT);
    end(100);
}
END_TEST

/* ---- adds in the middle of a shrink ---- */

static size_t frontier(void)
{
    return (size_t)((w.m->last + 1) >> (63 - BITS));
}

/* Shrinking comes to homes that don't fit into half of the groups; adds turn it back. */
START_TEST(adds_turn_a_shrink_back)
{
    oaki_map_whole_bits = 0;
    begin(_i);
    for (size_t i = 0; i < 8; i++)
        for (size_t home = 0; home < HOMES; home++) put(home, i, NONE);
    for (size_t home = 34; home < 38; home++) put(home, 8, NONE);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    ck_assert_uint_eq(w.m->bits, BITS);
    for (size_t home = HOMES; home-- > 0;)
        for (size_t i = home >= 42 ? 7 : home >= 34 && home < 38 ? 9 : 0; i < 8; i++)
            delete(home, i, EACH);
    ck_assert(w.m->resizing && w.m->bits == BITS - 1);
    for (size_t i = 20; frontier() < 42; i++) {
        put(50, i, EACH);
        delete(50, i, EACH);
    }
    look();
    for (size_t i = 20; w.m->resizing; i++) put(60, i, EACH);
    ck_assert_uint_eq(w.m->bits, BITS);
    end(300);
}
END_TEST

/* A small map grows and shrinks in one step. */
START_TEST(small_maps_are_resized)
{
    begin(_i);
    for (size_t i = 0; i < 4; i++)
        for (size_t home = 0; home < HOMES; home++)
            put(home, i, oak_map_len(w.m) >= w.m->limit ? EACH : NONE);
    for (size_t i = 0; i < 4; i++)
        for (size_t home = 1; home < HOMES; home++)
            delete(home, i, oak_map_len(w.m) <= w.m->shrink_at ? EACH : NONE);
    ck_assert(!w.m->resizing && w.m->more->growths >= 4 && w.m->more->shrinks >= 1);
    end(300);
}
END_TEST

Suite *suite_maps_map_steps(void)
{
    Suite *s = suite_create("maps_map_steps");
    TCase *tc = tcase_create("any instruction");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, crowded_homes, 0, 2);
    if (test_scale(1) > 1) tcase_add_test(tc, a_new_seed_against_an_attack); /* half a minute */
    tcase_add_loop_test(tc, a_new_seed_for_what_is_left, 0, 2);
    tcase_add_loop_test(tc, adds_turn_a_shrink_back, 0, 2);
    tcase_add_loop_test(tc, small_maps_are_resized, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
