/* serve.h - the inside of the debug server: its files and threads.
 *
 *   serve.c         starting and stopping, forks, the program's exit
 *   serve_listen.c  addresses of TCP, and their sockets
 *   serve_socket.c  the Unix socket and its folder
 *   serve_token.c   the token of TCP, and the cookie
 *   serve_accept.c  which clients get a place
 *   serve_loop.c    the thread for all input and output, and all calls of libmicrohttpd
 *   serve_peer.c    whether a client has gone
 *   serve_http.c    requests: refusals, routes, the answer's headers
 *   serve_work.c    the two threads that make answers which read the heap
 *   serve_routes.c  the list of addresses
 *   serve_json.c, serve_profile.c, serve_trace.c, serve_why.c, metrics.c: the answers
 *   reading.c       readings of the heap: one for all requests within a second
 *
 * The loop's thread never touches the heap and is not attached, so no pause stops it. Workers are
 * attached, and in a blocking region while they hold the lock of the queues. So a stopped worker
 * holds nothing that the loop waits for. A request is suspended until its answer is made. There is
 * one server in a process. */
#ifndef OAKI_SERVE_H
#define OAKI_SERVE_H

#include "body.h"
#include "runtime/fd.h"
#include <netinet/in.h>
#include <oakum/profile.h>
#include <oakum/serve.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>

#define OAKI_SERVE_CLIENTS 64
#define OAKI_SERVE_CLIENTS_MAX 1024
#define OAKI_SERVE_TOKEN_MAX 255
#define OAKI_SERVE_HOST_MAX 255
#define OAKI_SERVE_PLACES 2 /* of TCP */
#define OAKI_SERVE_LISTENERS (OAKI_SERVE_PLACES + 1)
#define OAKI_SERVE_SECRET 32 /* digits of a generated token: 128 bits */
#define OAKI_SERVE_SECONDS_MAX 600 /* the longest difference of profiles, or trace */
/* Most requests at once of these kinds. With fewer than OAKI_SERVE_CLIENTS clients the limit falls
 * in proportion, so that places are left for other requests. */
#define OAKI_SERVE_DIFFS 16 /* requests that wait until they are due */
#define OAKI_SERVE_HEAVY 8  /* requests that the heavy worker has, or that wait for it */

/* ---- requests ---- */

struct MHD_Connection;
struct oaki_client;
typedef struct oaki_request oaki_request;

typedef enum oaki_maker {
    OAKI_MAKER_LOOP,  /* at once: no read of the heap */
    OAKI_MAKER_LIGHT, /* the worker for answers that take milliseconds */
    OAKI_MAKER_HEAVY, /* the worker for answers that may take a minute */
    OAKI_MAKERS
} oaki_maker;

typedef struct oaki_route {
    const char *path;
    oaki_maker maker;
    bool open;        /* needs no token: the answer contains nothing about the program */
    unsigned seconds; /* default time that it waits for */
    void (*make)(oaki_request *r);
    const char *help;
} oaki_route;

typedef enum oaki_request_state {
    OAKI_REQUEST_NEW,
    OAKI_REQUEST_WAITING, /* suspended, until it is due */
    OAKI_REQUEST_QUEUED,  /* suspended; in a worker's queue */
    OAKI_REQUEST_RUNNING,
    OAKI_REQUEST_DONE, /* the loop is to be notified */
    OAKI_REQUEST_READY
} oaki_request_state;

struct oaki_request {
    oaki_request *next;
    const oaki_route *route;
    void *connection;         /* libmicrohttpd's; for the loop alone, like client */
    struct oaki_client *client;
    uint64_t due;             /* monotonic: when its maker gets it again; 0: no more */
    oaki_request_state state; /* from QUEUED on, under the lock of the queues */
    bool abandoned;           /* likewise: no client waits for the answer, the worker frees it */
    /* the parameters */
    bool text;                /* not JSON */
    bool has_address, has_site, has_seconds, has_top;
    uint64_t address, since, site;
    unsigned seconds, top;
    /* the earlier readings of a difference, and the number of collections at that time */
    oak_profile *base, *base_now;
    size_t cycle;
    AO_t trace; /* the trace begun for this request and under way; the light worker's alone */
    /* the answer */
    unsigned status;
    const char *type; /* Content-Type */
    const char *name; /* file name that a browser saves it under, or NULL */
    char nonce[33];   /* of the script in the page */
    oaki_body body;
};

/* Replaces the answer, however much of it is made, by this line with this status. */
void oaki_request_refuse(oaki_request *r, unsigned status, const char *why);
void oaki_request_free(oaki_request *r);

