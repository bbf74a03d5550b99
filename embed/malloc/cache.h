/* cache.h - what a thread has freed and will use again first: for each size class a stack of slots.
 *
 * Only where nothing is observed: what comes from here passes no sampler, and to the heap it is
 * allocated all the while. A slot in it has a key in its second word, which is not there while the
 * program has it, save by chance: so a second free is seen.
 *
 * The functions that take from it or put into it lie in the section of the fast path. So a stop
 * knows a thread that may be in one of them, by the addresses on its stack.
 *
 * Owns: struct oaki_cache, metadata, the thread's alone but for a stop; given up when the thread
 * ends. */
#ifndef OAKI_PRELOAD_CACHE_H
#define OAKI_PRELOAD_CACHE_H

#include "preload.h"

#define OAKI_CACHE_DEPTH 32
#define OAKI_CACHE_CLASSES 40 /* those of at most OAKI_CACHE_BYTES */
#define OAKI_CACHE_BYTES 2048
#define OAKI_CACHE_USER __attribute__((section("oaki_fast"), noinline, aligned(64)))
#define OAKI_CACHE_KEY ((uintptr_t)0x6f616b756d667265u)

typedef struct oaki_cache {
    struct oaki_cache *next; /* of all: threads_lock */
    const oaki_thread *thread;
    bool busy; /* in a stop: its thread may be half way through a change of it */
    unsigned n[OAKI_CACHE_CLASSES];
    void *slot[OAKI_CACHE_CLASSES][OAKI_CACHE_DEPTH];
} oaki_cache;

void oaki_caches_init(void); /* once the heap is there */

/* Give the calling thread one, if it is to have one. */
void oaki_cache_make(void);

/* Room for one more of this class. */
void oaki_cache_drain(oaki_cache *c, unsigned cls);

/* All of the calling thread's goes back to the heap. Whether there was any. */
bool oaki_cache_empty(void);

/* World stopped: the same for all threads but those that were stopped while they changed theirs. */
void oaki_caches_empty(void);

/* Fatal if p is in it. */
void oaki_cache_look(const oaki_cache *c, unsigned cls, const void *p);

/* Dirty, or NULL. */
OAKI_INLINE void *oaki_cache_take(unsigned cls)
{
    oaki_cache *c = oaki_my.cache;
    if (!c || c->n[cls] == 0) return NULL;
    uintptr_t *p = c->slot[cls][--c->n[cls]];
    p[1] = 0;
    return p;
}

/* false: free it. The caller is in no part of the runtime; `off` is that of p in the heap. */
OAKI_INLINE bool oaki_cache_put(void *p, size_t off)
{
    oaki_cache *c = oaki_my.cache;
    const oaki_heap *h = &oaki_the_heap;
    if (!c) return false;
    oaki_pte e = h->pte[off >> OAKI_PAGE_SHIFT];
    unsigned cls = e & OAKI_PTE_CLASS;
    if (oaki_pte_kind(e) != OAKI_SCAN || cls == 0 || cls >= OAKI_CACHE_CLASSES ||
        oaki_classes[cls].size > OAKI_CACHE_BYTES)
        return false;
    if (oaki_slot_offset(off) != off || !oaki_bit_get(h->alloc, off)) return false;
    uintptr_t *word = p;
    if (OAKI_UNLIKELY(word[1] == OAKI_CACHE_KEY)) oaki_cache_look(c, cls, p);
    if (OAKI_UNLIKELY(c->n[cls] == OAKI_CACHE_DEPTH)) oaki_cache_drain(c, cls);
    word[1] = OAKI_CACHE_KEY;
    c->slot[cls][c->n[cls]++] = p;
    return true;
}

#endif
