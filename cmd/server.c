/* server.c - sends requests to a program's debug server: HTTP/1.1, one connection for each request.
 *
 * Bounds: REPLY_MOST bytes for a reply, and one deadline for the whole exchange. Only the look-up
 * of a host name may take longer: it ends when the resolver gives up. */
#include "live.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REPLY_MOST ((size_t)256 << 20)
#define HEAD_MOST 16384

/* ---- the exchange ---- */

int64_t cmd_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wait until the socket is ready. Returns false with errno; ETIMEDOUT after the deadline. */
static bool ready(int fd, short events, int64_t deadline)
{
    struct pollfd p = { fd, events, 0 };
    int64_t left;

    while ((left = deadline - cmd_now_ms()) > 0) {
        int n = poll(&p, 1, (int)left);

        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
    errno = ETIMEDOUT;
    return false;
}

static bool connected(int fd, const struct addrinfo *a, int64_t deadline)
{
    int error = 0;
    socklen_t n = sizeof(error);

    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return true;
    if (errno != EINPROGRESS || !ready(fd, POLLOUT, deadline)) return false;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0) errno = error;
    return error == 0;
}

static int connect_to(const cmd_server *s, int64_t deadline)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all = NULL;
    int fd = -1, error;

    if (s->path[0] != '\0') return cmd_socket_connect(s->path, s->pid, deadline);
    error = getaddrinfo(s->host, s->port, &hints, &all);
    if (error != 0) {
        errno = error == EAI_SYSTEM ? errno : EADDRNOTAVAIL;
        return -1;
    }
    for (struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connected(fd, a, deadline)) continue;
        error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    freeaddrinfo(all);
    return fd;
}

static bool send_request(int fd, const cmd_server *s, const char *path, int64_t deadline)
{
    char text[2048];
    bool v6 = strchr(s->host, ':') != NULL;
    int n = snprintf(text, sizeof(text),
                     "GET %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nConnection: close\r\n%s%s%s\r\n",
                     path, v6 ? "[" : "", s->host, v6 ? "]" : "", s->port[0] != '\0' ? ":" : "",
                     s->port,
                     s->token[0] != '\0' ? "Authorization: Bearer " : "", s->token,
                     s->token[0] != '\0' ? "\r\n" : "");

    errno = EMSGSIZE;
    if (n >= (int)sizeof(text)) return false;
    for (int at = 0; at < n;) {
        ssize_t sent;

        if (!ready(fd, POLLOUT, deadline)) return false;
        sent = send(fd, text + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (sent > 0) at += (int)sent;
    }
    return true;
}

/* Make room for 4096 more bytes. Returns false with errno. */
static bool enlarge(char **text, size_t n, size_t *cap)
{
    size_t larger = *cap != 0 ? 2 * *cap : 16384;
    char *more;

    if (*cap - n >= 4096) return true;
    errno = EFBIG;
    more = larger <= REPLY_MOST ? realloc(*text, larger) : NULL;
    if (more == NULL) return false;
    *text = more;
    *cap = larger;
    return true;
}

/* Read to the end of the connection, and append a NUL. Returns NULL with errno. */
static char *read_all(int fd, size_t *out, int64_t deadline)
{
    size_t n = 0, cap = 0;
    char *text = NULL;

    while (enlarge(&text, n, &cap) && ready(fd, POLLIN, deadline)) {
        ssize_t got = recv(fd, text + n, cap - n - 1, 0);

        if (got == 0) {
            text[n] = '\0';
            *out = n;
            return text;
        }
        if (got < 0 && errno != EAGAIN && errno != EINTR) break;
        if (got > 0) n += (size_t)got;
    }
    free(text);
    return NULL;
}

/* Split a reply into status and body. Returns false if the head is invalid, or the body's length
 * isn't that of Content-Length, as when the connection broke. */
static bool split(char *text, size_t n, cmd_reply *out)
{
    char *body = memmem(text, n, "\r\n\r\n", 4);
    size_t head = body != NULL ? (size_t)(body - text) : 0;
    long long length = -1;

    if (body == NULL || head > HEAD_MOST || sscanf(text, "HTTP/1.%*c %d", &out->status) != 1)
        return false;
    *body = '\0';
    for (char *line = strchr(text, '\n'); line != NULL; line = strchr(line, '\n'))
        if (strncasecmp(++line, "Content-Length:", 15) == 0) length = atoll(line + 15);
    out->n = n - head - 4;
    memmove(text, body + 4, out->n + 1);
    out->body = text;
    return length < 0 || (size_t)length == out->n;
}

/* step: what to do, or "" where the server has said it. */
static bool fail(const char *command, const cmd_server *s, const char *what, const char *step)
{
    const char *mark = step[0] != '\0' ? "; " : "";

    if (s->path[0] != '\0')
        cmd_say(stderr, "%s: %s: %s%s%s\n", command, s->path, what, mark, step);
    else
        cmd_say(stderr, "%s: %s:%s: %s%s%s\n", command, s->host, s->port, what, mark, step);
    return false;
}

bool cmd_server_get(const char *command, const cmd_server *s, const char *path, unsigned timeout_s,
                    cmd_reply *out)
{
    int64_t deadline = cmd_now_ms() + (int64_t)timeout_s * 1000;
    int fd = connect_to(s, deadline);
    char *text;
    size_t n = 0;

    memset(out, 0, sizeof(*out));
    if (fd < 0) return fail(command, s, strerror(errno), cmd_remedy(errno));
    text = send_request(fd, s, path, deadline) ? read_all(fd, &n, deadline) : NULL;
    if (text == NULL) fail(command, s, strerror(errno), cmd_remedy(errno));
    close(fd);
    if (text == NULL) return false;
    if (!split(text, n, out)) {
        free(text);
        out->body = NULL;
        return fail(command, s, "the answer is cut short or not HTTP",
                    "has the program ended, or is it no Oakum server?");
    }
    if (out->status == 200) return true;
    out->body[strcspn(out->body, "\r\n")] = '\0';
    if (out->body[0] != '\0') fail(command, s, out->body, "");
    else fail(command, s, "refused", "is it an Oakum server?");
    if (out->status == 401) fprintf(stderr, "%s: OAKUM_DEBUG_TOKEN must have the token\n", command);
    free(out->body);
    out->body = NULL;
    return false;
}

bool cmd_live_args(cmd_args *args, bool (*take)(void *ctx, int option, const char *value),
                   void *ctx, const bool *help, const char **where)
{
    int names = cmd_args_read(args, take, ctx, where, 1);

    if (names == 1 || (names >= 0 && *help)) return true;
    if (names >= 0)
        fprintf(stderr, "%s: wants a process id or the server's address; '%s --help' tells more\n",
                args->command, args->command);
    return false;
}

int cmd_server_print(const char *command, const char *where, const char *path, unsigned timeout_s)
{
    cmd_server s;
    cmd_reply reply;

    if (!cmd_server_find(command, where, &s)) return CMD_FAILED;
    if (!cmd_server_get(command, &s, path, timeout_s, &reply)) return CMD_FAILED;
    cmd_clean(reply.body, reply.n, "\t\n");
    fwrite(reply.body, 1, reply.n, stdout);
    if (reply.n > 0 && reply.body[reply.n - 1] != '\n') fputc('\n', stdout);
    free(reply.body);
    return CMD_OK;
}
