/* find.c - tests of finding a process's debug server: by its Unix socket, wherever that is, and
 * that it is the process's own; and what is told to another user. */
#include "run.h"

#include "cmd/live.h"
#include "tests/heap.h"
#include "tests/observe/http.h"
#include "tests/threads.h"
#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

Suite *suite_cmd_find(void);

static test_run r;
static char pid[16];

static bool start(void)
{
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("OAKUM_DEBUG_TOKEN");
    test_heap_start(test_config());
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return http_serve("1", NULL);
}

static void ok(void)
{
    ck_assert_msg(r.status == 0, "%d: %s%s", r.status, r.out, r.err);
    ck_assert_str_eq(r.err, "");
}

static void fails_with(const char *why)
{
    ck_assert_int_eq(r.status, 1);
    ck_assert_str_eq(r.out, "");
    ck_assert_msg(strstr(r.err, why) != NULL, "%s", r.err);
}

/* What each command does first, in a process of its own, as another user where told so. */
static uid_t user;

static int find(int argc, char **argv)
{
    cmd_server s;
    cmd_reply reply;
    (void)argc;
    if (user && (setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)) return 9;
    if (!cmd_server_find("oakum test", argv[0], &s)) return 1;
    if (!cmd_server_get("oakum test", &s, "/debug/state", 10, &reply)) return 1;
    puts(s.path);
    return 0;
}

static void find_as(uid_t who, char *where)
{
    char *argv[] = { where, NULL };
    user = who;
    test_run_function(&r, find, argv);
}

START_TEST(another_user_s_process_is_none_to_look_at)
{
    char first[] = "1", none[] = "999999999";
    if (test_skip_user() || !start()) return;
    find_as(65534, pid);
    fails_with("you may not look at process");
    ck_assert_ptr_nonnull(strstr(r.err, "user 0's; be that user or root"));
    find_as(65534, first); /* which has no server */
    fails_with("you may not look at process 1");
    find_as(65534, none);
    fails_with("there is no process 999999999");
    find_as(0, pid);
    ok();
}
END_TEST

/* One that has another user's process serve, and root, and a third. */
START_TEST(root_sees_all)
{
    char child_pid[16], byte;
    int told[2], go[2];
    if (test_skip_user() || http_skip()) return;
    unsetenv("XDG_RUNTIME_DIR");
    test_heap_start(test_config());
    ck_assert_int_eq(pipe(told) + pipe(go), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0) _exit(9);
        bool right = oak_debug_serve(NULL) == 0;
        (void)!write(told[1], right ? "y" : "n", 1);
        (void)!read(go[0], &byte, 1);
        oak_debug_serve_stop();
        _exit(rmdir("/tmp/oakum-1234") == 0 && right ? 0 : 1);
    }
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    snprintf(child_pid, sizeof child_pid, "%d", (int)child);
    find_as(1234, child_pid);
    ok();
    find_as(0, child_pid);
    ok();
    ck_assert_ptr_eq(strstr(r.out, "/tmp/oakum-1234/"), r.out);
    find_as(65534, child_pid);
    fails_with("is user 1234's");
    close(go[1]);
    ck_assert_int_eq(test_wait_child(child), 0);
}
END_TEST

/* Under the process's name somebody else listens, as where a number is used again. */
START_TEST(a_socket_of_another_process_is_passed_over)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int ends[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
    char gone[16], byte;
    if (!start()) return;
    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        _exit((int)read(ends[0], &byte, 1));
    }
    snprintf(gone, sizeof gone, "%d", (int)child);
    snprintf(a.sun_path, sizeof a.sun_path, "/tmp/oakum-%u/%s.sock", (unsigned)geteuid(), gone);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    find_as(0, gone);
    fails_with("has no debug server: OAKUM_DEBUG_SERVE=1 starts one");
    find_as(0, pid);
    ok();
    ck_assert_int_eq(unlink(a.sun_path), 0);
    close(ends[1]);
    ck_assert_int_eq(test_wait_child(child), 0);
}
END_TEST

/* A listener that accepts nothing, of which nobody can tell whose it is. */
START_TEST(a_full_queue_is_told)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    char runtime[] = "/tmp/oakum-live-XXXXXX", folder[64];
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = -1;
    if (!start()) return;
    ck_assert_ptr_nonnull(mkdtemp(runtime));
    snprintf(folder, sizeof folder, "%s/oakum", runtime);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%s.sock", folder, pid);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    do fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    while (connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    find_as(0, pid); /* the real one, elsewhere */
    ok();
    oak_debug_serve_stop();
    find_as(0, pid);
    fails_with("'s debug server accepts no connection: is the program stopped?");
    ck_assert_int_eq(unlink(a.sun_path) + rmdir(folder) + rmdir(runtime), 0);
}
END_TEST

