/* span.h - spans, the page table, and the two bitmaps that say which slots are allocated and
 * marked.
 *
 * A page has an entry in the page table (oaki_pte) and a span struct; a span uses the struct of
 * its first page, so that a span is found from any address in it by arithmetic alone. Free runs
 * of pages are spans of class 0 that also use the struct of their last page (pages.c).
 *
 * Bitmaps have a bit for each 16 bytes of the range, a granule.
 *   A (alloc)  set for all granules of a slot that was handed out and has not been freed.
 *   M (mark)   means something from the start of a mark (M = ~A) until the sweep of its span: all
 *              granules of an allocated slot are clear then, save the first when it is marked. So
 *              to the marker one bit, whichever granule a word points to, says "nothing to do":
 *              it is set where nothing is allocated, and where a marked object begins.
 *              A pointer to a slot that was never handed out marks nothing.
 * What a sweep leaves are the slots whose first granule is in A & M.
 *
 * Invariants: nalloc is the number of slots handed out, save those that a cache has taken of the
 *             span that it has (mcache.h); a span is in at most one list of its
 * mcentral, or cached by one thread; below `cursor` every free slot waits for the next sweep,
 * above it A alone says what is free.
 * Lock: a cached span's cursor belongs to the thread; lists belong to the mcentral's lock; A is
 * changed by atomic operations, as oak_free may come from any thread. */
#ifndef OAKI_SPAN_H
#define OAKI_SPAN_H

#include "base.h"
#include "sizeclass.h"

#define OAKI_PAGE_SHIFT 13
#define OAKI_PAGE ((size_t)1 << OAKI_PAGE_SHIFT)
#define OAKI_GRANULE_SHIFT 4
#define OAKI_GRANULE ((size_t)1 << OAKI_GRANULE_SHIFT)
/* bitmap words of a page: 8, one cache line */
#define OAKI_PAGE_WORDS (OAKI_PAGE / OAKI_GRANULE / 64)
#define OAKI_PLANES 4 /* of M (markbits.h) */

typedef enum oaki_kind {
    OAKI_SCAN = 0,   /* scanned conservatively */
    OAKI_NOSCAN = 1, /* never scanned */
    OAKI_TYPED = 2,  /* scanned by its type */
    OAKI_PINNED = 3, /* a root, scanned conservatively */
    OAKI_KINDS = 4
} oaki_kind;

#define OAKI_SPANCLASSES (OAKI_KINDS * OAKI_CLASSES)
#define OAKI_SPANCLASS(kind, cls) ((unsigned)(kind)*OAKI_CLASSES + (cls))

/* A page table entry: bits 0 to 5 class, 6 to 8 kind, 9 up the page's number in its span, which
 * saturates at OAKI_PTE_FAR. A free page has class 0, and OAKI_PTE_RELEASED when no memory
 * stands behind it. */
typedef uint32_t oaki_pte;
#define OAKI_PTE_CLASS 0x3fu
#define OAKI_PTE_SPANCLASS 0x1ffu
#define OAKI_PTE_OFFSET_SHIFT 9
#define OAKI_PTE_FAR 0x7fffffu
#define OAKI_PTE_RELEASED (1u << OAKI_PTE_OFFSET_SHIFT)

/* Says something of a page that isn't free. */
OAKI_INLINE oaki_kind oaki_pte_kind(oaki_pte e)
{
    return (oaki_kind)((e & OAKI_PTE_SPANCLASS) >> 6);
}

typedef enum oaki_span_list {
    OAKI_LIST_NONE = 0, /* free, cached, or being swept */
    OAKI_LIST_PARTIAL,  /* has free slots */
    OAKI_LIST_FULL,
    OAKI_LIST_CACHED
} oaki_span_list;

typedef struct oaki_span {
    uint32_t npages;
    uint8_t cls;      /* 0: a free run */
    uint8_t kind;     /* oaki_kind */
    uint8_t list;     /* oaki_span_list */
    uint8_t parity;   /* of the lists that it is in (central.c) */
    uint8_t needzero; /* the memory may be dirty */
    /* an object in it had a finalizer, a weak reference or an ephemeron, or is one of the
     * latter: set, never cleared while the span lives */
    uint8_t special;
    uint8_t linked; /* likewise: one is a link's object, or has a link in it */
    /* objects in it that the heap profile has noted and that live, 255 or more; observe_lock, and
     * read without it by who frees one of them */
    unsigned char sampled;
    uint32_t zone;       /* oak_zone.id; 0: the default one */
    uint32_t next, prev; /* page number + 1 of its neighbours in a list */
    uint32_t swept;      /* cycle whose sweep it has had */
    /* bytes; of a large object, pages of its head whose memory was given back */
    uint32_t cursor;
    union {
        unsigned int nalloc; /* AO_int: slots handed out and not freed */
        uint32_t nreleased;  /* of a free run: pages with no memory behind them */
    };
    union {
        unsigned int nfreed; /* AO_int: slots freed by hand since the last sweep */
        uint32_t fresh;      /* large, as it was made: pages at its end with nothing behind them */
    };
    union {
        uint32_t *types; /* small typed spans: type id of each slot */
        uint32_t type;   /* large typed object */
    };
    size_t size; /* slot size; of a large object, its pages' bytes less shift */
    uint8_t guarded; /* its objects have gaps between them (guard.h) */
    uint16_t shift;  /* large: bytes of its pages in front of the object (guard.h) */
    uint8_t waits; /* small typed objects: one's type did (type.h); set and never cleared, too */
} oaki_span;

/* Slots of a span of small objects that are handed out. */
OAKI_INLINE size_t oaki_span_slots(const oaki_span *s)
{
    return oaki_classes[s->cls].nslots - (s->guarded != 0);
}

_Static_assert(sizeof(oaki_span) <= 64, "a span struct is a cache line");

#endif