/* ---- serve_routes.c ---- */

/* The route of a path; NULL: none. */
const oaki_route *oaki_route_find(const char *path);

/* Adds a route of the host's, which must live for ever; before the server starts. */
void oaki_route_add(const oaki_route *route);

/* ---- serve_work.c ---- */

/* Starts the workers. They wake the loop when answers are made. 0 or an error number. */
int oaki_works_start(void);
void oaki_works_give(oaki_request *r);
oaki_request_state oaki_works_state(const oaki_request *r);
/* Withdraws a request whose client has gone. false: too late, the answer is being made. */
bool oaki_works_withdraw(oaki_request *r);
/* Takes the list of answers that are made; the loop owns them again. */
oaki_request *oaki_works_take(void);
/* Gives up a request in any state, for the loop: it is freed now, or once its answer is made. */
void oaki_works_abandon(oaki_request *r);
void oaki_works_quit(void);
void oaki_works_join(void);
void oaki_works_child(void);

/* ---- serve.c ---- */

/* Starts the server that OAKUM_DEBUG_SERVE asks for. */
void oaki_serve_from_environment(void);

/* ---- serve_listen.c ---- */

/* Room for a line with the reason of a failure. */
#define OAKI_SERVE_ERROR 512
#define OAKI_SERVE_PATH 108 /* the longest name of a Unix socket */

/* Listeners: those of TCP, then the Unix socket, if there is one. */
typedef struct oaki_listener {
    int fd[OAKI_SERVE_LISTENERS];
    oaki_fd_file file[OAKI_SERVE_LISTENERS]; /* to detect that the program has closed them */
    unsigned n, tcp;                         /* of all, and of TCP */
    int port;                                /* of TCP; 0: none */
    char url[64];                            /* of TCP; or empty */
    char path[OAKI_SERVE_PATH];              /* of the Unix socket; empty: none */
    oaki_fd_file name;                       /* the file at that path */
} oaki_listener;

/* 0; or -1 with errno and a line in error, and nothing is open. No fork happens meanwhile. */
int oaki_listen(const char *address, oaki_listener *out, char error[OAKI_SERVE_ERROR]);
/* 1: a loopback address; 0: another one; -1 with EINVAL: not an address. */
int oaki_listen_is_loopback(const char *address);
void oaki_listen_close(oaki_listener *l);
/* Forgets the descriptors: they are closed in this table, but another table has them still. */
void oaki_listen_let_go(const oaki_listener *l);
/* Whether no listener was closed by the program. They stand for all descriptors of the server: a
 * program that closes those that it doesn't know closes these, too. */
bool oaki_listen_is_whole(const oaki_listener *l);

/* ---- serve_socket.c ---- */

/* Adds the Unix socket. 0, or -1 with errno and a line. No fork happens meanwhile. */
int oaki_socket_open(oaki_listener *out, char error[OAKI_SERVE_ERROR]);
/* Removes the socket's name, if it still names the socket. */
void oaki_socket_remove(oaki_listener *l);
/* The user at the other end of a connection. */
bool oaki_socket_peer(int fd, uid_t *uid);

/* ---- serve_token.c ---- */

/* Makes the token and the cookie, if needed; with `open`, neither is. false: no random numbers. */
bool oaki_token_begin(bool open);
/* The value of a Set-Cookie header. */
void oaki_token_cookie(char *out, size_t n);
/* Whether the token is in this text: by itself, in an Authorization header, in a Cookie header. */
bool oaki_token_is(const char *given);
bool oaki_token_in_header(const char *authorization);
bool oaki_token_in_cookies(const char *cookies);

/* ---- serve_wake.c ---- */

/* 0 or -1 with errno. No fork happens meanwhile. */
int oaki_wake_open(void);
/* Any thread. If the wake-up fails, the loop wakes by itself a second later. */
void oaki_wake(void);
/* Called by the loop's thread: gives it a table of descriptors of its own, if the system can. */
void oaki_wake_part(const oaki_listener *l);
int oaki_wake_fd(void); /* to poll; -1: no thread can wake it any more */
bool oaki_wake_take(void); /* false likewise */
/* Called by the program afterwards: closes the loop's descriptors in the program's table. */
void oaki_wake_hand_over(const oaki_listener *l);
bool oaki_wake_shares(void);   /* does the loop use the program's table? */
bool oaki_wake_is_apart(void); /* has it its own, and all descriptors there alone? */
void oaki_wake_close(void);    /* after the loop has ended, or in a child */

