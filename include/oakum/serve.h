/* serve.h - a small HTTP server inside of the program that shows what its heap does: a dashboard,
 * metrics for Prometheus, heap profiles for pprof, and the same as JSON. docs/serve.md lists the
 * addresses.
 *
 * Off at first. OAKUM_DEBUG_SERVE=1 in the environment starts it in any program, when its heap is
 * first used. It answers GET and HEAD only, and changes nothing. Its threads block all signals;
 * those that read the heap are attached, and in a blocking region while they wait. A collection
 * waits for no client. libmicrohttpd is loaded when a server is first started (Debian:
 * libmicrohttpd12).
 *
 * A server always listens on a Unix socket of its user's alone, PID.sock in $XDG_RUNTIME_DIR/oakum
 * or /tmp/oakum-UID, where `oakum top PID` finds it. Only that user and root are answered there.
 * The name is removed when the server stops or the program ends by exit. TCP is opened only when an
 * address is named, and asks for a token. A forked child has no server; it may start one. All may
 * be called from any thread, but from no signal handler. */
#ifndef OAKUM_SERVE_H
#define OAKUM_SERVE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Zeroes are the usual values. */
typedef struct oak_serve_options {
    /* What clients on TCP must have: 1 to 255 visible characters of ASCII, as `Authorization:
     * Bearer TOKEN`, or as ?token=TOKEN once in the address, for which a browser gets a cookie.
     * NULL or empty: 128 random bits, which oak_debug_serve_url tells. The Unix socket asks for
     * none */
    const char *token;
    /* Besides addresses and localhost, a name that a request's Host header may have, without the
     * port; or NULL. Other names are refused, so that no web page can reach the server by a name of
     * its own that it has pointed here */
    const char *host;
    unsigned max_clients; /* at once, at most 1024; 0: 64. Others wait */
} oak_serve_options;

/** Start it. NULL or "1" is the Unix socket alone. An address opens TCP besides: "127.0.0.1:0",
 * "[::1]:0", "localhost:0" for both of these, ":0" for 127.0.0.1, or one of another interface; port
 * 0 is any free one. "open,127.0.0.1:0" asks for no token: any user of the machine may ask; for
 * loopback addresses only. Returns the port, 0 without TCP, or -1 with errno, and
 * oak_debug_serve_error tells more: EINVAL for an address or an option that makes no sense, EBUSY
 * when one runs in this process, ELIBACC when libmicrohttpd is missing, EPERM for an open address
 * that others can reach, and for a folder that may be another user's, ENOSYS without random numbers
 * for a token, or what the system says to a folder or a socket: ENOENT, EACCES, EROFS, ENOSPC,
 * ENAMETOOLONG, EMFILE, EADDRINUSE, EADDRNOTAVAIL, ENOMEM. Beside an address the Unix socket may be
 * missing: oak_debug_serve_error says why. Starts the heap. */
OAK_API int oak_debug_serve(const char *address);

/** The same with options; NULL: none. */
OAK_API int oak_debug_serve_with(const char *address, const oak_serve_options *options);

/** Stop it; returns when its threads have ended, which may take as long as a reading that is under
 * way. Clients are cut off. Nothing happens when none runs. */
OAK_API void oak_debug_serve_stop(void);

/** Where it is: "http://127.0.0.1:36745/", with ?token=TOKEN behind it when the token was made, or
 * without TCP "unix:PATH". In out, ended by a zero byte and cut to n bytes. Returns the length that
 * all of it has; 0 when none runs. */
OAK_API size_t oak_debug_serve_url(char *out, size_t n);

/** Why the last start failed, or made no Unix socket: one line without its end, likewise; 0 when it
 * did neither. */
OAK_API size_t oak_debug_serve_error(char *out, size_t n);

OAK_END_DECLS

#endif
