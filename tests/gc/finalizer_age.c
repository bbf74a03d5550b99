/* finalizer_age.c - how long finalizers have waited (gc/refs/decide.c), which tells those that wait
 * for ever from those that are ready: of the former there are always as many, and they are to be
 * counted in each collection, whoever comes and goes. */
#include "away.h"

#include <check.h>
#include <oakum/oakum.h>

Suite *suite_gc_finalizer_age(void);

enum {
    PAIRS = 100,
    OLD = 10,  /* collections; the oldest are not told apart after eight */
    LUCK = 4   /* objects that a stray word may keep */
};

typedef struct node {
    struct node *other;
    long fill[7];
} node;

static size_t runs;
static node **held;   /* in an object that is a root */
static node **hidden; /* in one that isn't scanned */

static void count(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    runs++;
}

static node *finalizable(node *other)
{
    node *n = oak_alloc(sizeof *n);
    ck_assert_ptr_nonnull(n);
    n->other = other;
    ck_assert_int_eq(oak_finalizer_set(n, count, NULL), 0);
    return n;
}

static void make_cycles(void *pairs)
{
    for (int i = 0; i < *(int *)pairs; i++) {
        node *n = finalizable(NULL);
        n->other = finalizable(n);
        *hidden = n;
    }
}

static node *chain(node *last, int length)
{
    for (; length > 0; length--) last = finalizable(last);
    return last;
}

static size_t turn(void)
{
    oak_collect();
    return test_run_finalizers();
}

static size_t stuck(void)
{
    oak_memstats s;
    oak_memstats_read(&s);
    return (size_t)s.finalizer_cycles;
}

static void assert_stuck(size_t want)
{
    size_t n = stuck();
    ck_assert_msg(n <= want && n + LUCK >= want, "%zu wait for ever, not %zu", n, want);
}

static void start(void)
{
    test_start(0);
    hidden = oak_alloc_noscan(sizeof *hidden);
    held = oak_alloc_pinned(sizeof *held);
}

static void begin(int pairs)
{
    test_build(make_cycles, &pairs);
    for (int i = 0; i < OLD; i++) ck_assert_uint_eq(turn(), 0);
    assert_stuck(2 * (size_t)pairs);
}

/* ---- what is young again ---- */

static void make_chain(void *length)
{
    *hidden = finalizable(NULL);
    (void)chain(*hidden, *(int *)length);
}

/* One object has waited for a chain of others, for as long as the cycles nearly; it is *hidden, and
 * is ready next. */
static void make_one_wait(void)
{
    int length = OLD;
    test_build(make_chain, &length);
    for (int i = 0; i < OLD; i++) ck_assert_uint_eq(turn(), 1);
}

static void hold(void *arg)
{
    (void)arg;
    *held = *hidden;
}

static void set_again(void *arg)
{
    (void)arg;
    ck_assert_int_eq(oak_finalizer_set(*hidden, count, NULL), 0);
}

START_TEST(who_was_reachable_again_is_young)
{
    begin(PAIRS);
    make_one_wait();
    test_away(hold, NULL);
    ck_assert_uint_eq(turn(), 0);
    assert_stuck(2 * PAIRS);
    *held = NULL;
    ck_assert_uint_eq(turn(), 1);
    assert_stuck(2 * PAIRS);
    ck_assert_uint_eq(runs, OLD + 1);
}
END_TEST

START_TEST(who_has_another_finalizer_is_young)
{
    begin(PAIRS);
    make_one_wait();
    test_away(set_again, NULL);
    ck_assert_uint_eq(turn(), 1);
    assert_stuck(2 * PAIRS);
    ck_assert_uint_eq(runs, OLD + 1);
}
END_TEST

/* ---- what grows old all the same ---- */

static void make_flow(void *onto)
{
    (void)chain(NULL, 3);
    (void)finalizable(onto ? *hidden : NULL);
}

/* A cycle that young ones refer to is reached from them, not by its own; it grows old nevertheless,
 * and once they are gone it is not taken for one of the young. */
START_TEST(who_is_referred_to_by_the_young_grows_old)
{
    begin(1);
    int one = 1;
    size_t before = stuck(); /* 2, but for luck */
    test_build(make_cycles, &one);
    for (int i = 0; i < OLD; i++) {
        test_build(make_flow, &one);
        ck_assert_uint_ge(turn(), 2);
    }
    test_build(make_flow, NULL);
    ck_assert_uint_ge(turn(), 2);
    ck_assert_uint_eq(stuck(), before + 2);
}
END_TEST

Suite *suite_gc_finalizer_age(void)
{
    Suite *s = suite_create("gc/finalizer_age");
    TCase *c = tcase_create("age");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, who_was_reachable_again_is_young);
    tcase_add_test(c, who_has_another_finalizer_is_young);
    tcase_add_test(c, who_is_referred_to_by_the_young_grows_old);
    suite_add_tcase(s, c);
    return s;
}
