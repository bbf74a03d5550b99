/* strict.c - marks beside the program, and of what is young, where only some displacements into an
 * object count (gc/host.h). */
#include "gc/concurrent/concurrent.h"
#include "gc/host.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>

Suite *suite_gc_strict(void);

#define SEAL 0x57121c7ac0ffee11u
#define LENGTH 60000
#define ROUNDS 40

static const uint64_t zero_and_eight[] = { 1 | 1 << 8 };

/* Linked by the object's beginning, or by its second word. */
typedef struct thing {
    uint64_t seal, id;
    uintptr_t next;
} thing;

static thing *first;

static thing *next_of(const thing *x)
{
    return (thing *)(x->next & ~(uintptr_t)8);
}

static thing *new_thing(uint64_t id, const thing *next)
{
    thing *x = oak_alloc(sizeof *x);
    *x = (thing){ SEAL, id, next ? (uintptr_t)next + id % 2 * 8 : 0 };
    return x;
}

static bool start(size_t minors)
{
    bool can = test_heap_tracked(test_config_beside(test_tracking), minors);
    oaki_debug_switches.beside = 1;
    ck_assert_int_eq(oaki_mark_displacements(zero_and_eight, 16), 0);
    for (uint64_t i = 0; i < LENGTH; i++) first = new_thing(i, first);
    return can;
}

static void check_list(void)
{
    size_t n = LENGTH;
    for (const thing *x = first; x; x = next_of(x))
        ck_assert(n > 0 && x->seal == SEAL && x->id == --n);
    ck_assert_uint_eq(n, 0);
}

/* While a mark goes on, things are replaced here and there: the new one has the only reference to
 * the rest of the list. */
START_TEST(what_counts_is_kept_while_it_moves)
{
    test_seed("gc/strict");
    uint64_t draw = test_random() | 1;
    if (!start((size_t)_i * 4)) return;
    for (int round = 0; round < ROUNDS; round++) {
        test_ask_or_collect();
        for (thing *x = first; x && next_of(x); x = next_of(x)) {
            const thing *old = next_of(x);
            if (test_draw(&draw) % 64 == 0)
                x->next = (uintptr_t)new_thing(old->id, next_of(old)) + (draw >> 40) % 2 * 8;
        }
    }
    check_list();
    oak_collect();
    check_list();
}
END_TEST

/* What was marked by one rule says nothing by another. */
START_TEST(a_rule_that_changes_gives_up_a_mark)
{
    if (!start(0)) return;
    for (int round = 0; round < ROUNDS; round++) {
        while (!oaki_is_marking_concurrently()) {
            (void)test_ask_beside();
            oaki_os_yield();
        }
        ck_assert_int_eq(oaki_mark_displacements(round % 2 ? zero_and_eight : NULL, 16), 0);
        ck_assert(!oaki_is_marking_concurrently());
        check_list();
    }
}
END_TEST

#define HIDDEN 1000
#define MARKS 3 /* the first may have been under way */

static uintptr_t *holder;
static oak_weak *hidden[HIDDEN];

/* Referred to by their third words alone. */
static void hide(void *arg)
{
    holder = oak_alloc(HIDDEN * sizeof *holder);
    for (size_t i = 0; i < HIDDEN; i++) {
        thing *x = oak_alloc(sizeof *x + 16);
        hidden[i] = oak_weak_new(x);
        holder[i] = (uintptr_t)x + 16;
    }
    (void)arg;
}

START_TEST(what_does_not_count_keeps_nothing)
{
    size_t kept = 0;
    if (!start(0)) return;
    test_away(hide, NULL);
    for (int i = 0; i < MARKS; i++) {
        AO_t before = AO_load(&oaki_the_heap.cycle);
        while (AO_load(&oaki_the_heap.cycle) == before) {
            test_ask_or_collect();
            oaki_os_yield();
        }
    }
    for (size_t i = 0; i < HIDDEN; i++) kept += oak_weak_get(hidden[i]) != NULL;
    ck_assert_uint_le(kept, HIDDEN / 10); /* by words on stacks */
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_loop_test(t, what_counts_is_kept_while_it_moves, 0, 2);
    tcase_add_test(t, what_does_not_count_keeps_nothing);
    tcase_add_test(t, a_rule_that_changes_gives_up_a_mark);
    return t;
}

Suite *suite_gc_strict(void)
{
    Suite *s = suite_create("gc_strict");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}
