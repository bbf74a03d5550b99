/* body.h - a growing text: the body of a response of the server.
 *
 * Owns: a body's memory, from the host's malloc.
 * Lock:  none; a body is used by one thread at a time.
 * Bound: OAKI_BODY_MAX bytes. An append that exceeds it fails, and so do all later ones. */
#ifndef OAKI_BODY_H
#define OAKI_BODY_H

#include "runtime/base.h"

#define OAKI_BODY_MAX ((size_t)64 << 20)

typedef struct oaki_body {
    char *p;
    size_t n, cap;
    bool failed; /* no memory, or too long */
    bool too_long;
} oaki_body;

void oaki_body_put(oaki_body *b, const void *p, size_t n);
void oaki_body_text(oaki_body *b, const char *s);
void oaki_body_format(oaki_body *b, const char *format, ...) OAK_PRINTF(2, 3);

/* A sink for oaki_json_init, whose ctx is the body. */
bool oaki_body_sink(void *body, const char *p, size_t n);

/* Appends the whole file behind fd, from its beginning. */
void oaki_body_read(oaki_body *b, int fd);

void oaki_body_free(oaki_body *b); /* the body is empty afterwards */

#endif
