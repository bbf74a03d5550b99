/* http.c - a client for tests of the debug server (http.h). */
#include "http.h"

#include "files.h"
#include "observe/mhd.h"
#include "observe/serve.h"
#include "runtime/task.h"
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <oakum/serve.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEAD_MAX 8192

int http_port;

bool http_skip(void)
{
    if (oaki_mhd_load(NULL)) return false;
    printf("skipped: there is no %s\n", oaki_mhd_library);
    return true;
}

bool http_serve(const char *address, const oak_serve_options *options)
{
    char error[256];
    if (http_skip()) return false;
    if (!address) address = options && options->token ? "127.0.0.1:0" : "open,127.0.0.1:0";
    http_port = oak_debug_serve_with(address, options);
    size_t n = oak_debug_serve_error(error, sizeof error);
    ck_assert_msg(http_port >= 0 && n == 0, "%s", error);
    return true;
}

static bool is_loop(const char *task)
{
    oaki_task t;
    return oaki_task_read(atoi(task), &t) && strcmp(t.name, "oakum/serve") == 0;
}

size_t http_descriptors(void)
{
    char path[300];
    size_t n = test_entries("/proc/self/fd");
    if (!oaki_wake_is_apart()) return n;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(tasks));) {
        if (!is_loop(e->d_name)) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/fd", e->d_name);
        n += test_entries(path);
    }
    closedir(tasks);
    return n;
}

static int connect_to_port(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)http_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    int connected = connect(fd, (struct sockaddr *)&a, sizeof a);
    ck_assert_msg(connected == 0, "%s", strerror(errno));
    return fd;
}

const char *http_socket(void)
{
    return oaki_the_server.listener.path;
}

static int connect_to_socket(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), connected;
    ck_assert_int_ge(fd, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", http_socket());
    do connected = connect(fd, (struct sockaddr *)&a, sizeof a);
    while (connected != 0 && errno == EINTR);
    ck_assert_msg(connected == 0, "%s: %s", a.sun_path, strerror(errno));
    return fd;
}

static int with_limit(int fd)
{
    struct timeval limit = { 20, 0 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

int http_connect(void)
{
    return with_limit(http_port > 0 ? connect_to_port() : connect_to_socket());
}

int http_connect_local(void)
{
    return with_limit(connect_to_socket());
}

/* A stop's signal interrupts what has a time limit. */
static ssize_t receive(int fd, void *p, size_t n)
{
    ssize_t got;
    do got = recv(fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

/* What the server has cut takes nothing more, and that is no error here. */
void http_send(int fd, const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return;
        text += sent;
        n -= (size_t)sent;
    }
}

const char *http_header(const http_answer *a, const char *name)
{
    size_t n = strlen(name);
    static _Thread_local char value[1024];
    for (const char *line = strchr(a->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *from = line + n + 1 + strspn(line + n + 1, " ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r\n"), from);
        return value;
    }
    return NULL;
}

static bool read_head(int fd, char *head)
{
    size_t n = 0;
    while (n < HEAD_MAX - 1 && receive(fd, head + n, 1) == 1) {
        head[++n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0) return true;
    }
    return false;
}

http_answer http_receive(int fd, bool head)
{
    http_answer a = { 0, calloc(1, HEAD_MAX), NULL, 0 };
    if (read_head(fd, a.head) && sscanf(a.head, "HTTP/1.1 %d", &a.status) != 1) a.status = 0;
    const char *length = a.status ? http_header(&a, "Content-Length") : NULL;
    size_t want = length && !head ? strtoul(length, NULL, 10) : 0;
    a.body = calloc(1, want + 1);
    while (a.n < want) {
        ssize_t got = receive(fd, a.body + a.n, want - a.n);
        if (got <= 0) {
            a.status = 0;
            break;
        }
        a.n += (size_t)got;
    }
    return a;
}

bool http_ended(int fd)
{
    char some[4096];
    for (;;) {
        ssize_t n = receive(fd, some, sizeof some);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
        if (n < 0) return false;
    }
}

http_answer http_ask(const char *method, const char *path, const char *headers)
{
    size_t room = strlen(path) + strlen(headers) + 128;
    char *request = malloc(room);
    int fd = http_connect();
    bool host = strcasestr(headers, "Host:") != NULL;
    snprintf(request, room, "%s %s HTTP/1.1\r\n%sConnection: close\r\n%s\r\n", method, path,
             host ? "" : "Host: localhost\r\n", headers);
    http_send(fd, request);
    http_answer a = http_receive(fd, strcmp(method, "HEAD") == 0);
    close(fd);
    free(request);
    return a;
}

http_answer http_get(const char *path)
{
    http_answer a = http_ask("GET", path, "");
    ck_assert_msg(a.status == 200, "%s: %d %s", path, a.status, a.body);
    return a;
}
