/* mhd.h - libmicrohttpd, which is loaded when a server is first started, and never unloaded.
 *
 * It is one of foreign.h's: called between enter and leave, its errno is oaki_foreign_errno, and a
 * body that the host's malloc has made it gives back by the function that it was told of.
 * Lock: the first call of oaki_mhd is under serve.c's; the table never changes after it. */
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

/* What is looked for. Tests look for something else. */
extern OAKI_HIDDEN const char *oaki_mhd_library;

/* NULL when it is not there, or lacks a function; why says what is missing, if not NULL, and has
 * OAKI_FOREIGN_WHY bytes. As oaki_foreign_load. */
const oaki_mhd_table *oaki_mhd_load(char *why);

/* libmicrohttpd can't go on, and would end the process: a line says so, and the try that calls it
 * fails (foreign.h). For MHD_set_panic_func. */
void oaki_mhd_panic(void *unused, const char *file, unsigned line, const char *why);

/* Once it has been loaded. */
extern OAKI_HIDDEN oaki_mhd_table oaki_mhd;

#endif
