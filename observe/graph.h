/* graph.h - searching the heap from its roots, in an image.
 *
 * A search is breadth first: 4 bytes an object for the queue, 4 more when paths are wanted. M says
 * what has been found, as in a mark. Ephemerons count as the collector has them: a value is found
 * when its key and its pair have been.
 *
 * Objects get numbers, the rank in the order of addresses among what was found, from a bitmap (a
 * bit for each 16 bytes) and a count for each of its words, 1 KiB of the heap. */
#ifndef OAKI_GRAPH_H
#define OAKI_GRAPH_H

#include "rootwords.h"

#define OAKI_FROM_ROOT UINT32_MAX
#define OAKI_SEARCH_RING 64

typedef struct oaki_search {
    oaki_image *im;
    size_t n, next, cap; /* objects found; of these, scanned; at most */
    size_t bytes;        /* in those found */
    size_t target;       /* offset of the object at which to stop; SIZE_MAX: none */
    bool found;          /* it was */
    size_t found_at;     /* its place in the queue */
    bool pairs;          /* there are ephemerons */
    uint32_t *queue;     /* granules of those found, in order; above 64 GiB, the rest in `high` */
    uint8_t *high;
    uint32_t *parent;    /* what each was found from, by place in the queue; or NULL */
    const size_t *blocked; /* sorted offsets of objects that are as if they were not there */
    size_t nblocked;
    uint32_t from;       /* whose edges are being followed */
    unsigned head, tail; /* of the ring: words whose bits are on the way */
    struct {
        size_t to;
        uint32_t from;
    } ring[OAKI_SEARCH_RING];
} oaki_search;

/* M = ~A; tables. false when there is no memory. */
bool oaki_search_begin(oaki_search *s, oaki_image *im, bool parents);

/* M as it was at the beginning, and nothing found. The blocked are marked. */
void oaki_search_reset(oaki_search *s);

/* The blocked are there after all, and are found. */
void oaki_search_unblock(oaki_search *s);

/* What this value, or the root's word, leads to is found. */
void oaki_search_value(oaki_search *s, uintptr_t value);
void oaki_search_root(oaki_search *s, const oaki_root_word *w);

/* Follow edges until nothing is left, the target has been found, or time is up. */
void oaki_search_run(oaki_search *s);

void oaki_search_end(oaki_search *s);

/* Offset of the i-th that was found. */
OAKI_INLINE size_t oaki_search_at(const oaki_search *s, size_t i)
{
    size_t g = s->queue[i];
    if (s->high) g |= (size_t)s->high[i] << 32;
    return g << OAKI_GRANULE_SHIFT;
}

/* The object that a word with this value refers to, as an offset; SIZE_MAX: none. In a search M
 * tells; here A does. */
size_t oaki_graph_object(const oaki_image *im, uintptr_t value);

/* Bytes of the object that can hold something: without a head that was given back. */
size_t oaki_graph_bytes(size_t slot);

/* Everything that is alive: all roots, followed. */
void oaki_search_all(oaki_search *s);

/* Ascending, in place: a heapsort, as libc's may call malloc. */
void oaki_sort_sizes(size_t *a, size_t n);

/* ---- numbers ---- */

typedef struct oaki_ranks {
    uint64_t *bits;   /* by granule: an object that was found begins there */
    uint32_t *before; /* by word of these: how many before */
    size_t words, n, mapped;
} oaki_ranks;

/* Of what a search has found. false when there is no memory, or there are more than 2^32 - 2. */
bool oaki_ranks_make(oaki_ranks *r, const oaki_image *im);
void oaki_ranks_free(oaki_ranks *r);

OAKI_INLINE bool oaki_ranks_has(const oaki_ranks *r, size_t slot)
{
    return oaki_bit_get(r->bits, slot);
}

/* Number of the object that begins at offset slot, which has one. */
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

/* Call fn(ctx, slot) for each in order; until it returns false. Returns whether all were. */
bool oaki_ranks_each(const oaki_ranks *r, bool (*fn)(void *ctx, size_t slot), void *ctx);

#endif
