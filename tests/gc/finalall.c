/* finalall.c - tests of oak_finalize_all and oak_zone_finalize: the order, what is run, and what is
 * told; and of turning the finalizers' thread on and off. */
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>

Suite *suite_gc_finalall(void);

#define MANY 300

typedef struct node {
    struct node *other;
    size_t id;
} node;

static node *kept[MANY]; /* all is reachable: no collection would run any of these */
static AO_t order[4 * MANY], norder;

static void set_up(void)
{
    oak_config c = test_config();
    c.finalizer_thread = 0;
    test_heap_start(c);
}

static void set_up_thread(void)
{
    oak_config c = test_config();
    c.finalizer_thread = 1;
    test_heap_start(c);
}

static void set_up_tags(void)
{
    oak_config c = test_config();
    c.finalizer_thread = 0;
    c.pointer_tags[0] = OAK_TAG_NAN_FFFC;
    test_heap_start(c);
}

static void note_id(size_t id)
{
    size_t at = AO_fetch_and_add1_full(&norder);
    if (at < OAKI_COUNT(order)) AO_store_release(&order[at], id);
}

static void note(void *obj, void *ctx)
{
    (void)ctx;
    note_id(((node *)obj)->id);
}

static void note_cleanup(void *ctx)
{
    note_id((size_t)(uintptr_t)ctx);
}

static node *make(size_t id, node *other, int flags)
{
    node *n = oak_alloc(sizeof *n);
    *n = (node){ other, id };
    ck_assert_int_eq(oak_finalizer_set_ex(n, note, NULL, flags, NULL, NULL), 0);
    return kept[id] = n;
}

static void assert_all(size_t n)
{
    size_t left = 99;
    ck_assert_int_eq(oak_finalize_all(&left), 0);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(AO_load(&norder), n);
    oak_memstats m = test_stats();
    ck_assert_uint_eq(m.finalizers + m.finalizers_ready, 0);
    test_assert_sound();
}

START_TEST(reachable_ones_run_once_each)
{
    for (size_t i = 0; i < MANY; i++) make(i, NULL, (int)(i % 4));
    assert_all(MANY);
    ck_assert_int_eq(oak_finalize_all(NULL), 0);
    ck_assert_uint_eq(AO_load(&norder), MANY);
    for (size_t i = 0; i < MANY; i++) ck_assert_uint_eq(kept[i]->id, i);
}
END_TEST

static size_t removed;

static void remove_others(void *obj, void *ctx)
{
    note(obj, ctx);
    for (size_t i = 0; i < 3; i++) {
        oak_finalizer old = NULL;
        if (kept[i] == obj) continue;
        ck_assert_int_eq(oak_finalizer_set_ex(kept[i], NULL, NULL, 0, &old, NULL), 0);
        removed += old == remove_others;
    }
}

static void replace_others(void *obj, void *ctx)
{
    note(obj, ctx);
    for (size_t i = 0; i < 3; i++)
        if (kept[i] != obj) ck_assert_int_eq(oak_finalizer_set(kept[i], note, NULL), 0);
}

/* By the one that runs first. */
START_TEST(those_that_are_queued_are_removed_or_replaced)
{
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(oak_finalizer_set(make(i, NULL, _i), remove_others, NULL), 0);
    assert_all(1);
    ck_assert_uint_eq(removed, 2);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(oak_finalizer_set(make(i, NULL, _i), replace_others, NULL), 0);
    assert_all(1 + 3);
}
END_TEST

/* Each refers to the one with the next lower number. */
START_TEST(a_chain_runs_from_its_head)
{
    for (size_t i = 0; i < MANY; i++) make(i, i ? kept[i - 1] : NULL, OAK_FINALIZER_ORDERED);
    assert_all(MANY);
    for (size_t i = 0; i < MANY; i++) ck_assert_uint_eq(order[i], MANY - 1 - i);
}
END_TEST

