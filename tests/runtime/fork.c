/* fork.c - tests of runtime/fork.c: a child of a program with many threads has a heap that is whole
 * and works. */
#include "runtime/collector.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "tests/heap.h"
#include "tests/step.h"
#include "tests/threads.h"

#include <errno.h>
#include <oakum/oakum.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

Suite *suite_runtime_fork(void);

static AO_t quit, ready, done;

/* ---- in the child: no Check, an exit status says what is wrong ---- */

static void *allocate_once(void *arg)
{
    void **p = oak_alloc(100);
    *p = arg;
    return *p;
}

/* All that uses what other threads had, or a helper that is gone. */
static int use_heap(unsigned nthreads)
{
    pthread_t id;
    if (test_threads() != nthreads) return 2;
    for (int i = 0; i < 1000; i++) {
        void **p = oak_alloc(16u << (i % 8));
        if (!p || *p) return 3;
        *p = p;
    }
    const oaki_thread *t = oaki_thread_self();
    if (!t || t->tid != getpid() || test_threads() != 1) return 4;
    oak_collect();
    test_sweep_all();
    const char *broken = oaki_pages_check();
    if (broken) {
        oaki_log("%s\n", broken);
        return 5;
    }
    if (pthread_create(&id, NULL, allocate_once, NULL) != 0) return 6;
    if (pthread_join(id, NULL) != 0) return 6;
    oak_collect();
    return test_threads() == 1 ? 0 : 7;
}

static void fork_and_use(unsigned nthreads)
{
    pid_t pid = fork();
    if (pid == 0) _exit(use_heap(nthreads));
    ck_assert_int_eq(test_wait_child(pid), 0);
}

/* ---- other threads meanwhile ---- */

static void *allocate(void *arg)
{
    void *keep[64] = { 0 };
    for (unsigned i = 0; !AO_load(&quit); i++) {
        keep[i % 64] = oak_alloc(16u << (i % 9));
        if (i % 3 == 0) {
            oak_free(keep[i % 64]);
            keep[i % 64] = NULL;
        }
    }
    return arg;
}

static void *collect(void *arg)
{
    while (!AO_load(&quit)) oak_collect();
    return arg;
}

static void *come_and_go(void *arg)
{
    while (!AO_load(&quit)) {
        (void)!oak_alloc(64);
        oak_thread_detach();
    }
    return arg;
}

static void *use_malloc(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&quit)) {
        char *p = malloc(1000);
        __asm__("" : "+r"(p)); /* the compiler may not do without it */
        free(p);
    }
    return arg;
}

static void *stay_blocked(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_enter();
    AO_store_release(&ready, 1);
    while (!AO_load(&quit)) oaki_os_sleep_ns(1000000);
    oak_blocking_leave();
    return arg;
}

START_TEST(the_child_of_one_thread_works)
{
    void **p = oak_alloc(64);
    *p = p;
    for (int i = 0; i < 10; i++) fork_and_use(1);
    ck_assert_ptr_eq(*p, p);
    ck_assert_int_eq(use_heap(1), 0);
}
END_TEST

