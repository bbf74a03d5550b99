/* serve_listen.c - the server's listeners on TCP: parses an address, opens sockets.
 *
 * Owns: nothing. Names are not looked up: an address is numeric, or localhost. */
#include "runtime/print.h"
#include "runtime/thread.h"
#include "serve.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 128
#define TRIES 16 /* most ports tried for one that is free on both loopbacks */

typedef struct place {
    struct sockaddr_storage addr;
    socklen_t len;
} place;

/* ---- addresses ---- */

static int no_address(void)
{
    errno = EINVAL;
    return -1;
}

static int read_port(const char *s, uint16_t *out)
{
    unsigned port = 0;
    size_t n = strlen(s);
    if (n == 0 || n > 5) return no_address();
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return no_address();
        port = port * 10 + (unsigned)(*s - '0');
    }
    if (port > 65535) return no_address();
    *out = (uint16_t)port;
    return 0;
}

static void set_v4(place *p, struct in_addr host, uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host };
    memset(p, 0, sizeof *p);
    memcpy(&p->addr, &a, sizeof a);
    p->len = sizeof a;
}

static void set_v6(place *p, struct in6_addr host, uint16_t port)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port),
                              .sin6_addr = host };
    memset(p, 0, sizeof *p);
    memcpy(&p->addr, &a, sizeof a);
    p->len = sizeof a;
}

/* The places of an address: one, or two for localhost. Returns how many, -1 with EINVAL. */
static int read_address(const char *address, place out[OAKI_SERVE_PLACES])
{
    char host[INET6_ADDRSTRLEN + 2];
    struct in_addr v4;
    struct in6_addr v6;
    uint16_t port = 0;
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    if (!colon || n >= sizeof host || read_port(colon + 1, &port) != 0) return no_address();
    memcpy(host, address, n);
    host[n] = '\0';
    v4.s_addr = htonl(INADDR_LOOPBACK);
    if (n == 0 || inet_pton(AF_INET, host, &v4) == 1) {
        set_v4(&out[0], v4, port);
        return 1;
    }
    if (strcmp(host, "localhost") == 0) {
        set_v4(&out[0], v4, port);
        set_v6(&out[1], in6addr_loopback, port);
        return 2;
    }
    if (host[0] != '[' || host[n - 1] != ']') return no_address();
    host[n - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, &v6) != 1) return no_address();
    set_v6(&out[0], v6, port);
    return 1;
}

static bool is_loopback(const place *p)
{
    if (p->addr.ss_family == AF_INET) {
        struct sockaddr_in a;
        memcpy(&a, &p->addr, sizeof a);
        return ntohl(a.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 a;
    memcpy(&a, &p->addr, sizeof a);
    return memcmp(&a.sin6_addr, &in6addr_loopback, sizeof a.sin6_addr) == 0;
}

int oaki_listen_is_loopback(const char *address)
{
    place p[OAKI_SERVE_PLACES];
    int n = read_address(address, p);
    return n < 0 ? -1 : is_loopback(&p[0]);
}

static int port_of(const place *p)
{
    in_port_t port; /* at the same offset for both families */
    memcpy(&port, (const char *)&p->addr + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

static void set_port(place *p, int port)
{
    in_port_t there = htons((uint16_t)port);
    memcpy((char *)&p->addr + offsetof(struct sockaddr_in, sin_port), &there, sizeof there);
}

static void name_place(const place *p, char *out, size_t n)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool v6 = p->addr.ss_family == AF_INET6;
    const char *addr = (const char *)&p->addr + (v6 ? offsetof(struct sockaddr_in6, sin6_addr)
                                                    : offsetof(struct sockaddr_in, sin_addr));
    inet_ntop(p->addr.ss_family, addr, host, sizeof host);
    oaki_format(out, n, v6 ? "http://[%s]:%d/" : "http://%s:%d/", host, port_of(p));
}

/* ---- sockets ---- */

static int open_place(place *p, oaki_fd_file *file)
{
    int one = 1;
    int fd = socket(p->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (p->addr.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    socklen_t len = sizeof p->addr;
    if (bind(fd, (struct sockaddr *)&p->addr, p->len) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)&p->addr, &len) == 0 && oaki_fd_note(fd, file))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* The second of two places gets the first one's port. If the machine has no such place, it is left
 * out. */
static int open_second(place *p, oaki_listener *out)
{
    set_port(p, out->port);
    out->fd[1] = open_place(p, &out->file[1]);
    if (out->fd[1] >= 0) {
        out->n = 2;
        return 0;
    }
    return errno == EADDRINUSE || errno == EACCES || errno == EMFILE ? -1 : 0;
}

static int open_all(place *p, int n, oaki_listener *out)
{
    out->fd[0] = open_place(&p[0], &out->file[0]);
    if (out->fd[0] < 0) return -1;
    out->n = 1;
    out->port = port_of(&p[0]);
    return n == 2 ? open_second(&p[1], out) : 0;
}

int oaki_listen(const char *address, oaki_listener *out, char error[OAKI_SERVE_ERROR])
{
    place p[OAKI_SERVE_PLACES];
    int n = read_address(address, p);
    if (n < 0) {
        oaki_format(error, OAKI_SERVE_ERROR,
                    "%.80s is no address: it must be 1, or as 127.0.0.1:0, [::1]:0 or localhost:0",
                    address);
        return no_address();
    }
    bool any = port_of(&p[0]) == 0;
    int result = -1;
    oaki_fork_hold();
    for (int i = 0; result != 0 && i < (any ? TRIES : 1); i++) {
        if (any) set_port(&p[0], 0);
        result = open_all(p, n, out);
        if (result != 0) {
            int saved = errno;
            oaki_listen_close(out);
            errno = saved;
            if (errno != EADDRINUSE) break;
        }
    }
    oaki_fork_release();
    if (result != 0) {
        int saved = errno;
        oaki_format(error, OAKI_SERVE_ERROR, "%.80s: %s", address, oaki_error_text(saved));
        errno = saved;
        return -1;
    }
    out->tcp = out->n;
    name_place(&p[0], out->url, sizeof out->url);
    return 0;
}

bool oaki_listen_is_whole(const oaki_listener *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        errno = EBADF; /* of another file; a failure of the system says nothing */
        if (!oaki_fd_is(l->fd[i], &l->file[i]) && errno == EBADF) return false;
    }
    return true;
}

void oaki_listen_let_go(const oaki_listener *l)
{
    for (unsigned i = 0; i < l->n; i++)
        oaki_fd_close(l->fd[i], &l->file[i]);
}

void oaki_listen_close(oaki_listener *l)
{
    oaki_listen_let_go(l);
    l->n = 0;
}
