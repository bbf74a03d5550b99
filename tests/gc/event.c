/* event.c - tests of gc/event.c: listeners hear of each cycle, in order, one call at a time,
 * whatever threads do meanwhile; and what they hear adds up. */
#include "gc/event.h"

#include "gc/gc.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <errno.h>

Suite *suite_gc_event(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start(test_config());
    test_once();
}

/* What a listener that only takes notes has heard. */
typedef struct notes {
    size_t calls, inside, wrong;
    oaki_cycle last;
} notes;

static void take_note(const oaki_cycle *c, void *ctx)
{
    notes *n = ctx;
    n->wrong += n->inside++ != 0;
    n->wrong += n->calls > 0 && c->line.cycle != n->last.line.cycle + c->lost + 1;
    n->last = *c;
    n->calls++;
    n->inside--;
}

/* ---- what it says ---- */

static void *kept[64];

START_TEST(a_cycle_tells_what_memstats_tell)
{
    notes n = { 0 };
    oak_collect();
    ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n), 0);
    for (size_t i = 0; i < 64; i++) kept[i] = oak_alloc_noscan(i % 2 ? 100000 : 1000);
    for (size_t i = 0; i < 64; i += 2) kept[i] = NULL;
    oak_collect();
    oak_memstats s = test_stats();
    const oaki_cycle *c = &n.last;
    ck_assert_uint_eq(n.calls, 1);
    ck_assert_uint_eq(c->line.cycle, s.num_gc);
    ck_assert_int_eq(c->why, OAKI_GC_ASKED);
    ck_assert(c->line.forced);
    uint64_t sum = c->verify;
    for (unsigned p = 0; p < OAKI_PARTS; p++) sum += c->part[p];
    ck_assert_uint_eq(sum, c->end - c->begin);
    ck_assert_uint_eq(c->line.stop + c->line.mark + c->line.mark_end, sum - c->verify);
    ck_assert_uint_eq(s.pause_ns[(s.num_gc + 255) % 256], sum - c->verify);
    ck_assert_uint_eq(c->wall, s.last_gc);
    ck_assert_uint_eq(c->trigger, s.next_gc);
    ck_assert_uint_ge(c->allocated, 32 * 100000);
    ck_assert_uint_ge(c->freed, 30 * 1000);
    ck_assert_uint_eq(c->line.heap_start - c->freed, c->line.heap_live);
    ck_assert_uint_eq(c->threads, 1);
    ck_assert_int_eq(c->tid, oaki_os_tid());
    ck_assert_uint_gt(c->sweep_end, 0); /* of the cycle before, which oak_collect swept */
    ck_assert_uint_lt(c->sweep_end, c->begin);
    ck_assert_uint_ge(c->line.stacks, 100);
    ck_assert_uint_ge(c->line.globals, 1000);
    oaki_gc_off_cycle(take_note, &n);
    oak_collect();
    ck_assert_uint_eq(n.calls, 1);
    ck_assert_uint_eq(n.wrong, 0);
}
END_TEST

static void drop(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 3000; i++) (void)!oak_alloc_noscan(16384);
}

START_TEST(what_was_due_is_not_called_asked)
{
    notes n = { 0 };
    oak_set_gc_percent(100);
    ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n), 0);
    test_away(drop, NULL);
    ck_assert_uint_ge(n.calls, 2);
    ck_assert_int_eq(n.last.why, OAKI_GC_DUE);
    ck_assert(!n.last.line.forced);
    ck_assert_uint_eq(n.wrong, 0);
    oaki_gc_off_cycle(take_note, &n);
}
END_TEST

/* ---- listeners ---- */

START_TEST(there_is_room_for_so_many)
{
    notes n[OAKI_LISTENERS + 1] = { { 0 } };
    for (size_t i = 0; i < OAKI_LISTENERS; i++)
        ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n[i]), 0);
    ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n[3]), 0); /* twice is once */
    errno = 0;
    ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n[OAKI_LISTENERS]), -1);
    ck_assert_int_eq(errno, ENOMEM);
    oak_collect();
    oaki_gc_off_cycle(take_note, &n[OAKI_LISTENERS]); /* is none */
    oaki_gc_off_cycle(take_note, &n[5]);
    ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n[OAKI_LISTENERS]), 0);
    oak_collect();
    for (size_t i = 0; i <= OAKI_LISTENERS; i++)
        ck_assert_uint_eq(n[i].calls, i == 5 || i == OAKI_LISTENERS ? 1 : 2);
    for (size_t i = 0; i <= OAKI_LISTENERS; i++) oaki_gc_off_cycle(take_note, &n[i]);
}
END_TEST

static void collect_again(const oaki_cycle *c, void *ctx)
{
    notes *n = ctx;
    take_note(c, n);
    n->inside++;
    if (n->calls < 5) oak_collect();
    if (n->calls == 5) oaki_gc_off_cycle(collect_again, n); /* from inside, and no later one */
    n->inside--;
}

