/* body.h - text that grows: what the server sends.
 *
 * Owns: a body's memory, the host's malloc's. Lock: none, a body is its maker's. Bound:
 *   OAKI_BODY_MAX bytes; what would make it longer fails, and all that follows. */
#ifndef OAKI_BODY_H
#define OAKI_BODY_H

#include "runtime/base.h"

#define OAKI_BODY_MAX ((size_t)64 << 20)

typedef struct oaki_body {
    char *p;
    size_t n, cap;
    bool failed; /* no memory, or too long */
} oaki_body;

void oaki_body_put(oaki_body *b, const void *p, size_t n);
void oaki_body_text(oaki_body *b, const char *s);
void oaki_body_format(oaki_body *b, const char *format, ...) OAK_PRINTF(2, 3);

/* For oaki_json_init: ctx is the body. */
bool oaki_body_sink(void *body, const char *p, size_t n);

/* All of the file behind fd, from its beginning. */
void oaki_body_read(oaki_body *b, int fd);

void oaki_body_free(oaki_body *b); /* and empty again */

#endif
