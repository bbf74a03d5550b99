/* finalizer.c - tests of gc/refs/decide.c: who is ready when, in the counts that Go 1.19 gives;
 * what is kept alive meanwhile; cleanups; misuse. */
#include "away.h"
#include "runtime/meta.h"
#include "tests/capture.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <string.h>
#include <sys/wait.h>

Suite *suite_gc_finalizer(void);

#define LUCK 4 /* objects that a stray word may keep, of thousands */
#define MANY 1000
#define NODE 1024

typedef struct node {
    struct node *other;
    int id;
    char fill[NODE - 16];
} node;

static size_t runs;      /* finalizers and cleanups that ran */
static int last_id = -1; /* of the last object */
static void *root;

static void count(void *obj, void *ctx)
{
    (void)ctx;
    last_id = ((node *)obj)->id;
    runs++;
}

static void count_cleanup(void *ctx)
{
    last_id = (int)(intptr_t)ctx;
    runs++;
}

static node *new_node(node *other, int id)
{
    node *n = oak_alloc(sizeof *n);
    ck_assert_ptr_nonnull(n);
    n->other = other;
    n->id = id;
    return n;
}

static node *finalizable(node *other, int id, int flags)
{
    node *n = new_node(other, id);
    ck_assert_int_eq(oak_finalizer_set_ex(n, count, NULL, flags, NULL, NULL), 0);
    return n;
}

static oak_memstats stats(void)
{
    static oak_memstats s;
    oak_memstats_read(&s);
    return s;
}

/* Collect and run what is ready; returns how many ran. */
static size_t turn(void)
{
    oak_collect();
    return test_run_finalizers();
}

static void near(size_t got, size_t want)
{
    ck_assert_msg(got <= want && got + LUCK >= want, "%zu is not %zu, less %d at most", got, want,
                  LUCK);
}

/* ---- Go's order ---- */

static void make_single(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++) finalizable(NULL, i, OAK_FINALIZER_ORDERED);
}

START_TEST(acyclic_objects_run_in_the_first_collection_and_go_in_the_second)
{
    test_build(make_single, NULL);
    ck_assert_uint_eq(stats().finalizers, MANY);
    oak_collect();
    near(stats().finalizers_ready, MANY);
    near(stats().heap_objects, MANY);
    near(test_run_finalizers(), MANY);
    near(runs, MANY);
    ck_assert_uint_eq(stats().finalizers_ready, 0);
    ck_assert_uint_le(stats().finalizers, LUCK);
    ck_assert_uint_eq(turn(), 0);
    ck_assert_uint_le(stats().heap_alloc, 2 * LUCK * NODE);
}
END_TEST

static void make_cycles(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++) {
        node *a = finalizable(NULL, i, OAK_FINALIZER_ORDERED);
        a->other = finalizable(a, i, OAK_FINALIZER_ORDERED);
    }
}

START_TEST(cycles_never_run_and_are_counted)
{
    test_build(make_cycles, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(turn(), 0);
        near(stats().finalizer_cycles, 2 * MANY);
        ck_assert_uint_eq(stats().finalizer_cycle_bytes, stats().finalizer_cycles * NODE);
        ck_assert_uint_ge(stats().heap_alloc, (size_t)2 * MANY * NODE);
    }
}
END_TEST

static void make_chain(void *length)
{
    node *n = NULL;
    for (int i = 0; i < *(int *)length; i++) n = finalizable(n, i, OAK_FINALIZER_ORDERED);
}

START_TEST(a_chain_runs_one_in_a_collection_from_its_head)
{
    int length = 10;
    test_build(make_chain, &length);
    for (int i = length - 1; i >= 0; i--) {
        ck_assert_uint_eq(turn(), 1);
        ck_assert_int_eq(last_id, i);
    }
    ck_assert_uint_eq(turn(), 0);
}
END_TEST

static void make_selfish(void *arg)
{
    (void)arg;
    node *n = finalizable(NULL, 1, OAK_FINALIZER_ORDERED);
    n->other = n;
    finalizable(n, 2, OAK_FINALIZER_ORDERED);
}

START_TEST(what_is_reachable_from_itself_waits_for_ever)
{
    test_build(make_selfish, NULL);
    ck_assert_uint_eq(turn(), 1);
    ck_assert_int_eq(last_id, 2);
    ck_assert_uint_eq(turn(), 0);
    ck_assert_uint_eq(stats().finalizer_cycles, 1);
}
END_TEST

static void make_mixture(void *arg)
{
    make_cycles(arg);
    make_single(arg);
    int length = 5;
    make_chain(&length);
}

