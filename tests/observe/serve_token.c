/* serve_token.c - tests of who may ask a server on TCP: a token that is made or given, in a header,
 * once in the address, and by the cookie that this gives; and who may ask the Unix socket. */
#include "observe/serve.h"

#include "http.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

Suite *suite_observe_serve_token(void);

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static char url[128];

static bool start(const char *address, const char *token)
{
    test_heap_start(test_config());
    if (!http_serve(address, &(oak_serve_options){ .token = token })) return false;
    oak_debug_serve_url(url, sizeof url);
    return true;
}

static int status_of(const char *path, const char *headers)
{
    return http_ask("GET", path, headers).status;
}

/* ---- a token that was given ---- */

static const char *const closed[] = {
    "/metrics",
    "/debug/state",
    "/debug/memstats",
    "/debug/gc",
    "/debug/maps",
    "/debug/threads",
    "/debug/leaks",
    "/debug/why?addr=1",
    "/debug/pprof/heap",
    "/debug/pprof/allocs",
    "/debug/pprof/profile-diff?seconds=1",
    "/debug/trace?seconds=1",
};

START_TEST(every_address_that_tells_of_the_program_asks_for_it)
{
    if (!start(NULL, "sesame")) return;
    ck_assert_int_eq(status_of(closed[_i], ""), 401);
    ck_assert_int_ne(status_of(closed[_i], "Authorization: Bearer sesame\r\n"), 401);
    ck_assert_int_eq(status_of("/", ""), 200);
    ck_assert_int_eq(status_of("/debug/", ""), 200);
    ck_assert_ptr_null(strstr(http_get("/").body, "sesame"));
}
END_TEST

static const struct {
    const char *sent;
    int status;
} tokens[] = {
    { "", 401 },
    { "Authorization: Bearer sesame\r\n", 200 },
    { "Authorization: bearer  sesame\r\n", 200 },
    { "Authorization: Bearer sesam\r\n", 401 },
    { "Authorization: Bearer sesame1\r\n", 401 },
    { "Authorization: Bearer Sesame\r\n", 401 },
    { "Authorization: Bearer \r\n", 401 },
    { "Authorization: Bearer\r\n", 401 },
    { "Authorization: Basic sesame\r\n", 401 },
    { "Authorization: sesame\r\n", 401 },
    { "Authorization: Bearer sesame\r\nAuthorization: Bearer sesame\r\n", 400 },
    { "Authorization: Bearer sesame\r\nAuthorization: Bearer thistle\r\n", 400 },
    { "Authorization: Bearer thistle\r\nAuthorization: Bearer sesame\r\n", 400 },
    { "Cookie: token=sesame\r\n", 401 },
    { "Cookie: oakum-%d=sesame\r\n", 401 },
    { "Cookie: oakum-%d=\r\n", 401 },
    { "Cookie: oakum-%d\r\n", 401 },
    { "Cookie: oakum-0=\r\n", 401 },
    { "Cookie: ;;; ;=;;\r\n", 401 },
};

START_TEST(a_token_in_a_header)
{
    char headers[256];
    if (!start(NULL, "sesame")) return;
    snprintf(headers, sizeof headers, tokens[_i].sent, http_port);
    http_answer a = http_ask("GET", "/metrics", headers);
    ck_assert_int_eq(a.status, tokens[_i].status);
    if (a.status != 401) return;
    ck_assert_ptr_nonnull(http_header(&a, "WWW-Authenticate"));
    ck_assert_ptr_nonnull(strstr(a.body, "Authorization: Bearer TOKEN"));
    ck_assert_ptr_null(http_header(&a, "Set-Cookie"));
}
END_TEST

static const struct {
    const char *path;
    int status;
    const char *location;
} addresses[] = {
    { "/?token=sesame", 303, "/" },
    { "/metrics?token=sesame", 303, "/metrics" },
    { "/debug?token=sesame", 303, "/debug/" },
    { "/?token=%73esame", 303, "/" },
    { "/debug/why?text=1&token=sesame&addr=0x12", 303, "/debug/why?text=1&addr=0x12" },
    { "/debug/maps?n=%0d%0aX:y&token=sesame&other=1", 303, "/debug/maps" },
    { "/?token=sesam", 401, NULL },
    { "/?token=sesame1", 401, NULL },
    { "/?token=", 401, NULL },
    { "/?token", 401, NULL },
    { "/?token=sesame%00", 401, NULL },
    { "/?token=sesame&token=sesame", 400, NULL },
    { "/?token=thistle&token=sesame", 400, NULL },
    { "/nowhere?token=sesame", 404, NULL },
};

START_TEST(a_token_in_the_address)
{
    char name[32];
    if (!start(NULL, "sesame")) return;
    http_answer a = http_ask("GET", addresses[_i].path, "");
    ck_assert_int_eq(a.status, addresses[_i].status);
    ck_assert_ptr_null(strstr(a.head, "sesame"));
    ck_assert_ptr_null(strstr(a.body, "sesame"));
    if (a.status != 303) {
        ck_assert_ptr_null(http_header(&a, "Set-Cookie"));
        return;
    }
    ck_assert_str_eq(http_header(&a, "Location"), addresses[_i].location);
    const char *cookie = http_header(&a, "Set-Cookie");
    snprintf(name, sizeof name, "oakum-%d=", http_port);
    ck_assert_ptr_eq(strstr(cookie, name), cookie);
    ck_assert_ptr_nonnull(strstr(cookie, "; HttpOnly"));
    ck_assert_ptr_nonnull(strstr(cookie, "; SameSite=Strict"));
}
END_TEST