START_TEST(the_child_of_many_threads_works)
{
    static void *(*const fn[])(void *) = { allocate, collect, come_and_go, use_malloc,
                                           stay_blocked };
    enum { N = OAKI_COUNT(fn) };
    pthread_t id[N];
    ck_assert_int_eq(oak_thread_attach(), 0);
    for (int i = 0; i < N; i++) id[i] = test_start(fn[i], NULL);
    test_wait(&ready, 1);
    for (int i = 0; i < 25; i++) fork_and_use(1);
    AO_store(&quit, 1);
    for (int i = 0; i < N; i++) test_join(id[i]);
    ck_assert_uint_eq(test_threads(), 1);
    oak_collect();
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

START_TEST(a_thread_that_is_not_attached_may_fork)
{
    pthread_t id = test_start(allocate, NULL);
    for (int i = 0; i < 5; i++) fork_and_use(0);
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

START_TEST(a_child_may_fork)
{
    pthread_t id = test_start(allocate, NULL);
    ck_assert_int_eq(oak_thread_attach(), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (use_heap(1) != 0) _exit(1);
        pid = fork();
        _exit(pid == 0 ? use_heap(1) : test_wait_child(pid) != 0);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

static void *fork_blocked(void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        oak_blocking_leave();
        _exit(use_heap(1));
    }
    *(pid_t *)arg = pid;
    return arg;
}

START_TEST(a_thread_in_a_blocking_region_may_fork)
{
    pid_t pid;
    pthread_t id = test_start(allocate, NULL);
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_call(fork_blocked, &pid);
    ck_assert_int_eq(test_wait_child(pid), 0);
    AO_store(&quit, 1);
    test_join(id);
    ck_assert_ptr_nonnull(oak_alloc(1));
}
END_TEST

/* ---- what another thread had begun ---- */

static oak_zone *zone;
static AO_t other; /* oaki_thread * */

static int end_zone(void)
{
    if (oak_zone_discard(zone) != 0) return 8;
    oak_collect();
    return AO_load(&oaki_the_heap.zones.ndead) == 0 ? 0 : 9;
}

static void fork_and_end_zone(void)
{
    pid_t pid = fork();
    if (pid == 0) _exit(end_zone());
    ck_assert_int_eq(test_wait_child(pid), 0);
}

static void *clear_objects(void *arg)
{
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    AO_store_release(&other, (AO_t)oaki_thread_self());
    while (!AO_load(&quit)) oak_free(oak_alloc((size_t)64 << 20));
    oak_zone_leave(zone);
    return arg;
}

/* Its span is in no list, and only that thread would have published it. */
START_TEST(an_object_that_another_thread_clears_is_free_in_the_child)
{
    zone = oak_zone_new(NULL);
    pthread_t id = test_start(clear_objects, NULL);
    test_wait(&other, 1);
    AO_t *clears = (AO_t *)(void *)&((oaki_thread *)AO_load(&other))->clears;
    for (int i = 0; i < 10; i++) {
        test_wait(clears, 1);
        fork_and_end_zone();
    }
    AO_store(&quit, 1);
    test_join(id);
    ck_assert_int_eq(end_zone(), 0);
}
END_TEST

/* As it waits for threads_lock, outside of the runtime. */
START_TEST(a_zone_that_another_thread_was_entering_is_left_in_the_child)
{
    oaki_zones *zs = &oaki_the_heap.zones;
    zone = oak_zone_new(NULL);
    pthread_t id = test_start(stay_blocked, NULL);
    test_wait(&ready, 1);
    oaki_thread *t = oaki_the_heap.threads;
    if (t == oaki_thread_self()) t = t->next;
    oaki_thread *self = oaki_enter();
    oaki_lock_acquire(&zs->lock);
    zone->entries++;
    zone->making++;
    t->comes = zone;
    oaki_lock_release(&zs->lock);
    oaki_leave(self);
    fork_and_end_zone();
    t->comes = NULL;
    zone->making--;
    zone->entries--;
    AO_store(&quit, 1);
    test_join(id);
    ck_assert_int_eq(end_zone(), 0);
}
END_TEST

/* ---- waiting for each other ---- */

/* In a blocking region, where a stop by itself holds nobody up. */
static void *fork_late(void *arg)
{
    pid_t pid;
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&ready, 1);
    oak_blocking_call(fork_blocked, &pid);
    AO_store_release(&done, 1);
    ck_assert_int_eq(test_wait_child(pid), 0);
    return arg;
}

START_TEST(a_fork_waits_for_the_end_of_a_stop)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(fork_late, NULL);
    test_wait(&ready, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    AO_t was_done = AO_load(&done);
    oaki_os_sleep_ns(20000000);
    AO_t is_done = AO_load(&done);
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert_uint_eq(was_done, is_done);
}
END_TEST

START_TEST(a_fork_waits_for_a_helper_and_a_helper_for_a_fork)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oaki_helper_begin();
    pthread_t id = test_start(fork_late, NULL);
    while (!AO_int_load_acquire(&oaki_fork_gate)) oaki_os_yield();
    oaki_os_sleep_ns(10000000);
    ck_assert_uint_eq(AO_load(&done), 0);
    oaki_helper_end();
    oaki_helper_begin();
    ck_assert_uint_eq(AO_int_load(&oaki_fork_gate), 0);
    oaki_helper_end();
    test_join(id);
}
END_TEST

/* As where the unwinder calls a malloc that is ours: in the middle of what the fork waits for. */
START_TEST(who_holds_a_fork_off_may_enter_the_heap)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oaki_fork_hold();
    pthread_t id = test_start(fork_late, NULL);
    while (!AO_int_load_acquire(&oaki_fork_gate)) oaki_os_yield();
    for (int i = 0; i < 1000; i++) ck_assert_ptr_nonnull(oak_alloc_pinned(100));
    uint32_t cycles = (uint32_t)AO_load(&oaki_the_heap.cycle);
    oak_collect(); /* the fork has gc_lock */
    ck_assert_uint_eq(AO_load(&oaki_the_heap.cycle), cycles);
    oaki_fork_hold();
    oaki_loader_begin(NULL);
    oaki_loader_end(NULL);
    oaki_fork_release();
    if (_i) oak_thread_detach();
    ck_assert_ptr_nonnull(oak_alloc_pinned(100));
    ck_assert_uint_eq(AO_load(&done), 0);
    oaki_fork_release();
    test_join(id);
    fork_and_use(1);
}
END_TEST

/* A stop would wait for it forever. */
START_TEST(a_thread_that_blocks_signals_holds_up_no_fork)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(test_stay_masked, &quit);
    test_wait(&test_masked, 1);
    for (int i = 0; i < 5; i++) fork_and_use(1);
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

