/* zone_model.c - zones against a model: random entries, allocations of all kinds, references across
 * zones, frees, collections, discards and destructions, with words left that lead into zones that
 * have gone. */
#include "runtime/heap.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

Suite *suite_runtime_zone_model(void);

#define ZONES 12
#define OBJECTS 500
#define LARGE 80000

typedef struct thing {
    uintptr_t *p;      /* words: its number; what it refers to; ...; the number again */
    uintptr_t number;
    size_t words;
    int zone;          /* ZONES: the default one */
    uintptr_t life;    /* of the zone, then */
    oaki_kind kind;
    int to;            /* the zone of what it refers to, or -1; and that zone's life */
    uintptr_t to_life;
} thing;

static struct {
    oak_zone *zone[ZONES + 1];
    size_t limit[ZONES + 1];
    uintptr_t life[ZONES + 1]; /* counts the zones that were there */
    uintptr_t number;
} model;

/* Only these are looked at for references: to what is held, and to what has gone. */
static struct {
    thing thing[OBJECTS];
    void *stale[OBJECTS];
} held;

static size_t nsteps, nfailed, ndiscarded, ndestroyed, nrefused;

/* ---- looking ---- */

static void check_thing(const thing *t)
{
    if (!t->p) return;
    ck_assert_ptr_eq(oak_base(t->p), t->p);
    ck_assert_ptr_eq(oak_base((char *)t->p + t->words * 8 - 1), t->p);
    ck_assert_ptr_eq(oak_zone_of(t->p), model.zone[t->zone]);
    ck_assert_uint_eq(t->p[0], t->number);
    ck_assert_uint_eq(t->p[t->words - 1], t->number);
    if (t->to < 0 || model.life[t->to] != t->to_life) return;
    const uintptr_t *to = (const uintptr_t *)t->p[1];
    ck_assert_ptr_eq(oak_base(to), to);
    ck_assert_ptr_eq(oak_zone_of(to), model.zone[t->to]);
}

static void check_all(void)
{
    oak_zone_stats all[ZONES + 2];
    for (size_t i = 0; i < OBJECTS; i++) check_thing(&held.thing[i]);
    for (size_t i = test_zones_add_up(all, ZONES + 2); i-- > 0;)
        if (all[i].limit) ck_assert_uint_le(all[i].inuse, all[i].limit);
    test_assert_sound();
}

/* ---- steps ---- */

static int any_zone(void)
{
    int z = (int)test_below(ZONES + 1);
    return model.zone[z] || z == ZONES ? z : ZONES;
}

/* p has size zero bytes: it becomes t. */
static void make_thing(thing *t, void *p, size_t bytes, int zone, oaki_kind kind)
{
    const thing *other = &held.thing[test_below(OBJECTS)];
    *t = (thing){ .p = p, .number = ++model.number, .words = bytes / 8, .zone = zone,
                  .life = model.life[zone], .kind = kind, .to = -1 };
    ck_assert(test_is_zero(p, bytes));
    t->p[0] = t->p[t->words - 1] = t->number;
    if (kind == OAKI_NOSCAN || !other->p || other == t || t->words < 3) return;
    t->p[1] = (uintptr_t)other->p;
    t->to = other->zone;
    t->to_life = other->life;
}

static void *allocate(int zone, size_t n, oaki_kind kind)
{
    oak_zone *z = model.zone[zone];
    bool by_name = test_below(2);
    if (kind == OAKI_SCAN && by_name) return oak_zone_alloc(z, n);
    if (kind == OAKI_NOSCAN && by_name) return oak_zone_alloc_noscan(z, n);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    void *p = kind == OAKI_SCAN ? oak_alloc(n)
            : kind == OAKI_NOSCAN ? oak_alloc_noscan(n) : oak_alloc_pinned(n);
    oak_zone_leave(z);
    return p;
}

/* p is about to be freed: nothing that is held refers to it from here on. */
static void forget(const uintptr_t *p)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        thing *t = &held.thing[i];
        if (!t->p || t->to < 0 || t->p[1] != (uintptr_t)p) continue;
        t->p[1] = 0;
        t->to = -1;
    }
}

static void drop(thing *t)
{
    if (!t->p) return;
    if (t->kind == OAKI_PINNED || test_below(3) == 0) {
        forget(t->p);
        oak_free(t->p);
    }
    t->p = NULL;
}

static void step_allocate(void)
{
    thing *t = &held.thing[test_below(OBJECTS)];
    static const oaki_kind kinds[] = { OAKI_SCAN, OAKI_SCAN, OAKI_NOSCAN, OAKI_PINNED };
    oaki_kind kind = kinds[test_below(4)];
    int zone = any_zone();
    size_t bytes = OAKI_MAX(test_size(LARGE) & ~(size_t)7, (size_t)16);
    drop(t);
    errno = 0;
    void *p = allocate(zone, bytes, kind);
    if (p) {
        make_thing(t, p, bytes, zone, kind);
        return;
    }
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_ne(model.limit[zone], 0);
    nfailed++;
}

static void step_resize(void)
{
    thing *t = &held.thing[test_below(OBJECTS)];
    if (!t->p || model.limit[t->zone]) return;
    size_t bytes = OAKI_MAX(test_size(LARGE) & ~(size_t)7, (size_t)24);
    forget(t->p);
    uintptr_t *p = oak_realloc(t->p, bytes);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(p[0], t->number);
    if (bytes / 8 > t->words) p[t->words - 1] = 0;
    if (t->to >= 0 && t->words < 3) t->to = -1;
    t->p = p;
    t->words = bytes / 8;
    t->p[t->words - 1] = t->number;
}