/* ---- serve_loop.c ---- */

typedef enum oaki_client_phase {
    OAKI_CLIENT_READING, /* accepted, or answered: the next request is expected or arriving */
    OAKI_CLIENT_WORKING, /* its answer is being made */
    OAKI_CLIENT_SENDING
} oaki_client_phase;

/* A connection. Once libmicrohttpd was given the descriptor, it closes it; `file` detects that the
 * descriptor was reused. */
typedef struct oaki_client {
    int fd; /* -1: none */
    oaki_fd_file file;
    bool told; /* libmicrohttpd was given it, and closes it */
    bool closing, cut;
    bool nul; /* the client has sent a NUL */
    bool local; /* over the Unix socket */
    bool stranger; /* and by a user other than this one and root */
    unsigned parts, bytes; /* of the arriving request, as far as seen */
    bool bare;             /* and its first line is empty so far */
    oaki_client_phase phase;
    uint64_t since; /* of the phase, monotonic */
    oaki_request *request; /* while it is suspended */
} oaki_client;

typedef struct oaki_server {
    oaki_listener listener;
    void *daemon;
    unsigned int quit; /* AO_int */
    unsigned max_clients, nclients;
    oaki_client *clients; /* max_clients of them */
    uid_t user;
    bool made;                                     /* the token was generated: print it */
    unsigned char token[OAKI_SERVE_TOKEN_MAX + 1]; /* of TCP; empty: none is needed */
    char session[OAKI_SERVE_SECRET + 1];           /* the cookie's value; or empty */
    char host[OAKI_SERVE_HOST_MAX + 1];
} oaki_server;

extern OAKI_HIDDEN oaki_server oaki_the_server;

/* Start of the loop's thread. It opens the daemon itself, and posts `ready`. */
typedef struct oaki_loop_start {
    sem_t ready;
    int error; /* 0, or an error number: the thread has ended */
} oaki_loop_start;

void *oaki_serve_loop(void *start);

/* As pthread_create, with a stack that is large enough, independent of the host's default. */
int oaki_serve_thread_start(pthread_t *id, void *(*fn)(void *), void *arg);

/* Nanoseconds that a client has: `read` for a request, counted from when it was accepted or
 * answered; `send` to take an answer. The slow_ ones replace these while no place is free
 * and another client waits. Tests set smaller ones. */
typedef struct oaki_serve_patience {
    uint64_t read, send, slow_read, slow_send;
} oaki_serve_patience;

extern OAKI_HIDDEN oaki_serve_patience oaki_serve_patiences;

/* In a child: closes the descriptors of the parent's server. */
void oaki_serve_loop_child(void);

/* ---- serve_accept.c, for the loop's thread ---- */

/* Is no place free for a client over TCP, or of the Unix socket (local)? */
bool oaki_accept_is_full(bool local);
/* Accepts waiting clients, as long as there are places. */
void oaki_accept_all(int listen_fd, bool local);
/* Nobody can be accepted: says so once, and rests. */
void oaki_accept_refused(int error);
/* Has accept failed a moment ago? The listeners are left alone then. */
bool oaki_accept_rests(void);

/* ---- serve_loop.c ---- */

/* For the loop's thread. */
oaki_client *oaki_client_of(struct MHD_Connection *c);
void oaki_client_enter(oaki_client *c, oaki_client_phase phase);
/* Gives the request to its maker; its client is suspended. */
void oaki_client_suspend(oaki_client *c, oaki_request *r);
/* Whether the limit is reached: of requests that wait until they are due, or of those for the heavy
 * worker. */
bool oaki_client_diffs_full(void);
bool oaki_client_heavy_full(void);

/* Blocks all signals and sets the thread's name; for threads that a server starts. */
void oaki_serve_thread_begin(const char *name);

/* ---- serve_peer.c ---- */

/* Has the client gone? One that only stopped sending has not. */
bool oaki_serve_peer_gone(int fd);

/* ---- serve_http.c ---- */

/* Decodes a part of an address in place; returns its length. An encoded NUL stays encoded, as no
 * valid parameter contains one. */
size_t oaki_http_unescape(char *s);

/* A request has arrived, or more of it, or its answer can be sent. false: cut the connection. */
bool oaki_http_request(struct MHD_Connection *c, const char *path, const char *method,
                       size_t *upload, void **context);

/* May a request have this Host header? `name`, unless empty, is allowed too. */
bool oaki_http_host_allowed(const char *host, const char *name);

#endif
