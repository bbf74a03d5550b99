/* serve_peer.c - whether the other end of a connection has gone, or has only shut down its side for
 * writing.
 *
 * Over TCP both are a FIN and nothing more; only a sender learns that the other end is closed. A
 * client may send its request, shut down its side, and read the answer. For a client on this
 * machine, the usual case, the kernel knows whether any process has the other socket open.
 * (sock_diag(7): a socket that no process has open shows no inode.) For a remote client, or without
 * the kernel's answer, a FIN counts as the end. A Unix socket distinguishes the two cases.
 *
 * Owns: nothing; runs on the loop's thread, and never blocks. */
#include "runtime/thread.h"
#include "serve.h"
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define ADDRESS_MAX 16

/* Port and address, in network order, as in a request to the kernel. */
static bool put_end(const struct sockaddr_storage *a, __be16 *port, __be32 *address)
{
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
        *port = v4->sin_port;
        memcpy(address, &v4->sin_addr, sizeof v4->sin_addr);
        return true;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    *port = v6->sin6_port;
    memcpy(address, &v6->sin6_addr, ADDRESS_MAX);
    return a->ss_family == AF_INET6;
}

/* Is it a Unix socket? Then a hang-up is the end, and a FIN is not. */
static bool is_local(int fd)
{
    int family = 0;
    socklen_t n = sizeof family;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &n) == 0 && family == AF_UNIX;
}

static bool has_hung_up(int fd)
{
    struct pollfd p = { .fd = fd };
    return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

typedef struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 what;
} question;

/* Asks for the socket at the other end: source and destination are exchanged. */
static bool make_question(int fd, question *q)
{
    struct sockaddr_storage ours, theirs;
    socklen_t n = sizeof ours, m = sizeof theirs;
    *q = (question){ .head = { .nlmsg_len = sizeof *q,
                               .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                               .nlmsg_flags = NLM_F_REQUEST } };
    if (getsockname(fd, (struct sockaddr *)&ours, &n) != 0 ||
        getpeername(fd, (struct sockaddr *)&theirs, &m) != 0)
        return false;
    struct inet_diag_sockid *id = &q->what.id;
    q->what.sdiag_family = (__u8)ours.ss_family;
    q->what.sdiag_protocol = IPPROTO_TCP;
    q->what.idiag_states = UINT32_MAX;
    id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return put_end(&theirs, &id->idiag_sport, id->idiag_src) &&
           put_end(&ours, &id->idiag_dport, id->idiag_dst);
}

/* The kernel answers before send returns. */
static bool is_held(int netlink, const question *q)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_msg socket;
        char rest[512];
    } answer;
    if (send(netlink, q, sizeof *q, MSG_DONTWAIT) != (ssize_t)sizeof *q) return false;
    ssize_t n = recv(netlink, &answer, sizeof answer, MSG_DONTWAIT);
    return n >= (ssize_t)(sizeof answer.head + sizeof answer.socket) &&
           answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY && answer.socket.idiag_inode != 0;
}

static bool somebody_has_it(int fd)
{
    question q;
    if (!make_question(fd, &q)) return false;
    oaki_fork_hold();
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    bool held = netlink >= 0 && is_held(netlink, &q);
    if (netlink >= 0) close(netlink);
    oaki_fork_release();
    return held;
}

bool oaki_serve_peer_gone(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    if (n > 0) return false;
    return is_local(fd) ? has_hung_up(fd) : !somebody_has_it(fd);
}
