/* refused.c - tests of a system that refuses calls, has no room for another mapping, or ends who
 * writes: the heap works all the same, or says in a line what it can't do. */
#include "runtime/os.h"
#include "runtime/probe.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

Suite *suite_runtime_refused(void);

/* ---- from before the heap starts ---- */

#define NODES 20000

typedef struct node {
    struct node *next;
    size_t number;
} node;

static node *make_list(void)
{
    node *list = NULL;
    for (size_t i = 0; i < NODES; i++) {
        node *n = oak_alloc(sizeof *n);
        (void)!oak_alloc(100);
        *n = (node){ list, i };
        list = n;
    }
    return list;
}

static bool is_whole(const node *list)
{
    size_t i = NODES;
    for (; list; list = list->next)
        if (list->number != --i) return false;
    return i == 0;
}

static void *work_in_thread(void *arg)
{
    node *list = make_list();
    oak_collect();
    test_expect(is_whole(list), __LINE__);
    return arg;
}

static void work(void)
{
    pthread_t id = test_start(work_in_thread, NULL);
    work_in_thread(NULL);
    test_join(id);
    void *large = oak_alloc((size_t)3 << 20);
    memset(large, 1, (size_t)3 << 20);
    oak_free(large);
    const char *again = oak_alloc((size_t)3 << 20);
    for (size_t i = 0; i < (size_t)3 << 20; i++) test_expect(again[i] == 0, __LINE__);
    pid_t pid = fork();
    if (pid == 0) {
        work_in_thread(NULL);
        _exit(AO_load(&test_wrong) != 0);
    }
    test_expect(test_wait_child(pid) == 0, __LINE__);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}

static const struct refusal {
    const char *name;
    int nr;
} refusals[] = {
    { "getrandom", SYS_getrandom },
    { "madvise", SYS_madvise },
    { "membarrier", SYS_membarrier },
    { "userfaultfd", SYS_userfaultfd },
    { "prctl", SYS_prctl },
    { "sched_getaffinity", SYS_sched_getaffinity },
    { "sched_setscheduler", SYS_sched_setscheduler },
    { "process_vm_readv", SYS_process_vm_readv },
    { "msync", SYS_msync },
    { "mincore", SYS_mincore },
    { "eventfd2", SYS_eventfd2 },
    { "openat", SYS_openat }, /* as without /proc and /dev */
    { "ioctl", SYS_ioctl },
    { "fcntl", SYS_fcntl },
    { "newfstatat", SYS_newfstatat },
    { "prlimit64", SYS_prlimit64 },
    { "sigaltstack", SYS_sigaltstack },
    { "memfd_create", SYS_memfd_create },
    { "getdents64", SYS_getdents64 },
    { "getpid", SYS_getpid },
    { "gettid", SYS_gettid },
    { "getppid", SYS_getppid },
    { "tgkill", SYS_tgkill },
    { "rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo },
};

static const int errors[] = { EPERM, ENOSYS, EINVAL, ENOMEM, ESRCH, EAGAIN };

typedef struct how {
    int nr, error;
} how;

static void refuse_and_work(void *arg)
{
    const how *h = arg;
    test_refuse_with(h->nr, h->error, SECCOMP_FILTER_FLAG_TSYNC);
    work();
}

static size_t lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

START_TEST(a_call_that_is_refused)
{
    char text[4096];
    const struct refusal *r = &refusals[_i];
    if (test_skip_asan() || test_skip_valgrind()) return;
    for (size_t e = 0; e < OAKI_COUNT(errors); e++) {
        how h = { r->nr, errors[e] };
        int status = test_capture(refuse_and_work, &h, text, sizeof text);
        ck_assert_msg(status == 0, "%s, error %d: status %#x: %s", r->name, h.error, status, text);
        ck_assert_msg(lines(text) <= 1, "%s, error %d: %s", r->name, h.error, text);
    }
}
END_TEST

/* ---- what has no other way ---- */

static void *sit(void *stop)
{
    (void)!oak_alloc(16);
    AO_store_release((AO_t *)stop, 1);
    while (AO_load_acquire((AO_t *)stop) == 1) oaki_os_yield();
    return NULL;
}

static void refuse_signals(void *arg)
{
    static const int calls[] = { SYS_tgkill, SYS_tkill, SYS_rt_tgsigqueueinfo };
    static AO_t state;
    pthread_t id = test_start(sit, &state);
    test_wait(&state, 1);
    for (size_t i = 0; i < OAKI_COUNT(calls); i++)
        test_refuse_with(calls[i], *(int *)arg, SECCOMP_FILTER_FLAG_TSYNC);
    oak_collect();
    AO_store_release(&state, 2);
    test_join(id);
}

START_TEST(without_any_signal_a_line_says_so)
{
    char text[1024];
    int error = errors[_i];
    if (test_skip_asan() || test_skip_valgrind()) return;
    int status = test_capture(refuse_signals, &error, text, sizeof text);
    ck_assert_msg(status != 0 && lines(text) == 1, "status %#x: %s", status, text);
    ck_assert_msg(strstr(text, "the system refuses the signals that stop threads"), "%s", text);
}
END_TEST

/* ---- what has another way ---- */

static void see_random_numbers(void *arg)
{
    char a[64] = "", b[64] = "";
    bool real = arg == NULL;
    test_refuse(SYS_getrandom);
    if (!real) test_refuse(SYS_openat);
    ck_assert_int_eq(oaki_os_random(a, sizeof a), real);
    ck_assert_int_eq(oaki_os_random(b, sizeof b), real);
    ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof a; i++) zeros += a[i] == 0;
    ck_assert_uint_lt(zeros, 16);
}