/* Through objects that have none, a map's array, and an ephemeron; and through the context. */
START_TEST(all_ways_to_an_object_count)
{
    node *low = make(0, NULL, OAK_FINALIZER_ORDERED);
    void **between = oak_alloc(100000);
    between[9999] = low;
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t k = 0; k < 100; k++) *(void **)oak_map_put(m, &k) = between;
    make(1, (node *)m, OAK_FINALIZER_ORDERED);
    oak_ephemeron *e = oak_ephemeron_new(kept[1], kept[1]);
    make(2, (node *)e, OAK_FINALIZER_ORDERED);
    node *by_context = make(3, NULL, OAK_FINALIZER_ORDERED);
    ck_assert_int_eq(oak_finalizer_set(by_context, note, kept[2]), 0);
    assert_all(4);
    for (size_t i = 0; i < 4; i++) ck_assert_uint_eq(order[i], 3 - i);
}
END_TEST

static void *tagged(void *p)
{
    return (void *)((uintptr_t)p | (uintptr_t)0xfffc << 48);
}

/* An ephemeron's value, and a context, as the collector sees them. */
START_TEST(tagged_words_lead_to_objects)
{
    make(0, NULL, OAK_FINALIZER_ORDERED);
    make(1, (node *)oak_ephemeron_new(kept[0], tagged(kept[0])), OAK_FINALIZER_ORDERED);
    ck_assert_int_eq(oak_finalizer_set(make(2, NULL, OAK_FINALIZER_ORDERED), note, tagged(kept[1])),
                     0);
    assert_all(3);
    for (size_t i = 0; i < 3; i++) ck_assert_uint_eq(order[i], 2 - i);
}
END_TEST

START_TEST(a_cleanup_waits_for_finalizers)
{
    make(0, NULL, OAK_FINALIZER_ORDERED);
    make(1, kept[0], OAK_FINALIZER_ORDERED);
    ck_assert_int_eq(oak_cleanup_add(kept[0], note_cleanup, (void *)100), 0);
    ck_assert_int_eq(oak_cleanup_add(kept[0], note_cleanup, (void *)101), 0);
    node *plain = oak_alloc(sizeof *plain);
    ck_assert_int_eq(oak_cleanup_add(plain, note_cleanup, (void *)102), 0);
    assert_all(5);
    ck_assert_uint_eq(order[0], 1);
    ck_assert_uint_eq(order[1], 102);
    ck_assert_uint_eq(order[2], 0);
    ck_assert_uint_eq(order[3] + order[4], 201);
    oak_free(plain); /* no record of it is left behind */
    oak_collect();
    ck_assert_uint_eq(AO_load(&norder), 5);
    test_assert_sound();
}
END_TEST

/* A context that refers to the object itself keeps it for ever otherwise. */
START_TEST(an_object_that_its_context_refers_to_runs)
{
    node *n = make(0, NULL, OAK_FINALIZER_ORDERED), *own = make(1, NULL, OAK_FINALIZER_IGNORE_SELF);
    own->other = own;
    ck_assert_int_eq(oak_finalizer_set(n, note, n), 0);
    assert_all(2);
}
END_TEST

