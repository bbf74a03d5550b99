/* roots_regs.c - an object that only a register refers to: of the thread that collects, of a thread
 * that is stopped, of one in a blocking region; and that copies of tables leave none there. */
#include "away.h"
#include "roots_asm.h"

#include <atomic_ops.h>
#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>

Suite *suite_gc_roots_regs(void);

static roots_group group;

/* Every register holds another few objects of the group in turn, so that one stale word is not
 * taken for a failure of the converse. */
#define ROUNDS 4

static void collect(void *arg)
{
    (void)arg;
    roots_collect();
    roots_collect();
    while (oak_finalizers_run() > 0) continue;
}

static void assert_one_kept(size_t i, const char *name)
{
    if (group.dead[i]) ck_abort_msg("what %s referred to is gone", name);
}

/* The group's objects stay alive in `parked` until it is their turn. */
static void *parked[ROOTS_N];

static void test_registers(uintptr_t (*turn)(const roots_holder *h, uintptr_t hidden, size_t add),
                           bool held, size_t add)
{
    size_t used = 0;
    roots_start();
    roots_make(&group, 64);
    roots_reveal(&group, parked, 0);
    for (size_t round = 0; round < ROUNDS; round++)
        for (const roots_holder *h = roots_holders; h->name; h++) {
            if ((held && !h->hold) || used == ROOTS_N) continue;
            size_t i = used++;
            parked[i] = NULL;
            ck_assert_uint_eq(turn(h, group.hidden[i], add), group.hidden[i]);
            assert_one_kept(i, h->name);
        }
    roots_forget(parked);
    roots_assert_gone(roots_alive(&group));
}

static uintptr_t hold_and_collect(const roots_holder *h, uintptr_t hidden, size_t add)
{
    return h->hold(hidden, add, collect, NULL);
}

START_TEST(a_register_keeps_its_object_across_a_call)
{
    test_registers(hold_and_collect, true, 0);
}
END_TEST

START_TEST(one_past_the_end_in_a_register_keeps_the_object)
{
    test_registers(hold_and_collect, true, 64);
}
END_TEST

/* ---- another thread ---- */

typedef struct spinner {
    const roots_holder *holder;
    uintptr_t hidden;
    size_t add;
    roots_step step;
} spinner;

static void *spin(void *arg)
{
    spinner *s = arg;
    ck_assert_int_eq(oak_thread_attach(), 0);
    s->hidden = s->holder->spin(s->hidden, s->add, &s->step);
    roots_clean();
    return NULL;
}

/* fn runs on another thread, which holds the reference as it comes to the step. */
static uintptr_t collect_beside(void *(*fn)(void *), const roots_holder *h, uintptr_t hidden,
                                size_t add)
{
    spinner s = { .holder = h, .hidden = hidden, .add = add };
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, fn, &s), 0);
    roots_await(&s.step);
    collect(NULL);
    roots_let_go(&s.step);
    pthread_join(t, NULL);
    return s.hidden;
}

static uintptr_t spin_and_collect(const roots_holder *h, uintptr_t hidden, size_t add)
{
    return collect_beside(spin, h, hidden, add);
}

START_TEST(a_register_of_a_stopped_thread_keeps_its_object)
{
    test_registers(spin_and_collect, false, 0);
}
END_TEST

START_TEST(one_past_the_end_in_a_register_of_a_stopped_thread_keeps_the_object)
{
    test_registers(spin_and_collect, false, 64);
}
END_TEST

/* ---- a thread in a blocking region ---- */

static void block(void *arg)
{
    oak_blocking_enter();
    roots_arrive(arg);
    oak_blocking_leave();
}

static void *wait_for(void *arg)
{
    roots_arrive(arg);
    return arg;
}

static void block_in_a_call(void *arg)
{
    oak_blocking_call(wait_for, arg);
}

static void (*how)(void *);

static void *hold_and_block(void *arg)
{
    spinner *s = arg;
    ck_assert_int_eq(oak_thread_attach(), 0);
    s->hidden = s->holder->hold(s->hidden, s->add, how, &s->step);
    roots_clean();
    return NULL;
}

static uintptr_t block_and_collect(const roots_holder *h, uintptr_t hidden, size_t add)
{
    return collect_beside(hold_and_block, h, hidden, add);
}

START_TEST(a_register_of_a_blocked_thread_keeps_its_object)
{
    how = block;
    test_registers(block_and_collect, true, 0);
}
END_TEST

START_TEST(a_register_of_a_thread_in_a_blocking_call_keeps_its_object)
{
    how = block_in_a_call;
    test_registers(block_and_collect, true, 0);
}
END_TEST

/* ---- a copy's registers ---- */

#define FULL 32 /* records of a new table */

static bool gone[FULL + 1];

static void note(void *ctx)
{
    *(bool *)ctx = true;
}

static void fill(void *arg)
{
    (void)arg;
    for (int i = 0; i <= FULL; i++) parked[i] = oak_alloc(64);
    for (int i = 0; i < FULL; i++) ck_assert_int_eq(oak_cleanup_add(parked[i], note, &gone[i]), 0);
}

/* This thread has the table grow and goes on to wait: what a copy by way of vector registers left
 * there would keep many of the objects that the table is about. */
START_TEST(what_a_table_held_is_in_no_register_after_it_grew)
{
    size_t alive = 0;
    roots_start();
    test_away(fill, NULL);
    roots_clean();
    ck_assert_int_eq(oak_cleanup_add(parked[FULL], note, &gone[FULL]), 0);
    roots_forget(parked);
    test_away(collect, NULL);
    for (int i = 0; i <= FULL; i++) alive += !gone[i];
    ck_assert_uint_le(alive, 2);
}
END_TEST

Suite *suite_gc_roots_regs(void)
{
    Suite *s = suite_create("gc/roots_regs");
    TCase *c = tcase_create("regs");
    test_skip(!roots_holders[0].name, "registers are filled for x86-64 alone");
    tcase_add_test(c, a_register_keeps_its_object_across_a_call);
    tcase_add_test(c, one_past_the_end_in_a_register_keeps_the_object);
    tcase_add_test(c, a_register_of_a_stopped_thread_keeps_its_object);
    tcase_add_test(c, one_past_the_end_in_a_register_of_a_stopped_thread_keeps_the_object);
    tcase_add_test(c, a_register_of_a_blocked_thread_keeps_its_object);
    tcase_add_test(c, a_register_of_a_thread_in_a_blocking_call_keeps_its_object);
    tcase_add_test(c, what_a_table_held_is_in_no_register_after_it_grew);
    suite_add_tcase(s, c);
    return s;
}
