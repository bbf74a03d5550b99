/* serve.h - the debug server's inside: who does what.
 *
 * serve.c        starting and stopping, forks, the end of the program
 * serve_listen.c addresses of TCP, and their sockets
 * serve_socket.c the Unix socket and its folder
 * serve_token.c  the token of TCP, and the cookie
 * serve_loop.c   the thread that does all input and output, and all that is libmicrohttpd's
 * serve_peer.c   whether a client has gone
 * serve_http.c   requests: what is refused, which route, the answer's headers
 * serve_work.c   the two threads that make answers which read the heap
 * serve_routes.c the list of addresses
 * serve_json.c, serve_profile.c, serve_trace.c, serve_why.c, metrics.c  the answers
 * reading.c      what the answers are made of: one reading for all that ask within a second
 *
 * The loop's thread never touches the heap, is not attached, and so no stop knows of it. Workers
 * are attached, and in a blocking region whenever they hold the lock of the queues: so a stopped
 * one holds nothing that the loop waits for. A request waits suspended until its answer is made.
 * There is one server in a process. */
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
#define OAKI_SERVE_SECRET 32 /* digits of a token that is made: 128 bits */
#define OAKI_SERVE_SECONDS_MAX 600 /* of a difference of profiles, and of a trace */
/* At once, and never more than the part of all clients that this is of OAKI_SERVE_CLIENTS: so there
 * are places left for others. */
#define OAKI_SERVE_DIFFS 16 /* requests that wait for their time */
#define OAKI_SERVE_HEAVY 8  /* that the heavy worker has, or is to have */

/* ---- requests ---- */

struct MHD_Connection;
struct oaki_client;
typedef struct oaki_request oaki_request;

typedef enum oaki_maker {
    OAKI_MAKER_LOOP,  /* at once: nothing of the heap is read */
    OAKI_MAKER_LIGHT, /* the worker for what takes milliseconds */
    OAKI_MAKER_HEAVY, /* the worker for what may take a minute */
    OAKI_MAKERS
} oaki_maker;

typedef struct oaki_route {
    const char *path;
    oaki_maker maker;
    bool open;        /* no token is asked for: it says nothing of the program */
    unsigned seconds; /* that it waits for, if not told otherwise */
    void (*make)(oaki_request *r);
    const char *help;
} oaki_route;

typedef enum oaki_request_state {
    OAKI_REQUEST_NEW,
    OAKI_REQUEST_WAITING, /* suspended, until it is due */
    OAKI_REQUEST_QUEUED,  /* suspended; a worker has it, or will */
    OAKI_REQUEST_RUNNING,
    OAKI_REQUEST_DONE, /* the loop is to be told */
    OAKI_REQUEST_READY
} oaki_request_state;

struct oaki_request {
    oaki_request *next;
    const oaki_route *route;
    void *connection;         /* libmicrohttpd's; the loop's alone, as client */
    struct oaki_client *client;
    uint64_t due;             /* monotonic: when it is to be given to its maker again; 0: no more */
    oaki_request_state state; /* from QUEUED on under the lock of the queues */
    bool abandoned;           /* likewise: nobody waits for the answer, the worker frees it */
    /* what is asked for */
    bool text;                /* not JSON */
    bool has_address, has_site, has_seconds, has_top;
    uint64_t address, since, site;
    unsigned seconds, top;
    /* the earlier readings of a difference, and the collections that were over then */
    oak_profile *base, *base_now;
    size_t cycle;
    AO_t trace; /* that was begun for it, and is under way; the light worker's alone */
    /* the answer */
    unsigned status;
    const char *type; /* Content-Type */
    const char *name; /* under which a browser saves it, or NULL */
    char nonce[33];   /* of the page's script */
    oaki_body body;
};

/* The answer is this line, with this status, instead of what was made so far. */
void oaki_request_refuse(oaki_request *r, unsigned status, const char *why);
void oaki_request_free(oaki_request *r);

/* ---- serve_routes.c ---- */

/* NULL: no such address. */
const oaki_route *oaki_route_find(const char *path);

/* One more, of a host's own, that lives for ever; before the server starts. */
void oaki_route_add(const oaki_route *route);

/* ---- serve_work.c ---- */

/* Start the workers, who wake the loop when answers are made. 0 or an error number. */
int oaki_works_start(void);
void oaki_works_give(oaki_request *r);
oaki_request_state oaki_works_state(const oaki_request *r);
/* Nobody waits for the answer. false: it is too late, it is being made. */
bool oaki_works_withdraw(oaki_request *r);
/* Answers that have been made, as a list; their owner is the loop again. */
oaki_request *oaki_works_take(void);
/* The loop has no use for it any more, whatever its state: freed now or when it has been made. */
void oaki_works_abandon(oaki_request *r);
void oaki_works_quit(void);
void oaki_works_join(void);
void oaki_works_child(void);

/* ---- serve.c ---- */

/* Start what OAKUM_DEBUG_SERVE asks for. */
void oaki_serve_from_environment(void);

/* ---- serve_listen.c ---- */

/* Room for a line that says what is wrong. */
#define OAKI_SERVE_ERROR 512
#define OAKI_SERVE_PATH 108 /* that a Unix socket's name may have */

/* Places of TCP, then the Unix socket, if there is one. */
typedef struct oaki_listener {
    int fd[OAKI_SERVE_LISTENERS];
    oaki_fd_file file[OAKI_SERVE_LISTENERS]; /* the program may have closed them */
    unsigned n, tcp;                         /* all, and those of TCP */
    int port;                                /* of TCP; 0: none */
    char url[64];                            /* likewise; or empty */
    char path[OAKI_SERVE_PATH];              /* of the Unix socket; empty: none */
    oaki_fd_file name;                       /* what has that path */
} oaki_listener;

