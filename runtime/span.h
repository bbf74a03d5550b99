/* span.h - spans, the page table, and the bitmaps of allocated and of marked slots.
 *
 * A page has an entry in the page table (oaki_pte) and a span struct. A span uses the struct of its
 * first page, so arithmetic alone finds the span of any address in it. A free run of pages is a
 * span of class 0; it also uses the struct of its last page (pages.c).
 *
 * A bitmap has a bit for each granule, 16 bytes of the range.
 *   A (alloc)  is set for all granules of a slot that is handed out and not freed.
 *   M (mark)   has a meaning from the start of a mark (M = ~A) until the sweep of its span. Then
 *   all granules of an allocated slot are clear, except the first of a marked slot. So one bit
 *   tells the marker "nothing to do", whichever granule a word points to. That bit is set where
 *   nothing is allocated, and where a marked object begins. A pointer to a slot that was never
 *   handed out marks nothing.
 * A sweep keeps the slots whose first granule is in A & M.
 *
 * Invariants: nalloc is the number of slots handed out. It leaves out the slots that a cache has
 * taken of its own span (mcache.h). A span is in at most one list of its mcentral, or cached by one
 * thread. Below `cursor`, every free slot waits for the next sweep; above it, A alone decides which
 * slots are free.
 * Lock: the thread that caches a span owns its cursor; the mcentral's lock guards the lists.
 * Changes to A are atomic, as oak_free may come from any thread. */
#ifndef OAKI_SPAN_H
#define OAKI_SPAN_H

#include "base.h"
#include "sizeclass.h"

#define OAKI_PAGE_SHIFT 13
#define OAKI_PAGE ((size_t)1 << OAKI_PAGE_SHIFT)
#define OAKI_GRANULE_SHIFT 4
#define OAKI_GRANULE ((size_t)1 << OAKI_GRANULE_SHIFT)
/* bitmap words per page: 8, one cache line */
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

/* A page table entry: bits 0 to 5 are the class, 6 to 8 the kind. From bit 9 up comes the page's
 * number in its span, which saturates at OAKI_PTE_FAR. A free page has class 0, and
 * OAKI_PTE_RELEASED when no memory is behind it. */
typedef uint32_t oaki_pte;
#define OAKI_PTE_CLASS 0x3fu
#define OAKI_PTE_SPANCLASS 0x1ffu
#define OAKI_PTE_OFFSET_SHIFT 9
#define OAKI_PTE_FAR 0x7fffffu
#define OAKI_PTE_RELEASED (1u << OAKI_PTE_OFFSET_SHIFT)

/* Only valid for a page that isn't free. */
OAKI_INLINE oaki_kind oaki_pte_kind(oaki_pte e)
{
    return (oaki_kind)((e & OAKI_PTE_SPANCLASS) >> 6);
}

typedef enum oaki_span_list {
    OAKI_LIST_NONE = 0, /* free, being swept, or without an object yet */
    OAKI_LIST_PARTIAL,  /* has free slots */
    OAKI_LIST_FULL,
    OAKI_LIST_CACHED
} oaki_span_list;

typedef struct oaki_span {
    uint32_t npages;
    uint8_t cls;      /* 0: a free run */
    uint8_t kind;     /* oaki_kind */
    uint8_t list;     /* oaki_span_list */
    uint8_t parity;   /* of the lists that hold it (central.c) */
    uint8_t needzero; /* the memory may be dirty */
    /* Some object in it had a finalizer, a weak reference or an ephemeron, or is one of the latter
     * two. Set, and never cleared while the span lives. */
    uint8_t special;
    uint8_t linked; /* likewise: one is a link's object, or contains a link */
    /* Live objects in it that the heap profile has recorded; 255 means 255 or more. observe_lock
     * guards it; a thread that frees one of them reads it without. */
    unsigned char sampled;
    uint32_t zone;       /* oak_zone.id; 0: the default one */
    uint32_t next, prev; /* page number + 1 of its neighbours in a list */
    uint32_t swept;      /* the cycle of its last sweep */
    /* bytes; for a large object, pages at its head whose memory was given back */
    uint32_t cursor;
    union {
        unsigned int nalloc; /* AO_int: slots handed out, not freed */
        uint32_t nreleased;  /* free run: pages with no memory behind them */
    };
    union {
        unsigned int nfreed; /* AO_int: slots freed by hand since the last sweep */
        uint32_t fresh;      /* large, when made: pages at its end without memory */
        uint32_t born;       /* free run: oaki_heap.decay_tick when it became free */
    };
    union {
        uint32_t *types; /* small typed objects: type id of each slot */
        uint32_t type;   /* large typed object */
    };
    size_t size; /* slot size; large: bytes of its pages less shift */
    uint8_t guarded; /* its objects have gaps between them (guard.h) */
    uint16_t shift;  /* large: bytes of its pages before the object (guard.h) */
    /* small typed objects: oaki_type_waits held for one (type.h); never cleared either */
    uint8_t waits;
    uint8_t disclaims; /* likewise: the type of one has a disclaim function */
} oaki_span;

/* Number of slots that a span of small objects hands out. */
OAKI_INLINE size_t oaki_span_slots(const oaki_span *s)
{
    return oaki_classes[s->cls].nslots - (s->guarded != 0);
}

_Static_assert(sizeof(oaki_span) <= 64, "a span struct is a cache line");

#endif
