/* thread.c - tests of runtime/thread.c: attaching, detaching, and the ways in which threads end. */
#include "runtime/collector.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_thread(void);

static size_t ncaches(void)
{
    size_t n = 0;
    for (const oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next) n += !mc->thread->own;
    return n; /* as test_threads */
}

/* Threads that died unnoticed go with the next stop. */
static size_t nthreads_after_stop(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_gc_stop_end(t);
    return test_threads();
}

/* ---- attach and detach ---- */

static void *look_at_self(void *arg)
{
    char here;
    ck_assert_ptr_null(oaki_thread_self());
    void *p = oak_alloc(48);
    oaki_thread *t = oaki_thread_self();
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->tid, oaki_os_tid());
    ck_assert(t->stack_lo < &here && &here < t->stack_hi);
    ck_assert_ptr_eq(t->mcache, oaki_tls_mcache);
    ck_assert_ptr_eq(t->mcache->thread, t);
    ck_assert_uint_eq(t->in_runtime, 0);
    ck_assert_ptr_eq(oaki_thread_attach_self(), t);
    return arg;
}

START_TEST(the_first_allocation_attaches_and_the_exit_detaches)
{
    look_at_self(NULL); /* the first thread, too */
    ck_assert_uint_eq(test_threads(), 1);
    test_join(test_start(look_at_self, NULL));
    ck_assert_uint_eq(test_threads(), 1);
    ck_assert_uint_eq(ncaches(), 1);
}
END_TEST

/* Where the kernel put the strings of the environment, and how many of them are in use: unsetenv
 * takes their pointers away. */
static size_t initial_environment(uintptr_t *lo, uintptr_t *hi)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *p = strrchr(text, ')');
    for (int field = 2; field < 50; field++) p = strchr(p + 1, ' ');
    *lo = strtoul(p, &p, 10);
    *hi = strtoul(p, &p, 10);
    size_t n = 0;
    for (char **e = environ; *e; e++) n += (uintptr_t)*e >= *lo && (uintptr_t)*e < *hi;
    ck_assert_uint_gt(n, 0);
    return n;
}

OAKI_NO_ASAN static size_t count_words(const uintptr_t *w, const char *end, uintptr_t lo,
                                       uintptr_t hi)
{
    size_t n = 0;
    for (; (const char *)w < end; w++) n += *w >= lo && *w < hi;
    return n;
}

/* A program may put a heap object into a slot of argv or, with putenv, of the first environ. */
START_TEST(the_first_threads_stack_has_the_arguments_and_the_environment_in_it)
{
    uintptr_t lo, hi;
    if (test_skip_valgrind()) return; /* the kernel knows Valgrind's stack, not the program's */
    ck_assert_int_eq(oak_thread_attach(), 0);
    size_t strings = initial_environment(&lo, &hi), found;
    const oaki_thread *t = oaki_thread_self();
    found = count_words(__builtin_frame_address(0), t->stack_hi, lo, hi);
    ck_assert_uint_ge(found, strings);
    ck_assert_uint_ge((size_t)(t->stack_hi - t->stack_lo), (size_t)1 << 20);
}
END_TEST

static void *come_and_go(void *arg)
{
    for (int i = 0; i < 100; i++) {
        void **p = oak_alloc(64);
        *p = p;
        oak_thread_detach();
        ck_assert_ptr_null(oaki_thread_self());
        ck_assert_ptr_eq(oaki_tls_mcache, &oaki_mcache_none);
        oak_thread_detach(); /* harmless */
    }
    errno = 77;
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(errno, 77);
    return arg;
}

START_TEST(a_thread_may_detach_and_attach_again)
{
    ck_assert_int_eq(oak_init(NULL), 0);
    test_join(test_start(come_and_go, NULL));
    ck_assert_uint_eq(test_threads(), 0);
    ck_assert_uint_eq(ncaches(), 0);
}
END_TEST

static void *allocate_a_little(void *arg)
{
    for (int i = 0; i < 20; i++) (void)!oak_alloc(16u << (i % 6));
    return arg;
}