/* Its environment says where, which may be another one than ours. */
START_TEST(a_program_with_a_session_of_its_own)
{
    char name[] = "/tmp/oakum-live-XXXXXX", where[64], child_pid[16];
    int in[2], status;
    if (http_skip()) return;
    ck_assert_ptr_nonnull(mkdtemp(name));
    snprintf(where, sizeof where, "%s/oakum", name);
    unsetenv("XDG_RUNTIME_DIR");
    test_heap_start(test_config());
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) { /* waits for its input */
        setenv("XDG_RUNTIME_DIR", name, 1);
        setenv("OAKUM_DEBUG_SERVE", "1", 1);
        dup2(in[0], STDIN_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        execl(TEST_WORDS, TEST_WORDS, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    snprintf(child_pid, sizeof child_pid, "%d", (int)child);
    while (access(where, F_OK) != 0) {
        ck_assert_msg(waitpid(child, &status, WNOHANG) == 0, "%s ended", TEST_WORDS);
        oaki_os_yield();
    }
    do find_as(0, child_pid);
    while (r.status != 0 && strstr(r.err, "has no debug server"));
    ok();
    ck_assert_msg(strstr(r.out, where) != NULL, "%s", r.out);
    close(in[1]);
    ck_assert_int_eq(test_wait_child(child), 0);
    ck_assert_int_eq(rmdir(where) + rmdir(name), 0);
}
END_TEST

static int unlink_folders(const char *name)
{
    char inner[128], tmp[64];
    snprintf(tmp, sizeof tmp, "%s/tmp", name);
    snprintf(inner, sizeof inner, "%s/oakum-0", tmp);
    return rmdir(inner) + rmdir(tmp) + rmdir(name);
}

/* It has another number there, and another folder. */
START_TEST(a_process_in_a_namespace)
{
    char name[] = "/tmp/oakum-live-XXXXXX", tmp[64], child_pid[16], byte;
    int told[2], go[2];
    if (test_skip_user() || http_skip()) return;
    ck_assert_ptr_nonnull(mkdtemp(name));
    snprintf(tmp, sizeof tmp, "%s/tmp", name);
    ck_assert_int_eq(chmod(name, 0755) + mkdir(tmp, 0777) + chmod(tmp, 01777), 0);
    unsetenv("XDG_RUNTIME_DIR");
    test_heap_start(test_config());
    ck_assert_int_eq(pipe(told) + pipe(go), 0);
    if (test_skip(unshare(CLONE_NEWPID) != 0, "there can't be a namespace")) return;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        bool right =
            getpid() == 1 && chroot(name) == 0 && chdir("/") == 0 && oak_debug_serve(NULL) == 0;
        (void)!write(told[1], right ? "y" : "n", 1);
        (void)!read(go[0], &byte, 1);
        oak_debug_serve_stop();
        _exit(right ? 0 : 1);
    }
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    snprintf(child_pid, sizeof child_pid, "%d", (int)child);
    cmd_server s;
    ck_assert(cmd_server_find("oakum test", child_pid, &s));
    ck_assert_msg(strstr(s.path, "/root/tmp/oakum-0/1.sock") != NULL, "%s", s.path);
    close(go[1]);
    ck_assert_int_eq(test_wait_child(child), 0);
    ck_assert_int_eq(unlink_folders(name), 0);
}
END_TEST

START_TEST(a_process_without_a_server)
{
    if (!start()) return;
    oak_debug_serve_stop();
    find_as(0, pid);
    fails_with("has no debug server: OAKUM_DEBUG_SERVE=1 starts one");
}
END_TEST

Suite *suite_cmd_find(void)
{
    Suite *s = suite_create("cmd_find");
    TCase *c = tcase_create("find");
    tcase_add_test(c, another_user_s_process_is_none_to_look_at);
    tcase_add_test(c, root_sees_all);
    tcase_add_test(c, a_socket_of_another_process_is_passed_over);
    tcase_add_test(c, a_full_queue_is_told);
    tcase_add_test(c, a_program_with_a_session_of_its_own);
    tcase_add_test(c, a_process_in_a_namespace);
    tcase_add_test(c, a_process_without_a_server);
    suite_add_tcase(s, c);
    return s;
}
