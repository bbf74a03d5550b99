/* follow.c - marking with somebody watching: slow, and for the few who must know what is marked.
 *
 * The marker tells nobody what it marks, as that would cost every collection something. This one
 * does, for small objects that are scanned conservatively: it sets their bits in M itself and keeps
 * its own stack. The rest it hands to the marker.
 *
 * Owns: a stack of fixed size, in a stop. When that is full, objects are handed to the marker.
 * Bound: linear in what it marks. */
#include "follow.h"

#include "mark.h"
#include "runtime/track.h"

#define DEPTH 4096

static struct {
    void (*found)(void *obj);
    size_t n;
    size_t stack[DEPTH]; /* offsets of objects to scan */
} self;

/* Mark the object that offset `off` is in, and note it for scanning. */
static void look(size_t off)
{
    oaki_heap *h = &oaki_the_heap;
    oak_marker *m = oaki_worker(0);
    if (off >= m->used) return;
    size_t slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX || oaki_mark_get(slot)) return;
    void *obj = (void *)(h->base + slot);
    oaki_pte e = h->pte[slot >> OAKI_PAGE_SHIFT];
    unsigned cls = e & OAKI_PTE_CLASS, kind = (e & OAKI_PTE_SPANCLASS) >> 6;
    bool scanned = kind == OAKI_SCAN || kind == OAKI_PINNED;
    if (cls == OAKI_CLASS_LARGE || kind == OAKI_TYPED || (scanned && self.n == DEPTH)) {
        oaki_mark_pointer(obj);
    } else {
        oaki_mark_set(slot);
        m->bytes += oaki_classes[cls].size;
        if (scanned) self.stack[self.n++] = slot;
    }
    self.found(obj);
}

OAKI_NO_ASAN static void scan(size_t slot)
{
    const uintptr_t *p = (const uintptr_t *)(oaki_the_heap.base + slot);
    const uintptr_t *end = p + oaki_object_size(slot) / sizeof *p;
    for (; p < end; p++) look(*p - oaki_the_heap.base);
}

void oaki_follow(const void *p, void (*found)(void *obj))
{
    self.found = found;
    look(oaki_heap_offset(p));
    while (self.n > 0) scan(self.stack[--self.n]);
    oaki_mark_drain();
}
