/* image.c - tests of images: what comes back, that the program and its children notice nothing,
 * what happens when the child dies, is late, or can't be had. */
#include "observe/image.h"

#include "gc/concurrent/concurrent.h"
#include "observe/graph.h"
#include "runtime/dirty.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

Suite *suite_observe_image(void);

static void start(void)
{
    test_heap_start(test_config());
}

static int take(oaki_image_work work, void *arg, uint64_t timeout_ms, bool in_stop,
                oaki_image_answer *out)
{
    oaki_image_request r = { .work = work,
                             .arg = arg,
                             .timeout_ns = timeout_ms * 1000000,
                             .keep_fd = -1,
                             .in_stop = in_stop };
    return oaki_image_take(&r, out);
}

/* ---- answers ---- */

static int put_much(oaki_image *im, void *arg)
{
    size_t n = *(size_t *)arg;
    for (size_t i = 0; i < n; i++)
        if (!oaki_image_put(im, &i, sizeof i)) return EPIPE;
    return 0;
}

START_TEST(an_answer_comes_whole)
{
    static const size_t sizes[] = { 0, 1, 8191, 8192, 8193, 1000000 };
    oaki_image_answer a;
    start();
    for (size_t k = 0; k < OAKI_COUNT(sizes); k++) {
        size_t n = sizes[k];
        ck_assert_int_eq(take(put_much, &n, 20000, _i, &a), 0);
        ck_assert_uint_eq(a.n, n * sizeof n);
        ck_assert(a.stopped == _i || test_slow());
        for (size_t i = 0; i < n; i++) ck_assert_uint_eq(((size_t *)(void *)a.data)[i], i);
        oaki_image_answer_free(&a);
    }
}
END_TEST

static int fail_with(oaki_image *im, void *arg)
{
    (void)im;
    return *(int *)arg;
}

