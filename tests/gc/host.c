/* host.c - tests of gc/host.c, hold.c and push.c: roots that a host marks, displacements, objects
 * held by hand, moments without a collection; each with the verifier looking on. */
#include "gc/host.h"

#include "gc/debug/edges.h"
#include "gc/trace/trace.h"
#include "observe/graph.h"
#include "roots_support.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <stdlib.h>
#include <string.h>

Suite *suite_gc_host(void);

static roots_group group[4];

static void set_up(void)
{
    roots_start();
    oaki_debug_switches.verify = 1;
}

/* An image's search, and whether it finds the group. */
static int find_group(oaki_image *im, void *arg)
{
    const roots_group *g = arg;
    oaki_search s;
    uint64_t found = 0;
    if (!oaki_search_begin(&s, im, false)) return 1;
    oaki_search_all(&s);
    for (size_t i = 0; i < ROOTS_N; i++)
        found += oaki_graph_object(im, g->hidden[i] ^ ROOTS_MASK) != SIZE_MAX &&
                 oaki_mark_get((g->hidden[i] ^ ROOTS_MASK) - oaki_the_heap.base);
    oaki_search_end(&s);
    return oaki_image_put(im, &found, sizeof found) ? 0 : 1;
}

static size_t found_in_image(const roots_group *g)
{
    uint64_t found = 0;
    oaki_image_request r = { .work = find_group,
                             .arg = (void *)(uintptr_t)g,
                             .timeout_ns = 60000000000,
                             .own_sp = OAKI_IMAGE_OWN_SP,
                             .keep_fd = -1 };
    roots_clean();
    ck_assert_int_eq(oaki_image_ask(&r, &found, sizeof found, NULL), 0);
    return found;
}

/* ---- roots that a host marks ---- */

/* Disguised, so that only the hook knows it: how it marks, and the words of a group. */
static struct {
    int way;
    const roots_group *group;
    size_t add;
    void **stack; /* ROOTS_N words, in malloc's memory */
    void *object; /* disguised */
    size_t calls;
} hook;

enum { NOTHING, POINTERS, DISPLACED, RANGE, AMBIGUOUS, UNSCANNED, UNMARKED };

static void mark_group(void *ctx, oak_marker *m)
{
    (void)ctx;
    hook.calls++;
    for (size_t i = 0; i < ROOTS_N && (hook.way == POINTERS || hook.way == DISPLACED); i++) {
        const char *p = (const char *)(hook.group->hidden[i] ^ ROOTS_MASK) + hook.add;
        if (hook.way == POINTERS) oak_mark_ptr(m, p);
        else oaki_mark_displaced(m, p);
    }
    if (hook.way == RANGE) oak_mark_range(m, hook.stack, ROOTS_N * sizeof(void *));
    if (hook.way == AMBIGUOUS) oaki_mark_range_ambiguous(m, hook.stack, hook.stack + ROOTS_N);
    if (hook.way == UNSCANNED)
        oaki_mark_unscanned(m, (void *)((uintptr_t)hook.object ^ ROOTS_MASK));
    for (size_t i = 0; i < ROOTS_N && hook.way == UNMARKED; i++) {
        void *p = (void *)(hook.group->hidden[i] ^ ROOTS_MASK);
        oaki_mark_unscanned(m, p); /* marked at once */
        if (i % 2) oaki_unmark(m, p);
    }
}

static void use_hook(int way, const roots_group *g, size_t add)
{
    if (!hook.stack) hook.stack = calloc(ROOTS_N, sizeof *hook.stack);
    roots_reveal(g, hook.stack, add);
    hook.group = g;
    hook.add = add;
    hook.way = way;
    ck_assert_int_eq(oaki_gc_at_roots(mark_group, NULL), 0);
    ck_assert_int_eq(oaki_gc_at_roots(mark_group, NULL), 0); /* once, whoever says it again */
}

