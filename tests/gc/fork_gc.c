/* fork_gc.c - a program with many threads forks, and its child collects and allocates; and
 * forks. */
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_gc_fork_gc(void);

#define LISTS 64

typedef struct item {
    struct item *next;
    size_t key;
} item;

static item *kept[LISTS]; /* whole before the fork; nobody changes them */
static AO_t stop, wrong;

static item *make_list(size_t n)
{
    item *list = NULL;
    for (size_t i = 0; i < n; i++) {
        item *l = oak_alloc(sizeof *l + i % 500);
        if (!l || l->next || l->key) return NULL;
        *l = (item){ list, i };
        list = l;
    }
    return list;
}

static bool list_is_whole(const item *l, size_t n)
{
    for (; l; l = l->next)
        if (oak_base(l) != l || l->key != --n) return false;
    return n == 0;
}

static void *churn(void *arg)
{
    for (size_t i = 0; !AO_load_acquire(&stop); i++) {
        item *l = make_list(100 + i % 100);
        if (!list_is_whole(l, 100 + i % 100)) AO_store(&wrong, 1);
        if (i % 10 == (size_t)arg) oak_collect();
        if (i % 16 == 0) oak_free(oak_alloc(100000));
    }
    return NULL;
}

static void *in_the_child(void *arg)
{
    bool *ok = arg;
    for (int i = 0; i < 10 && *ok; i++) {
        item *l = make_list(2000);
        oak_collect();
        *ok = list_is_whole(l, 2000);
        oak_free(l);
    }
    return NULL;
}

/* On a thread, so that the stack of the one that forks keeps nothing. */
static bool run(void *(*fn)(void *), void *arg)
{
    pthread_t id;
    return pthread_create(&id, NULL, fn, arg) == 0 && pthread_join(id, NULL) == 0;
}

static void *make_kept(void *arg)
{
    for (size_t i = 0; i < LISTS; i++) kept[i] = make_list(100);
    return arg;
}

/* No Check in here: its messages go through the parent's pipe. 0 when all is well. */
static int examine(void)
{
    bool ok = true;
    for (size_t i = 0; i < LISTS; i++) ok = ok && list_is_whole(kept[i], 100);
    if (!ok) return 10;
    if (test_stats().threads != 1) return 11;
    oak_collect();
    if (!run(in_the_child, &ok) || !ok) return 12;
    if (!make_list(10)) return 13;
    oak_scavenge();
    if (test_check_heap()) return 14;
    memset(kept, 0, sizeof kept); /* what other threads held went with them */
    for (int i = 0; i < 3; i++) oak_collect();
    return test_objects() > 200 ? 15 : 0;
}

/* And a child of the child, and one of that. */
static void child(void)
{
    for (int generation = 0;; generation++) {
        int code = examine(), status;
        if (code || generation == 2) _exit(code);
        pid_t pid = fork();
        if (pid != 0) _exit(pid > 0 && waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : 16);
        if (!run(make_kept, NULL)) _exit(17);
    }
}

static void fork_often(oak_config c, size_t times)
{
    pthread_t ids[3];
    c.gc_percent = 50;
    test_heap_start(c);
    ck_assert(run(make_kept, NULL));
    for (size_t i = 0; i < 3; i++) ids[i] = test_start(churn, (void *)(i * 3));
    for (size_t i = 0; i < times; i++) {
        pid_t pid = fork();
        if (pid == 0) child();
        int status = test_wait_child(pid);
        ck_assert_msg(status == 0, "child %zu: status %x", i, (unsigned)status);
        for (size_t k = 0; k < LISTS; k++)
            if (!list_is_whole(kept[k], 100)) ck_abort_msg("list %zu in the parent", k);
    }
    AO_store_release(&stop, 1);
    for (size_t i = 0; i < 3; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    test_assert_sound();
}

START_TEST(the_child_of_a_busy_program_works)
{
    fork_often(test_config(), test_scale(10));
}
END_TEST

START_TEST(with_all_of_the_runtimes_own_threads)
{
    oak_config c = test_config();
    c.gc_threads = 3;
    c.background_sweep = c.scavenge = c.finalizer_thread = 1;
    fork_often(c, test_scale(10));
}
END_TEST

/* ---- beside a collection that asks the loader what is loaded ---- */

/* The program keeps its own loading and its forks apart, as it has to. */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static void *load_and_collect(void *arg)
{
    while (!AO_load_acquire(&stop)) {
        pthread_mutex_lock(&loading);
        void *lib = dlopen(TEST_MODULES "/libdata.so", RTLD_NOW | RTLD_LOCAL);
        pthread_mutex_unlock(&loading);
        oak_collect();
        pthread_mutex_lock(&loading);
        if (!lib || dlclose(lib) != 0) AO_store(&wrong, 1);
        pthread_mutex_unlock(&loading);
        oak_collect();
    }
    return arg;
}

static int nothing(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)info;
    (void)size;
    (void)arg;
    return 0;
}

START_TEST(no_child_finds_the_loader_locked_by_a_collection)
{
    pthread_t id;
    test_heap_start(test_config());
    ck_assert_int_eq(pthread_create(&id, NULL, load_and_collect, NULL), 0);
    for (size_t i = 0, n = test_scale(800); i < n; i++) {
        pthread_mutex_lock(&loading);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(30);
            (void)dl_iterate_phdr(nothing, NULL);
            _exit(0);
        }
        pthread_mutex_unlock(&loading);
        int status = test_wait_child(pid);
        ck_assert_msg(status == 0, "child %zu: status %x", i, (unsigned)status);
    }
    AO_store_release(&stop, 1);
    test_join(id);
    ck_assert_uint_eq(AO_load(&wrong), 0);
}
END_TEST

Suite *suite_gc_fork_gc(void)
{
    Suite *s = suite_create("gc/fork_gc");
    TCase *c = tcase_create("fork");
    if (!test_skip_asan()) { /* others may be in malloc at the fork */
        tcase_add_test(c, the_child_of_a_busy_program_works);
        tcase_add_test(c, with_all_of_the_runtimes_own_threads);
        tcase_add_test(c, no_child_finds_the_loader_locked_by_a_collection);
    }
    suite_add_tcase(s, c);
    return s;
}
