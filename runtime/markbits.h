/* markbits.h - M, the mark bits, in four planes.
 *
 * Plane p has the bits of the granules whose number is p modulo four, one word for 4 KiB of the
 * range. Objects whose slots are multiples of 64 bytes use plane 0 alone. The marker's random
 * accesses then touch 2 MiB for 1 GiB of objects, and not 8. Objects of 32 and 96 bytes use two
 * planes.
 *
 * Within each 256 bytes of a plane, words are permuted, differently in each plane. Otherwise the
 * words of all planes for one page would have equal lower address bits. Processors mistake such
 * addresses for one another, which can double the time of marking.
 *
 * A has its bits in order; pack and spread convert between the two. An object allocated during a
 * concurrent mark is not marked: its bits are cleared. While heap.sticky is set, M holds the last
 * mark's result between two marks (docs/concurrent.md). M is clear for a slot of a small object
 * that the sweep has freed, and for a free page that is taken; a slot freed by hand keeps its bit.
 *
 * Lock: none. During a mark, bits are set atomically where several workers mark, or where mutators
 * run; while M is prepared, by heap.bits_lock's holder alone. */
#ifndef OAKI_MARKBITS_H
#define OAKI_MARKBITS_H

#include "heap.h"

#define OAKI_PLANE_WORD ((size_t)4096) /* bytes of the range that a word of a plane covers */

/* Index of plane p's word n. */
OAKI_INLINE size_t oaki_mark_index(size_t p, size_t n)
{
    return n ^ p << 3;
}

/* The word of a granule's bit. */
OAKI_INLINE uint64_t *oaki_mark_word(uint64_t *const plane[OAKI_PLANES], size_t off)
{
    size_t p = (off >> OAKI_GRANULE_SHIFT) % OAKI_PLANES;
    return &plane[p][oaki_mark_index(p, off / OAKI_PLANE_WORD)];
}

OAKI_INLINE unsigned oaki_mark_shift(size_t off)
{
    return (unsigned)(off >> (OAKI_GRANULE_SHIFT + 2)) % 64;
}

OAKI_INLINE bool oaki_mark_get(size_t off)
{
    return *oaki_mark_word(oaki_the_heap.mark, off) >> oaki_mark_shift(off) & 1;
}

OAKI_INLINE void oaki_mark_set(size_t off)
{
    AO_or((AO_t *)oaki_mark_word(oaki_the_heap.mark, off), (AO_t)1 << oaki_mark_shift(off));
}

OAKI_INLINE void oaki_mark_clear(size_t off)
{
    AO_and((AO_t *)oaki_mark_word(oaki_the_heap.mark, off), ~((AO_t)1 << oaki_mark_shift(off)));
}

/* Every fourth bit of x, from the lowest on, packed; and the inverse. */
OAKI_INLINE uint64_t oaki_mark_pack(uint64_t x)
{
    x &= 0x1111111111111111;
    x = (x | x >> 3) & 0x0303030303030303;
    x = (x | x >> 6) & 0x000f000f000f000f;
    x = (x | x >> 12) & 0x000000ff000000ff;
    return (x | x >> 24) & 0xffff;
}

OAKI_INLINE uint64_t oaki_mark_spread(uint64_t x)
{
    x = (x | x << 24) & 0x000000ff000000ff;
    x = (x | x << 12) & 0x000f000f000f000f;
    x = (x | x << 6) & 0x0303030303030303;
    return (x | x << 3) & 0x1111111111111111;
}

/* The bits of M for word w of A, in A's order. */
OAKI_INLINE uint64_t oaki_mark_gather(size_t w)
{
    uint64_t *const *plane = oaki_the_heap.mark, x[OAKI_PLANES];
    for (size_t p = 0; p < OAKI_PLANES; p++)
        x[p] = plane[p][oaki_mark_index(p, w / 4)] >> w % 4 * 16 & 0xffff;
    if ((x[0] | x[1] | x[2] | x[3]) == 0) return 0;
    if ((x[0] & x[1] & x[2] & x[3]) == 0xffff) return ~(uint64_t)0;
    return oaki_mark_spread(x[0]) | oaki_mark_spread(x[1]) << 1 | oaki_mark_spread(x[2]) << 2 |
           oaki_mark_spread(x[3]) << 3;
}

/* The same for every fourth granule, from the first on, where slots of a multiple of 64 bytes
 * begin. */
OAKI_INLINE uint64_t oaki_mark_first(size_t w)
{
    uint64_t x = oaki_the_heap.mark[0][oaki_mark_index(0, w / 4)] >> w % 4 * 16 & 0xffff;
    return x ? oaki_mark_spread(x) : 0;
}

/* ---- the objects in a span of small slots: a bit for the first granule of each ---- */

/* The words of oaki_class_starts for a page of such a span, whose entry is e. */
OAKI_INLINE const uint64_t *oaki_page_starts(oaki_pte e)
{
    return oaki_class_starts[e & OAKI_PTE_CLASS] +
           (e >> OAKI_PTE_OFFSET_SHIFT) * OAKI_PAGE_WORDS;
}

/* The slots in A of word w. starts: the word of oaki_class_starts for w. */
OAKI_INLINE uint64_t oaki_objects_in(size_t w, uint64_t starts)
{
    return oaki_the_heap.alloc[w] & starts;
}

/* Those of them that are marked. */
OAKI_INLINE uint64_t oaki_marked_of(size_t w, uint64_t objects)
{
    return objects ? objects & oaki_mark_gather(w) : 0;
}

/* The offset of the first of them. */
OAKI_INLINE size_t oaki_slot_of(size_t w, uint64_t objects)
{
    return (w * 64 + oaki_ctz(objects)) << OAKI_GRANULE_SHIFT;
}

/* Number of marked objects in n words from w on; starts: the words of oaki_class_starts. */
OAKI_INLINE size_t oaki_mark_count(size_t w, size_t n, const uint64_t *starts)
{
    size_t objects = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = oaki_objects_in(w + i, starts[i]);
        if (x) objects += oaki_popcount(oaki_marked_of(w + i, x));
    }
    return objects;
}

/* Are all bits of M clear for that page? */
OAKI_INLINE bool oaki_mark_none(size_t page)
{
    uint64_t *const *plane = oaki_the_heap.mark, any = 0;
    for (size_t n = 0; n < OAKI_PAGE / OAKI_PLANE_WORD; n++)
        for (size_t p = 0; p < OAKI_PLANES; p++)
            any |= plane[p][oaki_mark_index(p, page * (OAKI_PAGE / OAKI_PLANE_WORD) + n)];
    return any == 0;
}

/* M = ~A for n words of A from w on; both are multiples of four. With `minor`, marked objects stay
 * marked: M = M | ~A. (span.c) */
void oaki_mark_prepare(size_t w, size_t n, bool minor);
/* The same for every chunk in use. World stopped. */
void oaki_mark_prepare_all(bool minor);
/* The same for one chunk, if it is in use, while mutators run. They allocate by oaki_bits_allocate
 * meanwhile. */
void oaki_mark_prepare_chunk(size_t chunk, bool minor);
/* M = A, between two marks: swept objects are old, and objects handed out later are new. */
void oaki_mark_retain(size_t w, size_t n);
/* M = 0 for whole pages: later objects in them are new. */
void oaki_mark_empty(size_t off, size_t bytes);

/* Set all bits of M for [off, off + bytes), by atomic operations; or clear them. */
void oaki_mark_fill(size_t off, size_t bytes);
void oaki_mark_wipe(size_t off, size_t bytes);

#endif
