/* print.h - formatting without stdio: a stopped thread may hold the host's stdio or malloc lock.
 *
 * Supports %s %d %i %u %ld %lu %lld %llu %zu %zd %p %x %lx %c %% with width and zero padding, and
 * %f with precision. %s takes a precision too. */
#ifndef OAKI_PRINT_H
#define OAKI_PRINT_H

#include "base.h"
#include <stdarg.h>

/* As vsnprintf: returns the length of the whole, untruncated text. The output ends in a NUL when n
 * > 0. */
size_t oaki_vformat(char *buf, size_t n, const char *format, va_list ap);
size_t oaki_format(char *buf, size_t n, const char *format, ...) OAK_PRINTF(3, 4);

/* The English text of an errno; never NULL. Safe in signal handlers. */
const char *oaki_error_text(int error);

/* One write(2) to stderr, of at most 511 bytes with the newline. */
void oaki_log(const char *format, ...) OAK_PRINTF(1, 2);

#endif
