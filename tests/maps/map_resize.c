/* map_resize.c - the default map where its keys' hashes are chosen, and its rules are looked at
 * after every write: shrinking that adds turn back, and the tail behind the last home.
 *
 * Keys are words whose full hash is what a test wants, under the map's first seed. */
#include "maps/map.h"
#include "model.h"
#include "tests/heap.h"
#include "tests/step.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

Suite *suite_maps_map_resize(void);

enum { BITS = 6, HOMES = 1 << BITS, EACH = 64 };

static struct {
    oak_map *m;
    bool there[HOMES][EACH];
    size_t len;
    uint64_t seed, mult; /* the map's first ones */
} w;

/* The i-th key of a home of 64. */
static uint64_t key_of(size_t home, size_t i)
{
    uint64_t hash = (uint64_t)home << (64 - BITS) | (i + 1) << 24 | i;
    return model_unmix(hash, w.seed, w.mult);
}

static void look(void)
{
    const char *broken = oaki_map_check(w.m);
    if (broken) ck_abort_msg("%zu keys, frontier %lx: not so: %s", w.len,
                             (unsigned long)w.m->last, broken);
    ck_assert_uint_eq(oak_map_len(w.m), w.len);
    for (size_t home = 0; home < HOMES; home++)
        for (size_t i = 0; i < EACH; i++) {
            uint64_t k = key_of(home, i), *v = oak_map_get(w.m, &k);
            if ((v != NULL) != w.there[home][i] || (v && *v != home * EACH + i))
                ck_abort_msg("key %zu of home %zu", i, home);
        }
}

/* ---- a look after each instruction ----
 *
 * A stop may come anywhere: by the tags alone, every entry must be there, and what has a tag must
 * be an entry. */

static struct {
    bool on, whole; /* whole: small maps are resized in one step, as by default */
    size_t traps;
    const char *broken;
    uint64_t key[HOMES][EACH], added;
    bool seen[HOMES][EACH];
} each;

#if defined(__x86_64__)
static void see_array(unsigned i)
{
    const struct oak_map_array_ *a = &w.m->array[i];
    for (size_t g = oaki_map_array_groups(w.m, i); g-- > 0;) {
        if (!a->dir[g >> a->gbits]) continue;
        for (unsigned used = oaki_map_used(oaki_map_tags(a, g)); used; used &= used - 1) {
            uint64_t word[2];
            memcpy(word, oaki_map_entry(w.m, a, g, oaki_ctz(used)), sizeof word);
            if (word[0] == each.added) continue;
            if (word[1] < HOMES * EACH && word[0] == each.key[word[1] / EACH][word[1] % EACH])
                each.seen[word[1] / EACH][word[1] % EACH] = true;
            else
                each.broken = "what has a tag is an entry";
        }
    }
}

static void count_trap(int sig)
{
    (void)sig;
    each.traps++;
}

static void on_trap(int sig)
{
    (void)sig;
    each.traps++;
    memset(each.seen, 0, sizeof each.seen);
    see_array(0);
    see_array(1);
    for (size_t n = 0; n < HOMES * EACH; n++)
        if (w.there[n / EACH][n % EACH] && !each.seen[n / EACH][n % EACH])
            each.broken = "each entry has a tag";
}
#endif

static void put(size_t home, size_t i)
{
    uint64_t k = key_of(home, i), *v;
    each.added = k;
    if (each.on) test_single_step(true);
    v = oak_map_put(w.m, &k);
    if (each.on) test_single_step(false);
    if (!v) ck_abort_msg("no memory");
    *v = home * EACH + i;
    w.len += !w.there[home][i];
    w.there[home][i] = true;
}

static void delete(size_t home, size_t i)
{
    uint64_t k = key_of(home, i);
    each.added = k;
    w.there[home][i] = false;
    w.len--;
    if (each.on) test_single_step(true);
    bool was = oak_map_delete(w.m, &k);
    if (each.on) test_single_step(false);
    ck_assert(was);
}

static void start(const oak_map_type *t)
{
    test_heap_start_stressed(test_config());
    if (!each.whole) oaki_map_whole_bits = 0;
    w.m = oak_map_new(t, 0);
    oak_map_set_seed(w.m, 7);
    w.seed = w.m->seed;
    w.mult = w.m->mult;
}

/* ---- turning back ---- */

/* How many of the old array's homes have moved. */
static size_t frontier(void)
{
    return (size_t)((w.m->last + 1) >> (63 - BITS));
}

