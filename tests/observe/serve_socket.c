/* serve_socket.c - tests of the debug server's Unix socket: where it is, what is refused as a
 * folder for it, what dead processes have left, and what happens where none can be made. */
#include "observe/serve.h"

#include "files.h"
#include "http.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

Suite *suite_observe_serve_socket(void);

#define NOBODY 65534

static char base[] = "/tmp/oakum-socket-XXXXXX"; /* XDG_RUNTIME_DIR */
static char path[300];

/* A name in the folder of the session. */
static const char *in(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void remove_base(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", base);
    if (system(command) != 0) printf("%s stays\n", base);
}

/* false: there is no libmicrohttpd. */
static bool have_base(void)
{
    test_heap_start(test_config());
    if (http_skip()) return false;
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(atexit(remove_base), 0);
    setenv("XDG_RUNTIME_DIR", base, 1);
    return true;
}

static const char *error(void)
{
    static char line[OAKI_SERVE_ERROR];
    oak_debug_serve_error(line, sizeof line);
    return line;
}

static bool serves(void)
{
    http_port = 0;
    return http_ask("GET", "/metrics", "").status == 200;
}

static void assert_at(const char *folder, int number)
{
    char want[300], more[16] = "";
    if (number) snprintf(more, sizeof more, ".%d", number);
    snprintf(want, sizeof want, "%s/%d%s.sock", folder, (int)getpid(), more);
    ck_assert_str_eq(http_socket(), want);
    ck_assert(serves());
}

/* ---- where it is ---- */

START_TEST(it_is_its_user_s_alone)
{
    struct stat s;
    char url[200], want[200], socket[200];
    if (!have_base()) return;
    umask(_i ? 0 : 0177);
    ck_assert_int_eq(oak_debug_serve(_i ? "1" : NULL), 0);
    assert_at(in("oakum"), 0);
    ck_assert_int_eq(lstat(in("oakum"), &s), 0);
    ck_assert(S_ISDIR(s.st_mode));
    ck_assert_int_eq(s.st_mode & 07777, 0700);
    ck_assert_int_eq(lstat(http_socket(), &s), 0);
    ck_assert(S_ISSOCK(s.st_mode));
    ck_assert_int_eq(s.st_mode & 07777, 0600);
    ck_assert_uint_eq(s.st_uid, geteuid());
    snprintf(want, sizeof want, "unix:%s", http_socket());
    oak_debug_serve_url(url, sizeof url);
    ck_assert_str_eq(url, want);
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_nonnull(strstr(error(), want));
    snprintf(socket, sizeof socket, "%s", http_socket());
    oak_debug_serve_stop();
    ck_assert_int_eq(lstat(socket, &s), -1);
}
END_TEST

START_TEST(an_address_has_it_too)
{
    if (!have_base() || !http_serve(NULL, NULL)) return;
    ck_assert_int_gt(http_port, 0);
    (void)http_get("/metrics");
    assert_at(in("oakum"), 0);
}
END_TEST

/* Each is no folder of this user's alone: then it is the one in /tmp. */
START_TEST(a_session_s_folder_that_isn_t_private_is_not_used)
{
    char want[64];
    if (!have_base()) return;
    snprintf(want, sizeof want, "/tmp/oakum-%u", (unsigned)geteuid());
    if (_i == 0) unsetenv("XDG_RUNTIME_DIR");
    if (_i == 1) setenv("XDG_RUNTIME_DIR", "relative", 1);
    if (_i == 2) setenv("XDG_RUNTIME_DIR", in("nowhere"), 1);
    if (_i == 3) ck_assert_int_eq(chmod(base, 0755), 0);
    if (_i == 4 && test_skip_user()) return;
    if (_i == 4) ck_assert_int_eq(chown(base, NOBODY, NOBODY), 0);
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    ck_assert_str_eq(error(), "");
    assert_at(want, 0);
    ck_assert_int_eq(access(in("oakum"), F_OK), -1);
}
END_TEST

/* ---- folders that are refused ---- */

/* Mounts that nobody else sees. The root of a chroot may be no mount: then that can't be had. */
static bool own_mounts(void)
{
    bool own = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
               mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return !test_skip(!own, "there can't be another /tmp");
}

static void put_in_the_way(int what)
{
    char other[300];
    snprintf(other, sizeof other, "%s", in("other"));
    ck_assert_int_eq(mkdir(other, 0700), 0);
    const char *name = in("oakum");
    if (what == 0) ck_assert_int_eq(symlink(other, name), 0);
    if (what == 1) ck_assert_int_eq(symlink("/nowhere", name), 0);
    if (what == 2) close(open(name, O_CREAT | O_WRONLY, 0600));
    if (what >= 3) ck_assert_int_eq(mkdir(name, 0700), 0);
    if (what == 3) ck_assert_int_eq(chmod(name, 0755), 0);
    if (what == 4) ck_assert_int_eq(chmod(name, 0770), 0);
    if (what == 5) ck_assert_int_eq(chown(name, NOBODY, NOBODY), 0);
}

static const char *const faults[] = {
    "is a symbolic link",         "is a symbolic link", "is not a folder",
    "has another mode than 0700", "has another mode",   "belongs to another user",
};

/* The other folder isn't private either: so there is none, and a line that says why. */
START_TEST(a_folder_that_others_may_have_made_is_refused)
{
    struct stat s;
    char tmp[64], line[OAKI_SERVE_ERROR], socket[32];
    if (!have_base() || (_i == 5 && test_skip_user())) return;
    put_in_the_way(_i);
    ck_assert_int_eq(oak_debug_serve(NULL), 0); /* in /tmp */
    snprintf(tmp, sizeof tmp, "/tmp/oakum-%u", (unsigned)geteuid());
    assert_at(tmp, 0);
    oak_debug_serve_stop();
    if (!own_mounts()) return;
    ck_assert_int_eq(mount("none", tmp, "tmpfs", 0, "mode=0755"), 0);
    errno = 0;
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, EPERM);
    snprintf(line, sizeof line, "%s: has another mode than 0700; %s: %s", tmp, in("oakum"),
             faults[_i]);
    ck_assert_msg(strstr(error(), line) == error(), "%s", error());
    ck_assert_uint_eq(oak_debug_serve_url(NULL, 0), 0);
    snprintf(socket, sizeof socket, "%d.sock", (int)getpid());
    ck_assert_int_eq(stat(in(socket), &s), -1);
    ck_assert_int_eq(umount(tmp), 0);
}
END_TEST