START_TEST(random_numbers)
{
    static char guessed;
    char text[256];
    if (test_skip_asan() || test_skip_valgrind()) return;
    ck_assert_int_eq(test_capture(see_random_numbers, _i ? &guessed : NULL, text, sizeof text), 0);
}
END_TEST

#define PURGED ((size_t)1 << 20)

static void purge(void *arg)
{
    char *p = oaki_os_map(PURGED);
    const how *h = arg;
    ck_assert_ptr_nonnull(p);
    memset(p, 1, PURGED);
    test_refuse_with(h->nr, h->error, SECCOMP_FILTER_FLAG_TSYNC);
    oaki_os_purge(p, PURGED);
    if (h->error != EINVAL) ck_assert_uint_le(oaki_os_resident(p, PURGED), PURGED / 4);
    for (size_t i = 0; i < PURGED; i++) ck_assert_int_eq(p[i], 0);
    p[0] = 1;
}

START_TEST(giving_memory_back_without_madvise)
{
    char text[256];
    how h = { SYS_madvise, errors[_i] };
    if (test_skip_asan() || test_skip_valgrind()) return;
    ck_assert_int_eq(test_capture(purge, &h, text, sizeof text), 0);
}
END_TEST

/* ---- as many mappings as there may be ---- */

#define MOST ((size_t)200000)

