/* last.c - tests of runtime/last.c: a process ends with the last thread of its own. */
#include "runtime/task.h"
#include "tests/heap.h"

#include <check.h>
#include <dirent.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_last(void);

static void *outlive_main(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    oak_collect();
    return NULL;
}

static bool is_helper(const char *task)
{
    oaki_task t;
    return oaki_task_read(atoi(task), &t) && strncmp(t.name, "oakum/", 6) == 0;
}

static size_t count_helpers(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) n += is_helper(e->d_name);
    if (d) closedir(d);
    return n;
}

/* A heap that is large enough for helpers; the test is void without one. They name themselves. */
static void start_helpers(void)
{
    static void *large;
    large = oak_alloc((size_t)48 << 20);
    oak_collect();
    if (!large) _exit(7);
    for (int i = 0; count_helpers() == 0; i++) {
        if (i == 5000) _exit(8);
        usleep(1000);
    }
}

static void leave_alone(void)
{
    start_helpers();
    pthread_exit(NULL);
}

static void finalize(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void leave_the_finalizers_thread(void)
{
    start_helpers();
    if (oak_finalizer_set(oak_alloc(16), finalize, NULL) != 0) _exit(3);
    oak_collect();
    pthread_exit(NULL);
}

static void leave_a_thread(void)
{
    static pthread_t self, other;
    start_helpers();
    self = pthread_self();
    if (pthread_create(&other, NULL, outlive_main, &self) != 0) _exit(3);
    pthread_exit(NULL);
}

/* Not attached, so nothing but /proc tells of it; and descriptors are used up but for one, which
 * the look at the folder takes. */
static void *outlive_all(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    usleep(200000); /* the watcher looks every 20 ms; one that ends the process needs not many */
    _exit(5);
}

static void leave_one_that_cannot_be_seen(void)
{
    static pthread_t self, other;
    int fd = dup(0);
    struct rlimit limit = { (rlim_t)fd + 1, (rlim_t)fd + 1 };
    close(fd);
    start_helpers();
    self = pthread_self();
    if (pthread_create(&other, NULL, outlive_all, &self) != 0) _exit(3);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(3);
    pthread_exit(NULL);
}

/* Not attached, so the process has a watcher by now. */
static void *fork_beside_a_watcher(void *main_thread)
{
    int status = -1;
    pthread_join(*(pthread_t *)main_thread, NULL);
    pid_t pid = fork();
    if (pid == 0) leave_alone();
    _exit(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 6);
}

static void leave_one_that_forks(void)
{
    static pthread_t self, other;
    start_helpers();
    self = pthread_self();
    if (pthread_create(&other, NULL, fork_beside_a_watcher, &self) != 0) _exit(3);
    pthread_exit(NULL);
}

/* There, only libc's own count of threads tells which is the last one. */
static void leave_alone_without_proc(void)
{
    start_helpers();
    if (chroot("/usr/lib") != 0 || access("/proc/self", F_OK) == 0) _exit(9);
    pthread_exit(NULL);
}

static void *outlive_without_proc(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    if (chroot("/usr/lib") != 0) _exit(9);
    oak_collect();
    usleep(200000);
    return NULL;
}

static void leave_a_thread_without_proc(void)
{
    static pthread_t self, other;
    start_helpers();
    self = pthread_self();
    if (pthread_create(&other, NULL, outlive_without_proc, &self) != 0) _exit(3);
    pthread_exit(NULL);
}

START_TEST(nor_do_they_without_proc)
{
    if (test_skip(geteuid() != 0, "chroot needs root")) return;
    ck_assert_int_eq(test_status_of(_i ? leave_a_thread_without_proc : leave_alone_without_proc),
                     0);
}
END_TEST

START_TEST(helpers_do_not_keep_a_process)
{
    ck_assert_int_eq(test_status_of(leave_alone), 0);
}
END_TEST

START_TEST(nor_does_the_finalizers_thread)
{
    ck_assert_int_eq(test_status_of(leave_the_finalizers_thread), 0);
}
END_TEST

START_TEST(a_thread_that_cannot_be_seen_does)
{
    int status = test_status_of(leave_one_that_cannot_be_seen);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 5);
}
END_TEST

START_TEST(a_thread_of_the_programs_does)
{
    ck_assert_int_eq(test_status_of(leave_a_thread), 0);
}
END_TEST

START_TEST(helpers_do_not_keep_a_child_either)
{
    ck_assert_int_eq(test_status_of(leave_one_that_forks), 0);
}
END_TEST

Suite *suite_runtime_last(void)
{
    Suite *s = suite_create("runtime_last");
    TCase *c = tcase_create("exit");
    tcase_set_timeout(c, 20);
    tcase_add_test(c, helpers_do_not_keep_a_process);
    tcase_add_loop_test(c, nor_do_they_without_proc, 0, 2);
    tcase_add_test(c, nor_does_the_finalizers_thread);
    tcase_add_test(c, helpers_do_not_keep_a_child_either);
    tcase_add_test(c, a_thread_of_the_programs_does);
    tcase_add_test(c, a_thread_that_cannot_be_seen_does);
    suite_add_tcase(s, c);
    return s;
}
