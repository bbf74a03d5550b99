/* inner.h - the map inside another structure: who may use it now, and which keys it takes.
 *
 * What is built on a map either has a lock of its own or leaves exclusion to its caller; both ways
 * a use from inside its own functions (a hash, an equal, a notification of the collector) is found
 * and fatal, and without the lock two threads at once mostly are.
 *
 * Owns:       struct oaki_inner: the map, its type, the lock.
 * Invariants: `owner` is the thread between enter and leave, else 0. No callback of the structure
 *             runs in between; the type's hash and equal do.
 * Lock:       OAKI_RANK_MAP, held outside of oaki_enter and around calls that allocate. */
#ifndef OAKI_INNER_H
#define OAKI_INNER_H

#include "contract.h"
#include "runtime/base.h"
#include "runtime/contain.h"
#include "runtime/lock.h"
#include "runtime/mcache.h"
#include "runtime/thread.h"
#include <oakum/map.h>

typedef struct oaki_inner {
    oak_map *map;
    oak_map_type type;
    oaki_lock lock;
    bool locked;
    AO_t owner;
    const char *what; /* its public name, for messages */
} oaki_inner;

/* Take a lock of rank OAKI_RANK_MAP. The thread is attached. */
void oaki_inner_wait(oaki_lock *l);

/* A map of such keys, whose values are value_size bytes and scanned. false with EINVAL or ENOMEM.
 * */
bool oaki_inner_init(oaki_inner *in, const char *what, const oak_map_type *keys, size_t value_size,
                     bool locked, size_t hint);

/* What oaki_inner_enter does. An exception that passes a function between enter and leave is fatal:
 * it comes from a hash or equal function, in the middle of a change. */
void oaki_inner_take(oaki_inner *in);

OAKI_INLINE void oaki_inner_enter(oaki_inner *in)
{
    OAKI_ON_UNWIND(oaki_inner_left);
    oaki_inner_take(in);
}

void oaki_inner_leave(oaki_inner *in);

/* Debug builds only: the calling thread is between enter and leave, and holds the lock if there is
 * one. */
bool oaki_inner_is_mine(const oaki_inner *in);

/* Whether a put of this key can be found and taken out again: not with NULL, nor with a key that
 * doesn't equal itself. Sets EINVAL. */
bool oaki_inner_takes(const oaki_inner *in, const void *key);

/* Take out a key that is in the map; fatal when it isn't found. It must not lie in the map. */
void oaki_inner_remove(oaki_inner *in, const void *key);

#endif