/* A header and an argument are two tokens. */
START_TEST(a_token_twice)
{
    if (!start(NULL, "sesame")) return;
    ck_assert_int_eq(status_of("/metrics?token=sesame", "Authorization: Bearer sesame\r\n"), 400);
}
END_TEST

/* What the cookie has: 32 digits. */
static void take_cookie(char out[128])
{
    http_answer a = http_ask("GET", "/?token=sesame", "");
    ck_assert_int_eq(a.status, 303);
    snprintf(out, 128, "%s", http_header(&a, "Set-Cookie"));
    out[strcspn(out, ";")] = '\0';
}

static const struct {
    const char *format; /* of a name with its value, and of its port */
    int status;
} cookies[] = {
    { "Cookie: %s\r\n", 200 },
    { "Cookie: a=b; %s\r\n", 200 },
    { "Cookie: %s; a=b\r\n", 200 },
    { "Cookie: a=b\r\nCookie: %s\r\n", 200 },
    { "Cookie: oakum-%2$d=x; %1$s\r\n", 200 }, /* a neighbour's, of the same name */
    { "Cookie: %s; oakum-%d=x\r\n", 200 },
    { "Cookie: %s0\r\n", 401 },
    { "Cookie: x%s\r\n", 401 },
    { "Cookie: a=%s\r\n", 401 },
    { "Authorization: Bearer thistle\r\nCookie: %s\r\n", 401 },
    { "Sec-Fetch-Site: cross-site\r\nCookie: %s\r\n", 403 },
    { "Sec-Fetch-Site: same-site\r\nCookie: %s\r\n", 403 },
};

START_TEST(a_cookie_stands_for_the_token)
{
    char cookie[128], headers[512];
    if (!start(NULL, "sesame")) return;
    take_cookie(cookie);
    snprintf(headers, sizeof headers, cookies[_i].format, cookie, http_port);
    ck_assert_int_eq(status_of("/metrics", headers), cookies[_i].status);
}
END_TEST

/* And is no token itself; nor is that of an earlier server. */
START_TEST(a_cookie_is_of_one_server_and_no_token)
{
    char cookie[128], headers[256], address[32];
    if (!start(NULL, "sesame")) return;
    take_cookie(cookie);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", strchr(cookie, '=') + 1);
    ck_assert_int_eq(status_of("/metrics", headers), 401);
    snprintf(address, sizeof address, "127.0.0.1:%d", http_port);
    oak_debug_serve_stop();
    ck_assert(http_serve(address, &(oak_serve_options){ .token = "sesame" }));
    snprintf(headers, sizeof headers, "Cookie: %s\r\n", cookie);
    ck_assert_int_eq(status_of("/metrics", headers), 401);
}
END_TEST

