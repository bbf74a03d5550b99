/* weak_model.c - random graphs of objects that two maps with weak keys and one with weak values
 * hang together, against a closure worked out by hand.
 *
 * An object is alive when it is held here, or when the value that a living object has in a map with
 * weak keys refers to it. After each round exactly those live, and their entries are there; entries
 * of all others are absent. Operations run on threads that end, so that no stack keeps anything. */
#include "maps/weakmap.h"
#include "tests/gc/away.h"
#include "tests/heap.h"
#include "tests/large.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdlib.h>

Suite *suite_maps_weak_model(void);

enum { OBJECTS = 3000, HELD = 24, MAPS = 2, LUCK = 6, NONE = -1 };

typedef struct object {
    int id;
    char rest[24];
} object;

typedef struct value {
    void *refers[2]; /* to the key itself, and to another object or none */
    int key, other;
} value;

static oak_weakkey *map[MAPS];
static oak_weakvalue *by_id;
static object *held[HELD];

static struct {
    oak_weak *weak;
    int slots; /* of held that hold it */
    bool listed;
    int other[MAPS]; /* that its value refers to; NONE - 1: it has no value */
    bool alive;      /* as it was last worked out */
} model[OBJECTS];
TEST_LARGE(maps_weak_model, model)
static int made;

#define NO_VALUE (NONE - 1)

/* ---- operations ---- */

static void make(size_t slot)
{
    if (made == OBJECTS) return;
    object *o = oak_alloc(sizeof *o);
    uint64_t key = (uint64_t)(o->id = made);
    model[made].weak = oak_weak_new(o);
    model[made].slots = 1;
    for (int i = 0; i < MAPS; i++) model[made].other[i] = NO_VALUE;
    if (held[slot]) model[held[slot]->id].slots--;
    held[slot] = o;
    model[made].listed = test_below(4) != 0;
    if (model[made].listed && oak_weakvalue_put(by_id, &key, o) != 0) ck_abort_msg("put");
    made++;
}

static void put(object *k, int m)
{
    object *other = held[test_below(HELD)];
    value *v = oak_alloc(sizeof *v);
    v->refers[0] = k;
    v->refers[1] = other;
    v->key = k->id;
    v->other = other ? other->id : NONE;
    if (oak_weakkey_put(map[m], k, v) != 0) ck_abort_msg("put %d", k->id);
    model[k->id].other[m] = v->other;
}

static void get(object *k, int m)
{
    value *v = oak_weakkey_get(map[m], k);
    int other = model[k->id].other[m];
    if ((v != NULL) != (other != NO_VALUE)) ck_abort_msg("get %d: %p", k->id, (void *)v);
    if (!v) return;
    if (v->key != k->id || v->refers[0] != k || v->other != other) ck_abort_msg("get %d", k->id);
    if (other != NONE && ((object *)v->refers[1])->id != other) ck_abort_msg("%d's other", k->id);
}

static void operate(void)
{
    size_t slot = test_below(HELD);
    object *k = held[slot];
    int m = (int)test_below(MAPS);
    uint64_t id = made ? test_below((size_t)made) : 0;
    switch (test_below(10)) {
    case 0:
    case 1:
        make(slot);
        break;
    case 2:
        if (k) model[k->id].slots--;
        held[slot] = NULL;
        break;
    case 3: /* one that is found by its number is held again */
        if (k || !made || !(k = oak_weakvalue_get(by_id, &id))) break;
        if (k->id != (int)id || !model[id].listed) ck_abort_msg("number %d", (int)id);
        held[slot] = k;
        model[id].slots++;
        break;
    case 4:
        if (k && oak_weakkey_delete(map[m], k) != (model[k->id].other[m] != NO_VALUE))
            ck_abort_msg("delete");
        if (k) model[k->id].other[m] = NO_VALUE;
        break;
    case 5:
    case 6:
        if (k) get(k, m);
        break;
    default:
        if (k) put(k, m);
    }
}

static void operations(void *n)
{
    for (size_t i = 0; i < (size_t)n; i++) operate();
}

/* ---- what lives ---- */

static void close_over(void)
{
    bool more = true;
    for (int i = 0; i < made; i++) model[i].alive = model[i].slots > 0;
    while (more) {
        more = false;
        for (int i = 0; i < made; i++)
            for (int m = 0; m < MAPS && model[i].alive; m++) {
                int other = model[i].other[m];
                if (other < 0 || model[other].alive) continue;
                model[other].alive = more = true;
            }
    }
}

static size_t counted;

static bool count(void *k, void *v, void *ctx)
{
    size_t m = (size_t)ctx;
    int id = ((object *)k)->id;
    if (((value *)v)->key != id || model[id].other[m] != ((value *)v)->other) ck_abort_msg("each");
    counted++;
    return true;
}

/* A stale word may lead to one that is dead, and that to others through the maps: how many such
 * words there are at least. */
static int stray_words(const bool *stray)
{
    bool led[OBJECTS] = { false };
    int words = 0;
    for (int i = 0; i < made; i++)
        for (int m = 0; m < MAPS && stray[i]; m++) {
            int other = model[i].other[m];
            if (other >= 0 && other != i) led[other] = true;
        }
    for (int i = 0; i < made; i++) words += stray[i] && !led[i];
    return words;
}

static void compare(void *arg)
{
    bool stray[OBJECTS] = { false };
    size_t entries[MAPS] = { 0 };
    (void)arg;
    close_over();
    for (int i = 0; i < made; i++) {
        object *o = oak_weak_get(model[i].weak);
        uint64_t key = (uint64_t)i;
        if (model[i].alive && !o) ck_abort_msg("object %d is gone", i);
        if (oak_weakvalue_get(by_id, &key) != (model[i].listed ? o : NULL)) ck_abort_msg("%d", i);
        stray[i] = o && !model[i].alive;
        for (int m = 0; m < MAPS; m++) {
            if (o) get(o, m);
            entries[m] += o && model[i].other[m] != NO_VALUE;
        }
    }
    for (size_t m = 0; m < MAPS; m++) {
        counted = 0;
        ck_assert_int_eq(oak_weakkey_each(map[m], count, (void *)m), 0);
        ck_assert_uint_eq(counted, entries[m]);
        while (oak_weakkey_purge(map[m], 50)) {
        }
        ck_assert_uint_eq(oak_weakkey_len(map[m]), entries[m]);
    }
    ck_assert_int_le(stray_words(stray), LUCK);
}

START_TEST(random_graphs_against_a_closure)
{
    test_start(0);
    test_seed("maps/weak_model");
    unsigned flags = _i % 2 ? OAK_WEAK_LOCKED : 0;
    for (int m = 0; m < MAPS; m++) map[m] = oak_weakkey_new(flags, 0);
    by_id = oak_weakvalue_new(&oak_map_u64_ptr, flags, 0);
    for (size_t round = 0, n = test_scale(60); round < n; round++) {
        test_away(operations, (void *)(1 + test_below(500)));
        oak_collect();
        test_build(compare, NULL);
    }
    ck_assert_int_gt(made, 50);
}
END_TEST

Suite *suite_maps_weak_model(void)
{
    Suite *s = suite_create("maps_weak_model");
    TCase *tc = tcase_create("model");
    tcase_add_loop_test(tc, random_graphs_against_a_closure, 0, 6);
    suite_add_tcase(s, tc);
    return s;
}
