/* http.h - a client for tests of the debug server: plain sockets, no more than a request needs. */
#ifndef TESTS_OBSERVE_HTTP_H
#define TESTS_OBSERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct http_answer {
    int status;  /* 0: the connection ended without one */
    char *head;  /* status line and headers, with a NUL */
    char *body;  /* with a NUL */
    size_t n;    /* of the body */
} http_answer;

/* Start the server; false, and the reason printed, when libmicrohttpd is not there. NULL is a free
 * port of TCP, open to all unless there is a token; "1" is the Unix socket alone. http_port is 0
 * then, and http_connect goes there. */
struct oak_serve_options;
bool http_skip(void); /* true, and a line says so: there is no libmicrohttpd */
bool http_serve(const char *address, const struct oak_serve_options *options);
extern int http_port;
const char *http_socket(void); /* the path of the Unix socket, which there is always */

/* Open ones of the program, and of the server's loop, which has its own. */
size_t http_descriptors(void);

int http_connect(void);                  /* a socket; reads on it end after 20 s */
int http_connect_local(void);            /* the same, of the Unix socket */
void http_send(int fd, const char *text);
/* The next answer on the socket: as long as its Content-Length says, none for a HEAD. */
http_answer http_receive(int fd, bool head);
bool http_ended(int fd);                 /* read until the end: it came, or a reset */

/* One request on a connection of its own; `headers` are lines with their ends, or "". */
http_answer http_ask(const char *method, const char *path, const char *headers);
http_answer http_get(const char *path);  /* which must be 200 */

/* A header's value, until this thread asks again; or NULL. */
const char *http_header(const http_answer *a, const char *name);

#endif