START_TEST(a_signal_that_was_on_its_way_is_not_expected_in_the_child)
{
    oaki_thread *t = oaki_thread_attach_self();
    AO_int_store(&t->signalled, 1);
    pid_t pid = fork();
    if (pid == 0) _exit((int)t->signalled);
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

/* ---- what runs no handlers, or in between them ---- */

START_TEST(posix_spawn_works_beside_collections)
{
    char *const argv[] = { (char *)"true", NULL };
    pthread_t id = test_start(collect, NULL);
    ck_assert_int_eq(oak_thread_attach(), 0);
    for (int i = 0; i < 20; i++) {
        pid_t pid;
        ck_assert_int_eq(posix_spawnp(&pid, "true", NULL, NULL, argv, environ), 0);
        ck_assert_int_eq(test_wait_child(pid), 0);
    }
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

static void no_core(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    close(STDERR_FILENO);
}

/* As from a signal handler that interrupted the allocator. */
START_TEST(a_fork_inside_the_runtime_leaves_the_child_without_a_heap)
{
    oaki_thread *t = oaki_enter();
    pid_t pid = fork();
    if (pid == 0) {
        no_core();
        oaki_leave(t);
        (void)!oak_alloc(16);
        _exit(0);
    }
    oaki_leave(t);
    int status = test_wait_child(pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    fork_and_use(1);
}
END_TEST

/* As from a signal handler that interrupted the unwinder: nothing was waited for. */
START_TEST(a_fork_by_who_holds_forks_off_leaves_the_child_without_a_heap)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oaki_fork_hold();
    pid_t pid = fork();
    if (pid == 0) {
        no_core();
        if (_i) oaki_fork_hold();
        else (void)!oak_alloc_pinned(16);
        _exit(0);
    }
    oaki_fork_release();
    int status = test_wait_child(pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    fork_and_use(1);
}
END_TEST

static AO_t handlers;

static void allocate_in_handler(void)
{
    oak_free(oak_alloc(16));
    AO_fetch_and_add1(&handlers);
}

START_TEST(the_programs_own_handlers_may_allocate)
{
    pthread_atfork(allocate_in_handler, allocate_in_handler, allocate_in_handler);
    if (_i) ck_assert_int_eq(oak_thread_attach(), 0);
    fork_and_use(1);
    ck_assert_uint_eq(AO_load(&handlers), 2);
}
END_TEST

/* In a child, of a process in which another thread is starting the heap, or has just done so. */
START_TEST(a_fork_beside_the_start_works)
{
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t id = test_start(allocate_once, NULL);
        for (int i = 0; i < _i; i++) oaki_pause();
        pid = fork();
        if (pid == 0) {
            oak_collect();
            _exit(oak_alloc(16) == NULL);
        }
        pthread_join(id, NULL);
        _exit(test_wait_child(pid) != 0);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

static struct {
    size_t traps, forks, failed;
} steps;

static void fork_now_and_then(int sig)
{
    (void)sig;
    if (steps.traps++ % 199 != 0) return;
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    steps.forks++;
    steps.failed += test_wait_child(pid) != 0;
}

/* From a signal handler, which may come in the midst of the heap's start. */
START_TEST(a_fork_in_the_start_waits_for_nothing)
{
    struct sigaction act = { .sa_handler = fork_now_and_then };
    oak_config c = test_config();
    if (test_skip(!test_can_step(), "no single steps here")) return;
    ck_assert_int_eq(sigaction(SIGTRAP, &act, NULL), 0);
    test_single_step(true);
    int r = oak_init(&c);
    test_single_step(false);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_gt(steps.forks, 20);
    ck_assert_uint_eq(steps.failed, 0);
    fork_and_use(0);
}
END_TEST

Suite *suite_runtime_fork(void)
{
    Suite *s = suite_create("runtime_fork");
    TCase *c = tcase_create("fork");
    tcase_add_test(c, the_child_of_one_thread_works);
    tcase_add_test(c, a_fork_waits_for_the_end_of_a_stop);
    tcase_add_test(c, a_fork_waits_for_a_helper_and_a_helper_for_a_fork);
    tcase_add_loop_test(c, who_holds_a_fork_off_may_enter_the_heap, 0, 2);
    tcase_add_test(c, a_signal_that_was_on_its_way_is_not_expected_in_the_child);
    tcase_add_test(c, posix_spawn_works_beside_collections);
    tcase_add_test(c, a_fork_inside_the_runtime_leaves_the_child_without_a_heap);
    tcase_add_loop_test(c, a_fork_by_who_holds_forks_off_leaves_the_child_without_a_heap, 0, 2);
    tcase_add_test(c, a_fork_in_the_start_waits_for_nothing);
    tcase_add_loop_test(c, the_programs_own_handlers_may_allocate, 0, 2);
    if (!test_skip_asan()) { /* others may be in malloc at the fork */
        tcase_add_test(c, the_child_of_many_threads_works);
        tcase_add_test(c, a_thread_that_is_not_attached_may_fork);
        tcase_add_test(c, a_thread_that_blocks_signals_holds_up_no_fork);
        tcase_add_test(c, a_child_may_fork);
        tcase_add_test(c, an_object_that_another_thread_clears_is_free_in_the_child);
        tcase_add_test(c, a_zone_that_another_thread_was_entering_is_left_in_the_child);
        tcase_add_test(c, a_thread_in_a_blocking_region_may_fork);
        tcase_add_loop_test(c, a_fork_beside_the_start_works, 0, 40);
    }
    suite_add_tcase(s, c);
    return s;
}