/* ---- where none can be made ---- */

/* A file system of its own at /tmp. */
static bool mount_tmp(const char *options, unsigned long flags)
{
    if (!own_mounts()) return false;
    ck_assert_int_eq(mount("none", "/tmp", "tmpfs", 0, options), 0);
    return flags == 0 || mount("none", "/tmp", NULL, MS_REMOUNT | flags, options) == 0;
}

static const struct {
    const char *options;
    unsigned long flags;
    int error;
    const char *why;
} places[] = {
    { "mode=1777", MS_RDONLY, EROFS, "Read-only file system" },
    { "mode=1777,nr_inodes=1", 0, ENOSPC, "No space left on device" },
    { "mode=1777,nr_inodes=2", 0, ENOSPC, "No space left on device" },
};

/* The program runs on; and on TCP there is a server, which says why it has no socket. */
START_TEST(a_system_without_a_place_for_it)
{
    test_heap_start(test_config());
    if (http_skip()) return;
    unsetenv("XDG_RUNTIME_DIR");
    if (!mount_tmp(places[_i].options, places[_i].flags)) return;
    errno = 0;
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, places[_i].error);
    ck_assert_msg(strstr(error(), places[_i].why) != NULL, "%s", error());
    ck_assert_ptr_nonnull(oak_alloc(100));
    http_port = oak_debug_serve("open,127.0.0.1:0");
    ck_assert_int_gt(http_port, 0);
    ck_assert_msg(strstr(error(), places[_i].why) != NULL, "%s", error());
    ck_assert_str_eq(http_socket(), "");
    (void)http_get("/metrics");
}
END_TEST

START_TEST(there_is_no_tmp)
{
    test_heap_start(test_config());
    if (http_skip()) return;
    unsetenv("XDG_RUNTIME_DIR");
    if (test_skip_user()) return;
    ck_assert_int_eq(chroot("/proc/self") + chdir("/"), 0);
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_msg(strstr(error(), "/tmp/oakum-0: No such file or directory") == error(), "%s",
                  error());
}
END_TEST

START_TEST(a_name_that_is_too_long_for_a_socket)
{
    char longer[200], tmp[64];
    if (!have_base()) return;
    memset(longer, 'x', sizeof longer);
    longer[100] = '\0';
    ck_assert_int_eq(mkdir(in(longer), 0700), 0);
    setenv("XDG_RUNTIME_DIR", in(longer), 1);
    snprintf(tmp, sizeof tmp, "/tmp/oakum-%u", (unsigned)geteuid());
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    assert_at(tmp, 0);
}
END_TEST

