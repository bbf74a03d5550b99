/* zone.c - tests of gc/zone.c and observe/zonepath.c: destroying zones that nothing refers to, and
 * refusing those that something does. */
#include "away.h"
#include "runtime/heap.h"
#include "runtime/os.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_gc_zone(void);

const char *test_check_heap(void);

static void start(void)
{
    test_start(0);
}

static oak_zone *zone;
static void **global;
static int ran;

static uint64_t discarded_inuse(void)
{
    oak_zone_stats s[2];
    (void)oak_zones_read(s, 2, NULL);
    return s[1].inuse;
}

static void assert_destroyed(void)
{
    oak_path *path = NULL;
    int r = oak_zone_destroy(zone, &path);
    char text[4096] = "";
    if (path) (void)oak_path_format(path, text, sizeof text);
    ck_assert_msg(r == 0, "refused: %s", text);
    ck_assert_ptr_null(path);
    for (int i = 0; i < 10000 && discarded_inuse() > 0; i++) oaki_os_sleep_ns(1000000);
    ck_assert_uint_eq(discarded_inuse(), 0);
    ck_assert_ptr_null(test_check_heap());
}

/* A ring of 100 objects and one large one; *arg, unless NULL, is where one of them is kept. */
static void fill(void *arg)
{
    void **first = oak_zone_alloc(zone, 40), **p = first;
    for (int i = 0; i < 100; i++) {
        void **next = oak_zone_alloc(zone, i == 50 ? 100000 : 40);
        next[0] = p;
        p = next;
    }
    first[0] = p;
    if (arg) *(void **)arg = first;
}

START_TEST(what_nothing_refers_to_is_destroyed)
{
    zone = oak_zone_new(NULL);
    assert_destroyed();
    zone = oak_zone_new(NULL);
    test_build(fill, NULL);
    assert_destroyed();
}
END_TEST

