/* output.c - tests of observe/output.c: files that are whole or not there, pipes that nobody
 * reads; and of writing profiles to them. */
#include "observe/output.h"
#include "find.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

Suite *suite_observe_output(void);

static char dir[64];

static void start(void)
{
    snprintf(dir, sizeof dir, "/tmp/oakum-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
}

static void stop(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
    static char path[4][200];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static size_t files(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void assert_holds(const char *path, const char *text)
{
    char got[200] = "";
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(got, 1, sizeof got - 1, f), strlen(text));
    ck_assert_str_eq(got, text);
    fclose(f);
}

static int write_file(const char *path, const char *text, int result)
{
    oaki_output o;
    if (oaki_output_open(&o, path) != 0) return -1;
    ck_assert_int_eq(oaki_write_all(o.fd, text, strlen(text)), 0);
    errno = result ? EDOM : 0;
    return oaki_output_close(&o, result);
}

/* ---- files ---- */

START_TEST(a_file_is_replaced_when_it_is_whole)
{
    const char *path = in_dir("a");
    ck_assert_int_eq(write_file(path, "first", 0), 0);
    assert_holds(path, "first");
    ck_assert_int_eq(chmod(path, 0640), 0);
    ck_assert_int_eq(write_file(path, "second", -1), -1);
    ck_assert_int_eq(errno, EDOM);
    assert_holds(path, "first");
    ck_assert_int_eq(write_file(path, "third", 0), 0);
    assert_holds(path, "third");
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    ck_assert_uint_eq(files(), 1);
}
END_TEST

START_TEST(a_link_stays_one)
{
    const char *path = in_dir("real"), *other = in_dir("link");
    put(path, "old");
    ck_assert_int_eq(symlink(path, other), 0);
    ck_assert_int_eq(write_file(other, "new", 0), 0);
    assert_holds(path, "new");
    struct stat st;
    ck_assert_int_eq(lstat(other, &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    ck_assert_uint_eq(files(), 2);
}
END_TEST

START_TEST(a_link_to_nothing_leads_to_the_new_file)
{
    const char *path = in_dir("real"), *other = in_dir("link");
    ck_assert_int_eq(symlink("turn", other), 0);
    ck_assert_int_eq(symlink(path, in_dir("turn")), 0);
    ck_assert_int_eq(write_file(other, "new", 0), 0);
    assert_holds(path, "new");
    ck_assert_uint_eq(files(), 3);
    const char *loop = in_dir("loop");
    ck_assert_int_eq(symlink(loop, loop), 0);
    ck_assert_int_eq(write_file(loop, "new", 0), -1);
    ck_assert_int_eq(errno, ELOOP);
    ck_assert_uint_eq(files(), 4);
}
END_TEST

/* What the program has written to a descriptor stays, and so does the descriptor. */
START_TEST(a_file_that_is_written_to_already_is_continued)
{
    const char *path = in_dir("log");
    char name[40];
    int fd = open(path, O_WRONLY | O_CREAT, 0600), own = dup(STDOUT_FILENO);
    ck_assert_int_eq(oaki_write_all(fd, "a ", 2), 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ck_assert_int_eq(write_file(name, "b ", 0), 0);
    ck_assert_int_eq(oaki_write_all(fd, "c ", 2), 0);
    ck_assert_int_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    int named = write_file("/dev/stdout", "d ", 0), same = write_file(path, "e", 0);
    ck_assert_int_eq(dup2(own, STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(named, 0);
    ck_assert_int_eq(same, 0);
    assert_holds(path, "a b c d e");
    ck_assert_uint_eq(files(), 1);
    close(own);
    close(fd);
    fd = open(path, O_RDONLY);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ck_assert_int_eq(write_file(name, "whole", 0), 0); /* one that is only read is replaced */
    close(fd);
    assert_holds(path, "whole");
}
END_TEST

START_TEST(bad_names_are_errors)
{
    ck_assert_int_eq(write_file(in_dir("no/such/folder"), "x", 0), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(write_file(dir, "x", 0), -1);
    ck_assert_int_eq(errno, EISDIR);
    ck_assert_int_eq(write_file("", "x", 0), -1);
    ck_assert_uint_eq(files(), 0);
    ck_assert_int_eq(mkfifo(in_dir("fifo"), 0600), 0);
    ck_assert_int_eq(write_file(in_dir("fifo"), "x", 0), -1); /* nobody reads it */
    ck_assert_int_eq(errno, ENXIO);
}
END_TEST

/* ---- a disk that is full ---- */

START_TEST(a_full_device_is_an_error)
{
    if (access("/dev/full", W_OK) != 0) return;
    ck_assert_int_eq(oak_profile_save(NULL, "/dev/full"), -1);
    ck_assert_int_eq(errno, ENOSPC);
    struct stat st;
    ck_assert_int_eq(stat("/dev/full", &st), 0);
    ck_assert(S_ISCHR(st.st_mode));
}
END_TEST

/* A limit on the size of files stands for a disk that fills up in the middle. */
START_TEST(a_disk_that_fills_up_leaves_nothing)
{
    const char *path = in_dir("p");
    struct rlimit before, little;
    ck_assert_ptr_nonnull(oak_alloc_pinned(1));
    put(path, "old");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = 100;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    int r = oak_profile_save(NULL, path), e = errno;
    int fresh = oak_profile_save(NULL, in_dir("q")), f = errno;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(r, -1);
    ck_assert_int_eq(e, EFBIG);
    ck_assert_int_eq(fresh, -1);
    ck_assert_int_eq(f, EFBIG);
    assert_holds(path, "old");
    ck_assert_uint_eq(files(), 1);
    ck_assert_int_eq(oak_profile_save(NULL, path), 0);
    ck_assert_uint_eq(files(), 1);
}
END_TEST

/* ---- a pipe that nobody reads ---- */

static void to_closed_pipe(void *arg)
{
    int end[2];
    (void)arg;
    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(pipe(end), 0);
    close(end[0]);
    errno = 0;
    ck_assert_int_eq(oak_profile_write(NULL, end[1]), -1);
    ck_assert_int_eq(errno, EPIPE);
    ck_assert_int_eq(oak_profile_print(NULL, end[1], OAK_PROFILE_INUSE_BYTES, 5), -1);
    ck_assert_int_eq(errno, EPIPE);
    sigset_t waiting;
    sigpending(&waiting);
    ck_assert(!sigismember(&waiting, SIGPIPE));
    close(end[1]);
}

START_TEST(a_closed_pipe_is_an_error_and_no_signal)
{
    char err[200];
    ck_assert_int_eq(test_capture(to_closed_pipe, NULL, err, sizeof err), 0);
    ck_assert_int_eq(oak_profile_write(NULL, -1), -1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

static void *read_slowly(void *arg)
{
    int fd = *(int *)arg;
    char piece[7];
    size_t all = 0;
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;) all += (size_t)n;
    return (void *)all;
}

static char data[300000];
TEST_LARGE(observe_output, data)

/* Also when it is full and doesn't block. */
START_TEST(a_slow_reader_gets_all)
{
    int end[2];
    void *got;
    ck_assert_int_eq(pipe(end), 0);
    ck_assert_int_eq(fcntl(end[1], F_SETFL, O_NONBLOCK), 0);
    pthread_t id = test_start(read_slowly, &end[0]);
    ck_assert_int_eq(oaki_write_all(end[1], data, sizeof data), 0);
    close(end[1]);
    pthread_join(id, &got);
    ck_assert_uint_eq((size_t)got, sizeof data);
    close(end[0]);
}
END_TEST

/* ---- at exit ---- */

static void exit_with_profile(void *arg)
{
    (void)arg;
    oak_config c;
    oak_config_default(&c);
    exit(oak_init(&c) == 0 && oak_profile_rate() == OAK_PROFILE_RATE ? 0 : 1);
}

START_TEST(a_program_saves_its_profile_when_it_ends)
{
    char err[300];
    setenv("OAKUM_PROFILE", in_dir("exit.%p.pb.gz"), 1);
    ck_assert_int_eq(test_capture(exit_with_profile, NULL, err, sizeof err), 0);
    ck_assert_str_eq(err, "");
    ck_assert_uint_eq(files(), 1);
    setenv("OAKUM_PROFILE", "/no/such/folder/file", 1);
    ck_assert_int_eq(test_capture(exit_with_profile, NULL, err, sizeof err), 0);
    ck_assert_msg(strstr(err, "OAKUM_PROFILE=/no/such/folder/file"), "%s", err);
}
END_TEST

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/oakum-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

Suite *suite_observe_output(void)
{
    Suite *s = suite_create("observe/output");
    TCase *c = tcase_create("output"), *e = tcase_create("exit");
    tcase_add_checked_fixture(c, start, stop);
    tcase_add_test(c, a_file_is_replaced_when_it_is_whole);
    tcase_add_test(c, a_link_stays_one);
    tcase_add_test(c, a_link_to_nothing_leads_to_the_new_file);
    tcase_add_test(c, a_file_that_is_written_to_already_is_continued);
    tcase_add_test(c, bad_names_are_errors);
    tcase_add_test(c, a_full_device_is_an_error);
    tcase_add_test(c, a_disk_that_fills_up_leaves_nothing);
    tcase_add_test(c, a_closed_pipe_is_an_error_and_no_signal);
    tcase_add_test(c, a_slow_reader_gets_all);
    suite_add_tcase(s, c);
    tcase_add_checked_fixture(e, make_dir, stop);
    tcase_add_test(e, a_program_saves_its_profile_when_it_ends);
    suite_add_tcase(s, e);
    return s;
}
