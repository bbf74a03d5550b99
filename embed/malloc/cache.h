/* cache.h - a thread's cache of freed slots, which it reuses first: a stack for each size class.
 *
 * Threads have caches only if nothing is observed. A cached slot passes no sampler, and the heap
 * counts it as allocated. Its second word holds a key. The word is cleared when the program gets
 * any block, so a key in it means a second free, or a chance value. Nothing else of a block is
 * cleared, because no search reads it for references.
 *
 * The word in front of a stack's first slot is NULL, so a take tests only the word that it reads,
 * and no count. A thread without a cache has oaki_cache_none: all of its stacks are empty, and
 * full.
 *
 * The functions that take and put slots are in the section of the fast path. So a pause recognizes
 * a thread that may be inside one of them by the addresses on its stack.
 *
 * Owns: struct oaki_cache, which is metadata. Only its thread uses it, except in a pause. It ends
 * with the thread. */
#ifndef OAKI_PRELOAD_CACHE_H
#define OAKI_PRELOAD_CACHE_H

#include "preload.h"

#define OAKI_CACHE_CLASSES 40 /* those of at most OAKI_CACHE_BYTES, and a few that are not cached */
#define OAKI_CACHE_BYTES 2048
#define OAKI_CACHE_USER __attribute__((section("oaki_fast"), noinline, aligned(64)))
#define OAKI_CACHE_KEY ((uintptr_t)0x6f616b756d667265u)

typedef struct oaki_stack {
    void **top, **end; /* behind the last slot; behind the last place */
} oaki_stack;

typedef struct oaki_cache {
    oaki_stack of[OAKI_CACHE_CLASSES];
    void **first[OAKI_CACHE_CLASSES]; /* places of each stack */
    struct oaki_cache *next; /* list of all caches: threads_lock */
    const oaki_thread *thread;
    bool busy;      /* in a pause: the thread may be in the middle of a change */
    bool inherited; /* of the parent process; its slots have not been looked at since the fork */
    AO_t ended; /* 1: its thread has ended, where it could not enter the heap, or in a fork */
    void *place[];
} oaki_cache;

extern OAKI_HIDDEN oaki_cache oaki_cache_none;

void oaki_caches_init(void); /* after the heap has started */

/* Make a cache for the calling thread, if threads have caches. */
void oaki_cache_make(void);

/* A block that oaki_cache_put has refused, in the range in use: put it into the cache, with room
 * made for it. Returns false if the cache takes no such block; the caller frees it. Fatal if the
 * block is in the cache already. Where the heap can be entered. */
bool oaki_cache_put_slow(void *p, size_t off);

/* Free all slots of the calling thread's cache. Returns whether there were any. */
bool oaki_cache_empty(void);

/* World stopped: free all slots of all caches, except for busy ones. */
void oaki_caches_empty(void);

/* Take a slot of a class out of the cache: not zeroed; or NULL. */
OAKI_INLINE void *oaki_cache_take(unsigned cls)
{
    oaki_stack *s = &oaki_my.cache->of[cls];
    uintptr_t *p = s->top[-1];
    if (OAKI_UNLIKELY(!p)) return NULL;
    s->top--;
    p[1] = 0;
    return p;
}

/* The size class of the allocated block of the program that begins at heap offset `off`, if it is
 * one that may have a stack. 0 if the block has to be looked at more closely. */
OAKI_INLINE unsigned oaki_cache_class(size_t off)
{
    const oaki_heap *h = &oaki_the_heap;
    oaki_pte e = h->pte[off >> OAKI_PAGE_SHIFT];
    unsigned sc = e & OAKI_PTE_SPANCLASS; /* of kind OAKI_SCAN: the class */
    if (OAKI_UNLIKELY(sc >= OAKI_CACHE_CLASSES)) return 0;
    size_t before = (size_t)(e >> OAKI_PTE_OFFSET_SHIFT) << OAKI_PAGE_SHIFT;
    if (OAKI_UNLIKELY(!oaki_class_divides(sc, off % OAKI_PAGE + before))) return 0;
    return OAKI_LIKELY(oaki_bit_get(h->alloc, off)) ? sc : 0;
}

/* Put a block at heap offset `off` into the cache. Returns false if that needs more than a push.
 * The caller is in no part of the runtime. */
OAKI_INLINE bool oaki_cache_put(void *p, size_t off)
{
    unsigned cls = oaki_cache_class(off);
    oaki_stack *s = &oaki_my.cache->of[cls];
    void **top = s->top;
    uintptr_t *word = p;
    if (OAKI_UNLIKELY(top == s->end || word[1] == OAKI_CACHE_KEY)) return false;
    word[1] = OAKI_CACHE_KEY;
    *top = p;
    s->top = top + 1;
    return true;
}

#endif
