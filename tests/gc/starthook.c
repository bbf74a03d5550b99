/* starthook.c - tests of oak_gc_at_start, and of the two ways to keep stale slots of an operand
 * stack from keeping objects alive (examples/operands.c). */
#include "gc/concurrent/concurrent.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <setjmp.h>
#include <string.h>

Suite *suite_gc_starthook(void);

#define SLOTS 1000
#define LIVE 10

/* As in examples/operands.c. */
typedef struct operands {
    void **slot; /* an object of its own */
    size_t top;
} operands;

static oak_type *operands_type, *slots_type;

static void mark_operands(oak_marker *m, void *object, size_t size)
{
    operands *s = object;
    (void)size;
    oak_mark_ptr(m, s->slot);
    if (s->slot) oak_mark_range(m, s->slot, s->top * sizeof *s->slot);
}

static void mark_nothing(oak_marker *m, void *object, size_t size)
{
    (void)m, (void)object, (void)size;
}

static void clear_above_top(void *ctx)
{
    operands *s = *(operands **)ctx;
    memset(s->slot + s->top, 0, (SLOTS - s->top) * sizeof *s->slot);
}

static void push(operands *s, void *value)
{
    size_t at = s->top++;
    __asm__ volatile("" ::: "memory"); /* the top is raised before the slot is written */
    s->slot[at] = value;
}

static operands *stack; /* the only root */

static void set_up(void)
{
    test_heap_start(test_config());
    test_no_beside();
    test_only_root(&stack, sizeof stack);
    ck_assert_ptr_nonnull(operands_type = oak_type_function("operands", 16, mark_operands));
    ck_assert_ptr_nonnull(slots_type = oak_type_function("slots", 8, mark_nothing));
}

static void fill(void *arg)
{
    (void)arg;
    while (stack->top < SLOTS) push(stack, oak_alloc_noscan(48));
    stack->top = LIVE; /* what is popped stays in its slot */
}

static void make_conservative(void *arg)
{
    stack = oak_alloc(sizeof *stack);
    stack->slot = oak_alloc(SLOTS * sizeof *stack->slot);
    fill(arg);
}

static void make_typed(void *arg)
{
    stack = oak_alloc_typed(operands_type, 1);
    stack->slot = oak_alloc_typed(slots_type, SLOTS);
    fill(arg);
}

static void assert_live(size_t least, size_t most)
{
    oak_collect();
    size_t n = test_objects();
    ck_assert_msg(n >= least && n <= most, "%zu objects, not %zu to %zu", n, least, most);
    for (size_t i = 0; i < stack->top; i++)
        ck_assert_ptr_eq(oak_base(stack->slot[i]), stack->slot[i]);
    test_assert_sound();
}

#define LOOSE 4 /* that this thread's own frames may keep */

START_TEST(stale_slots_are_cleared_by_a_hook)
{
    test_away(make_conservative, NULL);
    assert_live(SLOTS + 2, SLOTS + 2); /* without a hook all is kept */
    ck_assert_int_eq(oak_gc_at_start(clear_above_top, &stack), 0);
    assert_live(LIVE + 2, LIVE + 2 + LOOSE);
    test_away(fill, NULL);
    ck_assert_int_eq(oak_gc_at_start_remove(clear_above_top, &stack), 0);
    assert_live(SLOTS + 2, SLOTS + 2);
}
END_TEST

START_TEST(a_type_reads_the_live_length_from_another_object)
{
    test_away(make_typed, NULL);
    assert_live(LIVE + 2, LIVE + 2 + LOOSE);
    test_away(fill, NULL);
    stack->top = SLOTS - 5; /* nothing was collected meanwhile */
    assert_live(SLOTS - 5 + 2, SLOTS - 5 + 2 + LOOSE);
    stack->top = 0;
    assert_live(2, 2 + LOOSE);
}
END_TEST

static oak_weak **values; /* of the slots, in a pinned object */
static size_t lost, stale;

static void watch_values(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < SLOTS; i++) values[i] = oak_weak_new(stack->slot[i]);
}

static void count_values(void *arg)
{
    (void)arg;
    lost = stale = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        bool there = oak_weak_get(values[i]) != NULL;
        lost += i < stack->top && !there;
        stale += i >= stack->top && there;
    }
}

/* Whatever else refers to them ends with its thread. */
START_TEST(exactly_the_live_part_is_kept)
{
    static const size_t tops[] = { SLOTS, SLOTS - 1, 512, 511, LIVE, 1, 0 };
    test_away(make_typed, NULL);
    values = oak_alloc_pinned(SLOTS * sizeof *values);
    test_away(watch_values, NULL);
    stack->top = SLOTS;
    for (size_t i = 0; i < OAKI_COUNT(tops); i++) {
        stack->top = tops[i];
        oak_collect();
        test_away(count_values, NULL);
        ck_assert_uint_eq(lost, 0);
        ck_assert_uint_eq(stale, 0);
    }
}
END_TEST

