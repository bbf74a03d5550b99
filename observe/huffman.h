/* huffman.h - prefix codes of limited length, as deflate has them (RFC 1951, 3.2.2). */
#ifndef OAKI_HUFFMAN_H
#define OAKI_HUFFMAN_H

#include "runtime/base.h"

#define OAKI_HUFFMAN_SYMBOLS 286 /* of the largest alphabet */
#define OAKI_HUFFMAN_BITS 15

typedef struct oaki_huffman {
    uint8_t bits[OAKI_HUFFMAN_SYMBOLS];  /* of each symbol's code; 0: it has none */
    uint16_t code[OAKI_HUFFMAN_SYMBOLS]; /* to be sent from its lowest bit on */
} oaki_huffman;

/* A code for n symbols that come so often; none has more than `most` bits. At least two have a
 * code, as some readers take no less. The counts are used up. */
void oaki_huffman_make(oaki_huffman *h, uint32_t *count, size_t n, unsigned most);

#endif
