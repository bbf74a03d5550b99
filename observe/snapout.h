/* snapout.h - writes a snapshot's numbers and computes its checksum. */
#ifndef OAKI_SNAPOUT_H
#define OAKI_SNAPOUT_H

#include "snapformat.h"
#include "runtime/xxh.h"
#include <string.h>

#define OAKI_SNAP_BUFFER ((size_t)256 << 10)

/* Accepts n bytes: 0 or an error number. */
typedef int (*oaki_snap_sink)(void *ctx, const char *p, size_t n);

/* Flat: the child passes it to the parent, which sets another buffer and sink. */
typedef struct oaki_snapout {
    char *buf; /* OAKI_SNAP_BUFFER bytes */
    size_t n;
    oaki_snap_sink sink;
    void *ctx;
    uint64_t bytes; /* passed to the sink so far */
    int error;      /* the first error; nothing is written after it */
    XXH64_state_t hash;
} oaki_snapout;

OAKI_INLINE void oaki_snapout_begin(oaki_snapout *o, char *buf, oaki_snap_sink sink, void *ctx)
{
    *o = (oaki_snapout){ .buf = buf, .sink = sink, .ctx = ctx };
    XXH64_reset(&o->hash, 0);
}

OAKI_INLINE void oaki_snapout_flush(oaki_snapout *o)
{
    if (o->n > 0 && !o->error) {
        XXH64_update(&o->hash, o->buf, o->n);
        o->bytes += o->n;
        o->error = o->sink(o->ctx, o->buf, o->n);
    }
    o->n = 0;
}

OAKI_INLINE void oaki_snapout_room(oaki_snapout *o, size_t n)
{
    if (OAKI_UNLIKELY(OAKI_SNAP_BUFFER - o->n < n)) oaki_snapout_flush(o);
}

OAKI_INLINE void oaki_snapout_byte(oaki_snapout *o, unsigned c)
{
    oaki_snapout_room(o, 1);
    o->buf[o->n++] = (char)c;
}

OAKI_INLINE void oaki_snapout_number(oaki_snapout *o, uint64_t v)
{
    oaki_snapout_room(o, OAKI_SNAP_VARINT);
    for (; v >= 0x80; v >>= 7) o->buf[o->n++] = (char)(v | 0x80);
    o->buf[o->n++] = (char)v;
}

OAKI_INLINE void oaki_snapout_signed(oaki_snapout *o, int64_t v)
{
    oaki_snapout_number(o, oaki_snap_fold(v));
}

OAKI_INLINE void oaki_snapout_string(oaki_snapout *o, const char *s, size_t n)
{
    n = OAKI_MIN(n, (size_t)OAKI_SNAP_STRING);
    oaki_snapout_number(o, n);
    oaki_snapout_room(o, n);
    memcpy(o->buf + o->n, s, n);
    o->n += n;
}

OAKI_INLINE void oaki_snapout_text(oaki_snapout *o, const char *s)
{
    oaki_snapout_string(o, s ? s : "", s ? strlen(s) : 0);
}

/* The checksum: eight bytes, the lowest first, not part of any checksum. */
OAKI_INLINE void oaki_snapout_checksum(oaki_snapout *o)
{
    oaki_snapout_flush(o);
    uint64_t sum = XXH64_digest(&o->hash);
    for (unsigned i = 0; i < 8; i++) oaki_snapout_byte(o, (unsigned)(sum >> 8 * i) & 0xff);
    oaki_snapout_flush(o);
}

#endif
