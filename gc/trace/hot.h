/* hot.h - the hot state: a worker's fields in registers while a marking loop runs.
 *
 * Used by trace.c and depth.c. Also has the facts about a size class that a loop needs.
 * Invariant: between load and save the worker's own fields are out of date. A function that
 * takes the worker is called between oaki_hot_save and oaki_hot_reload. */
#ifndef OAKI_HOT_H
#define OAKI_HOT_H

#include "reading.h"
#include "trace.h"
#include <string.h>

/* Words that depth first may add to the queue without a check for room; references, where a word
 * may have several. */
#define OAKI_HOT_ROOM (OAKI_TUNE_DEPTH_FEW * OAKI_TUNE_DEPTH_WORDS)
#define OAKI_HOT_ROOM_ANY (OAKI_TUNE_DEPTH_FEW_ANY * OAKI_TUNE_DEPTH_WORDS * OAKI_WORD_REFS)

/* The facts about a span class that a loop needs, in one place. */
typedef struct oaki_class_info {
    uint32_t size, magic, nslots;
    uint32_t words; /* to scan; 0: none; OAKI_SPECIAL: see the span */
    /* maps an offset to its slot's; 0 unless size is a power of two, at most OAKI_TUNE_DEPTH_WORDS
     * words */
    size_t mask;
} oaki_class_info;
#define OAKI_SPECIAL UINT32_MAX

extern OAKI_HIDDEN oaki_class_info oaki_class_infos[OAKI_PTE_SPANCLASS + 1];

OAKI_INLINE bool oaki_is_allowed(size_t d)
{
    return d == 0 ||
           (d < OAKI_DISPLACEMENTS &&
            (oaki_gc.host.displacements.allowed[d / 64] >> (d % 64) & 1));
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
    size_t *sp, *lo, *hi; /* of the top segment: entries lie in [lo, sp), with room up to hi */
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

/* Moves the newest words to the stack until the queue is no longer above OAKI_TUNE_QUEUE_HIGH.
 * (trace.c) */
void oaki_hot_spill(oaki_hot *h, oak_marker *m);

/* How a loop reads words: a constant in each of its copies; and the one tag, as numbers to add, so
 * that each is one instruction. */
typedef struct oaki_reader {
    oaki_reading how;
    uint64_t keep, add;
    unsigned rot;
} oaki_reader;

/* The readings by tags: a name, and the end of the constant's. */
#define OAKI_TAGGED_READINGS(X) \
    X(added, ADDED)             \
    X(masked, MASKED)           \
    X(rotated, ROTATED)         \
    X(shifted, SHIFTED)         \
    X(any, ANY)

OAKI_INLINE oaki_reader oaki_reader_load(oaki_reading how)
{
    oaki_reader r = { .how = how };
    if (!oaki_reads_tags(how) || how == OAKI_READ_ANY) return r;
    r.keep = oaki_tags.tag[0].keep;
    r.add = -oaki_tags.tag[0].sub;
    r.rot = oaki_tags.tag[0].rot;
    return r;
}

/* As oaki_tag_index, for a tag of the reader's form. */
OAKI_INLINE size_t oaki_reader_index(const oaki_reader r, uintptr_t word)
{
    if (r.how == OAKI_READ_ROTATED) return oaki_rotate_right(word + r.add, r.rot);
    if (r.how == OAKI_READ_SHIFTED) return (word + r.add) >> r.rot;
    if (r.how == OAKI_READ_ADDED) return word + r.add;
    return (word & r.keep) + r.add;
}

/* Adds the word's references to a queue of offsets that ends at tail. Returns its new end. There
 * is no branch on whether there are any, as it would be unpredictable. Nothing that is read soon
 * depends on it. Requires room. */
OAKI_INLINE unsigned oaki_hot_append(size_t *queue, unsigned tail, uintptr_t base, size_t used,
                                     uintptr_t word, const oaki_reader r)
{
    size_t off = word - base;
    if (oaki_reads_tags(r.how) && r.how != OAKI_READ_ANY) {
        size_t tagged = oaki_reader_index(r, word);
        if (tagged < used) off = tagged; /* if both are in the range, they are the same */
    }
    queue[tail] = off;
    tail += off < used;
    for (unsigned i = 0; r.how == OAKI_READ_ANY && i < oaki_tags.n; i++) {
        const oaki_tag *t = &oaki_tags.tag[i];
        size_t x = oaki_tag_index(t, word);
        queue[tail] = x << t->left;
        tail += x - 1 < (used >> t->left) - 1; /* no object is at 0, as null in half a word */
    }
    return tail;
}

OAKI_INLINE void oaki_hot_put(oaki_hot *h, uintptr_t word, const oaki_reader r)
{
    size_t off = word - h->base;
    if (oaki_reads_tags(r.how)) {
        h->tail = oaki_hot_append(h->queue, h->tail, h->base, h->used, word, r);
    } else {
        h->queue[h->tail] = off;
        h->tail += off < h->used;
    }
}

/* Makes room for the words of one more object, or of a few small ones. The queue is one stretch
 * of memory; its words are moved back to the beginning when they reach the end. */
OAKI_INLINE void oaki_hot_room(oaki_hot *h, oak_marker *m, oaki_reading how)
{
    const unsigned room = how == OAKI_READ_ANY ? OAKI_HOT_ROOM_ANY : OAKI_HOT_ROOM;
    if (OAKI_UNLIKELY(h->tail - h->head > OAKI_TUNE_QUEUE_HIGH)) oaki_hot_spill(h, m);
    if (OAKI_LIKELY(h->tail + room < OAKI_QUEUE)) return;
    memmove(h->queue, h->queue + h->head, (h->tail - h->head) * sizeof h->queue[0]);
    h->tail -= h->head;
    h->head = 0;
    OAKI_ASSERT(h->tail + room < OAKI_QUEUE);
}

/* ---- one word (trace.c) ---- */

/* Marks the object that the word leads to, and scans the oldest objects of the delay line. The
 * queue has room before and after. */
void oaki_hot_trace(oaki_hot *h, oak_marker *m, size_t off, bool shared, oaki_reading how);

/* ---- depth first (depth.c) ---- */

/* Takes the newest words of the queue, a few at a time, prefetched one round ahead. Ends after
 * OAKI_TUNE_DEPTH_WINDOW or OAKI_TUNE_DEPTH_SOON words, once all prefetched words are handled. Fast
 * where an object's neighbours in the graph are on its page and unmarked. */
void oaki_trace_depth_first(oaki_hot *h, oak_marker *m, bool shared, oaki_reading how);

#endif