/* While ready ones are among them the count may be low; never high; and in the end it is exact. */
START_TEST(cycles_are_counted_among_others)
{
    test_build(make_mixture, NULL);
    for (int i = 0; i < 7; i++) {
        turn();
        ck_assert_uint_le(stats().finalizer_cycles, 2 * MANY);
    }
    near(runs, MANY + 5);
    near(stats().finalizer_cycles, 2 * MANY);
}
END_TEST

static void make_steady_flow(void *arg)
{
    int length = 3;
    make_chain(&length);
    (void)arg;
}

START_TEST(cycles_are_counted_while_others_come_and_go)
{
    test_build(make_cycles, NULL);
    for (int i = 0; i < 12; i++) {
        test_build(make_steady_flow, NULL);
        ck_assert_uint_ge(turn(), 1);
    }
    near(stats().finalizer_cycles, 2 * MANY);
}
END_TEST

static void make_old_cycle(void *arg)
{
    node *n = finalizable(NULL, 1, OAK_FINALIZER_ORDERED);
    n->other = finalizable(n, 2, OAK_FINALIZER_ORDERED);
    *(void **)arg = oak_alloc_noscan(16); /* where to find it again, without holding it */
    **(node ***)arg = n;
}

static void make_young_cycle(void *arg)
{
    node *n = finalizable(NULL, 3, OAK_FINALIZER_ORDERED);
    n->other = n;
    memcpy(n->fill + 4, *(node ***)arg, sizeof n); /* an aligned word */
}

START_TEST(an_old_cycle_below_a_young_one_is_counted_still)
{
    test_build(make_old_cycle, &root);
    for (int i = 0; i < 3; i++) turn();
    ck_assert_uint_eq(stats().finalizer_cycles, 2);
    test_build(make_young_cycle, &root);
    turn();
    ck_assert_uint_eq(stats().finalizer_cycles, 3);
}
END_TEST

/* ---- no order ---- */

static void make_no_order_cycle(void *arg)
{
    (void)arg;
    node *a = finalizable(NULL, 1, OAK_FINALIZER_NO_ORDER);
    a->other = finalizable(a, 2, OAK_FINALIZER_NO_ORDER);
}

START_TEST(without_order_a_cycle_runs_at_once)
{
    test_build(make_no_order_cycle, NULL);
    ck_assert_uint_eq(turn(), 2);
    ck_assert_uint_eq(turn(), 0);
    ck_assert_uint_eq(stats().heap_objects, 0);
}
END_TEST

static void make_ordered_below(void *arg)
{
    (void)arg;
    finalizable(finalizable(NULL, 1, OAK_FINALIZER_ORDERED), 2, OAK_FINALIZER_NO_ORDER);
}

START_TEST(an_ordered_one_waits_for_one_without_order_above_it)
{
    test_build(make_ordered_below, NULL);
    ck_assert_uint_eq(turn(), 1);
    ck_assert_int_eq(last_id, 2);
    ck_assert_uint_eq(turn(), 1);
    ck_assert_int_eq(last_id, 1);
}
END_TEST

static void make_ordered_above(void *arg)
{
    (void)arg;
    finalizable(finalizable(NULL, 1, OAK_FINALIZER_NO_ORDER), 2, OAK_FINALIZER_ORDERED);
}

START_TEST(one_without_order_waits_for_nobody)
{
    test_build(make_ordered_above, NULL);
    ck_assert_uint_eq(turn(), 2);
}
END_TEST

/* ---- cleanups ---- */

static void make_cleanup_cycles(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++) {
        node *a = new_node(NULL, i);
        a->other = new_node(a, i);
        ck_assert_int_eq(oak_cleanup_add(a, count_cleanup, NULL), 0);
    }
}

START_TEST(cleanups_run_for_cycles_and_the_memory_goes_at_once)
{
    test_build(make_cleanup_cycles, NULL);
    oak_collect();
    near(stats().finalizers_ready, MANY);
    ck_assert_uint_le(stats().heap_alloc, 2 * LUCK * NODE);
    near(test_run_finalizers(), MANY);
    near(runs, MANY);
}
END_TEST

static void make_many_cleanups(void *arg)
{
    node *n = new_node(NULL, 1);
    for (intptr_t i = 0; i < 100; i++)
        ck_assert_int_eq(oak_cleanup_add(n, count_cleanup, (void *)i), 0);
    *(node **)arg = n;
}

START_TEST(an_object_may_have_many_cleanups)
{
    test_build(make_many_cleanups, &root);
    ck_assert_uint_eq(turn(), 0);
    root = NULL;
    ck_assert_uint_eq(turn(), 100);
    ck_assert_uint_eq(stats().finalizers, 0);
}
END_TEST

static void make_both(void *arg)
{
    (void)arg;
    node *n = new_node(NULL, 1);
    oak_cleanup_add(n, count_cleanup, (void *)2);
    oak_finalizer_set(n, count, NULL);
    oak_cleanup_add(n, count_cleanup, (void *)2);
}