/* Returns how many bytes; 0: there may be more than these. */
static size_t use_up_mappings(char **all)
{
    size_t page = oaki_os_page_size(), at = 0;
    *all = mmap(NULL, MOST * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(*all, MAP_FAILED);
    while (at < MOST && mprotect(*all + at * page, page, PROT_READ) == 0) at += 2;
    return at < MOST ? MOST * page : 0;
}

START_TEST(unmapping_is_made_up_for)
{
    size_t page = oaki_os_page_size();
    char *all, *p = oaki_os_map(64 * page), *other = oaki_os_map(page);
    if (test_skip_asan() || test_skip_valgrind()) return;
    memset(p, 1, 64 * page);
    size_t n = use_up_mappings(&all);
    if (test_skip(n == 0, "there is no limit on mappings")) return;
    errno = 77;
    oaki_os_release(p + 16 * page, 16 * page);
    ck_assert_int_eq(errno, 77);
    ck_assert_uint_eq(oaki_os_resident(p + 16 * page, 16 * page), 0);
    ck_assert(oaki_probe(p + 16 * page)); /* it is still mapped */
    ck_assert_int_eq(munmap(all, n), 0);
    oaki_os_release(other, page);
    ck_assert(!oaki_probe(p + 16 * page) && !oaki_probe(p + 32 * page - 8));
    ck_assert(p[15 * page] == 1 && p[32 * page] == 1);
}
END_TEST

/* What can't be had is NULL, and nothing else happens. */
START_TEST(the_heap_beside_many_mappings)
{
    char *all;
    if (test_skip_asan() || test_skip_valgrind()) return;
    if (_i) make_list();
    size_t n = use_up_mappings(&all);
    if (test_skip(n == 0, "there is no limit on mappings")) return;
    for (int i = 0; i < 2000; i++) {
        void *p = oak_alloc((size_t)1 << (4 + i % 18));
        if (i % 3) oak_free(p);
    }
    oak_collect();
    ck_assert_int_eq(munmap(all, n), 0);
    node *list = make_list();
    oak_collect();
    ck_assert(is_whole(list));
}
END_TEST

/* What is committed joins its neighbour's mapping at once. */
START_TEST(growth_needs_no_mapping)
{
    enum { PIECE = 1 << 20 };
    char *all;
    size_t refused = 0;
    if (test_skip_asan() || test_skip_valgrind()) return;
    oak_gc_disable();
    oaki_the_heap.config.huge_pages = 1;
    while (AO_load(&oaki_the_heap.used) < 2 * OAKI_HUGE_FROM) ck_assert(oak_alloc_noscan(PIECE));
    oaki_space_advise();
    size_t n = use_up_mappings(&all);
    if (test_skip(n == 0, "there is no limit on mappings")) return;
    for (int i = 0; i < 128; i++) refused += !oak_alloc_noscan(PIECE);
    ck_assert_int_eq(munmap(all, n), 0);
    ck_assert_uint_eq(refused, 0);
}
END_TEST

static void *note_run(void *arg)
{
    AO_store_release((AO_t *)arg, 1);
    return NULL;
}

/* The last mappings are for the heap: no helper takes them. */
START_TEST(no_helper_takes_the_last_mappings)
{
    static AO_t ran;
    char *all;
    if (test_skip_asan() || test_skip_valgrind()) return;
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert(oaki_os_can_map(1000));
    size_t n = use_up_mappings(&all), page = oaki_os_page_size();
    if (test_skip(n == 0, "there is no limit on mappings")) return;
    for (size_t i = 2; i <= 8; i += 2)
        ck_assert_int_eq(mprotect(all + i * page, page, PROT_NONE), 0);
    bool few = oaki_os_can_map(4), many = oaki_os_can_map(32);
    int e = oaki_thread_spawn("oakum/test", note_run, &ran, false);
    ck_assert_int_eq(munmap(all, n), 0);
    ck_assert(few && !many);
    ck_assert_int_eq(e, EAGAIN);
    ck_assert_int_eq(oaki_thread_spawn("oakum/test", note_run, &ran, false), 0);
    while (!AO_load_acquire(&ran)) sched_yield();
}
END_TEST

/* ---- writing ---- */

static bool is_pending(int sig)
{
    sigset_t set;
    return sigpending(&set) == 0 && sigismember(&set, sig) == 1;
}

static void limit_files(rlim_t n)
{
    struct rlimit r = { n, RLIM_INFINITY };
    test_expect(setrlimit(RLIMIT_FSIZE, &r) == 0, __LINE__);
}

static bool is_refused(int fd)
{
    return oaki_os_write(fd, "abc", 3) == -1 && errno == EFBIG;
}

/* Check writes files of its own. */
START_TEST(a_file_that_may_not_grow)
{
    char path[] = "/tmp/oakum-test-XXXXXX";
    int fd = mkstemp(path);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    limit_files(10);
    test_expect(oaki_os_write(fd, "0123456789abc", 13) == 10, __LINE__);
    test_expect(is_refused(fd) && !is_pending(SIGXFSZ), __LINE__);
    test_expect(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0, __LINE__);
    test_expect(is_refused(fd) && !is_pending(SIGXFSZ), __LINE__);
    raise(SIGXFSZ); /* the program's own */
    test_expect(is_refused(fd) && is_pending(SIGXFSZ), __LINE__);
    limit_files(RLIM_INFINITY);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

START_TEST(a_pipe_that_nobody_reads)
{
    int fd[2];
    ck_assert_int_eq(pipe(fd), 0);
    close(fd[0]);
    ck_assert_int_eq(oaki_os_write(fd[1], "abc", 3), -1);
    ck_assert_int_eq(errno, EPIPE);
    ck_assert(!is_pending(SIGPIPE));
}
END_TEST

/* ---- locked memory ---- */

/* A gap that takes what is mapped next, if that fits, between mappings that leave no room to align
 * it. 0: none. */
static void leave_gap(size_t gap)
{
    const size_t size = (size_t)16 << 20, before = (size_t)1 << 20;
    if (!gap) return;
    char *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    p = (char *)OAKI_ALIGN_UP((uintptr_t)p, OAKI_CHUNK) + before;
    ck_assert_int_eq(munmap(p, gap), 0);
}

static void work_locked(void *arg)
{
    const size_t gap = *(const size_t *)arg;
    const rlim_t most = (rlim_t)(gap ? 5 : 8) << 20; /* 5: too little to map more, and cut it */
    struct rlimit r = { most, most };
    size_t live = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &r), 0);
    if (getuid() == 0) ck_assert_int_eq(setuid(65534), 0);
    leave_gap(gap);
    ck_assert_int_eq(mlockall(MCL_FUTURE), 0);
    node *list = NULL;
    for (int i = 0; i < 100000; i++) {
        node *n = oak_alloc(sizeof *n);
        ck_assert_ptr_nonnull(n);
        ck_assert_ptr_nonnull(oak_alloc(100));
        if (i % 100) continue;
        *n = (node){ list, live++ };
        list = n;
    }
    oak_collect();
    for (const node *n = list; n; n = n->next) ck_assert_uint_eq(n->number, --live);
    ck_assert_uint_eq(live, 0);
    ck_assert_ptr_null(oak_alloc((size_t)100 << 20));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_eq(oaki_the_heap.reserved, (size_t)2 << 20);
}

