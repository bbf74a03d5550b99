/* gzip.h - compression in gzip's format (RFC 1952), without a library.
 *
 * The host's zlib and its symbols are not used. So any program can write a profile, even a static
 * one or one without the libraries of docs/libraries.md.
 *
 * Owns: a stream's memory: 220 KB of the host's malloc, taken by oaki_gzip_new alone.
 * Lock: none; a stream is used by one thread at a time. */
#ifndef OAKI_GZIP_H
#define OAKI_GZIP_H

#include "runtime/base.h"

typedef struct oaki_gzip oaki_gzip;

/* Receives compressed bytes in order. */
typedef void oaki_gzip_sink(void *ctx, const void *p, size_t n);

/* NULL without memory. */
oaki_gzip *oaki_gzip_new(oaki_gzip_sink *sink, void *ctx);
void oaki_gzip_put(oaki_gzip *z, const void *p, size_t n);
/* Writes all that is left to the sink. Nothing can be put afterwards. */
void oaki_gzip_end(oaki_gzip *z);
void oaki_gzip_free(oaki_gzip *z);

#endif