START_TEST(cleanups_wait_until_the_finalizer_has_run)
{
    test_build(make_both, NULL);
    ck_assert_uint_eq(turn(), 1);
    ck_assert_int_eq(last_id, 1);
    ck_assert_uint_eq(turn(), 2);
    ck_assert_int_eq(last_id, 2);
}
END_TEST

/* ---- what is kept alive ---- */

static oak_weak *weak_ctx;

static void check_ctx(void *obj, void *ctx)
{
    ck_assert_int_eq(((node *)obj)->id, 7);
    ck_assert_int_eq(((node *)obj)->other->id, 6);
    ck_assert_int_eq(((node *)ctx)->id, 5);
    runs++;
}

static void make_with_ctx(void *arg)
{
    node *ctx = new_node(NULL, 5), *n = new_node(new_node(NULL, 6), 7);
    weak_ctx = oak_weak_new(ctx);
    oak_finalizer_set(n, check_ctx, ctx);
    *(node **)arg = n;
}

START_TEST(ctx_and_what_the_object_reaches_live_until_it_has_run)
{
    test_build(make_with_ctx, &root);
    oak_collect();
    ck_assert_ptr_nonnull(oak_weak_get(weak_ctx));
    root = NULL;
    for (int i = 0; i < 3; i++) oak_collect();
    ck_assert_uint_eq(stats().heap_objects, 4);
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert_uint_eq(runs, 1);
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(weak_ctx));
}
END_TEST

static void publish(void *obj, void *ctx)
{
    (void)ctx;
    root = obj;
    runs++;
    if (runs < 3) oak_finalizer_set(obj, publish, NULL);
}

static void make_phoenix(void *arg)
{
    (void)arg;
    oak_finalizer_set(new_node(NULL, 1), publish, NULL);
}

START_TEST(a_finalizer_may_bring_its_object_back_and_arm_it_again)
{
    test_build(make_phoenix, NULL);
    for (size_t i = 1; i <= 3; i++) {
        ck_assert_uint_eq(turn(), 1);
        ck_assert_uint_eq(runs, i);
        ck_assert_int_eq(((node *)root)->id, 1);
        ck_assert_uint_eq(turn(), 0);
        root = NULL;
    }
    ck_assert_uint_eq(turn(), 0);
    ck_assert_uint_eq(stats().heap_objects, 0);
}
END_TEST

static void allocate_and_collect(void *obj, void *ctx)
{
    for (int i = 0; i < 100; i++) ck_assert_ptr_nonnull(oak_alloc(500));
    oak_collect();
    count(obj, ctx);
}

static void make_busy(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) oak_finalizer_set(new_node(NULL, i), allocate_and_collect, NULL);
}

START_TEST(a_finalizer_may_allocate_and_collect)
{
    test_build(make_busy, NULL);
    near(turn(), 20);
    near(runs, 20);
}
END_TEST

/* ---- setting and removing ---- */

static void other_count(void *obj, void *ctx)
{
    count(obj, ctx);
    runs += 100;
}

static void replace(void *arg)
{
    node *n = new_node(NULL, 1);
    oak_finalizer old = count;
    void *old_ctx = arg;
    ck_assert_int_eq(oak_finalizer_set_ex(n, count, n->fill, 0, &old, &old_ctx), 0);
    ck_assert_ptr_null(old);
    ck_assert_ptr_null(old_ctx);
    ck_assert_int_eq(
        oak_finalizer_set_ex(n, other_count, NULL, OAK_FINALIZER_NO_ORDER, &old, &old_ctx), 0);
    ck_assert(old == count);
    ck_assert_ptr_eq(old_ctx, n->fill);
    n = new_node(NULL, 2);
    oak_finalizer_set(n, count, NULL);
    ck_assert_int_eq(oak_finalizer_set_ex(n, NULL, NULL, 0, &old, NULL), 0);
    ck_assert(old == count);
    ck_assert_int_eq(oak_finalizer_set(n, NULL, NULL), 0);
    errno = 0;
    ck_assert_int_eq(oak_finalizer_set_ex(n, count, NULL, 4, NULL, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
}

START_TEST(a_finalizer_is_replaced_and_removed)
{
    test_build(replace, NULL);
    ck_assert_uint_eq(stats().finalizers, 1);
    ck_assert_uint_eq(turn(), 1);
    ck_assert_uint_eq(runs, 101);
}
END_TEST

static void make_and_free(void *arg)
{
    (void)arg;
    node *n = new_node(NULL, 1);
    oak_finalizer_set(n, count, NULL);
    oak_cleanup_add(n, count_cleanup, NULL);
    oak_free(n);
}

START_TEST(oak_free_drops_finalizer_and_cleanups)
{
    test_build(make_and_free, NULL);
    ck_assert_uint_eq(stats().finalizers, 0);
    ck_assert_uint_eq(turn(), 0);
}
END_TEST

static void free_other(void *obj, void *ctx)
{
    node *n = obj;
    count(obj, ctx);
    if (n->other) oak_free(n->other);
}

/* The first to run frees the second, whose finalizer is queued. */
static void make_mutual(void *arg)
{
    (void)arg;
    node *a = new_node(NULL, 1), *b = new_node(NULL, 2);
    a->other = b;
    oak_finalizer_set_ex(a, free_other, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL);
    oak_finalizer_set_ex(b, free_other, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL);
}

START_TEST(oak_free_drops_a_finalizer_that_is_queued)
{
    test_build(make_mutual, NULL);
    oak_collect();
    ck_assert_uint_eq(stats().finalizers_ready, 2);
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert_int_eq(last_id, 1);
    ck_assert_uint_eq(stats().finalizers_ready, 0);
}
END_TEST

static void register_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200000; i++) oak_cleanup_add(oak_alloc(16), count_cleanup, NULL);
}

