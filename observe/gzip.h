/* gzip.h - compressing what is written, in gzip's format (RFC 1952), without a library.
 *
 * What a host has of zlib, and under which names, is nobody's business here: and so a profile can
 * be written by any program, a static one or one without its libraries too (docs/libraries.md).
 *
 * A stream is its maker's. Memory is the host's malloc's, 220 KB, taken by _new alone. */
#ifndef OAKI_GZIP_H
#define OAKI_GZIP_H

#include "runtime/base.h"

typedef struct oaki_gzip oaki_gzip;

/* Takes compressed bytes as they come. */
typedef void oaki_gzip_sink(void *ctx, const void *p, size_t n);

/* NULL without memory. */
oaki_gzip *oaki_gzip_new(oaki_gzip_sink *sink, void *ctx);
void oaki_gzip_put(oaki_gzip *z, const void *p, size_t n);
/* All that is left goes to the sink. Nothing can be put behind it. */
void oaki_gzip_end(oaki_gzip *z);
void oaki_gzip_free(oaki_gzip *z);

#endif