START_TEST(an_error_comes_back)
{
    oaki_image_answer a;
    int error = ENOSPC;
    start();
    ck_assert_int_eq(take(fail_with, &error, 20000, _i, &a), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_ptr_null(a.data);
}
END_TEST

/* ---- a child that dies, or hangs ---- */

static int die(oaki_image *im, void *arg)
{
    if (!oaki_image_in_stop(im)) raise(SIGSEGV);
    (void)arg;
    return 0;
}

START_TEST(a_child_that_crashes_is_an_error)
{
    oaki_image_answer a;
    if (test_skip_slow()) return;
    start();
    ck_assert_int_eq(take(die, NULL, 20000, false, &a), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1); /* it has been reaped */
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static int hang(oaki_image *im, void *arg)
{
    (void)arg;
    while (!oaki_image_late(im)) oaki_pause();
    return 0;
}

static int hang_for_ever(oaki_image *im, void *arg)
{
    (void)arg;
    while (!oaki_image_in_stop(im)) oaki_pause();
    return 0;
}

START_TEST(a_child_that_is_late_is_an_error)
{
    oaki_image_answer a;
    start();
    ck_assert_int_eq(take(hang, NULL, 50, _i == 1, &a), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    if (test_skip_slow()) return;
    ck_assert_int_eq(take(hang_for_ever, NULL, 50, false, &a), -1); /* killed */
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1);
}
END_TEST

/* ---- the program notices nothing ---- */

static AO_t children_signalled;

static void on_child(int sig)
{
    (void)sig;
    AO_fetch_and_add1(&children_signalled);
}

static int look_for_child(oaki_image *im, void *arg)
{
    /* the host's wait, while there is a child of ours only, finds none */
    (void)arg;
    uint64_t end = oaki_os_now_ns() + 100000000;
    while (oaki_os_now_ns() < end && !oaki_image_late(im)) oaki_pause();
    return 0;
}

static AO_t waits, found;

static void *wait_for_any(void *arg)
{
    oak_thread_attach();
    while (!AO_load(&test_quit)) {
        if (waitpid(-1, NULL, WNOHANG) > 0) AO_fetch_and_add1(&found);
        AO_fetch_and_add1(&waits);
    }
    return arg;
}

START_TEST(children_of_the_program_are_undisturbed)
{
    oaki_image_answer a;
    start();
    signal(SIGCHLD, on_child);
    pthread_t t = test_start(wait_for_any, NULL);
    test_wait(&waits, 1);
    ck_assert_int_eq(take(look_for_child, NULL, 20000, false, &a), 0);
    ck_assert_uint_eq(AO_load(&found), 0);
    ck_assert_uint_eq(AO_load(&children_signalled), 0);
    AO_store(&test_quit, 1);
    test_join(t);
    /* and a child of the program is its own to wait for */
    pid_t pid = fork();
    if (pid == 0) _exit(7);
    ck_assert_int_eq(take(look_for_child, NULL, 20000, false, &a), 0);
    ck_assert_int_eq(WEXITSTATUS(test_wait_child(pid)), 7);
    ck_assert_uint_eq(AO_load(&children_signalled), 1);
}
END_TEST

START_TEST(ignored_children_change_nothing)
{
    oaki_image_answer a;
    size_t n = 10;
    start();
    signal(SIGCHLD, SIG_IGN);
    ck_assert_int_eq(take(put_much, &n, 20000, false, &a), 0);
    ck_assert_uint_eq(a.n, 80);
    oaki_image_answer_free(&a);
}
END_TEST

/* ---- descriptors ---- */

static size_t open_files(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int count_files(oaki_image *im, void *arg)
{
    (void)arg;
    size_t n = open_files();
    return oaki_image_put(im, &n, sizeof n) ? 0 : EPIPE;
}

START_TEST(the_child_has_no_files_of_the_program)
{
    oaki_image_answer a;
    int ends[2];
    if (test_skip_slow()) return;
    start();
    ck_assert_int_eq(pipe(ends), 0);
    size_t before = open_files(), in_child;
    ck_assert_int_eq(take(count_files, NULL, 20000, false, &a), 0);
    memcpy(&in_child, a.data, sizeof in_child);
    oaki_image_answer_free(&a);
    ck_assert_uint_eq(open_files(), before);
    ck_assert_uint_le(in_child, 1);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
}
END_TEST

static bool open_before[256];
static AO_t *replaced; /* shared with the child */

static int put_when_replaced(oaki_image *im, void *arg)
{
    while (!AO_load(replaced) && !oaki_image_late(im)) oaki_pause();
    return oaki_image_put(im, arg, 1) ? 0 : EPIPE;
}

/* The one descriptor that is new: the pipe's end for reading, once the other is closed. */
static int new_file(void)
{
    int found = -1, n = 0;
    for (int fd = 0; fd < 256; fd++) {
        if (open_before[fd] || fcntl(fd, F_GETFD) < 0) continue;
        found = fd;
        n++;
    }
    return n == 1 ? found : -1;
}

/* Puts one of these sockets in its place. */
static void *replace_file(void *ends)
{
    intptr_t fd;
    while ((fd = new_file()) < 0) oaki_os_sleep_ns(1000000);
    dup2(*(int *)ends, (int)fd);
    AO_store(replaced, 1);
    return (void *)fd;
}

/* The program's own file in the number of the pipe is neither read nor closed. */
START_TEST(a_program_that_closes_all_descriptors_meanwhile)
{
    oaki_image_answer a;
    void *fd;
    char byte = 'x';
    int ends[2];
    if (test_skip_slow()) return;
    start();
    replaced = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(write(ends[1], &byte, 1), 1);
    for (int i = 0; i < 256; i++) open_before[i] = fcntl(i, F_GETFD) >= 0;
    pthread_t t = test_start(replace_file, ends);
    ck_assert_int_eq(take(put_when_replaced, &byte, 20000, false, &a), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(pthread_join(t, &fd), 0);
    ck_assert_int_eq(recv((int)(intptr_t)fd, &byte, 1, MSG_DONTWAIT), 1);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1);
}
END_TEST

/* ---- what is in an image ---- */

/* A shape that threads change all the time, but for moments in which two counts differ by one. */
static struct {
    AO_t a, b;
} steps;

static void *count_steps(void *arg)
{
    oak_thread_attach();
    while (!AO_load(&test_quit)) {
        AO_store_full(&steps.a, AO_load(&steps.a) + 1);
        AO_store_full(&steps.b, AO_load(&steps.b) + 1);
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

/* In an image they stand: looked at twice, with time between. */
static int compare_steps(oaki_image *im, void *arg)
{
    (void)arg;
    AO_t a = AO_load(&steps.a), b = AO_load(&steps.b);
    uint64_t end = oaki_os_now_ns() + 2000000;
    while (oaki_os_now_ns() < end) oaki_pause();
    bool same = AO_load(&steps.a) == a && AO_load(&steps.b) == b && a - b <= 1;
    return oaki_image_put(im, &same, 1) && same ? 0 : EILSEQ;
}

START_TEST(threads_stand_in_an_image_and_go_on_outside)
{
    oaki_image_answer a;
    start();
    pthread_t t = test_start(count_steps, NULL), u = test_start(test_allocate, NULL);
    test_wait(&test_moved, 1000);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(take(compare_steps, NULL, 20000, i % 5 == 4, &a), 0);
        oaki_image_answer_free(&a);
        test_wait(&test_moved, AO_load(&test_moved) + 10); /* it runs */
        if (i % 7 == 0) oak_collect();
    }
    AO_store(&test_quit, 1);
    test_join(t);
    test_join(u);
}
END_TEST

/* ---- numbers ---- */

static int check_ranks(oaki_image *im, void *arg)
{
    oaki_search s;
    oaki_ranks r;
    (void)arg;
    if (!oaki_search_begin(&s, im, false)) return ENOMEM;
    oaki_search_all(&s);
    if (!oaki_ranks_make(&r, im)) return ENOMEM;
    bool right = r.n == s.n;
    size_t before = 0;
    for (uint32_t n = 0; n < r.n; n++) {
        size_t slot = oaki_ranks_object(&r, n);
        right &= (n == 0 || slot > before) && oaki_ranks_has(&r, slot) &&
                 oaki_ranks_of(&r, slot) == n;
        before = slot;
    }
    for (size_t i = 0; i < s.n; i++) right &= oaki_ranks_has(&r, oaki_search_at(&s, i));
    oaki_ranks_free(&r);
    oaki_search_end(&s);
    return oaki_image_put(im, &right, 1) && right ? 0 : EILSEQ;
}

static void *held[5000];

START_TEST(numbers_are_ranks)
{
    oaki_image_answer a;
    start();
    test_seed("observe_image");
    for (size_t i = 0; i < OAKI_COUNT(held); i++) held[i] = oak_alloc(test_size(40000));
    for (size_t i = 0; i < OAKI_COUNT(held); i++)
        if (test_below(3) == 0) held[i] = NULL;
    ck_assert_int_eq(take(check_ranks, NULL, 60000, _i, &a), 0);
    oaki_image_answer_free(&a);
    oak_collect();
    test_assert_sound();
}
END_TEST

/* ---- M, where no child is to be had ---- */

typedef struct chained {
    struct chained *next;
    uint64_t id;
} chained;

#define LINKS 20000

static chained *first;

static void make_links(void *arg)
{
    for (size_t i = 0; i < LINKS; i++) {
        chained *x = oak_alloc(sizeof *x);
        *x = (chained){ first, i };
        first = x;
    }
    (void)arg;
}

static void assert_links(void)
{
    size_t n = LINKS;
    for (const chained *x = first; x; x = x->next) ck_assert_uint_eq(x->id, --n);
    ck_assert_uint_eq(n, 0);
}

/* A search that stops at its target: that one is marked, and nothing of what it refers to. */
static int find_first(oaki_image *im, void *arg)
{
    oaki_search s;
    if (!oaki_search_begin(&s, im, false)) return ENOMEM;
    s.target = oaki_heap_offset(arg);
    oaki_search_value(&s, (uintptr_t)arg);
    oaki_search_run(&s);
    oaki_search_end(&s);
    return s.found ? 0 : ENOENT;
}

static void wait_for_cycle(void)
{
    for (uint32_t n = test_stats().num_gc; test_stats().num_gc == n;) {
        (void)test_ask_beside();
        oaki_os_yield();
    }
}

/* Between two cycles, where the next would be a minor one; and in the middle of a mark. */
START_TEST(a_search_in_a_stop_leaves_no_marks_behind)
{
    oak_config c = test_config();
    oaki_image_answer a;
    c.concurrent = 1;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    test_heap_start(c);
    oaki_debug_switches.beside = oaki_debug_switches.poison = oaki_debug_switches.verify = 1;
    oaki_debug_switches.minor = _i ? 0 : 1000;
    oaki_the_heap.config.generations = !_i;
    if (test_skip_untracked()) return;
    test_away(make_links, NULL);
    for (int round = 0; round < 20; round++) {
        while (_i ? !oaki_is_marking_concurrently()
                  : !AO_load(&oaki_the_heap.sticky)) {
            (void)test_ask_beside();
            oaki_os_yield();
        }
        ck_assert_int_eq(take(find_first, first, 20000, true, &a), 0);
        oaki_image_answer_free(&a);
        wait_for_cycle();
        assert_links();
    }
    test_assert_sound();
}
END_TEST

/* ---- a system that doesn't say who is whose parent ---- */

static void take_refused(void *arg)
{
    static const int calls[][2] = { { SYS_getppid, 0 },
                                    { SYS_getpid, 0 },
                                    { SYS_getppid, SYS_getpid } };
    const int *nr = calls[*(int *)arg];
    size_t n = 5;
    oaki_image_answer a;
    for (int i = 0; i < 2; i++)
        if (nr[i]) test_refuse(nr[i]);
    if (take(put_much, &n, 20000, false, &a) != 0 || a.stopped) _exit(1);
    oaki_image_answer_free(&a);
}

START_TEST(it_works_where_parents_are_not_told)
{
    char text[1024];
    if (test_skip_asan() || test_skip_valgrind()) return;
    int status = test_capture(take_refused, &_i, text, sizeof text);
    ck_assert_msg(status == 0, "status %#x: %s", status, text);
}
END_TEST

Suite *suite_observe_image(void)
{
    Suite *s = suite_create("observe_image");
    TCase *t = tcase_create("image");
    tcase_add_loop_test(t, an_answer_comes_whole, 0, 2);
    tcase_add_loop_test(t, an_error_comes_back, 0, 2);
    tcase_add_test(t, a_child_that_crashes_is_an_error);
    tcase_add_loop_test(t, a_child_that_is_late_is_an_error, 0, 2);
    tcase_add_test(t, children_of_the_program_are_undisturbed);
    tcase_add_test(t, ignored_children_change_nothing);
    tcase_add_test(t, the_child_has_no_files_of_the_program);
    tcase_add_test(t, a_program_that_closes_all_descriptors_meanwhile);
    tcase_add_test(t, threads_stand_in_an_image_and_go_on_outside);
    tcase_add_loop_test(t, numbers_are_ranks, 0, 2);
    tcase_add_loop_test(t, it_works_where_parents_are_not_told, 0, 3);
    tcase_add_loop_test(t, a_search_in_a_stop_leaves_no_marks_behind, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
