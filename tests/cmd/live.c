/* live.c - tests of the commands that speak to a running program, which is this one; and to servers
 * that are none of ours. */
#include "run.h"

#include "cmd/live.h"
#include "tests/heap.h"
#include "tests/observe/http.h"
#include "tests/threads.h"
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

Suite *suite_cmd_live(void);

static test_run r;
static char pid[16], url[128];
static void *kept[100];
static oak_map *map;

#define OAKUM(...) oakum((const char *[8]){ __VA_ARGS__ })

static void oakum(const char *const args[8])
{
    char *copy[9] = { NULL };
    for (int i = 0; i < 8; i++) copy[i] = (char *)(uintptr_t)args[i];
    test_run_oakum(&r, copy);
}

static void ok(void)
{
    ck_assert_msg(r.status == 0, "%d: %s%s", r.status, r.out, r.err);
    ck_assert_str_eq(r.err, "");
}

enum { GOAL_US = 12345 };

static void fails_with(const char *what)
{
    ck_assert_int_eq(r.status, 1);
    ck_assert_str_eq(r.out, "");
    ck_assert_msg(strstr(r.err, what) != NULL, "%s", r.err);
    ck_assert_uint_eq(strncmp(r.err, "oakum ", 6), 0);
}

static bool start(const oak_serve_options *o)
{
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("OAKUM_DEBUG_TOKEN");
    oak_config c = test_config();
    c.pause_goal_us = GOAL_US;
    test_heap_start(c);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    for (size_t i = 0; i < 100; i++) kept[i] = oak_alloc(64);
    map = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t i = 0; i < 1000; i++) (void)oak_map_put(map, &i);
    oak_collect();
    if (!http_serve(NULL, o)) return false;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    oak_debug_serve_url(url, sizeof url);
    return true;
}

/* ---- a running program ---- */

START_TEST(the_doctor_asks_the_server)
{
    oak_writes_told told = { 0 };
    char line[128];
    if (!start(NULL)) return;
    OAKUM("doctor", "--json", pid);
    ck_assert_str_eq(r.err, "");
    snprintf(line, sizeof line, "pauses of up to %u us.", GOAL_US);
    ck_assert_msg(strstr(r.out, line) != NULL, "%s", r.out);
    ck_assert_ptr_nonnull(strstr(r.out, "collections were concurrent"));
    if (oak_heap_tells_writes(&told) && !told.refused)
        ck_assert_ptr_nonnull(strstr(r.out, "Dirty pages are tracked by "));
}
END_TEST

START_TEST(top_shows_a_page)
{
    char line[256];
    if (!start(NULL)) return;
    snprintf(line, sizeof line, "process %s, Oakum %s, unix:%s\n", pid, oak_version(),
             http_socket());
    OAKUM("top", "--once", pid);
    ok();
    ck_assert_msg(strstr(r.out, line) != NULL, "%s", r.out);
    snprintf(line, sizeof line, "process %s, Oakum %s, http://127.0.0.1:%d/\n", pid, oak_version(),
             http_port);
    OAKUM("top", "--once", url);
    ok();
    ck_assert_msg(strstr(r.out, line) != NULL, "%s", r.out);
    snprintf(line, sizeof line, "unix:%s", http_socket());
    OAKUM("top", "--once", line);
    ok();
    ck_assert_ptr_nonnull(strstr(r.out, "1 with 1000 entries"));
    ck_assert_ptr_nonnull(strstr(r.out, "suspects  the leak detector has not looked yet"));
    ck_assert_ptr_null(strchr(r.out, '\033'));
    OAKUM("top", "--once", "--color=always", url);
    ok();
    ck_assert_ptr_nonnull(strstr(r.out, "\033[1m"));
}
END_TEST

START_TEST(top_prints_lines_where_there_is_no_terminal)
{
    if (!start(NULL)) return;
    OAKUM("top", "--count=2", "--interval=1", pid);
    ok();
    ck_assert_uint_eq(test_count(r.out, "\n"), 3);
    ck_assert_ptr_eq(strstr(r.out, " allocated"), r.out);
    OAKUM("top", "--count=2", "--interval=1", "--json", pid);
    ok();
    ck_assert_uint_eq(test_count(r.out, "\n"), 2);
    r.out[strcspn(r.out, "\n")] = '\0';
    ck_assert_ptr_null(test_json_error(r.out));
}
END_TEST

