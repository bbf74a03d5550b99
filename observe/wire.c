/* wire.c - the wire format of protocol buffers (wire.h).
 *
 * Owns: nothing; a buffer belongs to its caller. Bound: O(bytes). Each nested message moves once,
 * as its length is inserted before it. */
#include "wire.h"
#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, BYTES = 2 }; /* wire types */

#define VARINT_MAX 10
#define FIRST 256

/* Makes room for n more bytes, and returns its address, or NULL. */
static unsigned char *make_room(oaki_wire *w, size_t n)
{
    if (w->failed) return NULL;
    if (n > w->room - w->n) {
        size_t room = OAKI_MAX(OAKI_MAX(2 * w->room, w->n + n), (size_t)FIRST);
        unsigned char *more = realloc(w->p, room);
        w->failed = !more;
        if (!more) return NULL;
        w->p = more;
        w->room = room;
    }
    return w->p + w->n;
}

static size_t varint(unsigned char *out, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) out[n++] = (unsigned char)(v | 0x80);
    out[n++] = (unsigned char)v;
    return n;
}

static void put_varint(oaki_wire *w, uint64_t v)
{
    unsigned char *at = make_room(w, VARINT_MAX);
    if (at) w->n += varint(at, v);
}

static void put_tag(oaki_wire *w, unsigned field, unsigned type)
{
    put_varint(w, (uint64_t)field << 3 | type);
}

void oaki_wire_number(oaki_wire *w, unsigned field, uint64_t value)
{
    if (value == 0) return;
    put_tag(w, field, VARINT);
    put_varint(w, value);
}

void oaki_wire_bytes(oaki_wire *w, unsigned field, const void *p, size_t n)
{
    put_tag(w, field, BYTES);
    put_varint(w, n);
    unsigned char *at = make_room(w, n);
    if (!at) return;
    if (n > 0) memcpy(at, p, n);
    w->n += n;
}

size_t oaki_wire_begin(oaki_wire *w, unsigned field)
{
    put_tag(w, field, BYTES);
    return w->n;
}

void oaki_wire_end(oaki_wire *w, size_t begun)
{
    unsigned char length[VARINT_MAX];
    if (w->failed) return;
    OAKI_ASSERT(begun <= w->n);
    size_t body = w->n - begun, n = varint(length, body);
    if (!make_room(w, n)) return;
    memmove(w->p + begun + n, w->p + begun, body);
    memcpy(w->p + begun, length, n);
    w->n += n;
}

void oaki_wire_numbers(oaki_wire *w, unsigned field, const uint64_t *value, size_t n)
{
    if (n == 0) return;
    size_t begun = oaki_wire_begin(w, field);
    for (size_t i = 0; i < n; i++) put_varint(w, value[i]);
    oaki_wire_end(w, begun);
}

void oaki_wire_clear(oaki_wire *w)
{
    w->n = 0;
}

void oaki_wire_free(oaki_wire *w)
{
    free(w->p);
    *w = (oaki_wire){ NULL, 0, 0, false };
}