START_TEST(a_listener_may_collect_and_is_not_called_inside_itself)
{
    notes n = { 0 };
    ck_assert_int_eq(oaki_gc_on_cycle(collect_again, &n), 0);
    oak_collect();
    ck_assert_uint_eq(n.calls, 5);
    ck_assert_uint_eq(n.wrong, 0);
    oak_collect();
    ck_assert_uint_eq(n.calls, 5);
}
END_TEST

/* ---- threads ---- */

static void *collect_often(void *arg)
{
    for (size_t i = 0, n = test_scale(200); i < n; i++) oak_collect();
    return arg;
}

static void *come_and_go(void *arg)
{
    for (size_t i = 0; !AO_load(&test_quit); i++) {
        notes mine = { 0 };
        test_expect(oaki_gc_on_cycle(take_note, &mine) == 0, __LINE__);
        if (i % 3 == 0) oak_collect();
        oaki_gc_off_cycle(take_note, &mine);
        size_t calls = mine.calls;
        if (i % 5 == 0) oak_collect();
        test_expect(mine.calls == calls && mine.wrong == 0, __LINE__);
    }
    return arg;
}

START_TEST(every_cycle_is_told_once_and_in_order_beside_threads)
{
    notes n = { 0 };
    pthread_t ids[4];
    ck_assert_int_eq(oaki_gc_on_cycle(take_note, &n), 0);
    for (size_t i = 0; i < 2; i++) ids[i] = test_start(collect_often, NULL);
    for (size_t i = 2; i < 4; i++) ids[i] = test_start(come_and_go, NULL);
    for (size_t i = 0; i < 2; i++) test_join(ids[i]);
    AO_store(&test_quit, 1);
    for (size_t i = 2; i < 4; i++) test_join(ids[i]);
    oaki_gc_flush_events();
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_eq(n.wrong, 0);
    ck_assert_uint_eq(n.last.line.cycle, test_stats().num_gc);
    oaki_gc_off_cycle(take_note, &n);
}
END_TEST

static AO_t held_up, let_go;

static void hold_up(const oaki_cycle *c, void *ctx)
{
    take_note(c, ctx);
    AO_store_release(&held_up, 1);
    test_wait(&let_go, 1);
}

static void *collect_once(void *arg)
{
    oak_collect();
    return arg;
}

START_TEST(a_listener_that_is_held_up_holds_up_no_collection)
{
    notes n = { 0 };
    ck_assert_int_eq(oaki_gc_on_cycle(hold_up, &n), 0);
    pthread_t id = test_start(collect_once, NULL);
    test_wait(&held_up, 1);
    for (size_t i = 0; i < OAKI_EVENTS + 10; i++) oak_collect();
    ck_assert_uint_eq(test_stats().num_gc, OAKI_EVENTS + 11);
    ck_assert_uint_eq(n.calls, 1);
    AO_store_release(&let_go, 1);
    test_join(id);
    oaki_gc_flush_events();
    ck_assert_uint_eq(n.calls, OAKI_EVENTS + 1);
    oak_collect();
    ck_assert_uint_eq(n.last.lost, 10);
    ck_assert_uint_eq(n.wrong, 0);
    oaki_gc_off_cycle(hold_up, &n);
}
END_TEST

/* ---- fork ---- */

static void fork_inside(const oaki_cycle *c, void *ctx)
{
    notes *n = ctx;
    take_note(c, n);
    if (n->calls > 1) return;
    pid_t pid = fork();
    if (pid == 0) {
        oak_collect();
        oaki_gc_on_cycle(take_note, n);
        return; /* goes on as a child */
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}

START_TEST(a_child_hears_of_its_own_cycles)
{
    notes n = { 0 };
    pid_t parent = getpid();
    ck_assert_int_eq(oaki_gc_on_cycle(fork_inside, &n), 0);
    oak_collect();
    if (getpid() != parent) {
        oak_collect();
        _exit(n.calls >= 3 ? 0 : 1);
    }
    ck_assert_uint_eq(n.calls, 1);
    AO_store(&let_go, 0);
    AO_store(&held_up, 0);
    ck_assert_int_eq(oaki_gc_on_cycle(hold_up, &n), 0);
    pthread_t id = test_start(collect_once, NULL);
    test_wait(&held_up, 1);
    pid_t pid = fork(); /* while another thread is telling */
    if (pid == 0) {
        AO_store(&let_go, 1);
        size_t calls = n.calls;
        oak_collect();
        _exit(n.calls > calls ? 0 : 2);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    AO_store_release(&let_go, 1);
    test_join(id);
}
END_TEST

Suite *suite_gc_event(void)
{
    Suite *s = suite_create("gc/event");
    TCase *c = tcase_create("event");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_cycle_tells_what_memstats_tell);
    tcase_add_test(c, what_was_due_is_not_called_asked);
    tcase_add_test(c, there_is_room_for_so_many);
    tcase_add_test(c, a_listener_may_collect_and_is_not_called_inside_itself);
    tcase_add_test(c, every_cycle_is_told_once_and_in_order_beside_threads);
    tcase_add_test(c, a_listener_that_is_held_up_holds_up_no_collection);
    tcase_add_test(c, a_child_hears_of_its_own_cycles);
    suite_add_tcase(s, c);
    return s;
}
