/* tracking.c - tests of what is done where the system doesn't tell of written pages in the way that
 * was asked for, and what is said about it. */
#include "gc/concurrent/concurrent.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/pagemap.h"
#include "runtime/task.h"
#include "tests/descriptors.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"

#include <check.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

Suite *suite_runtime_tracking(void);

#define PAGE ((size_t)4096)

static void start_with(oak_tracking tracking, bool generations)
{
    oak_config c = test_config();
    c.concurrent = 1;
    c.tracking = tracking;
    c.generations = generations;
    test_heap_start(c);
    oaki_debug_switches.beside = 1;
    oaki_debug_switches.verify = 1;
}

static void start(oak_tracking tracking)
{
    start_with(tracking, true);
}

/* Whichever way they mark, collections do what they should. */
static void collect_a_bit(void)
{
    void **keep = oak_alloc(1000 * sizeof *keep);
    for (size_t i = 0; i < 20000; i++) {
        size_t *x = oak_alloc(40);
        *x = i;
        keep[i % 1000] = x;
        if (i % 500 == 0) (void)test_ask_beside();
    }
    oak_collect();
    for (size_t i = 0; i < 1000; i++) ck_assert_uint_eq(*(size_t *)keep[i], 19000 + i);
    ck_assert_uint_le(test_stats().heap_objects, 3100); /* the stack may have older tables */
    test_assert_sound();
}

static void expect_refused(const char *refused, int error)
{
    oak_writes_told told;
    ck_assert(!oak_heap_tells_writes(&told));
    ck_assert_ptr_null(told.by);
    if (refused) ck_assert_str_eq(told.refused, refused);
    else ck_assert_ptr_null(told.refused);
    ck_assert_int_eq(told.error, error);
    ck_assert(!test_ask_beside());
}

static void expect_stops(const char *refused, int error)
{
    expect_refused(refused, error);
    collect_a_bit();
}

static void expect_faults(const char *refused, int error)
{
    oak_writes_told told;
    ck_assert(oak_heap_tells_writes(&told));
    ck_assert_str_eq(told.by, "page faults");
    if (refused) ck_assert_str_eq(told.refused, refused);
    else ck_assert_ptr_null(told.refused);
    ck_assert_int_eq(told.error, error);
    ck_assert(test_ask_beside());
    collect_a_bit();
}

static size_t count_descriptors(void)
{
    int fds[100];
    return test_descriptors("", fds, OAKI_COUNT(fds));
}

START_TEST(none_is_none)
{
    start(OAK_TRACKING_NONE);
    expect_stops(NULL, 0);
}
END_TEST

START_TEST(a_filter_that_refuses_userfaultfd)
{
    test_refuse(SYS_userfaultfd);
    start(OAK_TRACKING_USERFAULTFD);
    expect_stops("userfaultfd", EPERM);
}
END_TEST

START_TEST(faults_where_userfaultfd_is_refused)
{
    test_refuse(SYS_userfaultfd);
    start(OAK_TRACKING_ANY);
    expect_faults("userfaultfd", EPERM);
}
END_TEST

/* Old kernels: userfaultfd without what we need of it, a page map that can't be scanned. */
static const struct {
    unsigned long request;
    int error;
    const char *told;
} lacks[] = {
    { UFFDIO_API, EINVAL, "userfaultfd's asynchronous write protection" },
    { UFFDIO_REGISTER, EINVAL, "userfaultfd's asynchronous write protection" },
    { OAKI_PAGEMAP_SCAN, ENOTTY, "PAGEMAP_SCAN" },
};