START_TEST(thousands_of_short_lived_threads_leave_nothing_behind)
{
    enum { BATCHES = 250, BATCH = 8 };
    pthread_t id[BATCH];
    allocate_a_little(NULL);
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < BATCH; i++) id[i] = test_start(allocate_a_little, NULL);
        for (int i = 0; i < BATCH; i++) test_join(id[i]);
    }
    ck_assert_uint_eq(test_threads(), 1);
    ck_assert_uint_eq(ncaches(), 1);
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        ck_assert(t->own || t == oaki_thread_self());
    oak_collect();
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

#ifdef HAVE_MALLINFO2
/* How many bytes libc's malloc has given. */
static void *attach_and_count(void *arg)
{
    free(malloc(10)); /* the thread's own arena */
    size_t before = mallinfo2().uordblks;
    int e = oak_thread_attach();
    size_t after = mallinfo2().uordblks;
    ck_assert_int_eq(e, 0);
    ck_assert_uint_eq(after, before);
    return arg;
}

/* However many keys the program has made before the heap starts. */
START_TEST(attaching_calls_no_malloc)
{
    pthread_key_t key;
    if (test_skip_asan() || test_skip_valgrind()) return; /* other mallocs */
    for (int i = 0; i < (_i ? 500 : 0); i++) ck_assert_int_eq(pthread_key_create(&key, NULL), 0);
    ck_assert_int_eq(oak_init(NULL), 0);
    for (int i = 0; i < 10; i++) test_join(test_start(attach_and_count, NULL));
    ck_assert_uint_eq(test_threads(), 0);
    ck_assert_uint_eq(ncaches(), 0);
}
END_TEST
#endif

/* ---- exit ---- */

static pthread_key_t key_before, key_after;
static AO_t rounds;

/* Allocates in every round, the last included. */
static void destroy(void *value)
{
    if (value == &key_before) ck_assert_ptr_nonnull(oaki_thread_self());
    ck_assert_ptr_nonnull(oak_alloc(100));
    AO_fetch_and_add1(&rounds);
    if (value == &key_before) pthread_setspecific(key_before, value);
    if (value == &key_after) pthread_setspecific(key_after, value);
}

static void *use_keys(void *arg)
{
    (void)!oak_alloc(10);
    pthread_setspecific(key_before, &key_before);
    if (arg) pthread_setspecific(key_after, &key_after);
    return arg;
}

START_TEST(destructors_that_allocate_come_before_the_detach_or_are_cleaned_up_after)
{
    pthread_key_create(&key_before, destroy);
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_key_create(&key_after, destroy);
    for (int i = 0; i < 20; i++) test_join(test_start(use_keys, _i ? &key_after : NULL));
    ck_assert_uint_eq(AO_load(&rounds), (AO_t)20 * (1 + _i) * PTHREAD_DESTRUCTOR_ITERATIONS);
    ck_assert_uint_eq(nthreads_after_stop(), 1);
    ck_assert_uint_eq(ncaches(), 1);
}
END_TEST

static void *exit_raw(void *arg)
{
    (void)!oak_alloc(10);
    AO_store_release((AO_t *)arg, (AO_t)oaki_thread_self());
    syscall(SYS_exit, 0);
    return arg;
}

static oaki_thread *a_dead_thread(void)
{
    AO_t record = 0;
    test_join(test_start(exit_raw, &record));
    return (oaki_thread *)AO_load_acquire(&record);
}

START_TEST(a_thread_that_vanished_is_found_by_the_next_stop)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    for (int i = 0; i < 10; i++) (void)a_dead_thread();
    ck_assert_uint_eq(test_threads(), 11);
    ck_assert_uint_eq(nthreads_after_stop(), 1);
    ck_assert_uint_eq(ncaches(), 1);
}
END_TEST

static AO_t tid, go, late;

static void *attach_late(void *arg)
{
    AO_store_release(&tid, (AO_t)oaki_os_tid());
    test_wait(&go, 1);
    if (arg) ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&late, 1);
    test_wait(&go, 2);
    return NULL;
}

/* The record of a dead thread, given the id of a live one, as when the kernel uses ids again. */
static void reuse_id(pthread_t *id, void *attach)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    *id = test_start(attach_late, attach);
    while (!AO_load_acquire(&tid)) oaki_os_yield();
    a_dead_thread()->tid = (int)AO_load(&tid);
    AO_store_release(&go, 1);
}

