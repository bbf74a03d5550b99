/* hot.h - a worker's state while a loop of the marker runs: its fields in registers, words into its
 * queue, and what a loop has to know of a size class.
 *
 * For trace.c and depth.c. Invariant: between load and save the worker's own fields are out of
 * date; whoever else is called with the worker gets them by save, and is followed by reload. */
#ifndef OAKI_HOT_H
#define OAKI_HOT_H

#include "trace.h"
#include <string.h>

/* Depth first (depth.c): words taken at a time, the largest objects scanned at once, the words
 * after which it is asked whether that is the right way, and those after which it is asked for the
 * time, where that counts. */
#define OAKI_DEPTH_FEW 16
#define OAKI_DEPTH_WORDS 8
#define OAKI_DEPTH_WINDOW 1024
#define OAKI_DEPTH_SOON 256
/* words that may be added to the queue without asking for room */
#define OAKI_HOT_ROOM (OAKI_DEPTH_FEW * OAKI_DEPTH_WORDS)

/* What a loop has to know of a span class, in one place. */
typedef struct oaki_class_info {
    uint32_t size, magic, nslots;
    uint32_t words; /* to scan; 0: none; OAKI_SPECIAL: look closer */
    size_t mask; /* from an offset to its slot's, for powers of two up to OAKI_DEPTH_WORDS; or 0 */
} oaki_class_info;
#define OAKI_SPECIAL UINT32_MAX

extern OAKI_HIDDEN oaki_class_info oaki_class_infos[OAKI_PTE_SPANCLASS + 1];

OAKI_INLINE bool oaki_is_allowed(size_t d)
{
    return d == 0 ||
           (d < OAKI_DISPLACEMENTS && (oaki_displacements.allowed[d / 64] >> (d % 64) & 1));
}

/* ---- the hot state: a worker's fields in registers while a loop runs ---- */

typedef struct oaki_hot {
    uintptr_t base;
    size_t used, bytes;
    const oaki_pte *pte;
    uint64_t *const *plane; /* of M */
    size_t *queue;
    unsigned head, tail;
    uint64_t *line;
    unsigned first, last;
    size_t *sp, *lo, *hi; /* of the top chunk: entries lie in [lo, sp), there is room up to hi */
} oaki_hot;

OAKI_INLINE void oaki_hot_load_stack(oaki_hot *h, oak_marker *m)
{
    oaki_mark_segment *c = m->top;
    h->lo = c ? c->entry : NULL;
    h->sp = c ? c->entry + c->n : NULL;
    h->hi = c ? c->entry + OAKI_SEGMENT_ENTRIES : NULL;
}

OAKI_INLINE void oaki_hot_reload(oaki_hot *h, oak_marker *m)
{
    h->head = m->head;
    h->tail = m->tail;
    h->first = m->first;
    h->last = m->last;
    oaki_hot_load_stack(h, m);
}

OAKI_INLINE oaki_hot oaki_hot_load(oak_marker *m)
{
    oaki_hot h = {
        .base = m->base, .used = m->used, .pte = oaki_the_heap.pte, .plane = oaki_the_heap.mark
    };
    h.queue = m->queue;
    h.line = m->line;
    oaki_hot_reload(&h, m);
    return h;
}

OAKI_INLINE void oaki_hot_save(oaki_hot *h, oak_marker *m)
{
    OAKI_ASSERT(h->sp >= h->lo && h->sp <= h->hi);
    m->head = h->head;
    m->tail = h->tail;
    m->first = h->first;
    m->last = h->last;
    m->bytes += h->bytes;
    h->bytes = 0;
    if (m->top) m->top->n = (size_t)(h->sp - h->lo);
}

/* ---- words ---- */

/* The queue is above OAKI_QUEUE_HIGH: its newest words go to the stack until it is not. (trace.c)
 * */
void oaki_hot_spill(oaki_hot *h, oak_marker *m);

/* No branch on whether it is a pointer, which is as good as random; and nothing that is read
 * soon depends on it. There is room. */
OAKI_INLINE void oaki_hot_put(oaki_hot *h, uintptr_t word)
{
    size_t off = word - h->base;
    h->queue[h->tail] = off;
    h->tail += off < h->used;
}

/* Room for the words of one more object, or of a few small ones: the queue is one stretch of
 * memory, whose end is moved to its beginning now and then. */
OAKI_INLINE void oaki_hot_room(oaki_hot *h, oak_marker *m)
{
    if (OAKI_UNLIKELY(h->tail - h->head > OAKI_QUEUE_HIGH)) oaki_hot_spill(h, m);
    if (OAKI_LIKELY(h->tail + OAKI_HOT_ROOM < OAKI_QUEUE)) return;
    memmove(h->queue, h->queue + h->head, (h->tail - h->head) * sizeof h->queue[0]);
    h->tail -= h->head;
    h->head = 0;
    OAKI_ASSERT(h->tail + OAKI_HOT_ROOM < OAKI_QUEUE);
}

/* ---- one word (trace.c) ---- */

/* What the word leads to is marked, and the oldest of the delay line are scanned. There is room in
 * the queue before and after. */
void oaki_hot_trace(oaki_hot *h, oak_marker *m, size_t off, bool shared, bool strict);

/* ---- depth first (depth.c) ---- */

/* Of the queue, the newest few at a time, prefetched a round ahead; up to OAKI_DEPTH_WINDOW, or
 * OAKI_DEPTH_SOON, and until nothing is in the air. Fast where an object's neighbours in the graph
 * are on its page, and are not marked. */
void oaki_trace_depth_first(oaki_hot *h, oak_marker *m, bool shared, bool strict);

#endif
