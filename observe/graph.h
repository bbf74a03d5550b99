/* graph.h - a search of the heap from its roots, in an image.
 *
 * The search is breadth first. Its queue takes 4 bytes an object, and paths take 4 more. A set bit
 * in M means that an object has been found, as in a mark. Ephemerons count as in a collection: a
 * value is found when its key and its pair have been found.
 *
 * An object's number is its rank by address among the found objects. It is computed from a bitmap,
 * a bit for each 16 bytes, and a count for each word of it, i.e. for each KiB of the heap. */
#ifndef OAKI_GRAPH_H
#define OAKI_GRAPH_H

#include "rootwords.h"

#define OAKI_FROM_ROOT UINT32_MAX
#define OAKI_SEARCH_RING 64

typedef struct oaki_search {
    oaki_image *im;
    size_t n, next, cap; /* objects found; scanned; capacity of the queue */
    size_t bytes;        /* bytes of the found objects */
    size_t target;       /* offset of the object at which to stop; SIZE_MAX: none */
    bool found;          /* the target was found */
    size_t found_at;     /* the target's place in the queue */
    bool pairs;          /* there are ephemerons */
    uint32_t *queue;     /* granules of the found objects, in order; bits 32 and up are in `high` */
    uint8_t *high;       /* NULL unless more than 64 GiB are used */
    uint32_t *parent;    /* by place in the queue: place of the object that led to it; or NULL */
    const size_t *blocked; /* sorted offsets of objects that are treated as absent */
    size_t nblocked;
    uint32_t from;       /* place of the object being scanned */
    unsigned head, tail; /* of the ring: words whose mark bits are being prefetched */
    struct {
        size_t to;
        uint32_t from;
    } ring[OAKI_SEARCH_RING];
} oaki_search;

/* Sets M to ~A and makes the tables. false: no memory, or too many objects. */
bool oaki_search_begin(oaki_search *s, oaki_image *im, bool parents);

/* Sets M as at the beginning, forgets all found objects, and marks the blocked ones. */
void oaki_search_reset(oaki_search *s);

/* Unblocks the blocked objects, and finds them. */
void oaki_search_unblock(oaki_search *s);

/* Finds the object that this value, or the root's word, refers to. */
void oaki_search_value(oaki_search *s, uintptr_t value);
void oaki_search_root(oaki_search *s, const oaki_root_word *w);

/* Scans found objects until none is left, the target is found, or time is up. */
void oaki_search_run(oaki_search *s);

void oaki_search_end(oaki_search *s);

/* Offset of the i-th found object. */
OAKI_INLINE size_t oaki_search_at(const oaki_search *s, size_t i)
{
    size_t g = s->queue[i];
    if (s->high) g |= (size_t)s->high[i] << 32;
    return g << OAKI_GRANULE_SHIFT;
}

/* The offset of the object that a word of this value refers to; SIZE_MAX: none. The A bits decide
 * here; in a search, M does. */
size_t oaki_graph_object(const oaki_image *im, uintptr_t value);

/* Usable bytes of the object: without a head whose pages were given back. */
size_t oaki_graph_bytes(size_t slot);

/* Finds all live objects: adds all roots and runs the search. */
void oaki_search_all(oaki_search *s);

/* Sorts in place, ascending. A heapsort, as libc's qsort may call malloc. */
void oaki_sort_sizes(size_t *a, size_t n);

/* ---- numbers ---- */

typedef struct oaki_ranks {
    uint64_t *bits;   /* by granule: a found object begins there */
    uint32_t *before; /* by word of `bits`: found objects before it */
    size_t words, n, mapped;
} oaki_ranks;

/* Numbers the objects that a search has found. false: no memory, or more than 2^32 - 2 objects. */
bool oaki_ranks_make(oaki_ranks *r, const oaki_image *im);
void oaki_ranks_free(oaki_ranks *r);

OAKI_INLINE bool oaki_ranks_has(const oaki_ranks *r, size_t slot)
{
    return oaki_bit_get(r->bits, slot);
}

/* Number of the object that begins at offset slot, which must be a found one. */
OAKI_INLINE uint32_t oaki_ranks_of(const oaki_ranks *r, size_t slot)
{
    size_t g = slot >> OAKI_GRANULE_SHIFT;
    return r->before[g / 64] + oaki_popcount(r->bits[g / 64] & (((uint64_t)1 << g % 64) - 1));
}

OAKI_INLINE void oaki_ranks_prefetch(const oaki_ranks *r, size_t slot)
{
    size_t w = slot >> OAKI_GRANULE_SHIFT >> 6;
    __builtin_prefetch(&r->bits[w]);
    __builtin_prefetch(&r->before[w]);
}

/* Offset of the object with this number. O(log words). */
size_t oaki_ranks_object(const oaki_ranks *r, uint32_t n);

/* Calls fn(ctx, slot) for each object in order, until it returns false. Returns true if fn never
 * did. */
bool oaki_ranks_each(const oaki_ranks *r, bool (*fn)(void *ctx, size_t slot), void *ctx);

#endif
