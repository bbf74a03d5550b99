/* wire.h - messages in the wire format of protocol buffers, proto3's.
 *
 * A message grows in one buffer, a field after the other. A field of the value 0 is not written:
 * that is what a reader takes for one that is missing. Numbers are varints; negative ones have ten
 * bytes. A failure (no memory) stays until the buffer is freed, and nothing is added after it.
 * Format: https://protobuf.dev/programming-guides/encoding/ */
#ifndef OAKI_WIRE_H
#define OAKI_WIRE_H

#include "runtime/base.h"

typedef struct oaki_wire {
    unsigned char *p;
    size_t n, room;
    bool failed;
} oaki_wire;

void oaki_wire_number(oaki_wire *w, unsigned field, uint64_t value);
/* Repeated numbers, zeros included; none is no field. */
void oaki_wire_numbers(oaki_wire *w, unsigned field, const uint64_t *value, size_t n);
/* Written when it is empty, too: one of a repeated field. */
void oaki_wire_bytes(oaki_wire *w, unsigned field, const void *p, size_t n);

/* A message in a message: its fields come between begin and end, to which begin's value is given.
 * They nest. */
size_t oaki_wire_begin(oaki_wire *w, unsigned field);
void oaki_wire_end(oaki_wire *w, size_t begun);

/* For the next message; memory is kept. */
void oaki_wire_clear(oaki_wire *w);
void oaki_wire_free(oaki_wire *w);

#endif
