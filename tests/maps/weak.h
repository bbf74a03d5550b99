/* weak.h - what tests of weak maps share: many entries that are dead at once. */
#ifndef TESTS_MAPS_WEAK_H
#define TESTS_MAPS_WEAK_H

#include "maps/weakmap.h"
#include "tests/gc/away.h"
#include "tests/heap.h"

#include <check.h>
#include <stdio.h>

/* `fill` puts as many entries as it is told, which die with it; `look` looks up what was never
 * there, and so takes a few of them out each time. All but `luck` go, and their memory too. */
OAKI_UNUSED static void test_many_dead(const oaki_weakmap *w, void (*fill)(void *n),
                                       void *(*look)(void), size_t luck)
{
    size_t n = test_scale(300000), gets = 0, len = n;
    oak_collect();
    size_t before = test_stats().heap_alloc;
    test_build(fill, (void *)n);
    size_t full = test_stats().heap_alloc - before;
    oak_collect();
    ck_assert_uint_eq(w->in.map->len, n);
    for (; w->in.map->len > luck && gets < n; gets++) {
        if (look()) ck_abort_msg("there is no such key");
        if (w->in.map->len + OAKI_WEAKMAP_STEP < len) ck_abort_msg("a stall");
        len = w->in.map->len;
    }
    ck_assert_uint_le(gets, n / OAKI_WEAKMAP_STEP + 2);
    oak_collect();
    oak_collect();
    size_t left = test_stats().heap_alloc - before;
    printf("%s: %zu bytes full, %zu after %zu lookups\n", w->in.lock.what, full, left, gets);
    ck_assert_uint_le(left, full / 50);
}

#endif
