/* huffman.h - prefix codes of limited length, in deflate's form (RFC 1951, 3.2.2). */
#ifndef OAKI_HUFFMAN_H
#define OAKI_HUFFMAN_H

#include "runtime/base.h"

#define OAKI_HUFFMAN_SYMBOLS 286 /* of the largest alphabet */
#define OAKI_HUFFMAN_BITS 15

typedef struct oaki_huffman {
    uint8_t bits[OAKI_HUFFMAN_SYMBOLS];  /* length of each symbol's code; 0: it has none */
    uint16_t code[OAKI_HUFFMAN_SYMBOLS]; /* sent from the lowest bit on */
} oaki_huffman;

/* Makes a code for n symbols from their counts, of at most `most` bits a symbol. At least two
 * symbols get a code, as some readers require that. Overwrites the counts. */
void oaki_huffman_make(oaki_huffman *h, uint32_t *count, size_t n, unsigned most);

#endif