/* 64 homes, of which the last third is dense, and `kept(home)` keys are left in each when
 * shrinking begins. */
static void begin_to_shrink(size_t (*kept)(size_t home))
{
    start(&oak_map_u64_u64);
    for (size_t i = 0; i < 8; i++)
        for (size_t home = 0; home < HOMES; home++) put(home, i);
    for (size_t home = 0; home < HOMES; home++)
        for (size_t i = 8; i < kept(home); i++) put(home, i);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    ck_assert_uint_eq(w.m->bits, BITS);
    look();
    for (size_t home = HOMES; home-- > 0;)
        for (size_t i = kept(home); i < 8; i++) {
            delete(home, i);
            look();
        }
    ck_assert(w.m->resizing);
    ck_assert_uint_eq(w.m->bits, BITS - 1);
}

/* Of two homes that become one, all that one has room for and more, twice side by side. */
static size_t four_full(size_t home)
{
    return home >= 42 ? 7 : home >= 34 && home < 38 ? 9 : 0;
}

/* Deletes and adds by turns, until the frontier stands before the dense part. */
static void go_on(void)
{
    for (size_t i = 20; frontier() < 42; i++) {
        if (i == EACH) ck_abort_msg("the frontier stands at %zu", frontier());
        put(50, i);
        look();
        delete(50, i);
        look();
    }
}

/* By adds, as far as that; how many. */
static size_t turn_back(size_t to)
{
    size_t n = 0;
    for (; w.m->resizing && frontier() > to; n++) {
        ck_assert_uint_lt(n, EACH - 20);
        put(60, 20 + n);
        look();
    }
    return n;
}

START_TEST(adds_turn_shrinking_back)
{
    begin_to_shrink(four_full);
    go_on();
    turn_back(0);
    ck_assert(!w.m->resizing);
    ck_assert_uint_eq(w.m->bits, BITS);
}
END_TEST

/* What is put back is told of no more where it overflowed from: shrinking may go on there. */
START_TEST(turned_back_in_the_middle_it_goes_on)
{
    begin_to_shrink(four_full);
    go_on();
    size_t n = turn_back(_i);
    ck_assert(w.m->resizing);
    while (n-- > 0) {
        delete(60, 20 + n);
        look();
    }
    for (size_t home = 34; home < HOMES; home++)
        for (size_t i = 0; i < four_full(home); i++) {
            delete(home, i);
            look();
        }
    ck_assert_uint_eq(oak_map_len(w.m), 0);
}
END_TEST

/* An entry of home 0 lay in group 2. It has moved, home 1 has not; it comes back, into group 0, and
 * group 1 tells of it no more. */
START_TEST(turned_back_before_the_end_of_a_chain)
{
    start(&oak_map_u64_u64);
    for (size_t i = 0; i < 8; i++)
        for (size_t home = 0; home < HOMES; home++) put(home, i);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    ck_assert_uint_eq(w.m->bits, BITS);
    for (size_t i = 8; i < OAK_MAP_SLOTS_; i++) {
        put(0, i);
        put(1, i);
        put(8, i);
    }
    put(0, OAK_MAP_SLOTS_);
    for (size_t home = HOMES; home-- > 2;)
        for (size_t i = home > 8 ? 0 : home > 4 ? 6 : 5; home != 8 && i < 8; i++) delete(home, i);
    ck_assert(!w.m->resizing);
    for (size_t i = 0; i < OAK_MAP_SLOTS_ - 1; i++) delete(0, i); /* too many before the last */
    ck_assert(w.m->resizing);
    ck_assert_uint_eq(frontier(), 1);
    look();
    put(60, 20);
    ck_assert(!w.m->resizing);
    look();
}
END_TEST

/* Entries that lie behind the last home count where it is decided how far to shrink: those in homes
 * are deleted first. */
START_TEST(what_lies_behind_the_homes_needs_room)
{
    start(&oak_map_u64_u64);
    for (size_t n = 0; n < 2 * EACH; n++) put(62 + n / EACH, n % EACH);
    for (size_t n = 0; n < 2 * EACH; n++) {
        oak_map_stats s;
        delete(62 + n / EACH, n % EACH);
        look();
        oak_map_stats_read(w.m, &s);
        if (s.load > 1) ck_abort_msg("%zu keys in %zu groups", s.len, s.groups);
    }
}
END_TEST