START_TEST(the_tables_memory_is_given_back)
{
    oak_collect();
    size_t before = oaki_meta_in_use(OAKI_META_OTHER);
    test_build(register_many, NULL);
    ck_assert_uint_gt(oaki_meta_in_use(OAKI_META_OTHER) - before, (size_t)8 << 20);
    ck_assert_uint_ge(turn(), 200000 - LUCK);
    for (int i = 0; i < 80; i++) oak_collect(); /* an eighth less each time */
    ck_assert_uint_lt(oaki_meta_in_use(OAKI_META_OTHER) - before, (size_t)64 << 10);
}
END_TEST

/* ---- misuse ---- */

static void misuse(void *arg)
{
    char *p = oak_alloc(100);
    static int foreign;
    switch (*(int *)arg) {
    case 0:
        oak_finalizer_set(p + 16, count, NULL);
        break;
    case 1:
        oak_finalizer_set(&foreign, count, NULL);
        break;
    case 2:
        oak_finalizer_set(NULL, count, NULL);
        break;
    case 3:
        oak_free(p);
        oak_finalizer_set(p, count, NULL);
        break;
    case 4:
        oak_cleanup_add(p, count_cleanup, p + 8);
        break;
    case 5:
        oak_cleanup_add(p + 1, count_cleanup, NULL);
        break;
    default:
        break;
    }
}

START_TEST(misuse_is_fatal_with_one_line)
{
    static const char *says[] = { "is not the start of a live object",
                                  "is not the start",
                                  "is not the start",
                                  "is not the start",
                                  "keep alive for ever",
                                  "oak_cleanup_add: " };
    for (int i = 0; i < 6; i++) {
        char out[512];
        int status = test_capture(misuse, &i, out, sizeof out);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        ck_assert_msg(strstr(out, says[i]) != NULL, "case %d: %s", i, out);
        ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
    }
}
END_TEST

static void start(void)
{
    test_start(0);
}

Suite *suite_gc_finalizer(void)
{
    Suite *s = suite_create("gc/finalizer");
    TCase *c = tcase_create("on demand");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, acyclic_objects_run_in_the_first_collection_and_go_in_the_second);
    tcase_add_test(c, cycles_never_run_and_are_counted);
    tcase_add_test(c, a_chain_runs_one_in_a_collection_from_its_head);
    tcase_add_test(c, what_is_reachable_from_itself_waits_for_ever);
    tcase_add_test(c, cycles_are_counted_among_others);
    tcase_add_test(c, cycles_are_counted_while_others_come_and_go);
    tcase_add_test(c, an_old_cycle_below_a_young_one_is_counted_still);
    tcase_add_test(c, without_order_a_cycle_runs_at_once);
    tcase_add_test(c, an_ordered_one_waits_for_one_without_order_above_it);
    tcase_add_test(c, one_without_order_waits_for_nobody);
    tcase_add_test(c, cleanups_run_for_cycles_and_the_memory_goes_at_once);
    tcase_add_test(c, an_object_may_have_many_cleanups);
    tcase_add_test(c, cleanups_wait_until_the_finalizer_has_run);
    tcase_add_test(c, ctx_and_what_the_object_reaches_live_until_it_has_run);
    tcase_add_test(c, a_finalizer_may_bring_its_object_back_and_arm_it_again);
    tcase_add_test(c, a_finalizer_may_allocate_and_collect);
    tcase_add_test(c, a_finalizer_is_replaced_and_removed);
    tcase_add_test(c, oak_free_drops_finalizer_and_cleanups);
    tcase_add_test(c, oak_free_drops_a_finalizer_that_is_queued);
    tcase_add_test(c, the_tables_memory_is_given_back);
    tcase_add_test(c, misuse_is_fatal_with_one_line);
    suite_add_tcase(s, c);
    return s;
}