/* Collects once, as the hook may not look at objects that are gone. */
static void unmark_once(const roots_group *g)
{
    use_hook(UNMARKED, g, 0);
    roots_collect();
    hook.way = NOTHING;
}

static size_t weak_alive(oak_weak **weak, size_t first)
{
    size_t n = 0;
    for (size_t i = first; i < ROOTS_N; i += 2) n += oak_weak_get(weak[i]) != NULL;
    return n;
}

/* Whatever the hook itself still says, and so the verifier's marker hears. */
START_TEST(what_a_host_unmarks_goes)
{
    oak_weak **weak = oak_alloc(ROOTS_N * sizeof *weak);
    roots_make(&group[0], 48);
    for (size_t i = 0; i < ROOTS_N; i++)
        weak[i] = oak_weak_new((void *)(group[0].hidden[i] ^ ROOTS_MASK));
    unmark_once(&group[0]);
    ck_assert_uint_eq(weak_alive(weak, 0), ROOTS_N / 2);
    ck_assert_uint_le(weak_alive(weak, 1), ROOTS_LUCK);
}
END_TEST

static void make_by_hand(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ROOTS_N; i++) {
        void *p = i % 4 < 2 ? oak_alloc_pinned(48) : oak_alloc_noscan(48);
        if (i % 4 >= 2) ck_assert_int_eq(oaki_hold(p), 0);
        group[0].hidden[i] = (uintptr_t)p ^ ROOTS_MASK;
    }
}

/* Their tables, and those that will free them, still know them. */
START_TEST(what_is_kept_by_hand_is_never_unmarked)
{
    test_away(make_by_hand, NULL);
    unmark_once(&group[0]);
    roots_collect();
    for (size_t i = 0; i < ROOTS_N; i++) oak_free((void *)(group[0].hidden[i] ^ ROOTS_MASK));
}
END_TEST

/* The mark has noted that weak handles keep their targets. */
START_TEST(a_concurrent_mark_takes_no_mark_away)
{
    if (!test_heap_tracked(test_config_beside(test_tracking), 0)) return;
    oak_weak **weak = oak_alloc(ROOTS_N * sizeof *weak);
    void **held = oak_alloc(ROOTS_N * sizeof *held);
    for (size_t i = 0; i < ROOTS_N; i++) {
        held[i] = oak_alloc(48);
        weak[i] = oak_weak_new(held[i]);
        group[0].hidden[i] = (uintptr_t)held[i] ^ ROOTS_MASK;
    }
    oaki_debug_switches.beside = 1;
    use_hook(UNMARKED, &group[0], 0);
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc == before)
        if (test_skip(!test_ask_beside(), "a mark in a pause would take them away")) return;
    test_await_idle();
    ck_assert_uint_gt(hook.calls, 0);
    hook.way = NOTHING;
    oak_collect();
    ck_assert_uint_eq(weak_alive(weak, 0) + weak_alive(weak, 1), ROOTS_N);
    for (size_t i = 0; i < ROOTS_N; i++) ck_assert_ptr_eq(oak_weak_get(weak[i]), held[i]);
}
END_TEST