/* On a thread that ends: its stack keeps nothing for the second try. */
static void assert_global_refused(void *arg)
{
    oak_path *path;
    (void)arg;
    ck_assert_int_eq(oak_zone_destroy(zone, NULL), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_nonnull(path);
    ck_assert_int_eq(path->root.kind, OAK_ROOT_GLOBAL);
    ck_assert_uint_eq(path->length, 1); /* at the border, not inside */
    ck_assert_ptr_eq(path->object, global);
    oak_path_free(path);
    ck_assert_ptr_nonnull(oak_zone_alloc(zone, 10)); /* it goes on */
    ck_assert_ptr_eq(oak_zone_of(global[0]), zone);
}

START_TEST(a_reference_from_a_global_is_refused_with_the_path)
{
    zone = oak_zone_new(NULL);
    test_build(fill, &global);
    test_away(assert_global_refused, NULL);
    global = NULL;
    assert_destroyed();
}
END_TEST

/* Until one attempt to enter has come in the middle of one to destroy, and failed. */
static void *enter_again_and_again(void *arg)
{
    AO_t *refused = arg;
    while (AO_load(refused) == 0) {
        int r = oak_zone_enter(zone);
        if (r != 0) {
            ck_assert_int_eq(errno, EBUSY);
            AO_store_release(refused, 1);
        } else {
            oak_zone_leave(zone);
            oaki_os_sleep_ns(100000);
        }
    }
    return NULL;
}

static void destroy_again_and_again(void *arg)
{
    AO_t *refused = arg;
    while (AO_load_acquire(refused) == 0) {
        ck_assert_int_eq(oak_zone_destroy(zone, NULL), -1);
        ck_assert_int_eq(errno, EBUSY);
    }
}

START_TEST(who_enters_while_it_is_looked_at_is_refused)
{
    static AO_t refused;
    zone = oak_zone_new(NULL);
    test_build(fill, &global);
    pthread_t id;
    ck_assert_int_eq(pthread_create(&id, NULL, enter_again_and_again, &refused), 0);
    test_away(destroy_again_and_again, &refused);
    ck_assert_int_eq(pthread_join(id, NULL), 0);
    ck_assert_int_eq(oak_zone_enter(zone), 0); /* it is open again */
    oak_zone_leave(zone);
    global = NULL;
    assert_destroyed();
}
END_TEST

static void refer_from_outside(void *arg)
{
    void **a = oak_alloc(64), **b = oak_alloc(64);
    (void)arg;
    a[3] = b;
    fill(&b[5]);
    global = a;
}

static void assert_path_refused(void *arg)
{
    oak_path *path;
    (void)arg;
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_nonnull(path);
    ck_assert_uint_eq(path->length, 3);
    ck_assert_uint_eq(path->steps[1].offset, 24);
    ck_assert_uint_eq(path->steps[2].offset, 40);
    oak_path_free(path);
}

START_TEST(the_path_goes_through_objects_elsewhere)
{
    zone = oak_zone_new(NULL);
    test_build(refer_from_outside, NULL);
    test_away(assert_path_refused, NULL);
    ((void **)global[3])[5] = NULL;
    assert_destroyed();
}
END_TEST

static void keep_outside(void *arg)
{
    void **in = oak_zone_alloc(zone, 64);
    in[0] = *(void **)arg = oak_alloc(64);
}

START_TEST(references_from_inside_do_not_matter)
{
    static void *outside;
    zone = oak_zone_new(NULL);
    test_build(keep_outside, &outside);
    assert_destroyed();
    ck_assert_ptr_eq(oak_base(outside), outside);
}
END_TEST

START_TEST(a_pinned_object_keeps_its_zone)
{
    oak_path *path;
    zone = oak_zone_new(NULL);
    static uintptr_t hidden;
    hidden = ~(uintptr_t)oak_zone_alloc_pinned(zone, 100);
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_ptr_nonnull(path);
    oak_path_free(path);
    oak_free((void *)~hidden);
    assert_destroyed();
}
END_TEST

static void count_run(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    ran++;
}

static void count_cleanup(void *ctx)
{
    (void)ctx;
    ran++;
}

static void fill_finalizable(void *arg)
{
    void **before = NULL;
    (void)arg;
    for (int i = 0; i < 5; i++) { /* each waits for the one that refers to it */
        void **p = oak_zone_alloc(zone, 64);
        p[0] = before;
        before = p;
        ck_assert_int_eq(oak_finalizer_set(p, count_run, NULL), 0);
        ck_assert_int_eq(oak_cleanup_add(oak_zone_alloc(zone, 64), count_cleanup, NULL), 0);
    }
}

START_TEST(finalizers_run_first)
{
    zone = oak_zone_new(NULL);
    test_build(fill_finalizable, NULL);
    assert_destroyed();
    (void)oak_finalizers_run();
    ck_assert_int_eq(ran, 10);
}
END_TEST

static void fill_cycle(void *arg)
{
    void **a = oak_zone_alloc(zone, 64), **b = oak_zone_alloc(zone, 64);
    (void)arg;
    a[0] = b;
    b[0] = a;
    ck_assert_int_eq(oak_finalizer_set(a, count_run, NULL), 0);
}

START_TEST(a_finalizer_that_cannot_run_keeps_the_zone)
{
    oak_path *path;
    zone = oak_zone_new(NULL);
    test_build(fill_cycle, NULL);
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_nonnull(path);
    ck_assert_int_eq(path->root.kind, OAK_ROOT_WAITING);
    oak_path_free(path);
    ck_assert_int_eq(oak_zone_discard(zone), 0); /* doesn't ask */
    oak_collect();
    ck_assert_int_eq(ran, 0);
}
END_TEST

static void weak_to_it(void *arg)
{
    void *obj = oak_zone_alloc(zone, 64);
    *(oak_weak **)arg = oak_weak_new(obj);
}

START_TEST(weak_references_neither_keep_it_nor_dangle)
{
    static oak_weak *w;
    zone = oak_zone_new(NULL);
    test_build(weak_to_it, &w);
    assert_destroyed();
    ck_assert_ptr_null(oak_weak_get(w));
}
END_TEST

START_TEST(it_is_refused_while_somebody_is_in_it_or_nothing_is_collected)
{
    zone = oak_zone_new(NULL);
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    oak_path *path;
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_null(path);
    oak_zone_leave(zone);
    oak_gc_disable();
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_int_eq(errno, EAGAIN);
    oak_gc_enable();
    assert_destroyed();
}
END_TEST

static void on_stack(void *arg)
{
    void *obj = oak_zone_alloc(zone, 64);
    oak_path *path;
    (void)arg;
    ck_assert_int_eq(oak_zone_destroy(zone, &path), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_nonnull(path);
    ck_assert(path->root.kind == OAK_ROOT_STACK || path->root.kind == OAK_ROOT_REGISTER);
    ck_assert(path->root.caller);
    oak_path_free(path);
    __asm__ __volatile__("" : : "r"(obj) : "memory");
}

START_TEST(words_of_the_caller_count)
{
    zone = oak_zone_new(NULL);
    test_away(on_stack, NULL);
    assert_destroyed();
}
END_TEST

/* ---- other threads, while it is looked at ---- */

static AO_t over, failed;

static void *change_size(void *arg)
{
    for (size_t i = 0; !AO_load_acquire(&over); i++) {
        void *p = oak_realloc(*global, 100 + i % 5000);
        if (p) *global = p;
        else AO_store(&failed, 1);
    }
    return arg;
}

static void *ask_again(void *arg)
{
    while (!AO_load_acquire(&over))
        if (oak_zone_destroy(zone, NULL) == 0) AO_store(&failed, 1);
    return arg;
}

static pthread_t beside(void *(*fn)(void *))
{
    pthread_t id;
    AO_store(&over, 0);
    AO_store(&failed, 0);
    zone = oak_zone_new(NULL);
    global = oak_alloc_pinned(sizeof *global);
    *global = oak_zone_alloc(zone, 100);
    ck_assert_int_eq(oak_thread_create(&id, NULL, fn, NULL), 0);
    return id;
}

/* Away, as what it has looked at stays on the stack. */
static void check_heap(void *arg)
{
    (void)arg;
    ck_assert_ptr_null(test_check_heap());
}

static void end(pthread_t id)
{
    AO_store_release(&over, 1);
    ck_assert_int_eq(pthread_join(id, NULL), 0);
    ck_assert_uint_eq(AO_load(&failed), 0);
    test_away(check_heap, NULL);
}

static void refuse_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 30; i++) {
        ck_assert_int_eq(oak_zone_destroy(zone, NULL), -1);
        ck_assert_int_eq(errno, EBUSY);
    }
}

