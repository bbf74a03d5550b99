/* mhd.h - libmicrohttpd, loaded when a server is first started, and never unloaded.
 *
 * It is one of foreign.h's libraries: it is called between enter and leave, and its errno is
 * oaki_foreign_errno. It frees a body from the host's malloc by the function given to it.
 * Lock: serve.c's, for the first load; the table never changes afterwards. */
#ifndef OAKI_MHD_H
#define OAKI_MHD_H

#include "runtime/base.h"
#include <microhttpd.h>

#define OAKI_MHD_FUNCTIONS(X)                                                                     \
    X(MHD_get_version) X(MHD_start_daemon) X(MHD_stop_daemon) X(MHD_run) X(MHD_get_timeout)       \
    X(MHD_get_daemon_info) X(MHD_add_connection) X(MHD_get_connection_info)                       \
    X(MHD_get_connection_values) X(MHD_lookup_connection_value) X(MHD_suspend_connection)         \
    X(MHD_resume_connection) X(MHD_create_response_from_buffer)                                   \
    X(MHD_create_response_from_buffer_with_free_callback) X(MHD_add_response_header)              \
    X(MHD_queue_response) X(MHD_destroy_response) X(MHD_set_connection_option)                    \
    X(MHD_set_panic_func)

typedef struct oaki_mhd_table {
#define OAKI_MHD_POINTER(fn) __typeof__(&fn) fn;
    OAKI_MHD_FUNCTIONS(OAKI_MHD_POINTER)
#undef OAKI_MHD_POINTER
} oaki_mhd_table;

/* Name of the library to load. Tests set another one. */
extern OAKI_HIDDEN const char *oaki_mhd_library;

/* Loads the library. NULL: it is absent, or lacks a function. `why`, of OAKI_FOREIGN_WHY bytes or
 * NULL, then names the missing part. As oaki_foreign_load. */
const oaki_mhd_table *oaki_mhd_load(char *why);

/* For MHD_set_panic_func: libmicrohttpd can't go on and would end the process. Logs a line and
 * fails the calling thread's oaki_foreign_try. */
void oaki_mhd_panic(void *unused, const char *file, unsigned line, const char *why);

/* Valid once the library has been loaded. */
extern OAKI_HIDDEN oaki_mhd_table oaki_mhd;

#endif
