/* cache.h - a thread's cache of freed slots, which it reuses first: a stack for each size class.
 *
 * Threads have caches only if nothing is observed. A cached slot passes no sampler, and the heap
 * counts it as allocated. Its second word holds a key. The word is cleared when the program gets
 * the slot, so a key in it means a second free, or a chance value.
 *
 * The functions that take and put slots are in the section of the fast path. So a pause recognizes
 * a thread that may be inside one of them by the addresses on its stack.
 *
 * Owns: struct oaki_cache, which is metadata. Only its thread uses it, except in a pause. It ends
 * with the thread. */
#ifndef OAKI_PRELOAD_CACHE_H
#define OAKI_PRELOAD_CACHE_H

#include "preload.h"

#define OAKI_CACHE_DEPTH 32
#define OAKI_CACHE_CLASSES 40 /* those of at most OAKI_CACHE_BYTES */
#define OAKI_CACHE_BYTES 2048
#define OAKI_CACHE_USER __attribute__((section("oaki_fast"), noinline, aligned(64)))
#define OAKI_CACHE_KEY ((uintptr_t)0x6f616b756d667265u)

typedef struct oaki_cache {
    struct oaki_cache *next; /* list of all caches: threads_lock */
    const oaki_thread *thread;
    bool busy; /* in a pause: the thread may be in the middle of a change */
    unsigned n[OAKI_CACHE_CLASSES];
    void *slot[OAKI_CACHE_CLASSES][OAKI_CACHE_DEPTH];
} oaki_cache;

void oaki_caches_init(void); /* after the heap has started */

/* Make a cache for the calling thread, if threads have caches. */
void oaki_cache_make(void);

/* Make room in the stack of a class. */
void oaki_cache_drain(oaki_cache *c, unsigned cls);

/* Free all slots of the calling thread's cache. Returns whether there were any. */
bool oaki_cache_empty(void);

/* World stopped: free all slots of all caches, except for busy ones. */
void oaki_caches_empty(void);

/* Fatal if the cache contains p. */
void oaki_cache_look(const oaki_cache *c, unsigned cls, const void *p);

/* Take a slot of a class out of the cache: not zeroed; or NULL. */
OAKI_INLINE void *oaki_cache_take(unsigned cls)
{
    oaki_cache *c = oaki_my.cache;
    if (!c || c->n[cls] == 0) return NULL;
    uintptr_t *p = c->slot[cls][--c->n[cls]];
    p[1] = 0;
    return p;
}

/* Put a block at heap offset `off` into the cache. Returns false if the caller has to free it. The
 * caller is in no part of the runtime. */
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