START_TEST(a_token_as_long_as_may_be_fits_itself)
{
    char token[OAKI_SERVE_TOKEN_MAX + 2] = "", header[OAKI_SERVE_TOKEN_MAX + 64];
    memset(token, 'a', OAKI_SERVE_TOKEN_MAX);
    if (!start(NULL, token)) return;
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", token);
    ck_assert_int_eq(status_of("/metrics", header), 200);
    token[OAKI_SERVE_TOKEN_MAX] = 'a';
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", token);
    ck_assert_int_eq(status_of("/metrics", header), 401);
    oak_debug_serve_stop();
    ck_assert_int_eq(oak_debug_serve_with("127.0.0.1:0", &(oak_serve_options){ .token = token }),
                     -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* ---- one that is made ---- */

static const char *token_of_url(void)
{
    const char *at = strstr(url, "/?token=");
    ck_assert_msg(at != NULL, "%s", url);
    return at + strlen("/?token=");
}

START_TEST(a_token_is_made_where_none_is_given)
{
    char first[64], header[128];
    if (!start("127.0.0.1:0", NULL)) return;
    snprintf(first, sizeof first, "%s", token_of_url());
    ck_assert_uint_eq(strlen(first), 32);
    ck_assert_uint_eq(strspn(first, "0123456789abcdef"), 32);
    ck_assert_int_eq(status_of("/metrics", ""), 401);
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", first);
    ck_assert_int_eq(status_of("/metrics", header), 200);
    oak_debug_serve_stop();
    ck_assert(http_serve("127.0.0.1:0", NULL));
    oak_debug_serve_url(url, sizeof url);
    ck_assert_str_ne(first, token_of_url());
    ck_assert_int_eq(status_of("/metrics", header), 401);
}
END_TEST

START_TEST(one_that_is_given_is_not_told)
{
    if (!start("127.0.0.1:0", "sesame")) return;
    ck_assert_ptr_null(strchr(url, '?'));
    oak_debug_serve_stop();
    ck_assert(http_serve("open,127.0.0.1:0", NULL));
    oak_debug_serve_url(url, sizeof url);
    ck_assert_ptr_null(strchr(url, '?'));
    ck_assert_int_eq(status_of("/metrics", ""), 200);
    ck_assert_int_eq(status_of("/metrics?token=x", ""), 200); /* nobody asks for one */
}
END_TEST

/* Others can reach it: with a token that is made, too. */
START_TEST(an_address_of_all_interfaces_has_a_token)
{
    if (!start("0.0.0.0:0", NULL)) return;
    ck_assert_int_eq(status_of("/metrics", ""), 401);
    ck_assert_uint_eq(strlen(token_of_url()), 32);
}
END_TEST

/* Where getrandom is refused, the device; where there is none, a line. */
START_TEST(a_system_that_gives_no_random_numbers)
{
    char line[256];
    test_heap_start(test_config());
    if (http_skip()) return;
    bool may_chroot = !test_skip_user();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        test_refuse(SYS_getrandom);
        if (!http_serve("127.0.0.1:0", NULL)) _exit(3);
        oak_debug_serve_url(url, sizeof url);
        bool right = strlen(token_of_url()) == 32 && status_of("/metrics", "") == 401;
        oak_debug_serve_stop();
        if (!right || !may_chroot) _exit(right ? 0 : 1);
        if (chroot("/proc/self") != 0 || chdir("/") != 0) _exit(4);
        errno = 0;
        right = oak_debug_serve("127.0.0.1:0") == -1 && errno == ENOSYS;
        oak_debug_serve_error(line, sizeof line);
        _exit(right && strstr(line, "no random numbers") ? 0 : 2);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

/* ---- the Unix socket ---- */

START_TEST(the_socket_asks_for_none)
{
    if (!start("127.0.0.1:0", "sesame")) return;
    http_port = 0; /* by the socket from here on */
    ck_assert_int_eq(status_of("/metrics", ""), 200);
    ck_assert_int_eq(status_of("/metrics", "Authorization: Bearer thistle\r\n"), 200);
    ck_assert_int_eq(status_of("/metrics", "Host: evil.example\r\n"), 403);
    ck_assert_int_eq(status_of("/metrics", "Sec-Fetch-Site: cross-site\r\n"), 403);
}
END_TEST

static void become_nobody(void)
{
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(9);
}

/* Its file's modes keep others out; and where these are changed, the server does. */
START_TEST(another_user_is_refused)
{
    char base[] = "/tmp/oakum-test-XXXXXX", folder[64], path[OAKI_SERVE_PATH];
    struct stat s;
    if (geteuid() != 0) {
        puts("skipped: this takes another user, and so root");
        return;
    }
    ck_assert_ptr_nonnull(mkdtemp(base)); /* others use the usual folder meanwhile */
    setenv("XDG_RUNTIME_DIR", base, 1);
    snprintf(folder, sizeof folder, "%s/oakum", base);
    if (!start("1", NULL)) {
        rmdir(base);
        return;
    }
    memcpy(path, http_socket(), sizeof path);
    ck_assert_int_eq(chmod(base, 0755), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        become_nobody();
        _exit(stat(path, &s) == -1 && errno == EACCES ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    ck_assert_int_eq(chmod(folder, 0755) + chmod(path, 0666), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        memcpy(oaki_the_server.listener.path, path, sizeof path);
        become_nobody();
        http_answer a = http_ask("GET", "/debug/", "");
        _exit(a.status == 403 && strstr(a.body, "not for you") ? 0 : 1);
    }
    int status = test_wait_child(pid);
    ck_assert_int_eq(chmod(folder, 0700), 0);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(status_of("/metrics", ""), 200);
    oak_debug_serve_stop();
    ck_assert_int_eq(rmdir(folder) + rmdir(base), 0);
}
END_TEST

Suite *suite_observe_serve_token(void)
{
    Suite *s = suite_create("observe_serve_token");
    TCase *c = tcase_create("token");
    tcase_add_loop_test(c, every_address_that_tells_of_the_program_asks_for_it, 0, COUNT(closed));
    tcase_add_loop_test(c, a_token_in_a_header, 0, COUNT(tokens));
    tcase_add_loop_test(c, a_token_in_the_address, 0, COUNT(addresses));
    tcase_add_test(c, a_token_twice);
    tcase_add_loop_test(c, a_cookie_stands_for_the_token, 0, COUNT(cookies));
    tcase_add_test(c, a_cookie_is_of_one_server_and_no_token);
    tcase_add_test(c, a_token_as_long_as_may_be_fits_itself);
    tcase_add_test(c, a_token_is_made_where_none_is_given);
    tcase_add_test(c, one_that_is_given_is_not_told);
    tcase_add_test(c, an_address_of_all_interfaces_has_a_token);
    tcase_add_test(c, a_system_that_gives_no_random_numbers);
    tcase_add_test(c, the_socket_asks_for_none);
    tcase_add_test(c, another_user_is_refused);
    suite_add_tcase(s, c);
    return s;
}