START_TEST(a_dead_thread_whose_id_another_attaches_with_is_dropped)
{
    pthread_t id;
    reuse_id(&id, &id);
    test_wait(&late, 1);
    ck_assert_uint_eq(nthreads_after_stop(), 2);
    AO_store_release(&go, 2);
    test_join(id);
    ck_assert_uint_eq(test_threads(), 1);
}
END_TEST

START_TEST(a_dead_thread_whose_id_an_unattached_one_has_is_dropped)
{
    pthread_t id;
    reuse_id(&id, NULL);
    ck_assert_uint_eq(nthreads_after_stop(), 1);
    AO_store_release(&go, 2);
    test_join(id);
}
END_TEST

static void *outlive_the_first(void *arg)
{
    (void)!oak_alloc(10);
    AO_store_release(&go, 1);
    while (AO_load_acquire(&go) != 2) oaki_os_yield();
    while (nthreads_after_stop() != 1) oaki_os_sleep_ns(100000);
    exit(arg != NULL);
}

static void first_thread_leaves(int raw)
{
    (void)!oak_alloc(10);
    test_start(outlive_the_first, NULL);
    test_wait(&go, 1);
    AO_store_release(&go, 2);
    if (raw) syscall(SYS_exit, 0);
    pthread_exit(NULL);
}

START_TEST(the_first_thread_may_leave_the_others_behind)
{
    pid_t pid = fork();
    if (pid == 0) first_thread_leaves(_i);
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

static int pipes[2];

static void *read_blocked(void *depth)
{
    char c;
    ck_assert_int_eq(oak_thread_attach(), 0);
    for (int i = 0; i < *(int *)depth; i++) oak_blocking_enter();
    AO_store_release(&go, 1);
    ck_assert_int_eq((int)read(pipes[0], &c, 1), 1);
    for (int i = 0; i < *(int *)depth; i++) oak_blocking_leave();
    return NULL;
}

START_TEST(a_thread_cancelled_in_a_blocking_region_detaches)
{
    int depth = _i ? 2 * PTHREAD_DESTRUCTOR_ITERATIONS : 1;
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(pipe(pipes), 0);
    pthread_t id = test_start(read_blocked, &depth);
    test_wait(&go, 1);
    pthread_cancel(id);
    void *result;
    ck_assert_int_eq(pthread_join(id, &result), 0);
    ck_assert_ptr_eq(result, PTHREAD_CANCELED);
    ck_assert_uint_eq(test_threads(), 1);
}
END_TEST

/* ---- starting ---- */

typedef struct message {
    uintptr_t magic;
    struct message *self;
} message;

static void *receive(void *arg)
{
    message *m = arg;
    ck_assert_ptr_nonnull(oaki_thread_self());
    ck_assert_uint_eq(m->magic, 0xfeed);
    ck_assert_ptr_eq(m->self, m);
    return NULL;
}

static OAKI_NOINLINE pthread_t send_message(void)
{
    pthread_t id;
    message *m = oak_alloc(sizeof *m);
    m->magic = 0xfeed;
    m->self = m;
    ck_assert_int_eq(oak_thread_create(&id, NULL, receive, m), 0);
    return id;
}

START_TEST(the_argument_of_a_new_thread_is_kept)
{
    for (int i = 0; i < 100; i++) {
        pthread_t id = send_message();
        oak_collect();
        for (int j = 0; j < 100; j++) memset(oak_alloc(sizeof(message)), 0x55, sizeof(message));
        test_join(id);
    }
    ck_assert_uint_eq(test_threads(), 1);
}
END_TEST

/* Words of the C library's record of this thread that refer to the heap. */
static void *count_references(void *arg)
{
    oak_heap_info heap;
    oak_heap_info_read(&heap);
    const uintptr_t *words = (const uintptr_t *)pthread_self();
    for (size_t i = 0; i < 2048 / sizeof *words; i++)
        if (words[i] - (uintptr_t)heap.base < heap.reserved) ++*(size_t *)arg;
    return NULL;
}

START_TEST(the_descriptor_of_a_new_thread_refers_to_nothing)
{
    pthread_t id;
    size_t references = 0;
    ck_assert_int_eq(oak_thread_create(&id, NULL, count_references, &references), 0);
    test_join(id);
    ck_assert_uint_eq(references, 0);
}
END_TEST

static AO_t blocked_signals, attached;

static void *own(void *arg)
{
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    AO_store(&blocked_signals, (AO_t)sigismember(&set, SIGTERM));
    AO_store(&attached, oaki_thread_self() != NULL);
    AO_store_release(&go, 1);
    return arg;
}

START_TEST(the_runtimes_own_threads_take_no_signals_and_attach_on_request)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(oaki_thread_spawn("oakum/test", own, NULL, _i), 0);
    test_wait(&go, 1);
    ck_assert_uint_eq(AO_load(&blocked_signals), 1);
    ck_assert_uint_eq(AO_load(&attached), (AO_t)_i);
}
END_TEST

