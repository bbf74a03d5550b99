/* inner.h - the map inside another structure: exclusion, and the keys that it takes.
 *
 * A structure on a map either has a lock or leaves exclusion to its caller. In both cases a use
 * from inside its own functions (a hash, an equal, a notification of the collector) is fatal.
 * Without the lock, two threads at once are detected in most cases, and fatal.
 *
 * Owns:       struct oaki_inner: the map, its type, the lock.
 * Invariants: `owner` is the thread between enter and leave, else 0. In between no callback of the
 *             structure runs; the type's hash and equal do, and have to return (maplock.h).
 * Lock:       maplock.h's. */
#ifndef OAKI_INNER_H
#define OAKI_INNER_H

#include "contract.h"
#include "maplock.h"
#include "runtime/base.h"
#include "runtime/contain.h"
#include "runtime/mcache.h"
#include "runtime/thread.h"
#include <oakum/map.h>

typedef struct oaki_inner {
    oak_map *map;
    oak_map_type type; /* of the map; its functions run between enter and leave only */
    oaki_maplock lock;
    bool locked;
    AO_t owner;
} oaki_inner;

/* Makes a map of such keys, with scanned values of value_size bytes. false with EINVAL or
 * ENOMEM. */
bool oaki_inner_init(oaki_inner *in, const char *what, const oak_map_type *keys, size_t value_size,
                     bool locked, size_t hint);

/* The out-of-line part of oaki_inner_enter. An exception that passes a frame between enter and
 * leave is fatal. It comes from a hash or equal function, in the middle of a change. */
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

/* Can an entry of this key be found again? Not one of NULL, nor of a key that doesn't equal itself:
 * false with EINVAL. */
bool oaki_inner_takes(const oaki_inner *in, const void *key);

/* Removes a key that is in the map; fatal when it isn't found. `key` must not point into the
 * map. */
void oaki_inner_remove(oaki_inner *in, const void *key);

#endif