START_TEST(profile_prints_and_saves)
{
    char name[] = "/tmp/oakum-live-XXXXXX", file[64], bytes[2];
    if (!start(NULL)) return;
    ck_assert_ptr_nonnull(mkdtemp(name));
    OAKUM("profile", "--count=1", pid);
    ok();
    ck_assert_ptr_eq(strstr(r.out, "heap profile: one byte in 1"), r.out);
    ck_assert_uint_eq(test_count(r.out, "\n"), 4); /* the last one counts those left out */
    ck_assert_ptr_nonnull(strstr(r.out, "  and "));
    snprintf(file, sizeof file, "%s/p", name);
    OAKUM("profile", "-o", file, url);
    ok();
    ck_assert_str_eq(r.out, "");
    int fd = open(file, O_RDONLY);
    ck_assert_int_eq(read(fd, bytes, 2), 2);
    ck_assert(bytes[0] == 0x1f && (unsigned char)bytes[1] == 0x8b);
    close(fd);
    OAKUM("profile", "-o", "/dev/full", "--allocs", url);
    fails_with("/dev/full: No space left on device");
    OAKUM("profile", "--output=/nowhere/p", pid);
    fails_with("/nowhere/p: No such file or directory");
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(rmdir(name), 0); /* nothing else is there */
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    OAKUM("profile", "--seconds=1", pid);
    ok();
}
END_TEST

START_TEST(why_and_diff_ask_the_program)
{
    char address[32];
    if (!start(NULL)) return;
    snprintf(address, sizeof address, "%p", kept[7]);
    OAKUM("why", pid, address);
    ok();
    ck_assert_msg(strstr(r.out, "global `kept`+56") != NULL, "%s", r.out);
    OAKUM("why", "--json", url, address + 2);
    ok();
    ck_assert_ptr_null(test_json_error(r.out));
    OAKUM("why", pid, "0x10");
    fails_with("no live object");
    OAKUM("why", pid, "site=0");
    ok();
    OAKUM("why", pid, "hello");
    ck_assert_int_eq(r.status, 2);
    OAKUM("diff", "--seconds=1", pid);
    ok();
    ck_assert_ptr_eq(strstr(r.out, "heap profile: "), r.out);
}
END_TEST

START_TEST(trace_records_and_saves)
{
    char name[] = "/tmp/oakum-live-XXXXXX", text[32] = "";
    if (!start(NULL)) return;
    int fd = mkstemp(name);
    OAKUM("trace", "--seconds=1", "-o", name, pid);
    ok();
    ck_assert_str_eq(r.out, "");
    close(fd);
    fd = open(name, O_RDONLY); /* another file, under that name */
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    ck_assert_msg(strstr(text, "displayTimeUnit") != NULL, "%s", text);
    close(fd);
    unlink(name);
    OAKUM("trace", "--seconds=1", url);
    ok();
    ck_assert_ptr_null(test_json_error(r.out));
    OAKUM("trace", "--seconds=1", "-o", "/nowhere/at/all", pid);
    fails_with("/nowhere/at/all: No such file or directory");
    ck_assert_int_eq(oak_trace_start(0), 0);
    OAKUM("trace", pid);
    fails_with("a trace is under way already");
}
END_TEST

/* ---- tokens ---- */

START_TEST(a_token_is_for_an_address_alone)
{
    if (!start(&(oak_serve_options){ .token = "sesame" })) return;
    OAKUM("top", "--once", pid);
    ok();
    OAKUM("top", "--once", url);
    fails_with("the token is missing or wrong");
    setenv("OAKUM_DEBUG_TOKEN", "sesame", 1);
    OAKUM("top", "--once", url);
    ok();
    setenv("OAKUM_DEBUG_TOKEN", "thistle", 1);
    OAKUM("profile", url);
    fails_with("the token is missing or wrong");
    OAKUM("profile", pid);
    ok();
}
END_TEST

START_TEST(what_is_not_there_is_told)
{
    OAKUM("top", "999999999");
    fails_with("there is no process 999999999");
    OAKUM("top", "0");
    fails_with("there is no process 0");
    OAKUM("top", "http://127.0.0.1:65616/"); /* 80, if its upper bits were lost */
    fails_with("neither a process id nor");
    OAKUM("top", "http://127.0.0.1:1/");
    fails_with("127.0.0.1:1: Connection refused");
    OAKUM("top", "unix:/nowhere/1.sock");
    fails_with("/nowhere/1.sock: No such file or directory");
    OAKUM("top", "unix:");
    fails_with("neither a process id nor");
    OAKUM("profile", "http://[::1/");
    fails_with("neither a process id nor");
    OAKUM("profile", "http://:80/");
    fails_with("neither a process id nor");
    OAKUM("profile", "ftp://x");
    fails_with("neither a process id nor");
    OAKUM("top");
    ck_assert_int_eq(r.status, 2);
    OAKUM("top", "1", "2");
    ck_assert_int_eq(r.status, 2);
    OAKUM("top", "--interval=0", "1");
    ck_assert_int_eq(r.status, 2);
    OAKUM("trace");
    ck_assert_int_eq(r.status, 2);
    OAKUM("trace", "--seconds=601", "1");
    ck_assert_int_eq(r.status, 2);
    OAKUM("profile", "-o");
    ck_assert_int_eq(r.status, 2);
    OAKUM("diff", "--json", "1");
    ck_assert_int_eq(r.status, 2);
    ck_assert_ptr_nonnull(strstr(r.err, "--json is for two snapshots"));
}
END_TEST