static const size_t gaps[] = { 0, (size_t)4 << 20 };

START_TEST(all_that_is_mapped_is_locked)
{
    char text[1024];
    size_t gap = gaps[_i];
    if (test_skip_asan() || test_skip_valgrind()) return;
    int status = test_capture(work_locked, &gap, text, sizeof text);
    ck_assert_msg(status == 0, "status %#x: %s", status, text);
}
END_TEST

Suite *suite_runtime_refused(void)
{
    Suite *s = suite_create("runtime_refused");
    TCase *t = tcase_create("refused");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_call_that_is_refused, 0, OAKI_COUNT(refusals));
    tcase_add_loop_test(t, without_any_signal_a_line_says_so, 0, OAKI_COUNT(errors));
    tcase_add_loop_test(t, random_numbers, 0, 2);
    tcase_add_loop_test(t, giving_memory_back_without_madvise, 0, OAKI_COUNT(errors));
    tcase_add_test(t, unmapping_is_made_up_for);
    tcase_add_loop_test(t, the_heap_beside_many_mappings, 0, 2);
    tcase_add_test(t, growth_needs_no_mapping);
    tcase_add_test(t, no_helper_takes_the_last_mappings);
    tcase_add_test(t, a_file_that_may_not_grow);
    tcase_add_test(t, a_pipe_that_nobody_reads);
    tcase_add_loop_test(t, all_that_is_mapped_is_locked, 0, OAKI_COUNT(gaps));
    return s;
}
