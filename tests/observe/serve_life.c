/* serve_life.c - tests of the debug server's coming and going: what it refuses to start on, that
 * nothing of it stays, that it and forks, stops of the world and collections don't mind each
 * other. */
#include "observe/serve.h"

#include "http.h"
#include "observe/mhd.h"
#include "readjson.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

Suite *suite_observe_serve_life(void);

static void start(void)
{
    test_heap_start(test_config());
}

static size_t entries_of(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

/* Who has been joined is listed until the system has done with him: those that end don't count. */
static size_t threads_of_process(void)
{
    enum { EXITING = 4 }; /* PF_EXITING of the kernel's */
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[300], line[512];
        unsigned flags = EXITING;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", e->d_name);
        FILE *f = fopen(path, "re");
        if (!f) continue; /* no thread, or none any more */
        const char *name_end = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        if (name_end)
            ck_assert_int_eq(sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags), 1);
        n += !(flags & EXITING);
        fclose(f);
    }
    closedir(d);
    ck_assert_uint_gt(n, 0);
    return n;
}

static const char *error(void)
{
    static char line[256];
    oak_debug_serve_error(line, sizeof line);
    return line;
}

/* ---- starting ---- */

static const struct {
    const char *address;
    oak_serve_options options;
    int error;
    const char *why;
} refused[] = {
    { "", { 0 }, EINVAL, "is no address" },
    { "127.0.0.1", { 0 }, EINVAL, "is no address" },
    { "8080", { 0 }, EINVAL, "is no address" },
    { "127.0.0.1:", { 0 }, EINVAL, "is no address" },
    { "127.0.0.1:65536", { 0 }, EINVAL, "is no address" },
    { "127.0.0.1:-1", { 0 }, EINVAL, "is no address" },
    { "127.0.0.256:1", { 0 }, EINVAL, "is no address" },
    { "example.com:80", { 0 }, EINVAL, "is no address" },
    { "[::1:0", { 0 }, EINVAL, "is no address" },
    { "[zz]:0", { 0 }, EINVAL, "is no address" },
    { "::1:0", { 0 }, EINVAL, "is no address" },
    { "http://127.0.0.1:0", { 0 }, EINVAL, "is no address" },
    { "open,", { 0 }, EINVAL, "is no address" },
    { "open,open,127.0.0.1:0", { 0 }, EINVAL, "is no address" },
    { "open", { 0 }, EINVAL, "is no address" },
    { "2", { 0 }, EINVAL, "is no address" },
    { "open,0.0.0.0:0", { 0 }, EPERM, "can't be 'open'" },
    { "open,[::]:0", { 0 }, EPERM, "can't be 'open'" },
    { "open,192.0.2.1:0", { 0 }, EPERM, "can't be 'open'" },
    { "open,127.0.0.1:0", { .token = "t" }, EINVAL, "asks for no token" },
    { "192.0.2.1:0", { .token = "t" }, EADDRNOTAVAIL, "192.0.2.1:0: " },
    { "192.0.2.1:0", { 0 }, EADDRNOTAVAIL, "192.0.2.1:0: " },
    { NULL, { .token = "two words" }, EINVAL, "a token is" },
    { NULL, { .token = "\xc3\xa4" }, EINVAL, "a token is" },
    { NULL, { .max_clients = 1025 }, EINVAL, "max_clients" },
};

START_TEST(what_makes_no_sense_is_refused_with_a_line)
{
    start();
    if (http_skip()) return;
    errno = 0;
    ck_assert_int_eq(oak_debug_serve_with(refused[_i].address, &refused[_i].options), -1);
    ck_assert_msg(errno == refused[_i].error, "%d, %s", errno, error());
    ck_assert_msg(strstr(error(), refused[_i].why) != NULL, "%s", error());
    ck_assert_uint_eq(oak_debug_serve_url(NULL, 0), 0);
    ck_assert_int_gt(oak_debug_serve("127.0.0.1:0"), 0);
    ck_assert_uint_eq(oak_debug_serve_error(NULL, 0), 0);
}
END_TEST

START_TEST(without_the_library_it_says_what_is_missing)
{
    start();
    size_t fds = entries_of("/proc/self/fd");
    oaki_mhd_library = "libmicrohttpd-of-nowhere.so.12";
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, ELIBACC);
    ck_assert_msg(strstr(error(), "libmicrohttpd-of-nowhere.so.12") != NULL, "%s", error());
    oaki_mhd_library = "libc.so.6"; /* is there, and lacks the functions */
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, ELIBACC);
    ck_assert_ptr_nonnull(strstr(error(), "MHD_"));
    ck_assert_uint_eq(entries_of("/proc/self/fd"), fds);
}
END_TEST

