/* cache.h - a bounded cache: a map from keys to nodes, which are in the order of use.
 *
 * A node has an entry's place in the order of use, its timer and its key. The map's slot holds
 * value, node and key, and alone keeps them alive. A node is not scanned, so a stray pointer to a
 * removed node keeps nothing else alive. A scanned key is an object of its own.
 *
 * A clear calls the callback for each entry, and can't do so under the lock. So it begins an era:
 * entries of earlier eras are absent to all lookups. They are reported one by one, while the cache
 * is in use. As no call uses them, they stay together at the end of the order.
 *
 * Owns:       struct oak_cache. The wheel is made for the first entry that has a time to live.
 * Invariants: while no thread is between enter and leave (inner.h), a node is in the order exactly
 *             when it is in the map. Entries and bytes count those of this era. They are within the
 *             limits, except while a callback runs for an entry beyond them.
 * Lock:       inner.h's. Callbacks, the clock and the size function are called without it. */
#ifndef OAKI_CACHE_H
#define OAKI_CACHE_H

#include "inner.h"
#include "wheel.h"
#include <oakum/cache.h>
#include <oakum/gc.h>

typedef struct oaki_cache_node {
    struct oaki_cache_node *newer, *older;
    oaki_timer timer; /* timer.when == 0: the entry never expires */
    void *value;      /* as in the slot */
    size_t bytes;
    uint64_t era;
    _Alignas(16) char key[]; /* or a pointer to it */
} oaki_cache_node;

/* A value of the map; without `key` when the key is in the node. */
typedef struct oaki_cache_slot {
    void *value;
    oaki_cache_node *node;
    void *key;
} oaki_cache_slot;

/* A call of a callback. If callbacks switch fibers, the calls of a thread end in any order, but
 * those of one stack in the reverse one. */
typedef struct oaki_cache_call {
    oaki_leaving leaving;
    struct oak_cache *cache;
    struct oaki_cache_call *outer; /* of the same thread, and begun earlier */
    const oak_fiber *fiber;        /* on whose stack it is, or NULL */
    const void *thread;
    void (*left)(struct oaki_cache_call *); /* what is to be done when it doesn't return */
    unsigned nested;               /* `evicted` callbacks in each other, this one included */
} oaki_cache_call;

/* An oak_cache_each. It advances when its next node is moved or removed. */
typedef struct oaki_cache_walk {
    oaki_cache_node *next;
    struct oaki_cache_walk *others;
    oaki_cache_call call;
} oaki_cache_walk;

struct oak_cache {
    oaki_inner in;
    oak_cache_config config;
    oaki_cache_node *newest, *oldest;
    AO_t wheel; /* oaki_wheel *, set once */
    oaki_cache_walk *walks; /* if `forks` is the number of forks; else there are none */
    size_t forks;
    uint64_t era;
    unsigned callbacks; /* under way, of all threads */
    bool left;          /* an eviction was left in the middle of a clear or a trim: put ends it */
    oak_cache_stats stats;
};

OAKI_INLINE bool oaki_cache_scans_keys(const oak_cache *c)
{
    return (c->in.type.flags & OAK_MAP_SCAN_KEY) != 0;
}

OAKI_INLINE void *oaki_cache_key(const oak_cache *c, oaki_cache_node *n)
{
    return oaki_cache_scans_keys(c) ? *(void **)(void *)n->key : n->key;
}

OAKI_INLINE oaki_wheel *oaki_cache_wheel(const oak_cache *c)
{
    return (oaki_wheel *)AO_load_acquire(&c->wheel);
}

/* The time; 0 while no entry can expire. Not between enter and leave. */
uint64_t oaki_cache_now(const oak_cache *c);

/* The key's node, or NULL. */
oaki_cache_node *oaki_cache_find(const oak_cache *c, const void *key);

/* The list of walks. Those of threads that a fork has left behind are not in it. */
oaki_cache_walk **oaki_cache_walks(oak_cache *c);

/* A callback is called between begin and end, by a function whose unwind action is
 * oaki_cache_unwound. innermost: the latest call on this stack that has this `left`, or any for
 * NULL; NULL when there is none. */
void oaki_cache_call_begin(oaki_cache_call *call, oak_cache *c, void (*left)(oaki_cache_call *));
void oaki_cache_call_end(oaki_cache_call *call);
oaki_cache_call *oaki_cache_innermost(void (*left)(oaki_cache_call *));

/* ---- cache_out.c; all of it between enter and leave ---- */

OAKI_INLINE bool oaki_cache_alive(const oak_cache *c, const oaki_cache_node *n, uint64_t now)
{
    return n->era == c->era && (n->timer.when == 0 || n->timer.when > now);
}

/* Does anything bound a cache of this configuration? */
OAKI_INLINE bool oaki_cache_bounded(const oak_cache_config *f)
{
    return f->max_entries != 0 || f->max_bytes != 0 || f->ttl != 0;
}

/* Makes a node the most recent one: add, a node that is not in the order; touch, one that is. */
void oaki_cache_order_add(oak_cache *c, oaki_cache_node *n);
void oaki_cache_touch(oak_cache *c, oaki_cache_node *n);

/* Removes an entry and reports it. The reason for one of an earlier era is always CLEARED. This
 * function and the next ones leave and enter again for a callback: all may have changed then. */
void oaki_cache_drop(oak_cache *c, oaki_cache_node *n, oak_cache_reason why);

/* Reports a value that has left the cache. The caller's frame keeps key and value alive. */
void oaki_cache_tell(oak_cache *c, const void *key, void *value, oak_cache_reason why);

/* Evicts the entries beyond the limits. */
void oaki_cache_trim(oak_cache *c);
/* Ends a clear or a trim that a callback has left in the middle. */
void oaki_cache_go_on(oak_cache *c);

/* Expires entries that are due. */
void oaki_cache_expire(oak_cache *c, uint64_t now, size_t budget);

/* Return the rule that is broken, or NULL. O(entries). check: while no other thread uses the cache.
 * check_inside: between enter and leave; it includes the map's rules, and calls no function of the
 * key type's. */
const char *oaki_cache_check(oak_cache *c);
const char *oaki_cache_check_inside(const oak_cache *c);

#endif
