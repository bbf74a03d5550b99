/* mix_kinds.c - parts of gc_mix: objects of other kinds than plain ones, and what keeps them. */
#include "mix.h"

#include "gc/host.h"
#include "runtime/collector.h"
#include "tests/threads.h"
#include <oakum/classic.h>
#include <oakum/gc.h>
#include <oakum/zone.h>

#define OF(p, k) ((mix_thing **)(p))[(k) * EACH]

/* ---- lists ---- */

static mix_thing *list_of(uint64_t id, size_t n)
{
    mix_thing *first = NULL;
    for (size_t i = 0; i < n; i++) {
        mix_thing *x = mix_new(id);
        x->a = first;
        first = x;
    }
    return first;
}

static void check_list(const mix_thing *x, uint64_t id)
{
    for (; x; x = x->a)
        if (!mix_is(x, id)) return;
}

/* ---- typed objects ---- */

/* Of an element the first word is a pointer; the next one would keep something if it were. */
enum { EACH = 8, TABLES = 24, LENGTH = 12 };

/* Few sizes, so that one comes to the place of another. */
static const size_t sizes[] = { 40, 60, 120, 250, 1200 };

static void mark_elements(oak_marker *m, void *obj, size_t size)
{
    for (size_t k = 0; k < size / (EACH * sizeof(void *)); k++) oak_mark_ptr(m, OF(obj, k));
}

/* Of [from, n) each has its thing. */
static void fill(void *p, size_t from, size_t n)
{
    for (size_t k = from; k < n; k++) {
        OF(p, k) = list_of(k, LENGTH);
        ((uintptr_t *)p)[k * EACH + 1] = k;
    }
}

void *mix_tables(void *arg)
{
    static const uint64_t first[] = { 1 };
    static void *table[TABLES]; /* a root */
    static size_t size[TABLES];
    const oak_type *words = oak_type_bitmap("mixed", EACH * sizeof(void *), first);
    const oak_type *called = oak_type_function("called", EACH * sizeof(void *), mark_elements);
    uint64_t draw = mix_draws((uintptr_t)arg);
    while (mix_goes_on()) {
        size_t i = test_draw(&draw) % TABLES, old = size[i];
        size_t n = sizes[test_draw(&draw) % OAKI_COUNT(sizes)];
        void *p = table[i];
        if (p && test_draw(&draw) % 4 == 0) {
            void *q = oak_realloc(p, n * EACH * sizeof(void *));
            mix_expect(q != NULL);
            fill(q, OAKI_MIN(old, n), n);
            table[i] = q;
        } else {
            void *q = oak_alloc_typed(test_draw(&draw) % 4 ? words : called, n);
            for (size_t k = 0; k < OAKI_MIN(old, n); k++) OF(q, k) = OF(p, k);
            fill(q, OAKI_MIN(old, n), n);
            table[i] = q;
            if (p && test_draw(&draw) % 2) oak_free(p);
        }
        size[i] = n;
        i = test_draw(&draw) % TABLES;
        for (size_t k = 0; k < size[i]; k++) check_list(OF(table[i], k), k);
    }
    return NULL;
}

/* ---- ephemerons; pinned and held ---- */

enum { PAIRS = 400, LONGEST = 20 };

void *mix_pairs(void *arg)
{
    static void *key[PAIRS]; /* roots, as the handles; what is pinned or held is known inverted */
    static oak_ephemeron *pair[PAIRS];
    static uintptr_t pinned[PAIRS], held[PAIRS];
    uint64_t draw = mix_draws((uintptr_t)arg);
    while (mix_goes_on()) {
        uint64_t i = test_draw(&draw) % PAIRS, n = 1 + test_draw(&draw) % LONGEST;
        void *value = NULL, *k = pair[i] ? oak_ephemeron_get(pair[i], &value) : NULL;
        mix_expect(!pair[i] || !key[i] || k == key[i]);
        if (k) check_list(value, i);
        mix_thing **p = (mix_thing **)~pinned[i];
        if (pinned[i]) check_list(*p, i);
        if (pinned[i]) oak_free(p);
        p = oak_alloc_pinned(sizeof *p);
        *p = list_of(i, n);
        pinned[i] = ~(uintptr_t)p;
        mix_thing *h = (mix_thing *)~held[i];
        if (held[i]) check_list(h, i);
        if (held[i]) mix_expect(oaki_drop(h));
        h = list_of(i, n);
        mix_expect(oaki_hold(h) == 0);
        held[i] = ~(uintptr_t)h;
        key[i] = mix_new(i);
        pair[i] = oak_ephemeron_new(key[i], list_of(i, n));
        key[test_draw(&draw) % PAIRS] = NULL;
    }
    return NULL;
}

/* ---- zones, classic maps ---- */

enum { ENTRIES = 600 };

static void fill_zone(oak_zone *z, uint64_t *draw)
{
    mix_thing **all = oak_zone_alloc(z, ENTRIES * sizeof *all);
    mix_expect(all != NULL);
    for (size_t i = 0; all && i < ENTRIES; i++) {
        mix_thing *x = oak_zone_alloc(z, sizeof *x);
        mix_expect(x != NULL);
        if (!x) return;
        x->a = mix_new(i); /* of the default zone */
        all[i] = x;
        size_t k = test_draw(draw) % (i + 1);
        if (!mix_is(all[k]->a, k)) return;
    }
}

void *mix_zones(void *arg)
{
    uint64_t draw = mix_draws((uintptr_t)arg);
    oak_classic_map *m = oak_classic_new(&oak_classic_int_ptr, 0);
    while (mix_goes_on()) {
        oak_zone *z = oak_zone_new(NULL);
        mix_expect(z != NULL);
        fill_zone(z, &draw);
        mix_expect(oak_zone_discard(z) == 0);
        for (int64_t k = 0; k < ENTRIES; k++) {
            mix_thing **slot = oak_classic_put(m, &k);
            mix_expect(slot != NULL);
            if (slot) *slot = mix_new((uint64_t)k);
        }
        for (size_t i = 0; i < ENTRIES; i++) {
            int64_t k = (int64_t)(test_draw(&draw) % ENTRIES);
            mix_thing **slot = oak_classic_get(m, &k);
            if (slot && !mix_is(*slot, (uint64_t)k)) return NULL;
            if (i % 2) oak_classic_delete(m, &k);
        }
        if (test_draw(&draw) % 4 == 0) oak_classic_clear(m);
        if (test_draw(&draw) % 8 == 0) m = oak_classic_new(&oak_classic_int_ptr, 0);
    }
    return NULL;
}
