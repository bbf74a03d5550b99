/* map_sweep.c - the default map where entries are deleted in the order in which they lie, as those
 * do who delete while they iterate: shrinking by more than half, tags that are given back, and adds
 * that turn it round in the middle. Against a reference, and the map's own rules. */
#include "maps/map.h"
#include "runtime/options.h"
#include "tests/heap.h"
#include "tests/large.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_maps_map_sweep(void);

enum { MOST = 300000, WATCHERS = 3 };

/* What a key's number says; each is put once. */
enum { UNKNOWN, THERE, GONE };

static struct {
    oak_map *m;
    unsigned char key[MOST];
    size_t next, len;
    size_t deep, released, turned; /* how often it came to that */
    bool starves;
} w;
TEST_LARGE(maps_map_sweep, w)

/* An iterator on its way through all that happens. */
typedef struct watcher {
    oak_map_iter it;
    unsigned char given[MOST];
    size_t from; /* keys from here on were added since */
} watcher;

static watcher watchers[WATCHERS];
TEST_LARGE(maps_map_sweep, watchers)

static void note(void)
{
    const struct oak_map_more_ *more = w.m->more;
    if (!more || !w.m->resizing) return;
    w.deep += w.m->array[0].shift > w.m->array[1].shift + 1u;
    w.released += more->released > 0;
    w.turned += more->back && w.m->array[0].shift > w.m->array[1].shift + 1u;
}

static void add(void)
{
    uint64_t k = w.next, *v;
    if (k == MOST) return;
    while (!(v = oak_map_put(w.m, &k)))
        if (!w.starves) ck_abort_msg("no memory");
    *v = k * 3;
    w.key[w.next++] = THERE;
    w.len++;
    note();
}

static void drop(uint64_t k)
{
    if (w.key[k] != THERE) return;
    if (!oak_map_delete(w.m, &k)) ck_abort_msg("key %lu is missing", (unsigned long)k);
    w.key[k] = GONE;
    w.len--;
    note();
}

static void look(void)
{
    const char *broken = oaki_map_check(w.m);
    if (broken) ck_abort_msg("%zu keys, frontier %lx: not so: %s", w.len,
                             (unsigned long)w.m->last, broken);
    ck_assert_uint_eq(oak_map_len(w.m), w.len);
    for (uint64_t k = 0; k < w.next; k++) {
        const uint64_t *v = oak_map_get(w.m, &k);
        if ((v != NULL) != (w.key[k] == THERE) || (v && *v != k * 3))
            ck_abort_msg("key %lu", (unsigned long)k);
    }
}

static void watch(watcher *o)
{
    memset(o->given, 0, sizeof o->given);
    oak_map_iter_init(&o->it, w.m);
    o->from = w.next;
}

static bool advance(watcher *o)
{
    if (!oak_map_iter_next(&o->it)) return false;
    uint64_t k = *(const uint64_t *)o->it.key;
    if (k >= w.next || w.key[k] != THERE) ck_abort_msg("%lu isn't there", (unsigned long)k);
    if (o->given[k]++) ck_abort_msg("%lu twice", (unsigned long)k);
    return true;
}

static void end_watch(watcher *o)
{
    while (advance(o)) {}
    for (size_t k = 0; k < o->from; k++)
        if (w.key[k] == THERE && !o->given[k]) ck_abort_msg("%zu was left out", k);
}

/* What an iterator gives is deleted, but one of `keep`; after one of `each` entries another is
 * added. Until so many are left, or all was seen. */
static void sweep(size_t left, size_t keep, size_t each)
{
    oak_map_iter it;
    oak_map_iter_init(&it, w.m);
    while (w.len > left && oak_map_iter_next(&it)) {
        if (!keep || test_below(keep)) drop(*(const uint64_t *)it.key);
        if (each && test_below(each) == 0) add();
        if (test_below(64) == 0) (void)advance(&watchers[test_below(WATCHERS)]);
    }
}

static void add_until(size_t len)
{
    while (w.len < len && w.next < MOST) {
        add();
        if (test_below(64) == 0) (void)advance(&watchers[test_below(WATCHERS)]);
        const char *broken = test_below(1000) ? NULL : oaki_map_check(w.m);
        if (broken) ck_abort_msg("%zu keys: not so: %s", w.len, broken);
        if (w.starves && test_below(100) == 0)
            oaki_debug_switches.failalloc = oaki_debug_switches.failalloc ? 0 : 2;
    }
    oaki_debug_switches.failalloc = 0;
}

static void begin(void)
{
    test_seed("maps_map_sweep");
    test_heap_start(test_config());
    w.m = oak_map_new(&oak_map_u64_u64, 0);
    oak_map_set_seed(w.m, test_random());
}

