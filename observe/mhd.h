/* mhd.h - libmicrohttpd, which is loaded when a server is first started, and never unloaded.
 *
 * Lock: the first call of oaki_mhd is under serve.c's; the table never changes after it. */
#ifndef OAKI_MHD_H
#define OAKI_MHD_H

#include "runtime/base.h"
#include <microhttpd.h>

#define OAKI_MHD_FUNCTIONS(X)                                                                     \
    X(MHD_get_version) X(MHD_start_daemon) X(MHD_stop_daemon) X(MHD_run) X(MHD_get_timeout)       \
    X(MHD_get_daemon_info) X(MHD_add_connection) X(MHD_get_connection_info)                       \
    X(MHD_get_connection_values) X(MHD_lookup_connection_value) X(MHD_suspend_connection)         \
    X(MHD_resume_connection) X(MHD_create_response_from_buffer) X(MHD_add_response_header)        \
    X(MHD_queue_response) X(MHD_destroy_response) X(MHD_set_connection_option)

typedef struct oaki_mhd_table {
#define OAKI_MHD_POINTER(fn) __typeof__(&fn) fn;
    OAKI_MHD_FUNCTIONS(OAKI_MHD_POINTER)
#undef OAKI_MHD_POINTER
} oaki_mhd_table;

/* What is looked for. Tests look for something else. */
extern OAKI_HIDDEN const char *oaki_mhd_library;

/* NULL when it is not there, or lacks a function; *missing says what, if not NULL. Outside of
 * oaki_enter. */
const oaki_mhd_table *oaki_mhd_load(const char **missing);

/* Once it has been loaded. */
extern OAKI_HIDDEN oaki_mhd_table oaki_mhd;

#endif
