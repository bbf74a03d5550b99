/* print.h - formatting without stdio: a stopped thread may hold the host's stdio lock, and
 * malloc's.
 *
 * Knows %s %d %i %u %ld %lu %lld %llu %zu %zd %p %x %lx %c %% with width, zero padding and, for
 * %s, precision; and %f with precision. */
#ifndef OAKI_PRINT_H
#define OAKI_PRINT_H

#include "base.h"
#include <stdarg.h>

/* As vsnprintf: returns the length that all would have had; always ends in a NUL when n > 0. */
size_t oaki_vformat(char *buf, size_t n, const char *format, va_list ap);
size_t oaki_format(char *buf, size_t n, const char *format, ...) OAK_PRINTF(3, 4);

/* What an errno means, in English; never NULL. Safe in signal handlers. */
const char *oaki_error_text(int error);

/* One write(2) to stderr; at most 511 bytes, the end of the line included. */
void oaki_log(const char *format, ...) OAK_PRINTF(1, 2);

#endif