static void *measure_stack(void *arg)
{
    pthread_attr_t attr;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) pthread_attr_getstacksize(&attr, &size);
    AO_store_release((AO_t *)arg, (AO_t)size);
    return NULL;
}

static size_t stack_of_own(bool attach)
{
    static AO_t size;
    AO_store(&size, 0);
    ck_assert_int_eq(oaki_thread_spawn("oakum/test", measure_stack, &size, attach), 0);
    while (!AO_load_acquire(&size)) oaki_os_yield();
    return (size_t)AO_load(&size);
}

/* But for those that do nothing but run functions of the program's. */
START_TEST(the_runtimes_own_threads_are_small_where_space_is_little)
{
    static const int limits[] = { RLIMIT_AS, RLIMIT_DATA };
    pthread_attr_t attr;
    size_t usual;
    ck_assert_int_eq(pthread_attr_init(&attr), 0);
    ck_assert_int_eq(pthread_attr_getstacksize(&attr, &usual), 0);
    struct rlimit limit = { 900 << 20, RLIM_INFINITY };
    if (_i && test_skip(setrlimit(limits[_i - 1], &limit) != 0, "there is a limit already")) return;
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_uint_eq(stack_of_own(true), usual);
    ck_assert_uint_eq(stack_of_own(false), _i ? OAKI_MIN(usual, (size_t)1 << 20) : usual);
}
END_TEST

static void enter_twice(void *arg)
{
    (void)arg;
    (void)oaki_enter();
    (void)oaki_enter();
}

START_TEST(oakum_inside_oakum_is_fatal)
{
    char err[512];
    int status = test_capture(enter_twice, NULL, err, sizeof err);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_nonnull(strstr(err, "inside Oakum"));
}
END_TEST

Suite *suite_runtime_thread(void)
{
    Suite *s = suite_create("runtime_thread");
    TCase *c = tcase_create("thread");
    tcase_add_test(c, the_first_allocation_attaches_and_the_exit_detaches);
    tcase_add_test(c, the_first_threads_stack_has_the_arguments_and_the_environment_in_it);
    tcase_add_test(c, a_thread_may_detach_and_attach_again);
#ifdef HAVE_MALLINFO2
    tcase_add_loop_test(c, attaching_calls_no_malloc, 0, 2);
#else
    test_skip(true, "this C library does not count what malloc gives");
#endif
    tcase_add_test(c, thousands_of_short_lived_threads_leave_nothing_behind);
    tcase_add_loop_test(
        c, destructors_that_allocate_come_before_the_detach_or_are_cleaned_up_after, 0, 2);
    if (!test_skip_asan()) {
        tcase_add_test(c, a_thread_that_vanished_is_found_by_the_next_stop);
        tcase_add_test(c, a_dead_thread_whose_id_another_attaches_with_is_dropped);
        tcase_add_test(c, a_dead_thread_whose_id_an_unattached_one_has_is_dropped);
    }
    tcase_add_loop_test(c, the_first_thread_may_leave_the_others_behind, 0, 2);
    tcase_add_loop_test(c, a_thread_cancelled_in_a_blocking_region_detaches, 0, 2);
    tcase_add_test(c, the_argument_of_a_new_thread_is_kept);
    tcase_add_test(c, the_descriptor_of_a_new_thread_refers_to_nothing);
    tcase_add_loop_test(c, the_runtimes_own_threads_take_no_signals_and_attach_on_request, 0, 2);
    if (!test_skip_asan() && !test_skip_valgrind())
        tcase_add_loop_test(c, the_runtimes_own_threads_are_small_where_space_is_little, 0, 3);
    tcase_add_test(c, oakum_inside_oakum_is_fatal);
    suite_add_tcase(s, c);
    return s;
}
