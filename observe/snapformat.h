/* snapformat.h - the snapshot's format, for its writers and readers (docs/formats.md).
 *
 * A file is a stream: magic, version, sections in a fixed order, and a trailer. A letter precedes
 * each section. Numbers are varints: seven bits a byte, the lowest first; the top bit is set if
 * more follow. Signed numbers are folded: 0, -1, 1, -2 become 0, 1, 2, 3. A string is its length
 * and its bytes. */
#ifndef OAKI_SNAPFORMAT_H
#define OAKI_SNAPFORMAT_H

#include "runtime/base.h"

#define OAKI_SNAP_MAGIC "OAKSNAP\n"
#define OAKI_SNAP_VERSION 1u
#define OAKI_SNAP_STRING 4096u  /* most bytes of a string */
#define OAKI_SNAP_VARINT 10     /* most bytes of a number */

/* The sections, in this order. */
enum {
    OAKI_SNAP_INFO = 'I',
    OAKI_SNAP_TYPES = 'T',
    OAKI_SNAP_OBJECTS = 'O',
    OAKI_SNAP_KEYS = 'K',
    OAKI_SNAP_PAIRS = 'E',
    OAKI_SNAP_SAMPLES = 'S',
    OAKI_SNAP_ROOTS = 'R',
    OAKI_SNAP_NAMES = 'N',
    OAKI_SNAP_THREADS = 'H',
    OAKI_SNAP_SITES = 'P',
    OAKI_SNAP_END = 'Z'
};

/* The first byte of an object: flags, and in its upper four bits the number of its edges. LIST:
 * instead, a 0 ends the edges. */
enum {
    OAKI_SNAP_GAP = 1,   /* the granules between the previous object's end and this one follow */
    OAKI_SNAP_SIZE = 2,  /* the size differs from the previous object's and follows, in granules */
    OAKI_SNAP_TYPE = 4,  /* shape or type differ and follow: type << 2 | shape */
    OAKI_SNAP_LIST = 15
};

/* An edge is 1 + (folded difference of target and object << 2 | these flags). Without WORD, its
 * word is the one after the previous edge's. */
enum {
    OAKI_SNAP_WORD = 1,    /* the distance in words follows; 0: the word is not known */
    OAKI_SNAP_INTERIOR = 2 /* the offset in the target follows, in bytes */
};

OAKI_INLINE uint64_t oaki_snap_fold(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

OAKI_INLINE int64_t oaki_snap_unfold(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
