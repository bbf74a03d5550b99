/* snapformat.h - the snapshot's format, for who writes it and who reads it (docs/snapshot.md).
 *
 * A file is a stream: magic, version, sections in a fixed order, each behind its letter, and a
 * trailer. Numbers are varints: seven bits a byte, the lowest first, the top bit says that more
 * come. Signed ones are folded: 0, -1, 1, -2. A string is its length and its bytes. */
#ifndef OAKI_SNAPFORMAT_H
#define OAKI_SNAPFORMAT_H

#include "runtime/base.h"

#define OAKI_SNAP_MAGIC "OAKSNAP\n"
#define OAKI_SNAP_VERSION 1u
#define OAKI_SNAP_STRING 4096u  /* bytes of a string, at most */
#define OAKI_SNAP_VARINT 10     /* bytes of a number, at most */

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

/* The first byte of an object. The upper four bits are the number of its edges; LIST: they end with
 * a 0. */
enum {
    OAKI_SNAP_GAP = 1,   /* granules between this and the end of the one before follow */
    OAKI_SNAP_SIZE = 2,  /* another size than the one before: in granules */
    OAKI_SNAP_TYPE = 4,  /* another shape or type: type << 2 | shape */
    OAKI_SNAP_LIST = 15
};

/* An edge is 1 + (folded difference of target and object << 2 | these). Without WORD, the word is
 * the one behind that of the edge before. */
enum {
    OAKI_SNAP_WORD = 1,    /* how many words farther follows; 0: it is not known where */
    OAKI_SNAP_INTERIOR = 2 /* how far into the target it points follows, in bytes */
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