static void step_zone(void)
{
    size_t z = test_below(ZONES);
    if (model.zone[z]) return;
    oak_zone_options o = { .limit = test_below(2) ? 0 : 65536 + test_below(3000000) };
    model.limit[z] = o.limit;
    model.zone[z] = oak_zone_new(&o);
    model.life[z]++;
    ck_assert_ptr_nonnull(model.zone[z]);
}

/* Its objects are gone; words that lead there stay. */
static void zone_is_gone(size_t z)
{
    model.zone[z] = NULL;
    model.limit[z] = 0;
    model.life[z]++;
    for (size_t i = 0; i < OBJECTS; i++) {
        thing *t = &held.thing[i];
        if (!t->p || t->zone != (int)z) continue;
        if (test_below(2)) held.stale[test_below(OBJECTS)] = t->p;
        t->p = NULL;
    }
}

static size_t held_in(size_t z)
{
    size_t n = 0;
    for (size_t i = 0; i < OBJECTS; i++) n += held.thing[i].p && held.thing[i].zone == (int)z;
    return n;
}

/* As far as what is held goes; what isn't may still refer to it. */
static void let_go_of(size_t z)
{
    memset(held.stale, 0, sizeof held.stale);
    for (size_t i = 0; i < OBJECTS; i++) {
        thing *t = &held.thing[i];
        if (t->zone == (int)z) drop(t);
        if (!t->p || t->to != (int)z) continue;
        t->p[1] = 0;
        t->to = -1;
    }
}

static void step_end(void)
{
    size_t z = test_below(ZONES);
    if (!model.zone[z]) return;
    if (test_below(2)) {
        ck_assert_int_eq(oak_zone_discard(model.zone[z]), 0);
        ndiscarded++;
    } else {
        if (test_below(3)) let_go_of(z);
        size_t n = held_in(z);
        int r = oak_zone_destroy(model.zone[z], NULL);
        if (r != 0) {
            ck_assert_int_eq(errno, EBUSY);
            nrefused++;
            return;
        }
        ck_assert_uint_eq(n, 0);
        for (size_t i = 0; i < OBJECTS; i++)
            ck_assert(!held.thing[i].p || held.thing[i].to != (int)z ||
                      held.thing[i].to_life != model.life[z]);
        ndestroyed++;
    }
    zone_is_gone(z);
}

/* Allocations in nested entries. */
static void step_nest(void)
{
    int zone[5];
    size_t n = 1 + test_below(5);
    for (size_t i = 0; i < n; i++) {
        zone[i] = any_zone();
        ck_assert_int_eq(oak_zone_enter(model.zone[zone[i]]), 0);
    }
    while (n-- > 0) {
        ck_assert_ptr_eq(oak_zone_current(), model.zone[zone[n]]);
        thing *t = &held.thing[test_below(OBJECTS)];
        drop(t);
        void *p = oak_alloc(48);
        if (p) make_thing(t, p, 48, zone[n], OAKI_SCAN);
        else ck_assert_uint_ne(model.limit[zone[n]], 0);
        oak_zone_leave(model.zone[zone[n]]);
    }
}

static void run(int percent)
{
    test_seed("runtime/zone_model");
    oak_config c = test_config();
    c.gc_percent = percent;
    c.background_sweep = percent > 0;
    test_heap_start_stressed(c);
    /* What is put where a word was left that led to something freed: the marker may have read the
     * word before, and the verifier can't tell that it is no reference. */
    if (oaki_debug_switches.beside) oaki_debug_switches.verify = 0;
    test_only_root(&held, sizeof held);
    for (size_t n = test_scale(20000); nsteps < n; nsteps++) {
        switch (test_below(40)) {
        case 0: step_zone(); break;
        case 1: if (test_below(4) == 0) step_end(); break;
        case 2: if (test_below(8) == 0) oak_collect(); break;
        case 3: if (test_below(10) == 0) check_all(); break;
        case 4: case 5: step_resize(); break;
        case 6: case 7: step_nest(); break;
        case 8: held.stale[test_below(OBJECTS)] = NULL; break;
        default: step_allocate(); break;
        }
    }
    check_all();
    for (size_t z = 0; z < ZONES; z++) {
        if (!model.zone[z]) continue;
        ck_assert_int_eq(oak_zone_discard(model.zone[z]), 0);
        zone_is_gone(z);
    }
    oak_collect();
    check_all();
    oak_zone_stats s[2];
    ck_assert_uint_eq(oak_zones_read(s, 2, NULL), 2);
    ck_assert_uint_eq(s[1].live_objects, 0);
    printf("%zu steps: %zu out of memory, %zu discarded, %zu destroyed, %zu refused\n", nsteps,
           nfailed, ndiscarded, ndestroyed, nrefused);
}

START_TEST(as_the_model_says_when_told_to_collect)
{
    run(-1);
}
END_TEST

START_TEST(as_the_model_says_when_collecting_by_itself)
{
    run(50);
}
END_TEST

Suite *suite_runtime_zone_model(void)
{
    Suite *s = suite_create("runtime/zone_model");
    TCase *c = tcase_create("zone_model");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, as_the_model_says_when_told_to_collect);
    tcase_add_test(c, as_the_model_says_when_collecting_by_itself);
    suite_add_tcase(s, c);
    return s;
}
