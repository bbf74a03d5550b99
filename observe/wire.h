/* wire.h - messages in the wire format of protocol buffers (proto3).
 *
 * A message grows in one buffer, field after field. A field with the value 0 is not written, as a
 * reader takes a missing field for 0. Numbers are varints; negative ones have ten bytes. A failure
 * (no memory) stays until the buffer is freed, and nothing is added after it.
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
/* Repeated numbers, zeros included. An empty list writes no field. */
void oaki_wire_numbers(oaki_wire *w, unsigned field, const uint64_t *value, size_t n);
/* Written even when empty, as one of a repeated field. */
void oaki_wire_bytes(oaki_wire *w, unsigned field, const void *p, size_t n);

/* A nested message: its fields come between begin and end. end is passed the value that begin
 * returned. Messages nest to any depth. */
size_t oaki_wire_begin(oaki_wire *w, unsigned field);
void oaki_wire_end(oaki_wire *w, size_t begun);

/* Starts the next message; the buffer's memory is kept. */
void oaki_wire_clear(oaki_wire *w);
void oaki_wire_free(oaki_wire *w);

#endif