START_TEST(who_has_an_object_of_it_goes_on)
{
    pthread_t id = beside(change_size);
    test_away(refuse_often, NULL);
    end(id);
    *global = NULL;
    assert_destroyed();
}
END_TEST

#ifndef OAKI_ASAN /* whose own runtime doesn't survive such forks */
/* Nearly always it closes in the moment of the fork. */
START_TEST(it_is_open_in_the_child_of_a_fork)
{
    pthread_t id = beside(ask_again);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(oak_zone_enter(zone) != 0 || oak_zones_read(NULL, 0, NULL) == 0);
        int status = -1;
        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    end(id);
}
END_TEST
#endif

Suite *suite_gc_zone(void)
{
    Suite *s = suite_create("gc/zone");
    TCase *c = tcase_create("zone");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, what_nothing_refers_to_is_destroyed);
    tcase_add_test(c, a_reference_from_a_global_is_refused_with_the_path);
    tcase_add_test(c, who_enters_while_it_is_looked_at_is_refused);
    tcase_add_test(c, the_path_goes_through_objects_elsewhere);
    tcase_add_test(c, references_from_inside_do_not_matter);
    tcase_add_test(c, a_pinned_object_keeps_its_zone);
    tcase_add_test(c, finalizers_run_first);
    tcase_add_test(c, a_finalizer_that_cannot_run_keeps_the_zone);
    tcase_add_test(c, weak_references_neither_keep_it_nor_dangle);
    tcase_add_test(c, it_is_refused_while_somebody_is_in_it_or_nothing_is_collected);
    tcase_add_test(c, words_of_the_caller_count);
    tcase_add_test(c, who_has_an_object_of_it_goes_on);
#ifndef OAKI_ASAN
    tcase_add_test(c, it_is_open_in_the_child_of_a_fork);
#else
    test_skip_asan();
#endif
    suite_add_tcase(s, c);
    return s;
}