/* ---- servers that are none of ours ---- */

#define STATE \
    "{\"pid\":7,\"program\":\"\\u001b[2Jx\x1b\x7f\xc2\x9b\",\"memory\":{\"heap_alloc\":1}," \
    "\"leaks\":{\"looks\":1,\"findings\":[{\"subject\":\"\\u001b]0;\\u0007\"}]}}"

static const struct {
    const char *reply;
    const char *why; /* NULL: it is shown, without a control character */
} strange[] = {
    { "", "or is it no Oakum server?" },
    { "hello\r\n\r\n", "or is it no Oakum server?" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "or is it no Oakum server?" },
    { "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n{\"memory\":", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n{\"memory\":{\"heap_alloc\":1}} more", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n{\"a\":\"\\u12", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n\"\\", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "no debug server" },
    { "HTTP/1.1 500 Oh\r\n\r\nno luck today\nand more", ": no luck today\n" },
    { "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
      ": refused; is it an Oakum server?\n" },
    { "HTTP/1.1 200 OK\r\n\r\n{\"memory\":\"\\u\"AAAAAAAAAAAAAAAA\"}", "no debug server" },
    { "HTTP/1.1 200 OK\r\n\r\n" STATE, NULL },
};

typedef struct fake {
    int listener;
    const char *reply;
    bool drips;      /* it goes on with a byte at a time, until the client has gone */
    char asked[4096];
    pthread_t thread;
} fake;

static void *reply_once(void *arg)
{
    fake *f = arg;
    char some[4096];
    int fd = accept(f->listener, NULL, NULL);
    if (recv(fd, f->asked, sizeof f->asked - 1, 0) > 0) http_send(fd, f->reply);
    while (f->drips && send(fd, "x", 1, MSG_NOSIGNAL) == 1) usleep(20000);
    shutdown(fd, SHUT_WR);
    while (recv(fd, some, sizeof some, 0) > 0) {}
    close(fd);
    return NULL;
}

/* Its address is url. */
static void fake_start(fake *f, const char *reply, bool drips)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    *f = (fake){ .listener = socket(AF_INET, SOCK_STREAM, 0), .reply = reply, .drips = drips };
    ck_assert_int_eq(bind(f->listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(f->listener, 1), 0);
    ck_assert_int_eq(getsockname(f->listener, (struct sockaddr *)&a, &n), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(a.sin_port));
    f->thread = test_start(reply_once, f);
}

static void fake_end(fake *f)
{
    test_join(f->thread);
    close(f->listener);
}

static void has_no_controls(const char *text)
{
    for (const char *p = text; *p; p++)
        ck_assert_msg((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t', "%s", text);
    ck_assert_ptr_null(strchr(text, 0x7f));
    ck_assert_ptr_null(strstr(text, "\xc2\x9b"));
    ck_assert_ptr_null(strchr(text, '\xff'));
}

START_TEST(a_strange_server_does_no_harm)
{
    fake f;
    fake_start(&f, strange[_i].reply, false);
    OAKUM("top", "--once", url);
    fake_end(&f);
    if (strange[_i].why)
        fails_with(strange[_i].why);
    else
        ok();
    has_no_controls(r.out);
    has_no_controls(r.err);
}
END_TEST

#define EVIL "\033]0;x\007\x7f\xc2\x9b\xff\tand\nmore"

static const char *const shown[][3] = {
    { "why", "0x10" }, { "diff" }, { "profile" }, { "trace" }, { "top", "--json", "--count=1" },
};

/* As text or as JSON, as it comes: what it says is for a terminal. */
START_TEST(an_answer_is_shown_without_what_a_terminal_obeys)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\n\r\n{\"memory\":{\"heap_alloc\":1},"
                                "\"x\":\"\033]0;x\007\x7f\xc2\x9b\xff\"}\n";
    fake f;
    fake_start(&f, reply, false);
    OAKUM(shown[_i][0], url, shown[_i][1], shown[_i][2]);
    fake_end(&f);
    ok();
    ck_assert_msg(strstr(r.out, "?]0;x?" "?" "?" "?" "?") != NULL, "%s", r.out);
    has_no_controls(r.out);
}
END_TEST

START_TEST(a_refusal_is_shown_without_what_a_terminal_obeys)
{
    fake f;
    fake_start(&f, "HTTP/1.1 403 No\r\n\r\n" EVIL, false);
    OAKUM("why", url, "0x10");
    fake_end(&f);
    fails_with(": ?]0;x?" "?" "?" "?" "?\tand\n");
    ck_assert_uint_eq(test_count(r.err, "\n"), 1);
    has_no_controls(r.err);
}
END_TEST

static int ask_for_a_second(int argc, char **argv)
{
    cmd_server s;
    cmd_reply reply;
    (void)argc;
    if (!cmd_server_find("oakum test", argv[0], &s)) return 2;
    return cmd_server_get("oakum test", &s, "/debug/state", 1, &reply) ? 0 : 1;
}

/* Each byte comes soon after the one before; the server ends when the client has. */
START_TEST(a_server_that_drips_holds_nobody)
{
    static const char *const begun[] = { "", "HTTP/1.1 200 OK\r\nX-", "HTTP/1.1 200 OK\r\n\r\n" };
    char *argv[] = { url, NULL };
    fake f;
    fake_start(&f, begun[_i], true);
    test_run_function(&r, ask_for_a_second, argv);
    fake_end(&f);
    fails_with("Connection timed out");
}
END_TEST

START_TEST(the_environment_s_token_is_sent_to_an_address)
{
    static const char no[] = "HTTP/1.1 401 No\r\n\r\nno";
    fake f;
    setenv("OAKUM_DEBUG_TOKEN", "sesame", 1);
    fake_start(&f, no, false);
    OAKUM("top", "--once", url);
    fake_end(&f);
    fails_with(": no\n");
    ck_assert_ptr_nonnull(strstr(f.asked, "Authorization: Bearer sesame\r\n"));
}
END_TEST

/* ---- the variable ---- */

static int start_heap(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return oak_init(NULL) != 0;
}

static const struct {
    const char *value, *token, *says;
    bool made; /* a token, which is told */
} lines[] = {
    { "1", NULL, "oakum: debug server at unix:/tmp/oakum-", false },
    { "127.0.0.1:0", NULL, "oakum: debug server at http://127.0.0.1:", true },
    { "0.0.0.0:0", NULL, "oakum: debug server at http://0.0.0.0:", true },
    { "open,127.0.0.1:0", NULL, "oakum: debug server at http://127.0.0.1:", false },
    { "open,0.0.0.0:0", NULL, "oakum: OAKUM_DEBUG_SERVE: no debug server: ", false },
    { "yes", NULL, "oakum: OAKUM_DEBUG_SERVE: no debug server: yes is no address", false },
    { "127.0.0.1:0", "sesame", "oakum: debug server at http://127.0.0.1:", false },
    { "0.0.0.0:0", "sesame", "oakum: debug server at http://0.0.0.0:", false },
    { "open,127.0.0.1:0", "sesame", "oakum: OAKUM_DEBUG_SERVE: no debug server: 'open'", false },
};

START_TEST(the_environment_starts_a_server)
{
    static char name[] = "program";
    char *argv[] = { name, NULL };
    if (http_skip()) return;
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("OAKUM_DEBUG_TOKEN");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        setenv("OAKUM_DEBUG_SERVE", lines[i].value, 1);
        if (lines[i].token) setenv("OAKUM_DEBUG_TOKEN", lines[i].token, 1);
        test_run_function(&r, start_heap, argv);
        ck_assert_int_eq(r.status, 0);
        ck_assert_msg(strstr(r.err, lines[i].says) == r.err, "%s", r.err);
        ck_assert_uint_eq(test_count(r.err, "\n"), 1);
        const char *token = strstr(r.err, "/?token=");
        ck_assert_int_eq(token != NULL, lines[i].made);
        if (token) ck_assert_uint_eq(strspn(token + 8, "0123456789abcdef"), 32);
    }
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_cmd_live(void)
{
    Suite *s = suite_create("cmd_live");
    TCase *c = tcase_create("live");
    tcase_add_test(c, the_doctor_asks_the_server);
    tcase_add_test(c, top_shows_a_page);
    tcase_add_test(c, top_prints_lines_where_there_is_no_terminal);
    tcase_add_test(c, profile_prints_and_saves);
    tcase_add_test(c, why_and_diff_ask_the_program);
    tcase_add_test(c, trace_records_and_saves);
    tcase_add_test(c, a_token_is_for_an_address_alone);
    tcase_add_test(c, what_is_not_there_is_told);
    tcase_add_loop_test(c, a_strange_server_does_no_harm, 0, COUNT(strange));
    tcase_add_loop_test(c, an_answer_is_shown_without_what_a_terminal_obeys, 0, COUNT(shown));
    tcase_add_test(c, a_refusal_is_shown_without_what_a_terminal_obeys);
    tcase_add_loop_test(c, a_server_that_drips_holds_nobody, 0, 3);
    tcase_add_test(c, the_environment_s_token_is_sent_to_an_address);
    tcase_add_test(c, the_environment_starts_a_server);
    suite_add_tcase(s, c);
    return s;
}