START_TEST(there_are_no_descriptors)
{
    if (!have_base()) return;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit few = { 0, 0 };
        if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(9);
        bool right = oak_debug_serve(NULL) == -1 && errno == EMFILE;
        _exit(right && strstr(error(), "Too many open files") ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

/* ---- what is there already ---- */

static void leave_socket(const char *name, bool listens)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    ck_assert_uint_lt(strlen(in(name)), sizeof a.sun_path);
    memcpy(a.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    if (listens)
        ck_assert_int_eq(listen(fd, 8), 0);
    else
        close(fd);
}

static pid_t dead_process(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    ck_assert_int_eq(test_wait_child(pid), 0);
    return pid;
}

/* Those of dead processes go; a living one's, and what is no socket's name, stay. One that listens
 * stays too, as its process may be one of another namespace. */
START_TEST(what_dead_processes_have_left_is_removed)
{
    char dead[64], more[64], alive[64], strange[64];
    int gone = (int)dead_process();
    if (!have_base()) return;
    ck_assert_int_eq(mkdir(in("oakum"), 0700), 0);
    snprintf(dead, sizeof dead, "oakum/%d.sock", gone);
    snprintf(more, sizeof more, "oakum/%d.1.sock", gone);
    snprintf(alive, sizeof alive, "oakum/%d.sock", (int)getppid());
    snprintf(strange, sizeof strange, "oakum/%d.sock.txt", gone);
    leave_socket(dead, false);
    leave_socket(more, _i == 1);
    leave_socket(alive, false);
    leave_socket(strange, false);
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    ck_assert_int_eq(access(in(dead), F_OK), -1);
    ck_assert_int_eq(access(in(more), F_OK), _i == 1 ? 0 : -1);
    ck_assert_int_eq(access(in(alive), F_OK), 0);
    ck_assert_int_eq(access(in(strange), F_OK), 0);
}
END_TEST

/* Of an earlier process of the same number; as it is after an exec. */
START_TEST(a_name_that_is_left_is_taken)
{
    char name[64];
    if (!have_base()) return;
    ck_assert_int_eq(mkdir(in("oakum"), 0700), 0);
    snprintf(name, sizeof name, "oakum/%d.sock", (int)getpid());
    if (_i == 0) leave_socket(name, false);
    if (_i == 1) close(open(in(name), O_CREAT | O_WRONLY, 0600));
    if (_i == 2) ck_assert_int_eq(symlink("/etc/passwd", in(name)), 0);
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    assert_at(in("oakum"), 0);
}
END_TEST

/* As of two namespaces that share the folder. */
START_TEST(a_name_where_somebody_listens_is_left_alone)
{
    char name[64];
    if (!have_base()) return;
    ck_assert_int_eq(mkdir(in("oakum"), 0700), 0);
    snprintf(name, sizeof name, "oakum/%d.sock", (int)getpid());
    leave_socket(name, true);
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    assert_at(in("oakum"), 1);
    oak_debug_serve_stop();
    ck_assert_int_eq(access(in(name), F_OK), 0);
    for (int i = 1; i < 4; i++) {
        snprintf(name, sizeof name, "oakum/%d.%d.sock", (int)getpid(), i);
        leave_socket(name, true);
    }
    snprintf(name, sizeof name, "/tmp/oakum-%u", (unsigned)geteuid());
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    assert_at(name, 0);
}
END_TEST

/* Somebody has put something else under the name since: it isn't ours to remove. */
START_TEST(what_has_the_name_since_stays)
{
    char name[128];
    if (!have_base()) return;
    ck_assert_int_eq(oak_debug_serve(NULL), 0);
    snprintf(name, sizeof name, "%s", http_socket());
    ck_assert_int_eq(unlink(name), 0);
    close(open(name, O_CREAT | O_WRONLY, 0600));
    oak_debug_serve_stop();
    ck_assert_int_eq(access(name, F_OK), 0);
}
END_TEST

/* Many at once, in one new folder. */
START_TEST(many_start_at_once)
{
    pid_t child[12];
    int go[2], wrong = 0;
    char byte;
    if (!have_base()) return;
    ck_assert_int_eq(pipe(go), 0);
    fflush(NULL);
    for (int i = 0; i < 12; i++) {
        child[i] = fork();
        if (child[i] != 0) continue;
        close(go[1]);
        (void)!read(go[0], &byte, 1);
        bool right = oak_debug_serve(NULL) == 0;
        right = right && strncmp(http_socket(), base, strlen(base)) == 0 && serves();
        oak_debug_serve_stop();
        _exit(right ? 0 : 1);
    }
    close(go[1]);
    for (int i = 0; i < 12; i++) wrong += test_wait_child(child[i]) != 0;
    ck_assert_int_eq(wrong, 0);
    ck_assert_uint_eq(test_entries(in("oakum")), 0);
}
END_TEST

Suite *suite_observe_serve_socket(void)
{
    Suite *s = suite_create("observe_serve_socket");
    TCase *c = tcase_create("socket");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, it_is_its_user_s_alone, 0, 2);
    tcase_add_test(c, an_address_has_it_too);
    tcase_add_loop_test(c, a_session_s_folder_that_isn_t_private_is_not_used, 0, 5);
    tcase_add_loop_test(c, a_folder_that_others_may_have_made_is_refused, 0, OAKI_COUNT(faults));
    tcase_add_loop_test(c, a_system_without_a_place_for_it, 0, OAKI_COUNT(places));
    tcase_add_test(c, there_is_no_tmp);
    tcase_add_test(c, a_name_that_is_too_long_for_a_socket);
    tcase_add_test(c, there_are_no_descriptors);
    tcase_add_loop_test(c, what_dead_processes_have_left_is_removed, 0, 2);
    tcase_add_loop_test(c, a_name_that_is_left_is_taken, 0, 3);
    tcase_add_test(c, a_name_where_somebody_listens_is_left_alone);
    tcase_add_test(c, what_has_the_name_since_stays);
    tcase_add_test(c, many_start_at_once);
    suite_add_tcase(s, c);
    return s;
}
