/* serve.h - a small HTTP server inside of the program that shows what its heap does: a dashboard,
 * metrics for Prometheus, heap profiles for pprof, and the same as JSON. docs/serve.md lists the
 * addresses.
 *
 * Off at first. OAKUM_DEBUG_SERVE=127.0.0.1:0 in the environment starts it in any program, when its
 * heap is first used; OAKUM_DEBUG_TOKEN is the token then. It answers GET and HEAD only, and
 * changes nothing. Its threads block all signals; those that read the heap are attached, and in a
 * blocking region while they wait. A collection waits for no client. libmicrohttpd is loaded when a
 * server is first started (Debian: libmicrohttpd12).
 *
 * While a server runs, a file of its owner's alone, oakum-PID in $XDG_RUNTIME_DIR or else in /tmp,
 * says where, so that `oakum top PID` finds it. It is removed when the server stops or the program
 * ends. A forked child has no server; it may start one. All may be called from any thread, but from
 * no signal handler. */
#ifndef OAKUM_SERVE_H
#define OAKUM_SERVE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Zeroes are the usual values. */
typedef struct oak_serve_options {
    /* What clients must send as `Authorization: Bearer TOKEN`: 1 to 255 visible characters of
     * ASCII. NULL or empty: nothing, which is refused where others than this machine may connect */
    const char *token;
    /* Besides addresses and localhost, a name that a request's Host header may have, without the
     * port; or NULL. Other names are refused, so that no web page can reach the server by a name of
     * its own that it has pointed here */
    const char *host;
    unsigned max_clients; /* at once, at most 1024; 0: 64. Others wait */
} oak_serve_options;

/** Start it. The address is "127.0.0.1:0", "[::1]:0", "localhost:0" for both of these, ":0" for
 * 127.0.0.1, or one of another interface, and 0 any free port; NULL is "127.0.0.1:0". Returns the
 * port, or -1 with errno, and oak_debug_serve_error tells more: EINVAL for an address or an option
 * that makes no sense, EBUSY when one runs in this process, ELIBACC when libmicrohttpd is missing,
 * EPERM for an address that is not loopback without a token, EADDRINUSE, EADDRNOTAVAIL, EACCES or
 * ENOMEM. Starts the heap. */
OAK_API int oak_debug_serve(const char *address);

/** The same with options; NULL: none. */
OAK_API int oak_debug_serve_with(const char *address, const oak_serve_options *options);

/** Stop it; returns when its threads have ended, which may take as long as a reading that is under
 * way. Clients are cut off. Nothing happens when none runs. */
OAK_API void oak_debug_serve_stop(void);

/** Where it is, "http://127.0.0.1:36745/", in out, ended by a zero byte and cut to n bytes. Returns
 * the length that all of it has; 0 when none runs. */
OAK_API size_t oak_debug_serve_url(char *out, size_t n);

/** Why the last start failed, one line without its end, likewise; 0 when none has. */
OAK_API size_t oak_debug_serve_error(char *out, size_t n);

OAK_END_DECLS

#endif