/* ---- at any instruction ---- */

#if defined(__x86_64__)
static void begin_to_look(void)
{
    struct sigaction act = { .sa_handler = on_trap };
    ck_assert_int_eq(sigaction(SIGTRAP, &act, NULL), 0);
    for (size_t n = 0; n < HOMES * EACH; n++)
        each.key[n / EACH][n % EACH] = key_of(n / EACH, n % EACH);
    each.on = true;
}

static void end_looking(void)
{
    each.on = false;
    if (each.broken) ck_abort_msg("not so: %s", each.broken);
    ck_assert_uint_gt(each.traps, 10000);
    look();
}

START_TEST(growing_loses_no_entry_at_any_instruction)
{
    if (test_skip_slow()) return; /* who emulates instructions may not trap */
    start(&oak_map_u64_u64);
    for (size_t n = 0; n < HOMES * 10; n++) /* pairs of homes that one home has no room for */
        if (n / 10 % 10 < 2) put(n / 10, n % 10);
    for (size_t n = 0; n < HOMES * 6; n++) {
        if (n / 6 % 10 < 2) continue;
        put(n / 6, n % 6);
        if (w.m->resizing && w.m->bits == BITS && !each.on) begin_to_look();
    }
    ck_assert(each.on && !w.m->resizing);
    end_looking();
}
END_TEST

/* In one step: growing to each size, and shrinking where entries lie apart and side by side. */
START_TEST(whole_resizes_lose_no_entry_at_any_instruction)
{
    if (test_skip_slow()) return;
    each.whole = true;
    start(&oak_map_u64_u64);
    for (size_t n = 0; n < HOMES * 7; n++) {
        if (n == 20) begin_to_look();
        put(n * 11 % HOMES, n / HOMES);
    }
    ck_assert(!w.m->resizing);
    ck_assert_uint_eq(w.m->bits, BITS);
    uint64_t s = w.m->seed;
    /* some keys of all homes stay, or all keys of some */
    for (size_t n = HOMES * 7; w.m->bits == BITS; n--)
        if (_i) delete((n - 1) * 11 % HOMES, (n - 1) / HOMES);
        else delete((n - 1) / 7, (n - 1) % 7);
    ck_assert(!w.m->resizing);
    ck_assert_uint_eq(w.m->seed != s, !_i);
    ck_assert_uint_lt(w.m->bits, BITS);
    end_looking();
}
END_TEST

/* Into larger segments, one after the other, which have to hold the entries before they are
 * there. */
START_TEST(a_tail_that_grows_loses_no_entry_at_any_instruction)
{
    if (test_skip_slow()) return;
    start(&oak_map_u64_u64);
    for (size_t n = 0; n < HOMES * 8; n++) put(n % HOMES, n / HOMES);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    ck_assert_uint_eq(w.m->bits, BITS);
    begin_to_look();
    for (size_t i = 8; i < EACH; i++) put(HOMES - 1, i);
    ck_assert_uint_ge(w.m->more->tail[0], 4);
    end_looking();
}
END_TEST

/* A delete that puts few entries of a large array in order passes over the segments that aren't
 * there, not over each of their groups. */
START_TEST(few_entries_of_a_large_array_are_found_at_once)
{
    enum { LARGE = 18, DENSE = 8 };
    struct sigaction act = { .sa_handler = count_trap };
    if (test_skip_slow()) return;
    test_heap_start(test_config());
    w.m = oak_map_new(&oak_map_u64_u64, (size_t)OAKI_MAP_FILL << (LARGE - 1));
    ck_assert_uint_eq(w.m->bits, LARGE);
    uint64_t seed = w.m->seed, key, most = 0;
    for (uint64_t i = 0; i < DENSE * DENSE; i++) { /* all in the first homes */
        key = model_unmix(i / DENSE << (64 - LARGE) | (i + 1) << 24, seed, w.m->mult);
        ck_assert_ptr_nonnull(oak_map_put(w.m, &key));
    }
    for (size_t n = 0; w.m->flags & OAKI_MAP_HINTED; n++) {
        ck_assert_uint_le(n, (size_t)1 << LARGE);
        oak_map_delete(w.m, &key);
        oak_map_put(w.m, &key);
    }
    ck_assert_int_eq(sigaction(SIGTRAP, &act, NULL), 0);
    for (size_t n = 0; w.m->seed == seed; n++) {
        ck_assert_uint_lt(n, 10);
        each.traps = 0;
        test_single_step(true);
        oak_map_delete(w.m, &key);
        test_single_step(false);
        most = OAKI_MAX(most, each.traps);
        oak_map_put(w.m, &key);
    }
    ck_assert_uint_lt(w.m->bits, LARGE);
    printf("%lu instructions\n", (unsigned long)most);
    ck_assert_uint_lt(most, (size_t)1 << LARGE);
}
END_TEST

