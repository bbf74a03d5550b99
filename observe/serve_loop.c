/* serve_loop.c - the thread for all the server's input and output.
 *
 * It accepts, lets libmicrohttpd read and write, and limits how long a client may stay.
 *
 * Owns: the_server's daemon and clients. Once the daemon is there, only this thread calls
 * libmicrohttpd. In a child of a fork, where it doesn't run, open descriptors are only closed.
 * Invariants: each connection has a client from before libmicrohttpd knows of it until after it was
 * closed. libmicrohttpd gets a connection only when there are bytes to read. So look_ahead sees a
 * first request before libmicrohttpd does.
 * Bound: max_clients connections, and a time limit for each (serve.h). If no place is free and
 * another client waits, the slowest one is cut earlier. */
#include "foreign.h"
#include "gc/event.h"
#include "mhd.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include "serve.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define LOOK_MS 250  /* between checks of the time limits, while there are clients */
#define IDLE_MS 1000 /* in case a wake-up for the end is lost (serve_wake.c) */
#define TIMEOUT_S ((unsigned)(oaki_serve_patiences.send / SECOND) + 1) /* libmicrohttpd's */
#define STACK ((size_t)1 << 20) /* libdw recurses as deep as scopes are nested */
#define MEMORY_OF_CONNECTION ((size_t)48 << 10) /* headers of both directions, and their parts */
#define HEAD_MAX 16384 /* most bytes of a request */
#define PARTS_MAX 128  /* most arguments, headers and cookies: some 60 bytes of memory each */

oaki_serve_patience oaki_serve_patiences = { 15 * SECOND, 30 * SECOND, SECOND, 5 * SECOND };

static oaki_server *const self = &oaki_the_server;
static bool awake; /* the loop can be woken */
static bool broken; /* libmicrohttpd has failed, or lost its descriptors */

int oaki_serve_thread_start(pthread_t *id, void *(*fn)(void *), void *arg)
{
    pthread_attr_t attr;
    size_t usual = 0;
    int e = pthread_attr_init(&attr);
    if (e != 0) return e;
    (void)pthread_attr_getstacksize(&attr, &usual);
    if (usual < STACK) (void)pthread_attr_setstacksize(&attr, STACK);
    e = pthread_create(id, &attr, fn, arg);
    pthread_attr_destroy(&attr);
    return e;
}

void oaki_serve_thread_begin(const char *name)
{
    oaki_thread_mask_signals();
    pthread_setname_np(pthread_self(), name);
}

/* ---- clients ---- */

static bool is_open(const oaki_client *c)
{
    return oaki_fd_is(c->fd, &c->file);
}

static oaki_client *client_with(int fd)
{
    for (unsigned i = 0; i < self->max_clients; i++)
        if (self->clients[i].fd == fd && !self->clients[i].closing) return &self->clients[i];
    return NULL;
}

oaki_client *oaki_client_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        oaki_mhd.MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? client_with(info->connect_fd) : NULL;
}

void oaki_client_enter(oaki_client *c, oaki_client_phase phase)
{
    c->phase = phase;
    c->parts = c->bytes = 0;
    c->since = oaki_os_now_ns();
}

/* When a connection resumes, libmicrohttpd reads from it before it asks for the answer. If the
 * client has shut down its side, libmicrohttpd closes the connection instead. But it asks first for
 * connections with a time limit other than the daemon's. */
static void have_asked_first(struct MHD_Connection *c)
{
    (void)oaki_mhd.MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, TIMEOUT_S + 1);
}

void oaki_client_suspend(oaki_client *c, oaki_request *r)
{
    oaki_client_enter(c, OAKI_CLIENT_WORKING);
    c->request = r;
    r->client = c;
    have_asked_first(r->connection);
    oaki_mhd.MHD_suspend_connection(r->connection);
    oaki_works_give(r);
}

/* Calls libmicrohttpd, unless it has failed before. */
static void call(void (*fn)(void *ctx), void *ctx)
{
    if (!broken && !oaki_foreign_try(fn, ctx)) broken = true;
}

static void resume_it(void *connection)
{
    oaki_mhd.MHD_resume_connection(connection);
}

static void resume(oaki_client *c)
{
    oaki_request *r = c->request;
    c->request = NULL;
    call(resume_it, r->connection);
}

/* The share of `most` per OAKI_SERVE_CLIENTS places for the actual number of places; at least
 * one. */
static unsigned share(unsigned most)
{
    unsigned n = self->max_clients / (OAKI_SERVE_CLIENTS / most);
    return OAKI_MAX(OAKI_MIN(n, most), 1u);
}

static unsigned count(bool (*is_one)(const oaki_request *r))
{
    unsigned n = 0;
    for (unsigned i = 0; i < self->max_clients; i++) {
        const oaki_client *c = &self->clients[i];
        n += c->fd >= 0 && c->request && is_one(c->request);
    }
    return n;
}

