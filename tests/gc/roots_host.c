/* roots_host.c - roots that a host switches off, drops, or describes by itself: data of loaded
 * objects, registered ranges, the end of a stack that the program switches without fibers. */
#include "runtime/roots.h"

#include "gc/host.h"
#include "roots_support.h"
#include "runtime/lock.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

Suite *suite_gc_roots_host(void);

#define NOINLINE __attribute__((noinline))
#define STACK ((size_t)131072)
#define PAGE ((size_t)4096)

static roots_group group, native;
static void *slots[ROOTS_N];

/* ---- data of loaded objects ---- */

static void expect(void **where, unsigned which, bool kept)
{
    oaki_roots_objects(which);
    roots_make(&group, 48);
    roots_reveal(&group, where, 0);
    size_t alive = roots_alive(&group);
    roots_forget(where);
    if (kept) roots_assert_kept(alive);
    else roots_assert_gone(alive);
    roots_assert_gone(roots_alive(&group));
}

START_TEST(data_counts_as_far_as_it_is_wanted)
{
    roots_start();
    void *lib = dlopen(TEST_MODULES "/libdata.so", RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull(lib);
    void **theirs = dlsym(lib, "libdata_bss");
    ck_assert_ptr_nonnull(theirs);
    for (unsigned which = 0; which <= OAKI_OBJECTS_ALL; which++) {
        expect(slots, which, which & OAKI_OBJECTS_MAIN);
        expect(theirs, which, which & OAKI_OBJECTS_LIBRARIES);
    }
    oaki_roots_objects(OAKI_OBJECTS_ALL);
    expect(slots, OAKI_OBJECTS_ALL, true);
}
END_TEST

static bool in_object(const void *p)
{
    ck_assert_int_eq(oaki_gc_exclude(), 0);
    bool found = oaki_roots_in_object(p);
    oaki_gc_release();
    return found;
}

START_TEST(an_address_in_data_is_told_as_far_as_it_is_wanted)
{
    int local;
    roots_start();
    for (unsigned which = 0; which <= OAKI_OBJECTS_ALL; which++) {
        oaki_roots_objects(which);
        ck_assert_int_eq(in_object(&slots[1]), (which & OAKI_OBJECTS_MAIN) != 0);
        ck_assert_int_eq(in_object(stdout), (which & OAKI_OBJECTS_LIBRARIES) != 0);
        ck_assert(!in_object(&local) && !in_object(NULL));
    }
}
END_TEST

static __thread void *tls_slots[ROOTS_N];

START_TEST(thread_local_storage_counts_always)
{
    roots_start();
    expect(tls_slots, OAKI_OBJECTS_NONE, true);
}
END_TEST

/* ---- registered ranges ---- */

START_TEST(cleared_ranges_are_gone)
{
    roots_start();
    void **where = calloc(ROOTS_N, sizeof *where);
    for (size_t i = 0; i < ROOTS_N; i++)
        ck_assert_int_eq(oak_root_add(where + i, sizeof *where), 0);
    expect(where, OAKI_OBJECTS_ALL, true);
    oaki_roots_clear();
    expect(where, OAKI_OBJECTS_ALL, false);
    ck_assert_int_eq(oak_root_remove(where, sizeof *where), -1);
    ck_assert_int_eq(errno, ENOENT);
    oaki_roots_clear();
    ck_assert_int_eq(oak_root_add(where, ROOTS_N * sizeof *where), 0);
    expect(where, OAKI_OBJECTS_ALL, true);
    ck_assert_int_eq(oak_root_remove(where, ROOTS_N * sizeof *where), 0);
    free(where);
}
END_TEST

/* ---- the end of a stack ---- */

/* What the program says, and its contexts, where nobody scans. */
static struct {
    char *bottom;
    char *stack; /* STACK bytes */
    ucontext_t *home, *away;
    void (*act)(void);
    size_t seen, seen_native, seen_elsewhere;
} told;

static void look(void)
{
    told.seen = roots_alive(&group);
    told.seen_native = roots_alive(&native);
}

/* On the told stack, with the group in its frame. */
static NOINLINE void on_stack(void)
{
    void *local[ROOTS_N];
    roots_reveal(&group, local, 0);
    told.act();
    roots_forget(local);
    roots_clean();
    swapcontext(told.away, told.home);
}

static NOINLINE void go(void)
{
    swapcontext(told.home, told.away);
}

/* go() with the group `native` in a frame of the thread's own stack. */
static NOINLINE void hold_natively(void (*fn)(void))
{
    void *local[ROOTS_N];
    roots_reveal(&native, local, 0);
    fn();
    roots_forget(local);
    roots_clean();
}

static void start_on(char *stack, void (*act)(void))
{
    roots_start();
    told.home = calloc(1, sizeof *told.home);
    told.away = calloc(1, sizeof *told.away);
    told.stack = stack;
    told.act = act;
    getcontext(told.away);
    told.away->uc_stack.ss_sp = stack;
    told.away->uc_stack.ss_size = STACK;
    makecontext(told.away, on_stack, 0);
    oaki_thread *t = oaki_thread_attach_self();
    ck_assert_ptr_nonnull(t);
    oaki_thread_stack_bottom(t, &told.bottom);
    roots_make(&group, 48);
    roots_make(&native, 48);
}

static void finish(void)
{
    roots_assert_gone(roots_alive(&group));
    roots_assert_gone(roots_alive(&native));
    oaki_thread_stack_bottom(oaki_thread_self(), NULL);
}

static void look_told(void)
{
    told.bottom = told.stack + STACK;
    look();
    told.bottom = NULL;
}

START_TEST(only_the_told_stack_counts)
{
    start_on(roots_map_stack(), look_told);
    hold_natively(go);
    roots_assert_kept(told.seen);
    roots_assert_gone(told.seen_native);
    finish();
}
END_TEST

START_TEST(untold_both_count)
{
    start_on(roots_map_stack(), look);
    hold_natively(go);
    roots_assert_kept(told.seen);
    roots_assert_kept(told.seen_native);
    finish();
}
END_TEST

START_TEST(the_end_of_the_own_stack_changes_nothing)
{
    start_on(roots_map_stack(), look);
    told.bottom = oaki_thread_self()->stack_hi;
    hold_natively(look);
    roots_assert_gone(told.seen);
    roots_assert_kept(told.seen_native);
    told.bottom = NULL;
}
END_TEST

static void leave(void)
{
    swapcontext(told.away, told.home);
}

static void go_and_look(void)
{
    go();
    told.bottom = told.stack + STACK;
    look();
    told.bottom = NULL;
    go();
}

/* Between the assignment and the switch. */
START_TEST(on_the_way_both_count)
{
    start_on(roots_map_stack(), leave);
    hold_natively(go_and_look);
    roots_assert_kept(told.seen);
    roots_assert_kept(told.seen_native);
    finish();
}
END_TEST

/* The same from one told stack to another right above it, with a guard page between them. */
static void look_told_above(void)
{
    told.bottom = told.stack + STACK + PAGE + STACK;
    look();
    told.bottom = NULL;
}

START_TEST(a_guard_page_between_two_stacks_is_left_alone)
{
    char *p = mmap(NULL, 2 * STACK + 2 * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_int_eq(mprotect(p, PAGE, PROT_NONE), 0);
    ck_assert_int_eq(mprotect(p + PAGE + STACK, PAGE, PROT_NONE), 0);
    start_on(p + PAGE, look_told_above);
    roots_group above;
    roots_make(&above, 64);
    void **top = (void **)(void *)(p + 2 * PAGE + 2 * STACK) - ROOTS_N;
    roots_reveal(&above, top, 0);
    hold_natively(go);
    roots_assert_kept(told.seen);
    told.act = NULL;
    roots_forget(top);
    roots_assert_gone(roots_alive(&above));
    finish();
}
END_TEST

/* ---- stopped there by another thread, and in a handler on an alternate stack ---- */

static roots_step step;

static void *collect_there(void *arg)
{
    roots_await(&step);
    told.seen = roots_alive(&group);
    told.seen_native = roots_alive(&native);
    roots_let_go(&step);
    return arg;
}

static void stand_told(void)
{
    told.bottom = told.stack + STACK;
    roots_arrive(&step);
    told.bottom = NULL;
}

START_TEST(a_thread_that_is_stopped_there_is_scanned_there)
{
    start_on(roots_map_stack(), stand_told);
    pthread_t id = test_start(collect_there, NULL);
    hold_natively(go);
    test_join(id);
    roots_assert_kept(told.seen);
    roots_assert_gone(told.seen_native);
    finish();
}
END_TEST

static void on_signal(int sig)
{
    (void)sig;
    look();
}

static void raise_told(void)
{
    told.bottom = told.stack + STACK;
    raise(SIGUSR1);
    told.bottom = NULL;
}

START_TEST(an_alternate_stack_does_not_hide_it)
{
    if (test_skip_valgrind()) return; /* to it, what was a stack once is no memory any more */
    static char alt[65536] __attribute__((aligned(16)));
    stack_t s = { .ss_sp = alt, .ss_size = sizeof alt };
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
    ck_assert_int_eq(sigaltstack(&s, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &a, NULL), 0);
    start_on(roots_map_stack(), raise_told);
    hold_natively(go);
    roots_assert_kept(told.seen);
    memset(alt, 0, sizeof alt);
    finish();
}
END_TEST

Suite *suite_gc_roots_host(void)
{
    Suite *s = suite_create("gc/roots_host");
    TCase *t = tcase_create("host");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, data_counts_as_far_as_it_is_wanted);
    tcase_add_test(t, an_address_in_data_is_told_as_far_as_it_is_wanted);
    tcase_add_test(t, thread_local_storage_counts_always);
    tcase_add_test(t, cleared_ranges_are_gone);
    tcase_add_test(t, only_the_told_stack_counts);
    tcase_add_test(t, untold_both_count);
    tcase_add_test(t, the_end_of_the_own_stack_changes_nothing);
    tcase_add_test(t, on_the_way_both_count);
    tcase_add_test(t, a_guard_page_between_two_stacks_is_left_alone);
    tcase_add_test(t, a_thread_that_is_stopped_there_is_scanned_there);
    tcase_add_test(t, an_alternate_stack_does_not_hide_it);
    suite_add_tcase(s, t);
    return s;
}