START_TEST(a_cycle_is_told)
{
    size_t left;
    make(0, NULL, OAK_FINALIZER_ORDERED);
    make(1, kept[0], OAK_FINALIZER_ORDERED);
    kept[0]->other = kept[1];
    make(2, kept[1], OAK_FINALIZER_ORDERED);
    errno = 0;
    ck_assert_int_eq(oak_finalize_all(&left), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(left, 2);
    ck_assert_uint_eq(AO_load(&norder), 1);
    kept[0]->other = NULL;
    assert_all(3);
    ck_assert_uint_eq(order[1], 1);
    ck_assert_uint_eq(order[2], 0);
}
END_TEST

/* ---- those that come back ---- */

static size_t again;

static void set_again(void *obj, void *ctx)
{
    note(obj, ctx);
    if (again > 0) {
        again--;
        (void)oak_finalizer_set(obj, set_again, ctx);
    }
}

START_TEST(those_that_set_themselves_again_are_bounded_and_told)
{
    size_t left = 99;
    make(0, NULL, OAK_FINALIZER_ORDERED);
    ck_assert_int_eq(oak_finalizer_set(kept[0], set_again, NULL), 0);
    again = 5;
    assert_all(6);
    ck_assert_int_eq(oak_finalizer_set(kept[0], set_again, NULL), 0);
    again = SIZE_MAX;
    errno = 0;
    ck_assert_int_eq(oak_finalize_all(&left), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(left, 1);
    ck_assert_uint_le(AO_load(&norder), 30);
}
END_TEST

static AO_t goes_on;

/* Its collection finds the others that have done so. */
static void set_again_and_collect(void *obj, void *ctx)
{
    (void)AO_fetch_and_add1_full(&norder);
    if (!AO_load(&goes_on)) return;
    (void)oak_finalizer_set(obj, set_again_and_collect, ctx);
    oak_collect();
}

static void make_endless(void *arg)
{
    (void)arg;
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(oak_finalizer_set(oak_alloc(32), set_again_and_collect, NULL), 0);
    AO_store(&goes_on, 1);
}

static void end_endless(void)
{
    size_t left = 99;
    AO_store(&goes_on, 0);
    ck_assert_int_eq(oak_finalize_all(&left), 0);
    ck_assert_uint_eq(left, 0);
    test_assert_sound();
}

START_TEST(those_that_collections_find_again_are_bounded_and_told)
{
    size_t left = 0;
    (void)oak_set_finalizer_thread(_i == 1);
    test_away(make_endless, NULL);
    errno = 0;
    ck_assert_int_eq(oak_finalize_all(&left), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_ge(left, 1);
    if (_i == 0) ck_assert_uint_le(AO_load(&norder), 8 * 30);
    end_endless();
}
END_TEST

/* The end of a zone that is referred to runs finalizers, too. */
START_TEST(they_bound_the_end_of_a_zone)
{
    static void *kept_inside;
    oak_zone *z = oak_zone_new(NULL);
    kept_inside = oak_zone_alloc(z, 32);
    test_away(make_endless, NULL);
    ck_assert_int_eq(oak_zone_destroy(z, NULL), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_uint_ge(AO_load(&norder), 1);
    end_endless();
    OAKI_HOLD(kept_inside);
}
END_TEST

static oak_zone *inside; /* NULL: all */
static AO_t refused, allowed;
static size_t left_inside;

static void finalize_all(void)
{
    errno = 0;
    left_inside = 99;
    int r = inside ? oak_zone_finalize(inside, &left_inside) : oak_finalize_all(&left_inside);
    (void)AO_fetch_and_add1_full(r == -1 && errno == EDEADLK ? &refused : &allowed);
}

static void finalize_inside(void *obj, void *ctx)
{
    note(obj, ctx);
    finalize_all();
}

static void clean_up_inside(void *ctx)
{
    note_cleanup(ctx);
    finalize_all();
}

/* Of all and of a zone; by a finalizer and by a cleanup. The call outside of it goes on. */
START_TEST(from_a_finalizer_it_is_refused)
{
    inside = _i / 2 ? oak_zone_new(NULL) : NULL;
    if (inside) ck_assert_int_eq(oak_zone_enter(inside), 0);
    make(0, NULL, OAK_FINALIZER_ORDERED);
    make(1, NULL, OAK_FINALIZER_ORDERED);
    node *cleaned = kept[2] = oak_alloc(sizeof *cleaned);
    if (_i % 2)
        ck_assert_int_eq(oak_cleanup_add(cleaned, clean_up_inside, (void *)2), 0);
    else
        ck_assert_int_eq(oak_finalizer_set(kept[0], finalize_inside, NULL), 0);
    if (inside) oak_zone_leave(inside);
    assert_all(_i % 2 ? 3 : 2);
    ck_assert_uint_eq(AO_load(&refused), 1);
    ck_assert_uint_eq(AO_load(&allowed), 0);
    ck_assert_uint_le(left_inside, 2);
}
END_TEST

static void make_refused_garbage(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        node *n = oak_alloc(sizeof *n);
        ck_assert_int_eq(oak_finalizer_set(n, finalize_inside, NULL), 0);
    }
}

/* After a collection: where the program runs them, and on their own thread. */
START_TEST(from_one_that_a_collection_has_found_it_is_refused)
{
    test_away(make_refused_garbage, NULL);
    (void)oak_set_finalizer_thread(_i == 1);
    oak_collect();
    if (_i == 0) ck_assert_uint_ge(oak_finalizers_run(), 45);
    test_wait(&refused, 45);
    ck_assert_uint_eq(AO_load(&allowed), 0);
    ck_assert(oak_set_finalizer_thread(false) == (_i == 1));
    ck_assert_int_eq(oak_finalize_all(NULL), 0);
    ck_assert_uint_eq(AO_load(&refused), 50);
}
END_TEST

/* ---- a zone ---- */

static void finalize_what_was_discarded(void *unused)
{
    oak_zone *z = oak_zone_new(NULL);
    (void)unused;
    if (!oak_zone_alloc(z, 16) || oak_zone_discard(z) != 0) _exit(1);
    (void)oak_zone_finalize(z, NULL);
}

START_TEST(a_discarded_zone_is_told_of)
{
    test_dies(finalize_what_was_discarded, NULL, "oakum: oak_zone_finalize: zone 0x");
}
END_TEST

START_TEST(a_zone_runs_its_own)
{
    size_t left;
    oak_zone *z = oak_zone_new(NULL);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    make(0, NULL, OAK_FINALIZER_ORDERED);
    make(1, kept[0], OAK_FINALIZER_ORDERED);
    ck_assert_int_eq(oak_cleanup_add(kept[1], note_cleanup, (void *)2), 0);
    oak_zone_leave(z);
    make(3, kept[1], OAK_FINALIZER_ORDERED); /* of another zone: doesn't hold up the zone's */
    ck_assert_int_eq(oak_zone_finalize(z, &left), 0);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(AO_load(&norder), 3);
    ck_assert_uint_eq(order[0], 1);
    ck_assert_uint_eq(order[1], 0);
    ck_assert_uint_eq(order[2], 2);
    ck_assert_int_eq(oak_zone_discard(z), 0);
    ck_assert_int_eq(oak_zone_finalize(NULL, &left), 0);
    ck_assert_uint_eq(AO_load(&norder), 4);
    test_assert_sound();
}
END_TEST

static AO_t blocked, unblocked;

static void block(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    if (AO_fetch_and_add1_full(&blocked) > 0) return;
    while (!AO_load(&unblocked)) oaki_os_yield();
}

static void make_blocking(void *arg)
{
    (void)arg;
    for (int i = 0; i < 8; i++) ck_assert_int_eq(oak_finalizer_set(oak_alloc(32), block, NULL), 0);
}

static void *run_blocking(void *arg)
{
    (void)oak_finalizers_run();
    return arg;
}

/* One of another zone runs all the time; others are run by the call. */
START_TEST(a_zone_waits_for_its_own)
{
    size_t left;
    oak_zone *z = oak_zone_new(NULL);
    test_away(make_blocking, NULL);
    oak_collect();
    pthread_t id = test_start(run_blocking, NULL);
    test_wait(&blocked, 1);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    make(0, NULL, OAK_FINALIZER_ORDERED);
    make(1, kept[0], OAK_FINALIZER_ORDERED);
    oak_zone_leave(z);
    kept[0]->other = kept[1];
    ck_assert_int_eq(oak_zone_finalize(z, &left), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(left, 2);
    kept[0]->other = NULL;
    ck_assert_int_eq(oak_zone_finalize(z, &left), 0);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(AO_load(&norder), 2);
    AO_store(&unblocked, 1);
    test_join(id);
}
END_TEST

/* ---- with a thread of their own ---- */

START_TEST(a_thread_of_their_own_changes_no_order)
{
    for (size_t i = 0; i < MANY; i++) make(i, i ? kept[i - 1] : NULL, OAK_FINALIZER_ORDERED);
    assert_all(MANY);
    for (size_t i = 0; i < MANY; i++) ck_assert_uint_eq(order[i], MANY - 1 - i);
}
END_TEST

static void make_garbage(void *arg)
{
    node *n = oak_alloc(sizeof *n);
    (void)arg;
    n->id = 7;
    ck_assert_int_eq(oak_finalizer_set(n, note, NULL), 0);
}

static void make_much_garbage(void *arg)
{
    for (int i = 0; i < 50; i++) make_garbage(arg);
}

START_TEST(the_thread_can_be_turned_off_and_on)
{
    ck_assert(oak_set_finalizer_thread(false));
    ck_assert(!oak_set_finalizer_thread(false));
    test_away(make_much_garbage, NULL);
    oak_collect();
    for (int i = 0; i < 100; i++) oaki_os_yield();
    ck_assert_uint_eq(AO_load(&norder), 0); /* only where asked for */
    ck_assert_uint_ge(test_stats().finalizers_ready, 45);
    ck_assert(!oak_set_finalizer_thread(true));
    while (test_stats().finalizers_ready > 0) oaki_os_yield(); /* on the thread */
    test_wait(&norder, 45);
    ck_assert_uint_gt(test_threads(), 1);
}
END_TEST

START_TEST(a_thread_that_was_not_to_be_can_be_had_later)
{
    test_away(make_much_garbage, NULL);
    oak_collect();
    ck_assert_uint_eq(test_threads(), 1);
    ck_assert(!oak_set_finalizer_thread(true));
    test_wait(&norder, 45);
    ck_assert_uint_eq(test_threads(), 2);
}
END_TEST

Suite *suite_gc_finalall(void)
{
    Suite *s = suite_create("gc/finalall");
    TCase *c = tcase_create("finalall");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, set_up, NULL);
    tcase_add_test(c, reachable_ones_run_once_each);
    tcase_add_loop_test(c, those_that_are_queued_are_removed_or_replaced, 0, 4);
    tcase_add_test(c, a_chain_runs_from_its_head);
    tcase_add_test(c, all_ways_to_an_object_count);
    tcase_add_test(c, a_cleanup_waits_for_finalizers);
    tcase_add_test(c, an_object_that_its_context_refers_to_runs);
    tcase_add_test(c, a_cycle_is_told);
    tcase_add_test(c, those_that_set_themselves_again_are_bounded_and_told);
    tcase_add_loop_test(c, those_that_collections_find_again_are_bounded_and_told, 0, 2);
    tcase_add_test(c, they_bound_the_end_of_a_zone);
    tcase_add_loop_test(c, from_a_finalizer_it_is_refused, 0, 4);
    tcase_add_loop_test(c, from_one_that_a_collection_has_found_it_is_refused, 0, 2);
    tcase_add_test(c, a_discarded_zone_is_told_of);
    tcase_add_test(c, a_zone_runs_its_own);
    tcase_add_test(c, a_zone_waits_for_its_own);
    tcase_add_test(c, a_thread_that_was_not_to_be_can_be_had_later);
    suite_add_tcase(s, c);
    c = tcase_create("tags");
    tcase_add_checked_fixture(c, set_up_tags, NULL);
    tcase_add_test(c, tagged_words_lead_to_objects);
    suite_add_tcase(s, c);
    c = tcase_create("thread");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, set_up_thread, NULL);
    tcase_add_test(c, a_thread_of_their_own_changes_no_order);
    tcase_add_test(c, the_thread_can_be_turned_off_and_on);
    suite_add_tcase(s, c);
    return s;
}
