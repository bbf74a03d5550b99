/* serve.h - the debug server: a small HTTP server in the program that shows its heap. It has a
 * dashboard, metrics for Prometheus, heap profiles for pprof, and the state as JSON. docs/serve.md
 * lists the addresses.
 *
 * The server is off at first. The variable OAKUM_DEBUG_SERVE=1 starts it in any program, at the
 * first use of the heap. The server answers only GET and HEAD, and changes nothing in the program.
 * Its threads block all signals. Those that read the heap are attached, and wait in blocking
 * regions. A collection waits for no client. The first start of a server loads libmicrohttpd
 * (Debian: libmicrohttpd12).
 *
 * A server always listens on a Unix socket: PID.sock in $XDG_RUNTIME_DIR/oakum or /tmp/oakum-UID,
 * where `oakum top PID` finds it. There it answers only its own user and root. The socket is
 * removed when the server stops, or the program ends by exit. TCP is opened only if an address is
 * given, and asks for a token. A forked child has no server, but may start one.
 *
 * All functions may be called from any thread, but not from a signal handler. */
#ifndef OAKUM_SERVE_H
#define OAKUM_SERVE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Options of a server. All zero is the default. */
typedef struct oak_serve_options {
    /* The token of clients on TCP: 1 to 255 visible ASCII characters. A client sends it as
     * `Authorization: Bearer TOKEN`, or once as ?token=TOKEN, which gives a browser a cookie. NULL
     * or empty: 128 random bits, part of oak_debug_serve_url. The Unix socket needs no token */
    const char *token;
    /* A name, without a port, that a request's Host header may have besides addresses and
     * localhost; or NULL. Other names are refused. So a web page can't reach the server through a
     * host name of its own that resolves to it */
    const char *host;
    unsigned max_clients; /* at once, at most 1024; 0: 64. Further clients wait */
} oak_serve_options;

/** Start the server, and the heap if need be. With NULL or "1" it has only the Unix socket. An
 * address opens TCP, too: "127.0.0.1:0", "[::1]:0", or the address of another interface.
 * "localhost:0" stands for both loopback addresses, ":0" for 127.0.0.1. Port 0 is any free port.
 * "open,127.0.0.1:0" asks for no token, so all users of the machine have access; it takes only
 * loopback addresses.
 *
 * Returns the TCP port, or 0 without TCP; or -1 with errno, and oak_debug_serve_error has details:
 * - EINVAL: the address or an option is invalid.
 * - EBUSY: a server runs in this process.
 * - ELIBACC: libmicrohttpd is missing.
 * - EPERM: other machines can reach the open address, or the folder may be another user's.
 * - ENOSYS: there are no random numbers for a token.
 * - errors of the system for a folder or a socket: ENOENT, EACCES, EROFS, ENOSPC, ENAMETOOLONG,
 *   EMFILE, EADDRINUSE, EADDRNOTAVAIL, ENOMEM.
 *
 * If TCP works and the Unix socket doesn't, the call succeeds; oak_debug_serve_error has the
 * reason. */
OAK_API int oak_debug_serve(const char *address);

/** As oak_debug_serve, with options. NULL stands for the defaults. */
OAK_API int oak_debug_serve_with(const char *address, const oak_serve_options *options);

/** Stop the server: cut off its clients, and wait until its threads have ended. A request that is
 * under way is finished first. Does nothing when no server runs. */
OAK_API void oak_debug_serve_stop(void);

/** The server's URL: "http://127.0.0.1:36745/", or without TCP "unix:PATH". A random token is
 * appended as ?token=TOKEN. At most n bytes are stored in out, with the NUL. Returns the whole
 * length without the NUL; 0 when no server runs. */
OAK_API size_t oak_debug_serve_url(char *out, size_t n);

/** The reason why the last start failed or made no Unix socket: one line, without a newline. out, n
 * and the result are as in oak_debug_serve_url; 0 when all went well. */
OAK_API size_t oak_debug_serve_error(char *out, size_t n);

OAK_END_DECLS

#endif