static void watch_all(void)
{
    for (int i = 0; i < WATCHERS; i++) {
        watch(&watchers[i]);
        for (size_t n = test_below(w.len + 1); n > 0; n--) (void)advance(&watchers[i]);
    }
}

static void end_all(void)
{
    for (int i = 0; i < WATCHERS; i++) end_watch(&watchers[i]);
}

/* Nearly all is deleted, and then as much added again. */
START_TEST(what_was_swept_is_filled_again)
{
    begin();
    size_t n = test_slow() ? 60000 : 120000;
    add_until(n);
    watch_all();
    sweep(n / 20, 0, 0);
    look();
    ck_assert_uint_gt(w.deep, 0);
    ck_assert(test_slow() || w.released > 0);
    add_until(n / 2);
    look();
    ck_assert_uint_gt(w.turned, 0);
    end_all();
    ck_assert_uint_eq(oak_map_settle(w.m), 0);
    look();
}
END_TEST

/* Adds and deletes by turns where the rest is dense: tags lose their memory and get it again piece
 * by piece, and stay where they are, so that no write costs a copy of them. */
START_TEST(turning_back_copies_no_tags)
{
    begin();
    size_t n = 200000;
    add_until(n);
    sweep(n / 5, 0, 0);
    ck_assert(w.m->resizing);
    const struct oak_map_more_ *more = w.m->more;
    const char *tags = w.m->array[1].tags;
    for (int turns = 0; turns < 6; turns++) {
        size_t before = more->released;
        ck_assert_uint_gt(before, 0);
        while (more->released == before) add();
        ck_assert_ptr_eq(w.m->array[1].tags, tags);
        look();
        while (more->released < before) drop(test_below(w.next));
        ck_assert_ptr_eq(w.m->array[1].tags, tags);
        look();
    }
}
END_TEST

/* Deletes and adds by turns, where shrinking by much has been tried: it isn't tried again and
 * again. */
START_TEST(turns_take_no_array_each)
{
    begin();
    size_t n = 20000;
    add_until(n);
    sweep(n / 5, 0, 0);
    ck_assert_uint_gt(w.deep, 0);
    uint64_t shrinks = w.m->more->shrinks;
    for (uint64_t k = 0, turns = 0; turns < n / 2; k++) {
        if (w.key[k] != THERE) continue;
        drop(k);
        add();
        turns++;
    }
    ck_assert_uint_le(w.m->more->shrinks, shrinks + 2);
    look();
}
END_TEST

/* A queue: what is given is deleted, and another added. A group has room for 15. */
START_TEST(what_is_swept_and_added_is_not_crowded)
{
    begin();
    size_t n = test_scale(_i / 2 ? 31000 : 15000);
    oak_map_iter it;
    add_until(n);
    oak_map_iter_init(&it, w.m);
    while (w.next < n * 9) {
        if (_i % 2) oak_map_iter_init(&it, w.m);
        if (!oak_map_iter_next(&it)) oak_map_iter_init(&it, w.m);
        else drop(*(const uint64_t *)it.key);
        if (w.len < n) add();
    }
    oak_map_stats s;
    oak_map_stats_read(w.m, &s);
    ck_assert_uint_le(s.longest_probe, 100);
    ck_assert_uint_eq(s.reseeds, 0);
    look();
}
END_TEST

START_TEST(sweeps_and_adds_at_random)
{
    begin();
    watch_all();
    size_t most = test_slow() ? 10000 : 60000;
    w.starves = _i % 4 == 0;
    while (w.next < (test_slow() ? most * 2 : MOST)) {
        add_until(w.len + test_below(most));
        if (test_below(2)) {
            end_all();
            watch_all();
        }
        size_t keep = test_below(2) ? 0 : 2 + test_below(200);
        size_t each = test_below(2) ? 0 : 1 + test_below(20);
        sweep(test_below(3) ? w.len / (1 + test_below(200)) : 0, keep, each);
        look();
        for (size_t n = test_below(1000); n > 0 && w.next > 0; n--) drop(test_below(w.next));
        look();
    }
    end_all();
    look();
}
END_TEST

Suite *suite_maps_map_sweep(void)
{
    Suite *s = suite_create("maps_map_sweep");
    TCase *tc = tcase_create("sweep");
    tcase_add_test(tc, what_was_swept_is_filled_again);
    tcase_add_test(tc, turning_back_copies_no_tags);
    tcase_add_test(tc, turns_take_no_array_each);
    tcase_add_loop_test(tc, what_is_swept_and_added_is_not_crowded, 0, 4);
    tcase_add_loop_test(tc, sweeps_and_adds_at_random, 0, 8);
    suite_add_tcase(s, tc);
    return s;
}