/* 0; or -1 with errno and a line in error, and nothing is open. A fork never comes in between. */
int oaki_listen(const char *address, oaki_listener *out, char error[OAKI_SERVE_ERROR]);
/* Is it one, and is it loopback? -1 with EINVAL. */
int oaki_listen_is_loopback(const char *address);
void oaki_listen_close(oaki_listener *l);
/* Closed in this table of descriptors; another one has them still. */
void oaki_listen_let_go(const oaki_listener *l);

/* ---- serve_socket.c ---- */

/* One more listener; 0, or -1 with errno and a line. A fork never comes in between. */
int oaki_socket_open(oaki_listener *out, char error[OAKI_SERVE_ERROR]);
/* Its name goes, if it is still the socket's. */
void oaki_socket_remove(oaki_listener *l);
/* Which user has connected. */
bool oaki_socket_peer(int fd, uid_t *uid);

/* ---- serve_token.c ---- */

/* Make what is needed; with `open` nothing is. false: there are no random numbers. */
bool oaki_token_begin(bool open);
/* The value of a Set-Cookie header. */
void oaki_token_cookie(char *out, size_t n);
/* Is it there? By itself, and in the headers Authorization and Cookie. */
bool oaki_token_is(const char *given);
bool oaki_token_in_header(const char *authorization);
bool oaki_token_in_cookies(const char *cookies);

/* ---- serve_wake.c ---- */

/* 0 or -1 with errno. A fork never comes in between. */
int oaki_wake_open(void);
/* Any thread. Or the loop looks around a second later. */
void oaki_wake(void);
/* By the loop's thread: a table of descriptors of its own from here on, if the system has it. */
void oaki_wake_part(const oaki_listener *l);
int oaki_wake_fd(void); /* to poll; -1: nobody can wake it any more */
bool oaki_wake_take(void); /* false likewise */
/* By the program, after that: what the loop has in its own table is closed in the program's. */
void oaki_wake_hand_over(const oaki_listener *l);
bool oaki_wake_is_apart(void); /* it is so */
void oaki_wake_close(void);    /* after the loop has ended, or in a child */

/* ---- serve_loop.c ---- */

typedef enum oaki_client_phase {
    OAKI_CLIENT_READING, /* accepted, or answered: a request is to come, or coming */
    OAKI_CLIENT_WORKING, /* its answer is being made */
    OAKI_CLIENT_SENDING
} oaki_client_phase;

/* A connection. The descriptor is libmicrohttpd's to close once it was told of it; `file` tells
 * whether it is still the same. */
typedef struct oaki_client {
    int fd; /* -1: none */
    oaki_fd_file file;
    bool told; /* libmicrohttpd has been, and closes it */
    bool closing, cut;
    bool nul; /* it has sent one */
    bool local; /* by the Unix socket, */
    bool stranger; /* and neither this user nor root */
    unsigned parts, bytes; /* of the request that is coming, as far as they were seen, */
    bool bare;             /* and its line has nothing in it yet */
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
    bool made;                                     /* the token was, and is to be told */
    unsigned char token[OAKI_SERVE_TOKEN_MAX + 1]; /* of TCP; empty: none is asked for */
    char session[OAKI_SERVE_SECRET + 1];           /* what a cookie has instead; or empty */
    char host[OAKI_SERVE_HOST_MAX + 1];
} oaki_server;

extern OAKI_HIDDEN oaki_server oaki_the_server;

/* What the loop's thread begins with. It opens the daemon itself, and tells. */
typedef struct oaki_loop_start {
    sem_t ready;
    int error; /* 0, or an error number: it has ended */
} oaki_loop_start;

void *oaki_serve_loop(void *start);

/* As pthread_create, with a stack that is large enough whatever the host's usual one is. */
int oaki_serve_thread_start(pthread_t *id, void *(*fn)(void *), void *arg);

/* Nanoseconds that a client has: for a request, from when it was accepted or answered; to take an
 * answer; and the same while others wait for its place. Tests have less patience. */
typedef struct oaki_serve_patience {
    uint64_t read, send, slow_read, slow_send;
} oaki_serve_patience;

extern OAKI_HIDDEN oaki_serve_patience oaki_serve_patiences;

/* In a child: close what the parent has open. */
void oaki_serve_loop_child(void);
/* For the loop's thread. */
oaki_client *oaki_client_of(struct MHD_Connection *c);
void oaki_client_enter(oaki_client *c, oaki_client_phase phase);
/* Give it to its maker; its client waits. */
void oaki_client_suspend(oaki_client *c, oaki_request *r);
/* Are there as many already as may be, of requests that wait for their time, or for the heavy
 * worker? */
bool oaki_client_diffs_full(void);
bool oaki_client_heavy_full(void);

/* Block all signals, and a name. For threads that a server starts. */
void oaki_serve_thread_begin(const char *name);

/* ---- serve_peer.c ---- */

/* Has the client gone? Not one that only sends no more. */
bool oaki_serve_peer_gone(int fd);

/* ---- serve_http.c ---- */

/* Decode a part of an address in place; its length. What stands for a NUL stays as it is, as
 * nothing that is asked for has one. */
size_t oaki_http_unescape(char *s);

/* A request, or more of it, or its answer can be sent. false: cut the connection. */
bool oaki_http_request(struct MHD_Connection *c, const char *path, const char *method,
                       size_t *upload, void **context);

/* May a request have this Host header? `name` is one more that it may have, or empty. */
bool oaki_http_host_allowed(const char *host, const char *name);

#endif
