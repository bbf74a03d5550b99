/* body.c - a growing text (body.h). */
#include "body.h"
#include "runtime/print.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST 4096

/* Makes room for n more bytes. false: the body has failed. */
static bool make_room(oaki_body *b, size_t n)
{
    if (b->failed) return false;
    if (n <= b->cap - b->n) return true;
    size_t want = b->n + n;
    if (n > OAKI_BODY_MAX || want > OAKI_BODY_MAX) {
        b->failed = b->too_long = true;
        return false;
    }
    size_t cap = OAKI_MIN(OAKI_MAX(OAKI_MAX(2 * b->cap, want), (size_t)FIRST), OAKI_BODY_MAX);
    char *p = realloc(b->p, cap);
    b->failed = !p;
    if (!p) return false;
    b->p = p;
    b->cap = cap;
    return true;
}

void oaki_body_put(oaki_body *b, const void *p, size_t n)
{
    if (n == 0 || !make_room(b, n)) return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void oaki_body_text(oaki_body *b, const char *s)
{
    oaki_body_put(b, s, strlen(s));
}

void oaki_body_format(oaki_body *b, const char *format, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, format);
    size_t n = oaki_vformat(line, sizeof line, format, ap);
    va_end(ap);
    oaki_body_put(b, line, OAKI_MIN(n, sizeof line - 1));
}

bool oaki_body_sink(void *body, const char *p, size_t n)
{
    oaki_body *b = body;
    oaki_body_put(b, p, n);
    return !b->failed;
}

void oaki_body_read(oaki_body *b, int fd)
{
    for (off_t at = 0; make_room(b, FIRST);) {
        ssize_t n = pread(fd, b->p + b->n, b->cap - b->n, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            b->failed |= n < 0;
            return;
        }
        b->n += (size_t)n;
        at += n;
    }
}

void oaki_body_free(oaki_body *b)
{
    free(b->p);
    *b = (oaki_body){ NULL, 0, 0, false, false };
}