/* A collector beside the program stops it at any instruction of a push and a pop. */
static void *push_and_pop(void *arg)
{
    uint64_t random = 88172645463325252;
    while (!AO_load(&test_quit)) {
        size_t n = test_draw(&random) % (SLOTS - LIVE);
        for (size_t i = 0; i < n; i++) {
            uint64_t *p = oak_alloc_noscan(48);
            *p = (uint64_t)(uintptr_t)p;
            push(stack, p);
            p = NULL;
        }
        for (; n > 0; n--) {
            const uint64_t *p = stack->slot[stack->top - 1];
            test_expect(*p == (uint64_t)(uintptr_t)p, __LINE__);
            stack->top--;
        }
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

START_TEST(nothing_pushed_is_lost)
{
    oaki_debug_switches.poison = 1;
    test_away(_i ? make_typed : make_conservative, NULL);
    for (size_t i = 0; i < LIVE; i++) *(uint64_t *)stack->slot[i] = (uintptr_t)stack->slot[i];
    if (!_i) ck_assert_int_eq(oak_gc_at_start(clear_above_top, &stack), 0);
    pthread_t id = test_start(push_and_pop, NULL);
    test_wait(&test_moved, 5);
    for (size_t i = 0, n = test_scale(300); i < n; i++) oak_collect();
    AO_store(&test_quit, 1);
    test_join(id);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    for (size_t i = 0; i < LIVE; i++)
        ck_assert_uint_eq(*(uint64_t *)stack->slot[i], (uintptr_t)stack->slot[i]);
}
END_TEST

/* ---- the list ---- */

static size_t calls[40], order[200], norder;
static bool elsewhere; /* than in INIT_PAUSE */

static void count(void *ctx)
{
    size_t i = (size_t)(uintptr_t)ctx;
    calls[i]++;
    if (norder < OAKI_COUNT(order)) order[norder++] = i;
    if (!oaki_world_stopped()) AO_store(&test_wrong, __LINE__);
    elsewhere |= oaki_phase_now() != OAKI_PHASE_INIT_PAUSE;
}

static void *number(size_t i)
{
    return (void *)(uintptr_t)i;
}

START_TEST(each_is_called_once_a_collection_in_order)
{
    for (size_t i = 0; i < 40; i++)
        for (int twice = 0; twice < 2; twice++)
            ck_assert_int_eq(oak_gc_at_start(count, number(i)), 0);
    oak_collect();
    for (size_t i = 0; i < 40; i++) ck_assert_uint_eq(order[i], i);
    ck_assert_uint_eq(norder, 40);
    for (size_t i = 0; i < 40; i += 2)
        ck_assert_int_eq(oak_gc_at_start_remove(count, number(i)), 0);
    oak_collect();
    for (size_t i = 0; i < 20; i++) ck_assert_uint_eq(order[40 + i], 2 * i + 1);
    ck_assert_uint_eq(norder, 60);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    errno = 0;
    ck_assert_int_eq(oak_gc_at_start_remove(count, number(0)), -1);
    ck_assert_int_eq(errno, ENOENT);
    errno = 0;
    ck_assert_int_eq(oak_gc_at_start(NULL, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(a_concurrent_collection_calls_it_in_its_first_pause)
{
    oak_config c = test_config_beside(OAK_TRACKING_USERFAULTFD);
    if (!test_heap_tracked(c, 0)) return;
    ck_assert_int_eq(oak_gc_at_start(count, number(0)), 0);
    size_t cycles = AO_load(&oaki_the_heap.cycle);
    if (test_skip(!test_ask_beside(), "pages are no longer tracked")) return;
    while (AO_load(&oaki_the_heap.cycle) == cycles) oaki_os_yield();
    test_await_idle();
    ck_assert_uint_gt(test_stats().num_concurrent_gc, 0);
    ck_assert_uint_ge(calls[0], test_stats().num_concurrent_gc);
    ck_assert(!elsewhere);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

static void allocate(void *ctx)
{
    *(void **)ctx = oak_alloc(32);
}

static void collect_and_allocate(void *arg)
{
    for (int i = 0; i < 100; i++) *(void **)arg = oak_alloc(32);
    oak_gc_at_start(allocate, arg);
    oak_collect();
}

static jmp_buf outside;

static void jump(void *ctx)
{
    (void)ctx;
    longjmp(outside, 1);
}

static void collect_and_jump(void *arg)
{
    oak_gc_at_start(jump, arg);
    if (setjmp(outside) == 0) oak_collect();
}

START_TEST(misuse_is_one_fatal_line)
{
    void *p = NULL;
    test_dies(collect_and_allocate, &p, "oakum: called ");
    test_dies(collect_and_jump, &p, "oakum: a function that has to return");
}
END_TEST

Suite *suite_gc_starthook(void)
{
    Suite *s = suite_create("gc/starthook");
    TCase *c = tcase_create("starthook");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, set_up, NULL);
    tcase_add_test(c, stale_slots_are_cleared_by_a_hook);
    tcase_add_test(c, a_type_reads_the_live_length_from_another_object);
    tcase_add_test(c, exactly_the_live_part_is_kept);
    tcase_add_loop_test(c, nothing_pushed_is_lost, 0, 2);
    tcase_add_test(c, each_is_called_once_a_collection_in_order);
    tcase_add_test(c, misuse_is_one_fatal_line);
    suite_add_tcase(s, c);
    c = tcase_create("concurrent"); /* starts its own heap */
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_concurrent_collection_calls_it_in_its_first_pause);
    suite_add_tcase(s, c);
    return s;
}