/* Each way, from each byte that a pointer may lead to. */
START_TEST(what_a_host_marks_lives)
{
    size_t add = (size_t)(_i / 4) * 17;
    roots_make(&group[0], 48);
    roots_make(&group[1], 48);
    use_hook(POINTERS + _i % 4, &group[0], add);
    roots_assert_kept(roots_alive(&group[0]));
    ck_assert_uint_eq(found_in_image(&group[0]), ROOTS_N);
    roots_assert_gone(roots_alive(&group[1]));
    hook.way = NOTHING;
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

START_TEST(a_host_is_asked_once_in_a_cycle_and_once_by_the_verifier)
{
    test_once();
    roots_make(&group[0], 48);
    use_hook(POINTERS, &group[0], 0);
    roots_collect();
    ck_assert_uint_eq(hook.calls, 2);
    oaki_debug_switches.verify = 0;
    roots_collect();
    ck_assert_uint_eq(hook.calls, 3);
}
END_TEST

static void hide_words(void *arg)
{
    void **p = oak_alloc(ROOTS_N * sizeof(void *));
    (void)arg;
    roots_reveal(&group[0], p, 0);
    hook.object = (void *)((uintptr_t)p ^ ROOTS_MASK);
}

/* The object lives and what only its words lead to goes; the verifier doesn't mind. */
START_TEST(what_is_marked_unscanned_keeps_nothing)
{
    roots_make(&group[0], 48);
    use_hook(UNSCANNED, &group[0], 0);
    roots_forget(hook.stack);
    test_away(hide_words, NULL);
    roots_assert_gone(roots_alive(&group[0]));
    ck_assert_ptr_nonnull(oak_base((void *)((uintptr_t)hook.object ^ ROOTS_MASK)));
}
END_TEST

/* A range whose words count one past the end, as a stack's do, and one whose words don't. */
START_TEST(an_ambiguous_range_keeps_what_ends_there)
{
    roots_make(&group[0], 48);
    use_hook(AMBIGUOUS, &group[0], 48);
    roots_assert_kept(roots_alive(&group[0]));
    hook.way = RANGE;
    ck_assert_uint_lt(roots_alive(&group[0]), ROOTS_N);
}
END_TEST

/* ---- displacements ---- */

static const uint64_t one_and_eight[] = { 1 << 1 | 1 << 8 };

enum { FROM_RANGE, FROM_OBJECT, FROM_LARGE, FROM_TYPED, FROM_HOST, FROM_DATA, PLACES };

static void *data_words[ROOTS_N];
static oak_type *words_type;

static void mark_words(oak_marker *m, void *obj, size_t size)
{
    for (size_t i = 0; i < size / sizeof(void *); i++) oaki_mark_displaced(m, ((void **)obj)[i]);
}

static void make_place(void *where)
{
    static const uint64_t all = ~(uint64_t)0;
    size_t n = ROOTS_N * sizeof(void *);
    void **p = NULL;
    switch (*(int *)where) {
    case FROM_OBJECT: p = oak_alloc(n); break;
    case FROM_LARGE: p = oak_alloc((size_t)1 << 20); break;
    case FROM_TYPED:
        words_type = oak_type_bitmap("words", n, &all);
        p = oak_alloc_typed(words_type, 1);
        break;
    case FROM_HOST: {
        const oak_type *t = oaki_type_host("host", 8, mark_words, NULL);
        p = oak_alloc_typed(t, ROOTS_N);
        break;
    }
    case FROM_DATA: p = data_words; break;
    default: p = hook.stack; break;
    }
    hook.object = p;
}

/* Words in one place of each kind, at this distance behind their objects' starts: how many of the
 * objects they keep, by the collector and by an image. */
static size_t alive_from(int where, size_t size, size_t add)
{
    hook.stack = calloc(ROOTS_N, sizeof *hook.stack);
    if (where == FROM_RANGE)
        ck_assert_int_eq(oak_root_add(hook.stack, ROOTS_N * sizeof(void *)), 0);
    roots_make(&group[0], size);
    test_away(make_place, &where);
    roots_reveal(&group[0], hook.object, add);
    size_t alive = roots_alive(&group[0]);
    ck_assert_uint_eq(found_in_image(&group[0]), alive);
    roots_forget(hook.object);
    hook.object = NULL;
    roots_assert_gone(roots_alive(&group[0]));
    return alive;
}

static const size_t sizes[] = { 16, 32, 48, 64, 112, 512, 2048, 8192, 40960 };

START_TEST(allowed_displacements_count)
{
    static const size_t allowed[] = { 0, 1, 8 };
    int where = _i % PLACES;
    size_t size = sizes[(size_t)_i / PLACES];
    ck_assert_int_eq(oaki_mark_displacements(one_and_eight, 16), 0);
    ck_assert(oaki_mark_is_strict());
    for (size_t i = 0; i < OAKI_COUNT(allowed); i++)
        roots_assert_kept(alive_from(where, size, allowed[i]));
}
END_TEST

START_TEST(other_displacements_do_not_count)
{
    size_t size = sizes[(size_t)_i / PLACES];
    const size_t refused[] = { 2, 7, 15, size / 2 + 1, size - 1 };
    int where = _i % PLACES;
    ck_assert_int_eq(oaki_mark_displacements(one_and_eight, 16), 0);
    for (size_t i = 0; i < OAKI_COUNT(refused); i++)
        if (refused[i] != 8) roots_assert_gone(alive_from(where, size, refused[i]));
}
END_TEST

START_TEST(without_a_rule_all_count)
{
    size_t size = sizes[(size_t)_i / PLACES];
    int where = _i % PLACES;
    if (_i % 2) {
        ck_assert_int_eq(oaki_mark_displacements(one_and_eight, 16), 0);
        ck_assert_int_eq(oaki_mark_displacements(NULL, 0), 0);
    }
    ck_assert(!oaki_mark_is_strict());
    roots_assert_kept(alive_from(where, size, size - 1));
}
END_TEST

static __attribute__((noinline)) void look_from_here(size_t add)
{
    void *local[ROOTS_N];
    roots_reveal(&group[0], local, add);
    group[1].size = roots_alive(&group[0]);
    roots_forget(local);
}

START_TEST(a_stack_keeps_what_it_points_into_whatever_the_rule)
{
    ck_assert_int_eq(oaki_mark_displacements(one_and_eight, 16), 0);
    roots_make(&group[0], 96);
    look_from_here((size_t)_i);
    roots_assert_kept(group[1].size);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

static void *ephemeron_of(const roots_group *g)
{
    return oak_ephemeron_new((void *)(g->hidden[0] ^ ROOTS_MASK),
                             (char *)(g->hidden[1] ^ ROOTS_MASK) + 5);
}

static void *kept[2];

static void make_pair(void *arg)
{
    (void)arg;
    kept[0] = ephemeron_of(&group[0]);
    kept[1] = (void *)(group[0].hidden[0] ^ ROOTS_MASK);
}

START_TEST(what_oakum_itself_refers_to_counts_whatever_the_rule)
{
    ck_assert_int_eq(oaki_mark_displacements(one_and_eight, 16), 0);
    roots_make(&group[0], 96);
    test_away(make_pair, NULL);
    (void)roots_alive(&group[0]);
    ck_assert(!group[0].dead[0]);
    ck_assert(!group[0].dead[1]);
    memset(kept, 0, sizeof kept);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

#define CROWD 4000 /* words in one object: more than queue and stack have room for */

static void make_crowd(void *add)
{
    void **p = oak_alloc(CROWD * sizeof *p);
    for (size_t i = 0; i < CROWD; i++)
        p[i] = (char *)(group[0].hidden[i % ROOTS_N] ^ ROOTS_MASK) + *(size_t *)add;
    kept[0] = p;
}

static size_t alive_from_crowd(size_t add)
{
    roots_make(&group[0], 64);
    test_away(make_crowd, &add);
    size_t alive = roots_alive(&group[0]);
    kept[0] = NULL;
    roots_assert_gone(roots_alive(&group[0]));
    return alive;
}

/* Marks that overflow the stack keep to the rule as well. */
START_TEST(an_overflow_keeps_to_the_rule)
{
    oaki_debug_switches.markstack = 1;
    ck_assert_int_eq(oaki_mark_displacements(one_and_eight, 16), 0);
    static void **list;
    list = NULL;
    for (size_t i = 0; i < test_scale(20000); i++) {
        void **p = oak_alloc(32);
        p[0] = (char *)list + (list ? i % 2 * 8 : 0);
        p[1] = oak_alloc(16);
        list = p;
    }
    roots_assert_kept(alive_from(FROM_OBJECT, 64, 8));
    roots_assert_gone(alive_from(FROM_OBJECT, 64, 9));
    roots_assert_kept(alive_from_crowd(8));
    roots_assert_gone(alive_from_crowd(9));
    size_t n = 0;
    for (void **p = list; p; p = (void **)((uintptr_t)p[0] & ~(uintptr_t)15)) n++;
    ck_assert_uint_eq(n, test_scale(20000));
}
END_TEST

/* ---- held by hand ---- */

static void hold_all(void *arg)
{
    for (size_t i = 0; i < ROOTS_N; i++) {
        void *p = (void *)(group[0].hidden[i] ^ ROOTS_MASK);
        ck_assert_int_eq(oaki_hold(p), 0);
        ck_assert_int_eq(oaki_hold(p), 0);
        ck_assert(oaki_is_held(p));
    }
    (void)arg;
}

static void drop_all(void *arg)
{
    for (size_t i = 0; i < ROOTS_N; i++) {
        void *p = (void *)(group[0].hidden[i] ^ ROOTS_MASK);
        ck_assert(oaki_drop(p));
        ck_assert(!oaki_drop(p));
        ck_assert(!oaki_is_held(p));
    }
    (void)arg;
}

START_TEST(what_is_held_lives_until_it_is_dropped)
{
    roots_make(&group[0], 48);
    test_away(hold_all, NULL);
    roots_assert_kept(roots_alive(&group[0]));
    ck_assert_uint_eq(found_in_image(&group[0]), ROOTS_N);
    test_away(drop_all, NULL);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

/* A noscan object holds nothing; one that is freed is held no more, nor is the next one there. */
START_TEST(a_held_object_of_each_kind_keeps_what_it_refers_to)
{
    void **scan = oak_alloc(512), **noscan = oak_alloc_noscan(512);
    kept[0] = (void *)((uintptr_t)scan ^ ROOTS_MASK);
    kept[1] = (void *)((uintptr_t)noscan ^ ROOTS_MASK);
    ck_assert_int_eq(oaki_hold(scan), 0);
    ck_assert_int_eq(oaki_hold(noscan), 0);
    roots_make(&group[0], 48);
    roots_make(&group[1], 48);
    roots_reveal(&group[0], scan, 0);
    roots_reveal(&group[1], noscan, 0);
    scan = noscan = NULL;
    roots_assert_kept(roots_alive(&group[0]));
    roots_assert_gone(roots_alive(&group[1]));
    for (int i = 0; i < 2; i++) {
        void *p = (void *)((uintptr_t)kept[i] ^ ROOTS_MASK);
        ck_assert_ptr_eq(oak_base(p), p);
        oak_free(p);
        ck_assert(!oaki_is_held(p));
    }
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

static void hold_inside(void *p)
{
    (void)oaki_hold((char *)p + 8);
}

START_TEST(only_an_object_is_held)
{
    test_dies(hold_inside, oak_alloc(64), "is not the start of a live object");
}
END_TEST

/* ---- cycles ---- */

static void count_start(void *ctx)
{
    test_expect(!oaki_world_stopped(), __LINE__);
    AO_fetch_and_add1((AO_t *)ctx);
}

static void *collect_often(void *arg)
{
    for (int i = 0; i < 50; i++) oak_collect();
    return arg;
}

START_TEST(a_start_is_told_for_each_cycle)
{
    static AO_t starts, others;
    oak_gc_enable();
    ck_assert_int_eq(oaki_gc_before_pause(count_start, &starts), 0);
    ck_assert_int_eq(oaki_gc_before_pause(count_start, &starts), 0); /* once */
    ck_assert_int_eq(oaki_gc_before_pause(count_start, &others), 0);
    size_t before = AO_load(&oaki_the_heap.cycle);
    pthread_t id[3];
    for (size_t i = 0; i < OAKI_COUNT(id); i++) id[i] = test_start(collect_often, NULL);
    for (size_t i = 0; i < OAKI_COUNT(id); i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&starts), AO_load(&oaki_the_heap.cycle) - before);
    ck_assert_uint_eq(AO_load(&starts), AO_load(&others));
    ck_assert_uint_ge(AO_load(&starts), 150);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    oak_gc_disable();
}
END_TEST

static AO_t inside;

static void *hold_and_look(void *arg)
{
    while (!AO_load(&test_quit)) {
        if (oaki_gc_exclude() != 0) abort();
        test_expect(AO_fetch_and_add_full(&inside, 1) == 0, __LINE__);
        AO_t cycle = AO_load(&oaki_the_heap.cycle);
        for (int i = 0; i < 500; i++) oaki_pause();
        test_expect(AO_load(&oaki_the_heap.cycle) == cycle, __LINE__);
        test_expect(AO_fetch_and_sub1_full(&inside) == 1, __LINE__);
        oaki_gc_release();
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

START_TEST(nobody_collects_while_it_is_held)
{
    oak_gc_enable();
    pthread_t id[3];
    id[0] = test_start(hold_and_look, NULL);
    id[1] = test_start(hold_and_look, NULL);
    id[2] = test_start(test_allocate, NULL);
    for (size_t i = 0, n = test_scale(80); i < n; i++) oak_collect();
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < OAKI_COUNT(id); i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_gt(AO_load(&test_moved), 0);
    oak_gc_disable();
}
END_TEST

Suite *suite_gc_host(void)
{
    Suite *s = suite_create("gc/host");
    TCase *t = tcase_create("host");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_loop_test(t, what_a_host_marks_lives, 0, 8);
    tcase_add_test(t, a_host_is_asked_once_in_a_cycle_and_once_by_the_verifier);
    tcase_add_test(t, what_is_marked_unscanned_keeps_nothing);
    tcase_add_test(t, what_a_host_unmarks_goes);
    tcase_add_test(t, what_is_kept_by_hand_is_never_unmarked);
    tcase_add_test(t, an_ambiguous_range_keeps_what_ends_there);
    tcase_add_loop_test(t, allowed_displacements_count, 0, (int)(PLACES * OAKI_COUNT(sizes)));
    tcase_add_loop_test(t, other_displacements_do_not_count, 0, (int)(PLACES * OAKI_COUNT(sizes)));
    tcase_add_loop_test(t, without_a_rule_all_count, 0, (int)(PLACES * OAKI_COUNT(sizes)));
    tcase_add_loop_test(t, a_stack_keeps_what_it_points_into_whatever_the_rule, 0, 96);
    tcase_add_test(t, what_oakum_itself_refers_to_counts_whatever_the_rule);
    tcase_add_test(t, an_overflow_keeps_to_the_rule);
    tcase_add_test(t, what_is_held_lives_until_it_is_dropped);
    tcase_add_test(t, a_held_object_of_each_kind_keeps_what_it_refers_to);
    tcase_add_test(t, only_an_object_is_held);
    tcase_add_test(t, a_start_is_told_for_each_cycle);
    tcase_add_test(t, nobody_collects_while_it_is_held);
    suite_add_tcase(s, t);
    TCase *by[] = { tcase_create("by userfaultfd"), tcase_create("by faults") };
    tcase_add_checked_fixture(by[0], test_by_userfaultfd, NULL);
    tcase_add_checked_fixture(by[1], test_by_faults, NULL);
    for (size_t i = 0; i < OAKI_COUNT(by); i++) {
        tcase_set_timeout(by[i], 120);
        tcase_add_test(by[i], a_concurrent_mark_takes_no_mark_away);
        suite_add_tcase(s, by[i]);
    }
    return s;
}