static bool is_diff(const oaki_request *r)
{
    return r->has_seconds;
}

static bool is_heavy(const oaki_request *r)
{
    return r->route->maker == OAKI_MAKER_HEAVY;
}

bool oaki_client_diffs_full(void)
{
    return count(is_diff) >= share(OAKI_SERVE_DIFFS);
}

bool oaki_client_heavy_full(void)
{
    return count(is_heavy) >= share(OAKI_SERVE_HEAVY);
}

/* libmicrohttpd then reads an end of file, and closes the connection. */
static void cut(oaki_client *c)
{
    if (c->cut) return;
    c->cut = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* libmicrohttpd silently closes a connection without memory for the parts of a request. So a client
 * that sends too many or too much gets its answer here. */
static void refuse_by_hand(oaki_client *c, bool first_line)
{
    static const char format[] = "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Length: %u\r\nConnection: close\r\n\r\n%s";
    static const char why[] = "a request has 16 KiB and 128 parts at most\n";
    char text[320];
    size_t n = oaki_format(text, sizeof text, format,
                           first_line ? "414 URI Too Long" : "431 Request Header Fields Too Large",
                           (unsigned)sizeof why - 1, why);
    OAKI_ASSERT(n < sizeof text);
    (void)send(c->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    cut(c);
}

/* Counts arguments, cookies and lines, up to a blank line, which ends a request. true: too many. */
static bool count_parts(oaki_client *c, const char *buf, size_t n)
{
    bool first_line = c->bytes == 0;
    for (size_t i = 0; i < n; i++) {
        bool line = buf[i] == '\n', blank = line && c->bare;
        if (line) first_line = false;
        c->bare = line || (c->bare && buf[i] == '\r');
        c->parts += line || buf[i] == '&' || buf[i] == ';';
        if (++c->bytes > HEAD_MAX || c->parts > PARTS_MAX) {
            refuse_by_hand(c, first_line);
            return true;
        }
        if (!blank) continue;
        c->parts = c->bytes = 0;
        first_line = true;
    }
    return false;
}

/* No request contains a NUL, but libmicrohttpd takes one for the end of the text around it. So the
 * input is searched before libmicrohttpd reads it. Input that arrives in between is not checked,
 * which harms only its sender. A client that has shut down its side and has all answers is closed
 * here, as libmicrohttpd may miss the end. */
static void look_ahead(char *buf)
{
    for (unsigned i = 0; i < self->max_clients; i++) {
        oaki_client *c = &self->clients[i];
        if (c->fd < 0 || !c->told || c->closing || c->cut || c->nul) continue;
        if (c->phase != OAKI_CLIENT_READING) continue;
        ssize_t n = recv(c->fd, buf, MEMORY_OF_CONNECTION, MSG_PEEK | MSG_DONTWAIT);
        if (n == 0) cut(c);
        if (n <= 0 || count_parts(c, buf, (size_t)n)) continue;
        c->nul = memchr(buf, '\0', (size_t)n);
    }
}

/* ---- accepting ---- */

/* Puts the clients that have sent nothing yet into `out`. */
static nfds_t silent_ones(struct pollfd *out)
{
    nfds_t n = 0;
    for (unsigned i = 0; i < self->max_clients; i++) {
        const oaki_client *c = &self->clients[i];
        if (c->fd >= 0 && !c->told) out[n++] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
    }
    return n;
}

/* Closes the connection if libmicrohttpd doesn't take it. */
static void add_it(void *client)
{
    oaki_client *c = client;
    struct sockaddr_storage addr = { .ss_family = AF_INET };
    socklen_t len = sizeof addr;
    if (getpeername(c->fd, (struct sockaddr *)&addr, &len) != 0) len = sizeof(struct sockaddr_in);
    c->told = true;
    if (oaki_mhd.MHD_add_connection(self->daemon, c->fd, (struct sockaddr *)&addr, len) != MHD_YES)
        c->closing = true;
}

static void tell(oaki_client *c)
{
    call(add_it, c);
}

/* ---- time limits ---- */

/* For a request that waits for a difference of profiles, or for a worker. Is it due, or has its
 * client gone? */
static void look_at_working(oaki_client *c, uint64_t now)
{
    oaki_request *r = c->request;
    if (!r) return;
    oaki_request_state state = oaki_works_state(r);
    if (state == OAKI_REQUEST_WAITING && now >= r->due) {
        r->due = 0;
        oaki_works_give(r);
    } else if ((state == OAKI_REQUEST_WAITING || state == OAKI_REQUEST_QUEUED) &&
               oaki_serve_peer_gone(c->fd) && oaki_works_withdraw(r)) {
        cut(c);
        resume(c);
    }
}

static uint64_t patience_with(const oaki_client *c)
{
    const oaki_serve_patience *p = &oaki_serve_patiences;
    return c->phase == OAKI_CLIENT_READING ? p->read : p->send;
}

static uint64_t short_patience_with(const oaki_client *c)
{
    const oaki_serve_patience *p = &oaki_serve_patiences;
    return c->phase == OAKI_CLIENT_READING ? p->slow_read : p->slow_send;
}

static void look_at_clocks(uint64_t now)
{
    for (unsigned i = 0; i < self->max_clients; i++) {
        oaki_client *c = &self->clients[i];
        if (c->fd < 0 || c->closing) continue;
        uint64_t age = now - c->since;
        if (c->phase == OAKI_CLIENT_WORKING) look_at_working(c, now);
        else if (age > patience_with(c)) cut(c);
    }
}

/* A client waits for a place, and none is free for it: cuts the slowest client. */
static void make_way(uint64_t now, bool local)
{
    oaki_client *slowest = NULL;
    for (unsigned i = 0; i < self->max_clients; i++) {
        oaki_client *c = &self->clients[i];
        if (c->fd < 0 || (c->local && !local)) continue;
        if (c->closing || c->cut || c->phase == OAKI_CLIENT_WORKING) continue;
        if (now - c->since < short_patience_with(c)) continue;
        if (!slowest || c->since < slowest->since) slowest = c;
    }
    if (slowest) cut(slowest);
}

/* A connection that libmicrohttpd has closed frees its client's place. */
static void forget_closed(void)
{
    for (unsigned i = 0; i < self->max_clients; i++) {
        oaki_client *c = &self->clients[i];
        if (c->fd < 0 || !c->closing || is_open(c)) continue;
        c->fd = -1;
        self->nclients--;
    }
}

/* ---- answers from workers ---- */

static void take_answers(void)
{
    oaki_request *next;
    awake = oaki_wake_take();
    for (oaki_request *r = oaki_works_take(); r; r = next) {
        next = r->next;
        r->next = NULL;
        if (r->due != 0)
            r->state = OAKI_REQUEST_WAITING;
        else
            resume(r->client);
    }
}

/* ---- the thread ---- */

static void ask_timeout(void *out)
{
    MHD_UNSIGNED_LONG_LONG ms;
    unsigned *limit = out;
    if (oaki_mhd.MHD_get_timeout(self->daemon, &ms) == MHD_YES)
        *limit = (unsigned)OAKI_MIN(ms, (MHD_UNSIGNED_LONG_LONG)*limit);
}

static int timeout_of(void)
{
    unsigned limit = self->nclients > 0 || !awake ? LOOK_MS : IDLE_MS;
    call(ask_timeout, &limit);
    return (int)limit;
}

static void ask_epoll(void *out)
{
    const union MHD_DaemonInfo *info =
        oaki_mhd.MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info) *(int *)out = info->epoll_fd;
}

static int epoll_fd(void)
{
    int fd = -1;
    call(ask_epoll, &fd);
    return fd;
}

static bool waits(int listen_fd)
{
    struct pollfd one = { .fd = listen_fd, .events = POLLIN };
    return poll(&one, 1, 0) > 0;
}

/* Waits until there is something to do. With no place free, waiting clients are not accepted, only
 * detected. Those of the Unix socket, which is last, come first. If the descriptors may be others'
 * now, nothing more is done with them. */
static void wait_and_accept(int epoll)
{
    static struct pollfd fds[2 + OAKI_SERVE_CLIENTS_MAX + OAKI_SERVE_LISTENERS]; /* of one thread */
    fds[0] = (struct pollfd){ .fd = oaki_wake_fd(), .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = epoll, .events = POLLIN };
    nfds_t silent = silent_ones(&fds[2]), n = self->listener.n;
    struct pollfd *listeners = &fds[2 + silent];
    bool skip = oaki_accept_rests();
    for (unsigned i = 0; i < n; i++) {
        bool out = skip || oaki_accept_is_full(i >= self->listener.tcp);
        listeners[i] = (struct pollfd){ .fd = out ? -1 : self->listener.fd[i], .events = POLLIN };
    }
    int ready = poll(fds, 2 + silent + n, timeout_of());
    /* EINVAL: the limit of descriptors is below their number here; it may be raised again */
    if (ready < 0 && errno != EINTR) {
        oaki_accept_refused(errno);
        oaki_os_sleep_ns(LOOK_MS * UINT64_C(1000000));
    }
    broken |= !oaki_listen_is_whole(&self->listener);
    if (ready < 0 || broken) return;
    for (nfds_t i = 0; i < silent; i++)
        if (fds[2 + i].revents) tell(client_with(fds[2 + i].fd));
    for (nfds_t i = n; i-- > 0 && !skip;) {
        bool local = i >= self->listener.tcp;
        if (listeners[i].revents) oaki_accept_all(self->listener.fd[i], local);
        else if (listeners[i].fd < 0 && waits(self->listener.fd[i]))
            make_way(oaki_os_now_ns(), local);
    }
}

static void stop_it(void *daemon)
{
    oaki_mhd.MHD_stop_daemon(daemon);
}

/* Closes the connections that a broken libmicrohttpd left. Its memory stays. */
static void close_broken(void)
{
    for (unsigned i = 0; i < self->max_clients; i++) {
        oaki_client *c = &self->clients[i];
        if (c->fd >= 0 && c->request) oaki_works_abandon(c->request);
        if (c->fd >= 0 && c->told && is_open(c)) close(c->fd);
    }
    oaki_listen_let_go(&self->listener);
}

/* The caller of libmicrohttpd must resume the connections that it has suspended. */
static void close_daemon(void)
{
    for (unsigned i = 0; !broken && i < self->max_clients; i++)
        if (self->clients[i].fd >= 0 && self->clients[i].request) resume(&self->clients[i]);
    call(stop_it, self->daemon);
    self->daemon = NULL;
    if (broken) close_broken();
    for (unsigned i = 0; i < self->max_clients; i++) {
        const oaki_client *c = &self->clients[i];
        if (c->fd >= 0 && !c->told && is_open(c)) close(c->fd);
    }
}

static void run_it(void *daemon)
{
    (void)oaki_mhd.MHD_run(daemon);
}

static void run(void)
{
    int epoll = epoll_fd();
    static char buf[MEMORY_OF_CONNECTION]; /* static: used by one thread */
    while (!AO_int_load_acquire(&self->quit) && !broken) {
        wait_and_accept(epoll);
        if (broken) break;
        take_answers();
        look_at_clocks(oaki_os_now_ns());
        look_ahead(buf);
        call(run_it, self->daemon);
        forget_closed();
    }
    close_daemon();
}

/* ---- libmicrohttpd's callbacks ---- */

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_n, void **request)
{
    (void)ctx, (void)version, (void)upload;
    return oaki_http_request(c, path, method, upload_n, request) ? MHD_YES : MHD_NO;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode why)
{
    (void)ctx, (void)why;
    oaki_client *c = oaki_client_of(connection);
    if (c) oaki_client_enter(c, OAKI_CLIENT_READING);
    if (*request) oaki_works_abandon(*request);
    *request = NULL;
}