static bool has_userfaultfd(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

START_TEST(a_kernel_that_lacks_a_part_of_it)
{
    if (test_skip(!has_userfaultfd(), "there is no userfaultfd")) return;
    size_t before = count_descriptors();
    test_refuse_ioctl(lacks[_i].request, lacks[_i].error);
    start(OAK_TRACKING_USERFAULTFD);
    expect_stops(lacks[_i].told, lacks[_i].error);
    ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

START_TEST(faults_where_a_kernel_lacks_a_part_of_it)
{
    if (test_skip(!has_userfaultfd(), "there is no userfaultfd")) return;
    test_refuse_ioctl(lacks[_i].request, lacks[_i].error);
    start(OAK_TRACKING_ANY);
    expect_faults(lacks[_i].told, lacks[_i].error);
}
END_TEST

START_TEST(faults_that_were_asked_for)
{
    start(OAK_TRACKING_FAULTS);
    expect_faults(NULL, 0);
}
END_TEST

/* Marked beside the program before, so that there is the thread; whose pages are writable once
 * nothing is under way: without generations none stay read only after that. */
START_TEST(faults_that_are_refused_between_two_marks)
{
    start_with(OAK_TRACKING_FAULTS, false);
    expect_faults(NULL, 0);
    test_await_idle();
    test_refuse(SYS_mprotect);
    while (oak_heap_tells_writes(NULL)) {
        (void)test_ask_beside();
        oaki_os_yield();
    }
    expect_stops("page faults", EPERM);
}
END_TEST

#define SAID_WHY 7 /* a status */

static void end_with(const char *message)
{
    _exit(strstr(message, "mprotect is refused by now") ? SAID_WHY : 1);
}

/* With the world stopped, as a mark doesn't get on meanwhile. */
static bool refuse_in_mid_mark(void (*refuse)(void))
{
    oaki_thread *t = oaki_gc_stop_begin();
    ck_assert_ptr_nonnull(t);
    bool marking = oaki_is_marking_concurrently();
    if (marking) refuse();
    oaki_gc_stop_end(t);
    return marking;
}

static void refuse_mprotect(void)
{
    test_refuse(SYS_mprotect);
}

/* They stay as they are: it can't go on, and says why. */
START_TEST(faults_that_are_refused_while_pages_are_read_only)
{
    start_with(OAK_TRACKING_FAULTS, true);
    expect_faults(NULL, 0);
    void **old = oak_alloc(64 * PAGE);
    oak_set_fatal_handler(end_with);
    do {
        test_await_mark();
    } while (!refuse_in_mid_mark(refuse_mprotect));
    for (size_t i = 0; i < 64 * PAGE / sizeof *old; i += 64) old[i] = old;
    while (oak_heap_tells_writes(NULL)) collect_a_bit();
}
END_TEST

static void refuse_scan(void)
{
    test_refuse_ioctl(OAKI_PAGEMAP_SCAN, EPERM);
}

/* All that the mark has yet to hear of counts as written. */
START_TEST(scans_that_are_refused_in_mid_mark)
{
    start(OAK_TRACKING_USERFAULTFD);
    if (test_skip(!oak_heap_tells_writes(NULL), "there is no userfaultfd")) return;
    size_t n = 20000;
    void **list = NULL, **keep = oak_alloc(n * sizeof *keep);
    do {
        test_await_mark();
        for (size_t i = 0; i < n; i++) keep[i] = list = memcpy(oak_alloc(40), &list, sizeof list);
    } while (!refuse_in_mid_mark(refuse_scan));
    for (size_t i = 0; i < n; i++) list = memcpy(oak_alloc(40), &list, sizeof list);
    while (oak_heap_tells_writes(NULL)) (void)test_ask_beside();
    expect_refused("userfaultfd", EPERM);
    oak_collect();
    for (size_t i = 0; i < n; i++) list = *list;
    for (size_t i = n; i-- > 0; list = *list) ck_assert_ptr_eq(keep[i], list);
    test_assert_sound();
}
END_TEST

START_TEST(userfaultfd_is_the_first_of_any)
{
    oak_writes_told first, any;
    start(OAK_TRACKING_ANY);
    ck_assert(oak_heap_tells_writes(&any));
    bool has = strcmp(any.by, "userfaultfd") == 0;
    ck_assert(has == !any.refused);
    ck_assert(oak_heap_tells_writes(&first));
    ck_assert_str_eq(first.by, any.by);
    ck_assert(oak_heap_tells_writes(NULL));
}
END_TEST

static void take_all_descriptors(void)
{
    int fd = open("/dev/null", O_RDONLY);
    struct rlimit limit = { (rlim_t)fd + 1, (rlim_t)fd + 1 };
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(no_descriptor_is_left)
{
    start(OAK_TRACKING_USERFAULTFD);
    take_all_descriptors();
    expect_stops("userfaultfd", EMFILE);
}
END_TEST

/* By faults it can be told, but not which threads block SIGSEGV: so not now. */
START_TEST(no_descriptor_is_left_for_faults)
{
    start(OAK_TRACKING_ANY);
    take_all_descriptors();
    oak_writes_told told;
    ck_assert(oak_heap_tells_writes(&told));
    ck_assert_str_eq(told.refused, "userfaultfd");
    ck_assert_int_eq(told.error, EMFILE);
    ck_assert(!oaki_dirty_begin());
    collect_a_bit();
}
END_TEST

/* ---- a program that has a userfaultfd of its own ---- */

static const oak_tracking both[] = { OAK_TRACKING_USERFAULTFD, OAK_TRACKING_FAULTS };

static int open_own(void)
{
    struct uffdio_api api = { .api = UFFD_API };
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (fd >= 0) ck_assert_int_eq(ioctl(fd, UFFDIO_API, &api), 0);
    return fd;
}

typedef struct filler {
    int fd;
    AO_t filled;
} filler;

/* Every missing page gets its number. */
static void *fill(void *arg)
{
    filler *f = arg;
    struct uffd_msg msg;
    static uint64_t page[512];
    while (read(f->fd, &msg, sizeof msg) == sizeof msg) {
        for (size_t i = 0; i < OAKI_COUNT(page); i++) page[i] = msg.arg.pagefault.address;
        struct uffdio_copy copy = { .dst = msg.arg.pagefault.address & ~(PAGE - 1),
                                    .src = (uintptr_t)page,
                                    .len = PAGE };
        ioctl(f->fd, UFFDIO_COPY, &copy);
        AO_fetch_and_add1(&f->filled);
    }
    return arg;
}

START_TEST(a_program_with_a_userfaultfd_of_its_own)
{
    filler f = { .fd = open_own() };
    if (test_skip(f.fd < 0, "there is no userfaultfd") ||
        test_skip(oaki_os_page_size() != PAGE, "pages are not of 4 KiB"))
        return;
    char *own = oaki_os_map(64 * PAGE);
    struct uffdio_register r = { .range = { (uintptr_t)own, 64 * PAGE },
                                 .mode = UFFDIO_REGISTER_MODE_MISSING };
    ck_assert_int_eq(ioctl(f.fd, UFFDIO_REGISTER, &r), 0);
    pthread_t id = test_start(fill, &f);
    start(both[_i]);
    if (test_skip_untracked()) return;
    for (size_t i = 0; i < 64; i++) {
        ck_assert_uint_eq(*(uint64_t *)(own + i * PAGE), (uintptr_t)(own + i * PAGE));
        if (i % 16 == 0) collect_a_bit();
    }
    test_wait(&f.filled, 64);
    ck_assert(test_written_start());
    pthread_cancel(id);
    test_join(id);
}
END_TEST

static void expect_open(void *fd)
{
    ck_assert_int_ge(fcntl((int)(intptr_t)fd, F_GETFD), 0);
}

/* For what is missing in a large object: nothing is. Returns 0, or errno. */
static int register_object(int fd, char *object)
{
    struct uffdio_register r = { .range = { OAKI_ALIGN_UP((uintptr_t)object, PAGE), 8 * PAGE },
                                 .mode = UFFDIO_REGISTER_MODE_MISSING };
    return ioctl(fd, UFFDIO_REGISTER, &r) == 0 ? 0 : errno;
}

/* A range has one userfaultfd: whose is first has it. */
START_TEST(an_object_that_a_program_registers_afterwards)
{
    int own = open_own();
    start(OAK_TRACKING_USERFAULTFD);
    if (test_skip_untracked()) return;
    char *object = memset(oak_alloc(16 * PAGE), 1, 16 * PAGE);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(register_object(own, object), EBUSY);
        collect_a_bit();
        ck_assert(test_ask_beside());
        for (size_t k = 0; k < 16 * PAGE; k++) ck_assert_int_eq(object[k], 1);
    }
    ck_assert(oak_heap_tells_writes(NULL));
}
END_TEST

static const oak_tracking orders[] = { OAK_TRACKING_USERFAULTFD, OAK_TRACKING_ANY };

START_TEST(an_object_that_a_program_has_registered)
{
    int own = open_own();
    if (test_skip(own < 0, "there is no userfaultfd") ||
        test_skip(oaki_os_page_size() != PAGE, "pages are not of 4 KiB"))
        return;
    start(orders[_i]);
    oaki_debug_switches.beside = 0; /* not told before */
    char *object = memset(oak_alloc(16 * PAGE), 1, 16 * PAGE);
    ck_assert_int_eq(register_object(own, object), 0);
    oaki_debug_switches.beside = 1;
    if (orders[_i] == OAK_TRACKING_ANY)
        expect_faults("userfaultfd's asynchronous write protection", EBUSY);
    else
        expect_stops("userfaultfd's asynchronous write protection", EBUSY);
    for (size_t k = 0; k < 16 * PAGE; k++) ck_assert_int_eq(object[k], 1);
    test_assert_sound();
}
END_TEST

/* A program that has closed what it doesn't know has made its own since. */
START_TEST(a_child_of_a_program_whose_own_has_the_same_number)
{
    start(OAK_TRACKING_USERFAULTFD);
    if (test_skip_untracked()) return;
    int ours = test_descriptor(TEST_UFFD);
    ck_assert_int_ge(ours, 0);
    int own = open_own();
    ck_assert_int_eq(dup3(own, ours, O_CLOEXEC), ours);
    test_child(expect_open, (void *)(intptr_t)ours);
    for (int i = 0; i < 3; i++) collect_a_bit();
    expect_open((void *)(intptr_t)ours);
    ck_assert(test_written_start());
}
END_TEST

/* Each opens the way for itself, and closes what it has of its parent's. */
static void open_in_child(void *left)
{
    static size_t first;
    ck_assert(test_written_start());
    if (!first) first = count_descriptors();
    ck_assert_uint_eq(count_descriptors(), first);
    if (left) test_child(open_in_child, (char *)left - 1);
}

START_TEST(generations_of_children_have_as_many_open)
{
    start(OAK_TRACKING_USERFAULTFD);
    if (test_skip_untracked()) return;
    test_child(open_in_child, (char *)3);
}
END_TEST

/* ---- without the first thread ---- */

static void *tell(void *leader)
{
    oaki_task task;
    while (leader && !(oaki_task_read(getpid(), &task) && oaki_task_is_dead(&task)))
        oaki_os_yield();
    start(OAK_TRACKING_USERFAULTFD);
    _exit(test_written_start() ? 0 : 1);
    return NULL;
}

/* Is there something that tells? In a child whose first thread has gone, or in any. */
static int tells_in_child(bool gone)
{
    pthread_t id;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        if (!gone) (void)tell(NULL);
        if (pthread_create(&id, NULL, tell, &pid) != 0) _exit(2);
        pthread_exit(NULL);
    }
    return test_wait_child(pid);
}

START_TEST(a_program_whose_first_thread_has_left)
{
    ck_assert_int_eq(tells_in_child(true), tells_in_child(false));
}
END_TEST

Suite *suite_runtime_tracking(void)
{
    Suite *s = suite_create("runtime_tracking");
    TCase *t = tcase_create("tracking");
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    tcase_add_test(t, none_is_none);
    /* Valgrind knows no userfaultfd, keeps the limit of descriptors to itself, and now and then
     * can't put a fault's handler on a stack of its own. */
    if (test_skip_valgrind()) return s;
    tcase_add_test(t, a_filter_that_refuses_userfaultfd);
    tcase_add_test(t, faults_where_userfaultfd_is_refused);
    tcase_add_loop_test(t, a_kernel_that_lacks_a_part_of_it, 0, OAKI_COUNT(lacks));
    tcase_add_loop_test(t, faults_where_a_kernel_lacks_a_part_of_it, 0, OAKI_COUNT(lacks));
    tcase_add_test(t, faults_that_were_asked_for);
    tcase_add_test(t, faults_that_are_refused_between_two_marks);
    tcase_add_exit_test(t, faults_that_are_refused_while_pages_are_read_only, SAID_WHY);
    tcase_add_test(t, scans_that_are_refused_in_mid_mark);
    tcase_add_test(t, userfaultfd_is_the_first_of_any);
    tcase_add_test(t, a_program_whose_first_thread_has_left);
    tcase_add_test(t, no_descriptor_is_left);
    tcase_add_test(t, no_descriptor_is_left_for_faults);
    tcase_add_loop_test(t, a_program_with_a_userfaultfd_of_its_own, 0, 2);
    tcase_add_test(t, an_object_that_a_program_registers_afterwards);
    tcase_add_loop_test(t, an_object_that_a_program_has_registered, 0, OAKI_COUNT(orders));
    tcase_add_test(t, a_child_of_a_program_whose_own_has_the_same_number);
    tcase_add_test(t, generations_of_children_have_as_many_open);
    return s;
}