START_TEST(a_port_that_is_taken_is_told)
{
    char address[32], url[64];
    start();
    if (!http_serve(NULL, NULL)) return;
    ck_assert_int_eq(oak_debug_serve(NULL), -1);
    ck_assert_int_eq(errno, EBUSY);
    oak_debug_serve_url(url, sizeof url);
    ck_assert_ptr_nonnull(strstr(error(), url));
    oak_debug_serve_stop();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(a.sin_port));
    ck_assert_int_eq(oak_debug_serve(address), -1);
    ck_assert_int_eq(errno, EADDRINUSE);
    ck_assert_msg(strstr(error(), address) == error(), "%s", error());
}
END_TEST

static int connect_to_v6(int port)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

START_TEST(both_loopbacks)
{
    char url[64];
    start();
    if (http_skip()) return;
    int port = oak_debug_serve("open,[::1]:0");
    if (port < 0) {
        printf("skipped: no IPv6 here: %s\n", error());
        return;
    }
    oak_debug_serve_url(url, sizeof url);
    ck_assert_ptr_eq(strstr(url, "http://[::1]:"), url);
    int fd = connect_to_v6(port);
    http_send(fd, "GET /debug/ HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    ck_assert_int_eq(http_receive(fd, false).status, 200);
    oak_debug_serve_stop();
    ck_assert(http_serve("open,localhost:0", NULL));
    (void)http_get("/debug/");
    fd = connect_to_v6(http_port);
    http_send(fd, "GET /debug/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(http_receive(fd, false).status, 200);
}
END_TEST

static void collect(void *arg)
{
    (void)arg;
    oak_collect();
}

/* Each has something to do in a child of a fork. */
START_TEST(beside_all_others_that_observe)
{
    start();
    int null = open("/dev/null", O_WRONLY);
    ck_assert_int_eq(oak_gclog_start("/dev/null"), 0);
    ck_assert_int_eq(oak_trace_start(1000), 0);
    ck_assert_int_eq(oak_detector_start(NULL), 0);
    oak_profile_set_rate(1);
    for (int i = 0; i < 100; i++) (void)!oak_alloc(100);
    oak_profile *p = oak_profile_read(0);
    ck_assert_int_eq(oak_profile_write(p, null), 0);
    oak_profile_free(p);
    if (!http_skip()) ck_assert(http_serve(NULL, NULL));
    test_child(collect, NULL);
    oak_collect();
    close(null);
}
END_TEST

/* ---- nothing stays ---- */

START_TEST(started_and_stopped_a_hundred_times)
{
    start();
    if (!http_serve(NULL, NULL)) return;
    (void)http_get("/metrics");
    oak_debug_serve_stop();
    size_t fds = entries_of("/proc/self/fd"), threads = threads_of_process();
    uint64_t attached = test_stats().threads;
    for (size_t i = 0; i < test_scale(100); i++) {
        ck_assert(http_serve(NULL, NULL));
        int open = http_connect();
        if (i % 3 == 0) (void)http_get("/debug/state");
        oak_debug_serve_stop();
        ck_assert(http_ended(open));
        close(open);
    }
    oak_debug_serve_stop();
    ck_assert_uint_eq(entries_of("/proc/self/fd"), fds);
    ck_assert_uint_eq(threads_of_process(), threads);
    ck_assert_uint_eq(test_stats().threads, attached);
}
END_TEST

static char *socket_of(pid_t pid)
{
    static char name[64];
    unsetenv("XDG_RUNTIME_DIR");
    snprintf(name, sizeof name, "/tmp/oakum-%u/%d.sock", (unsigned)geteuid(), (int)pid);
    return name;
}

static void serve_and_exit(void *unused)
{
    (void)unused;
    start();
    ck_assert(http_serve(NULL, NULL));
    int fd = http_connect();
    http_send(fd, "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(access(socket_of(getpid()), F_OK), 0);
    exit(0);
}

START_TEST(it_ends_with_the_program)
{
    if (http_skip()) return;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) serve_and_exit(NULL);
    int status = test_wait_child(pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(access(socket_of(pid), F_OK), -1);
}
END_TEST

static void *stop_it(void *unused)
{
    oak_debug_serve_stop();
    return unused;
}

/* By a thread that isn't attached, in a stop, which holds up the worker that is at a path. */
static void *exit_while_it_stops(void *unused)
{
    http_send(http_connect(), "GET /debug/why?addr=0x10 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (void)http_get("/debug/");
    (void)test_start(stop_it, NULL);
    while (access(socket_of(getpid()), F_OK) == 0) oaki_os_yield();
    exit(0);
    return unused;
}

static void exit_in_a_stop(void)
{
    start();
    ck_assert(http_serve(NULL, NULL));
    (void)oaki_gc_stop_begin();
    (void)test_start(exit_while_it_stops, NULL);
    for (;;) pause();
}

START_TEST(the_program_ends_while_it_is_being_stopped)
{
    if (http_skip()) return;
    int status = test_status_of(exit_in_a_stop);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

/* Called after the server's own handler, as it is registered before. */
static void stop_and_shut_down(void)
{
    oak_debug_serve_stop();
    _exit(oak_debug_serve_url(NULL, 0) == 0 && oak_shutdown() == 0 ? 5 : 6);
}

static void stop_at_exit(void)
{
    atexit(stop_and_shut_down);
    start();
    ck_assert(http_serve(NULL, NULL));
    (void)http_get("/metrics");
    exit(0);
}

START_TEST(a_later_handler_at_exit_may_stop_it)
{
    if (http_skip()) return;
    int status = test_status_of(stop_at_exit);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 5);
}
END_TEST

static void leave_it_alone(void)
{
    start();
    ck_assert(http_serve(NULL, NULL));
    (void)http_get("/metrics");
    pthread_exit(NULL);
}

START_TEST(it_does_not_keep_a_process_whose_last_thread_ends)
{
    if (http_skip()) return;
    ck_assert_int_eq(test_status_of(leave_it_alone), 0);
}
END_TEST

/* ---- forks ---- */

static bool was_open[64];

static void note_open(void)
{
    for (int fd = 0; fd < 64; fd++) was_open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static bool all_are_open(void)
{
    bool all = true;
    for (int fd = 0; fd < 64; fd++) all &= !was_open[fd] || fcntl(fd, F_GETFD) >= 0;
    return all;
}

static void *fork_often(void *unused)
{
    while (!AO_load(&test_quit)) {
        pid_t pid = fork();
        if (pid == 0) _exit(all_are_open() ? 0 : 1);
        test_expect(test_wait_child(pid) == 0, __LINE__);
    }
    return unused;
}

/* In the server's own table, its descriptors have numbers that the program uses for others. */
START_TEST(a_fork_while_it_starts_closes_nothing_of_the_programs)
{
    start();
    if (test_skip(test_breaks_asan(), "a child of several threads") || http_skip()) return;
    for (int i = 0; i < 10; i++) ck_assert_int_ge(open("/dev/null", O_RDONLY), 0);
    note_open();
    pthread_t id = test_start(fork_often, NULL);
    for (size_t i = 0; i < test_scale(60); i++) {
        ck_assert(http_serve(NULL, NULL));
        oak_debug_serve_stop();
    }
    AO_store(&test_quit, 1);
    test_join(id);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

static int go_on[2], told[2];

/* Descriptors of this kind, "socket:" or "anon_inode:". */
static size_t count_of(const char *kind)
{
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[32], what[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        n += readlink(path, what, sizeof what - 1) > 0 && strncmp(what, kind, strlen(kind)) == 0;
    }
    return n;
}

/* It has the test's end of a connection, and nothing of the server's. */
static void in_child(void)
{
    char byte = 'x';
    struct stat s;
    bool right = oak_debug_serve_url(NULL, 0) == 0 && stat(socket_of(getppid()), &s) == 0;
    right = right && count_of("socket:") == 1 && count_of("anon_inode:") == 0;
    oak_collect();
    (void)!write(told[1], &byte, 1);
    (void)!read(go_on[0], &byte, 1); /* the parent's has gone */
    right = right && oak_alloc(100) && http_serve(NULL, NULL);
    right = right && http_ask("GET", "/metrics", "").status == 200;
    oak_debug_serve_stop();
    _exit(right ? 0 : 1);
}

START_TEST(a_child_has_none_and_holds_nothing_of_it)
{
    char byte;
    if (test_skip_asan()) return;
    start();
    if (!http_serve(NULL, NULL)) return;
    ck_assert_int_eq(pipe(go_on) + pipe(told), 0);
    int open = http_connect();
    http_send(open, "GET /debug/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (void)http_receive(open, false);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) in_child();
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    (void)http_get("/metrics"); /* the parent's works */
    int port = http_port;
    oak_debug_serve_stop();
    ck_assert(http_ended(open)); /* the child has no copy of the connection, nor of the port */
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    ck_assert_msg(oak_debug_serve(address) == port, "%s", error());
    oak_debug_serve_stop();
    ck_assert_int_eq(write(go_on[1], "x", 1), 1);
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

static void *ask_on(void *unused)
{
    while (!AO_load(&test_quit)) {
        http_answer a = http_ask("GET", "/debug/state", "");
        test_expect(a.status == 200, __LINE__);
        free(a.head);
        free(a.body);
        AO_fetch_and_add1(&test_moved);
    }
    return unused;
}

START_TEST(forks_while_it_is_busy)
{
    if (test_skip_asan()) return;
    start();
    if (!http_serve(NULL, NULL)) return;
    pthread_t asks[2] = { test_start(ask_on, NULL), test_start(ask_on, NULL) };
    test_wait(&test_moved, 4);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            oak_collect();
            _exit(oak_alloc(10) && oak_debug_serve_url(NULL, 0) == 0 ? 0 : 1);
        }
        ck_assert_int_eq(test_wait_child(pid), 0);
    }
    AO_store(&test_quit, 1);
    test_join(asks[0]);
    test_join(asks[1]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* ---- stops of the world ---- */

static void *collect_on(void *unused)
{
    while (!AO_load(&test_quit)) {
        for (int i = 0; i < 100; i++) (void)!oak_alloc(100);
        oak_collect();
    }
    return unused;
}

static void *make_maps(void *unused)
{
    while (!AO_load(&test_quit)) {
        oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
        for (uint64_t i = 0; i < 2000; i++) *(void **)oak_map_put(m, &i) = m;
    }
    return unused;
}

START_TEST(scrapes_while_others_collect_without_pause)
{
    start();
    if (!http_serve(NULL, NULL)) return;
    pthread_t busy[3] = { test_start(collect_on, NULL), test_start(make_maps, NULL),
                          test_start(ask_on, NULL) };
    for (size_t i = 0; i < test_scale(200); i++) {
        static const char *const paths[] = { "/metrics", "/debug/maps?n=4096", "/debug/threads",
                                             "/debug/state" };
        http_answer a = http_get(paths[i % 4]);
        if (i % 4) json_read(a.body);
    }
    AO_store(&test_quit, 1);
    for (int i = 0; i < 3; i++) test_join(busy[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_ptr_null(test_check_heap());
}
END_TEST

static AO_t page_came, scrape_came;

/* Not attached: it goes on in the stop. */
static void *ask_in_the_stop(void *unused)
{
    test_expect(http_ask("GET", "/", "").status == 200, __LINE__);
    AO_store_release(&page_came, 1);
    test_expect(http_ask("GET", "/metrics", "").status == 200, __LINE__);
    AO_store_release(&scrape_came, 1);
    return unused;
}

/* What reads nothing of the heap is answered in a stop, what does waits for its end; and a stop
 * waits for nobody who reads slowly, or never. */
START_TEST(a_scrape_while_the_world_is_stopped_waits)
{
    start();
    if (!http_serve(NULL, NULL)) return;
    int idle = http_connect(), mute = http_connect();
    for (int i = 0; i < 300; i++) http_send(mute, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (void)http_get("/metrics");
    oaki_os_sleep_ns(1100000000); /* the reading is stale */
    oaki_thread *t = oaki_gc_stop_begin();
    pthread_t id = test_start(ask_in_the_stop, NULL);
    test_wait(&page_came, 1);
    oaki_os_sleep_ns(100000000);
    AO_t early = AO_load_acquire(&scrape_came);
    oaki_gc_stop_end(t);
    test_wait(&scrape_came, 1);
    test_join(id);
    ck_assert_uint_eq(early, 0);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    close(idle);
    close(mute);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_observe_serve_life(void)
{
    Suite *s = suite_create("observe_serve_life");
    TCase *c = tcase_create("life");
    tcase_add_loop_test(c, what_makes_no_sense_is_refused_with_a_line, 0, COUNT(refused));
    tcase_add_test(c, without_the_library_it_says_what_is_missing);
    tcase_add_test(c, a_port_that_is_taken_is_told);
    tcase_add_test(c, both_loopbacks);
    tcase_add_test(c, beside_all_others_that_observe);
    tcase_add_test(c, started_and_stopped_a_hundred_times);
    tcase_add_test(c, it_ends_with_the_program);
    tcase_add_test(c, the_program_ends_while_it_is_being_stopped);
    tcase_add_test(c, a_later_handler_at_exit_may_stop_it);
    tcase_add_test(c, it_does_not_keep_a_process_whose_last_thread_ends);
    tcase_add_test(c, a_fork_while_it_starts_closes_nothing_of_the_programs);
    tcase_add_test(c, a_child_has_none_and_holds_nothing_of_it);
    tcase_add_test(c, forks_while_it_is_busy);
    tcase_add_test(c, scrapes_while_others_collect_without_pause);
    tcase_add_test(c, a_scrape_while_the_world_is_stopped_waits);
    suite_add_tcase(s, c);
    return s;
}