static size_t on_escaped(void *ctx, struct MHD_Connection *c, char *s)
{
    (void)ctx, (void)c;
    return oaki_http_unescape(s);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **unused,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)ctx, (void)unused;
    oaki_client *c = what == MHD_CONNECTION_NOTIFY_CLOSED ? oaki_client_of(connection) : NULL;
    if (c) c->closing = true;
}

/* Opens the daemon, with these limits and without a listener. *error: 0, or an error number. */
static void open_it(void *error)
{
    oaki_mhd.MHD_set_panic_func(oaki_mhd_panic, NULL);
    self->daemon = oaki_mhd.MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        (MHD_AccessHandlerCallback)on_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL, MHD_OPTION_CONNECTION_LIMIT,
        self->max_clients, MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_OF_CONNECTION,
        MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, on_escaped, NULL,
        MHD_OPTION_END);
    int e = oaki_foreign_errno();
    *(int *)error = self->daemon ? 0 : e ? e : ENOMEM;
}

/* 0 or an error number. */
static int open_daemon(void)
{
    int error = ENOMEM;
    broken = false;
    self->clients = calloc(self->max_clients, sizeof *self->clients);
    if (!self->clients) return ENOMEM;
    for (unsigned i = 0; i < self->max_clients; i++) self->clients[i].fd = -1;
    self->nclients = 0;
    call(open_it, &error);
    return error;
}

/* start belongs to the caller, until `ready` is posted. */
void *oaki_serve_loop(void *arg)
{
    oaki_loop_start *start = arg;
    oaki_serve_thread_begin("oakum/serve");
    oaki_wake_part(&self->listener);
    int error = open_daemon();
    awake = true;
    start->error = error;
    sem_post(&start->ready);
    if (error == 0) run();
    if (oaki_wake_is_apart()) oaki_listen_close(&self->listener);
    return NULL;
}

static void close_what_is_open(void)
{
    if (self->daemon && oaki_listen_is_whole(&self->listener)) close(epoll_fd());
    for (unsigned i = 0; self->clients && i < self->max_clients; i++)
        if (self->clients[i].fd >= 0 && is_open(&self->clients[i])) close(self->clients[i].fd);
}

/* The memory of libmicrohttpd's daemon stays, as its state is unknown. */
void oaki_serve_loop_child(void)
{
    if (oaki_wake_shares()) close_what_is_open();
    self->daemon = NULL;
    self->clients = NULL;
    self->nclients = 0;
}