START_TEST(shrinking_and_turning_back_lose_no_entry_at_any_instruction)
{
    if (test_skip_slow()) return;
    begin_to_shrink(four_full);
    begin_to_look();
    go_on();
    turn_back(0);
    end_looking();
}
END_TEST
#endif

/* ---- memory that held something else ---- */

/* Tags that nobody may look at yet become what a former owner of the memory might have left. */
static void soil(void)
{
    const struct oak_map_array_ *a = &w.m->array[0];
    if (w.m->bits == 0) return;
    for (size_t g = 0, homes = oaki_map_homes(a); g < w.m->more->groups[0]; g++) {
        uint64_t lo = (uint64_t)(g & ~(size_t)a->gmask) << a->shift;
        bool sound = g < homes ? lo <= w.m->last || a->dir[g >> a->gbits]
                               : g < oaki_map_array_groups(w.m, 0);
        if (!sound) memset(oaki_map_tags(a, g), 0xff, OAKI_MAP_GROUP);
    }
}

/* The last home takes `hot` of a hundred keys: into the tail, which is grown into part by part, and
 * whose tags have to become more. */
static void overflow(const oak_map_type *t, size_t n, size_t hot)
{
    enum { BIG = 1 << 20 };
    start(t);
    for (size_t i = 0; i < n; i++) {
        uint64_t top = i % 100 < hot ? UINT64_MAX << 44 : i * UINT64_C(0x9e3779b97f4a7c15);
        uint64_t hash = (top & ~(uint64_t)(BIG - 1)) | i;
        uint64_t k = model_unmix(hash, w.seed, w.mult);
        soil();
        ck_assert_ptr_nonnull(oak_map_put(w.m, &k));
        const char *broken = oaki_map_check(w.m);
        if (broken) ck_abort_msg("%zu keys: not so: %s", i, broken);
    }
    size_t given = 0;
    oak_map_iter it;
    for (oak_map_iter_init(&it, w.m); oak_map_iter_next(&it); given++) {}
    ck_assert_uint_eq(given, n);
}

START_TEST(tails_take_no_tags_as_they_find_them)
{
    static const size_t hot[] = { 3, 15, 60 };
    overflow(&oak_map_u64_u64, 3000, hot[_i]);
}
END_TEST

START_TEST(tags_that_have_moved_are_told_to_segments)
{
    overflow(&oak_map_u64_ptr, 2000, 50);
    ck_assert_uint_gt(w.m->more->groups[0], oaki_map_homes(&w.m->array[0]) + 16);
}
END_TEST

Suite *suite_maps_map_resize(void)
{
    Suite *s = suite_create("maps_map_resize");
    TCase *tc = tcase_create("turning back");
    tcase_add_test(tc, adds_turn_shrinking_back);
    tcase_add_loop_test(tc, turned_back_in_the_middle_it_goes_on, 30, 42);
    tcase_add_test(tc, turned_back_before_the_end_of_a_chain);
    tcase_add_test(tc, what_lies_behind_the_homes_needs_room);
    suite_add_tcase(s, tc);
#if defined(__x86_64__)
    tc = tcase_create("at any instruction");
    tcase_add_test(tc, growing_loses_no_entry_at_any_instruction);
    tcase_add_loop_test(tc, whole_resizes_lose_no_entry_at_any_instruction, 0, 2);
    tcase_add_test(tc, a_tail_that_grows_loses_no_entry_at_any_instruction);
    tcase_add_test(tc, shrinking_and_turning_back_lose_no_entry_at_any_instruction);
    tcase_add_test(tc, few_entries_of_a_large_array_are_found_at_once);
    suite_add_tcase(s, tc);
#endif
    tc = tcase_create("tails");
    tcase_add_loop_test(tc, tails_take_no_tags_as_they_find_them, 0, 3);
    tcase_add_test(tc, tags_that_have_moved_are_told_to_segments);
    suite_add_tcase(s, tc);
    return s;
}
