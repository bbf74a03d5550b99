/* sizeclass.h - the sizes of small objects.
 *
 * Owns: the table of classes. A class is a slot size, a multiple of 16, and the pages of its spans.
 * Class 0 is none. OAKI_CLASS_LARGE is an object with a span of its own. Above 128 bytes, two
 * losses are at most 12.5 % each: rounding a request up, and the tail of a span that fits no slot.
 * Constant after oaki_sizeclass_init. No lock. */
#ifndef OAKI_SIZECLASS_H
#define OAKI_SIZECLASS_H

#include "base.h"

#define OAKI_CLASSES 64 /* ids 1 .. oaki_nclasses - 1 are in use */
#define OAKI_CLASS_LARGE 63
#define OAKI_SMALL_MAX 32768 /* the largest slot */

typedef struct oaki_class {
    uint32_t size;   /* slot, bytes */
    uint32_t magic;  /* offset / size == (offset * magic) >> 32 for every offset in a span */
    uint32_t nslots; /* in a span */
    uint32_t npages; /* of a span */
} oaki_class;

extern OAKI_HIDDEN oaki_class oaki_classes[OAKI_CLASSES];
extern OAKI_HIDDEN uint8_t oaki_class_small[OAKI_SMALL_MAX / 16 + 1]; /* by (n + 15) / 16 */
extern OAKI_HIDDEN unsigned oaki_nclasses;

/* For each class, the granules of a span at which slots begin: one bit per granule, npages * 8
 * words. */
extern OAKI_HIDDEN const uint64_t *oaki_class_starts[OAKI_CLASSES];

void oaki_sizeclass_init(void);

/* Does a slot begin that many bytes into a span of the class? Past the last slot, too, where one
 * more could. False for the classes without slots. The remainder of `in / size` is what is left of
 * the product below 2^32, less than the reciprocal's error (Lemire, Kaser and Kurz, 2019). */
OAKI_INLINE bool oaki_class_divides(unsigned cls, size_t in)
{
    uint32_t magic = oaki_classes[cls].magic;
    return (uint32_t)in * magic < magic;
}

/* Requires n <= OAKI_SMALL_MAX. */
OAKI_INLINE unsigned oaki_class_of(size_t n)
{
    return oaki_class_small[(n + 15) / 16];
}

#endif
