/* serve_accept.c - the places of the debug server, and which clients get one (serve.h).
 *
 * Owns: the clients' table, with serve_loop.c. Lock: none, it is the loop's thread's alone. Bound:
 * O(max_clients). */
#include "runtime/fd.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include "serve.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEPT 8 /* one place of so many is left to the Unix socket */
#define REST_NS UINT64_C(250000000)

static oaki_server *const self = &oaki_the_server;
static uint64_t refused_ns; /* when accept last failed; 0: never */

static oaki_client *free_client(void)
{
    for (unsigned i = 0; i < self->max_clients; i++)
        if (self->clients[i].fd < 0) return &self->clients[i];
    return NULL;
}

/* Clients over TCP leave these places to the Unix socket, where it is open too. */
static unsigned kept_places(void)
{
    bool both = self->listener.tcp > 0 && self->listener.n > self->listener.tcp;
    unsigned n = self->max_clients / KEPT;
    return !both ? 0 : OAKI_MAX(n, self->max_clients >= 4);
}

bool oaki_accept_is_full(bool local)
{
    unsigned n = kept_places();
    if (self->nclients >= self->max_clients) return true;
    for (unsigned i = 0; i < self->max_clients && !local; i++)
        n += self->clients[i].fd >= 0 && !self->clients[i].local;
    return !local && n >= self->max_clients;
}

/* Over the Unix socket only this user and root are served, even if the mode of its file was
 * changed. */
static void note_peer(oaki_client *c, bool local)
{
    uid_t uid;
    c->local = local;
    c->stranger = local && !(oaki_socket_peer(c->fd, &uid) && (uid == self->user || uid == 0));
}

/* No waiting client can be accepted: there is no free descriptor, or no memory. Reported once. The
 * listeners, which stay readable, are left out of poll for a moment, so that the loop doesn't
 * spin. */
void oaki_accept_refused(int error)
{
    static bool said;
    if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ECONNABORTED) return;
    refused_ns = oaki_os_now_ns();
    if (!said)
        oaki_log("oakum: debug server: clients wait, as none can be accepted: %s\n",
                 oaki_error_text(error));
    said = true;
}

bool oaki_accept_rests(void)
{
    return refused_ns && oaki_os_now_ns() - refused_ns < REST_NS;
}

/* Forks are held meanwhile: a child knows all descriptors that it must close. */
static oaki_client *accept_one(int listen_fd, bool local)
{
    oaki_fd_file file;
    oaki_client *c = oaki_accept_is_full(local) ? NULL : free_client();
    if (!c) return NULL;
    oaki_fork_hold();
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) oaki_accept_refused(errno);
    if (fd >= 0 && !oaki_fd_note(fd, &file)) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0) {
        *c = (oaki_client){ .fd = fd, .file = file };
        note_peer(c, local);
        self->nclients++;
    }
    oaki_fork_release();
    return fd >= 0 ? c : NULL;
}

void oaki_accept_all(int listen_fd, bool local)
{
    for (oaki_client *c; (c = accept_one(listen_fd, local)) != NULL;)
        oaki_client_enter(c, OAKI_CLIENT_READING);
}
