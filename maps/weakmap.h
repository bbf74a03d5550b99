/* weakmap.h - shared by maps with weak values and maps with weak keys: removal of dead entries, and
 * walks.
 *
 * A slot of the map holds a handle, an oak_weak or an oak_ephemeron. The collector clears the
 * handle when its object is dead, and doesn't notify the map. So when the number of collections has
 * changed, the map begins a round over all entries, a few with each operation. It uses an ordinary
 * iterator, which survives the operations in between. (A cleanup for each entry would cost a
 * record, and a call on another thread.)
 *
 * Owns:       struct oaki_weakmap.
 * Invariants: `cycle` is the collection whose dead entries this round removes, or, when `in_round`
 *             is false, has removed.
 * Lock:       inner.h's.
 * Bound:      an operation examines OAKI_WEAKMAP_STEP entries. So of puts of short-lived objects,
 *             about one dead entry in so many stays, plus those of one collection. */
#ifndef OAKI_WEAKMAP_H
#define OAKI_WEAKMAP_H

#include "inner.h"
#include <oakum/weakmap.h>

enum { OAKI_WEAKMAP_STEP = 8 };

typedef struct oaki_weakmap {
    oaki_inner in;
    bool (*alive)(void *handle);
    size_t cycle;
    bool in_round;
    void *key; /* a buffer for the key of a delete */
    oak_map_iter it;
} oaki_weakmap;

struct oak_weakvalue {
    oaki_weakmap w;
};
struct oak_weakkey {
    oaki_weakmap w;
};

/* false with errno. */
bool oaki_weakmap_init(oaki_weakmap *w, const char *what, const oak_map_type *keys, unsigned flags,
                       size_t hint, bool (*alive)(void *handle));

/* Enters, and removes some dead entries. */
void oaki_weakmap_take(oaki_weakmap *w);
OAKI_INLINE void oaki_weakmap_enter(oaki_weakmap *w)
{
    OAKI_ON_UNWIND(oaki_inner_left); /* as oaki_inner_enter */
    oaki_weakmap_take(w);
}
OAKI_INLINE void oaki_weakmap_leave(oaki_weakmap *w)
{
    oaki_inner_leave(&w->in);
}

/* Returns the handle of the key, or NULL. Between enter and leave. */
OAKI_INLINE void *oaki_weakmap_find(const oaki_weakmap *w, const void *key)
{
    OAKI_REQUIRES_ENTERED(&w->in);
    void **slot = oak_map_get(w->in.map, key);
    return slot ? *slot : NULL;
}

/* Returns 0, or -1 with ENOMEM. Between enter and leave. */
int oaki_weakmap_set(oaki_weakmap *w, const void *key, void *handle);

/* The parts of the public functions that both kinds share. */
bool oaki_weakmap_delete(oaki_weakmap *w, const void *key);
void oaki_weakmap_clear(oaki_weakmap *w);
size_t oaki_weakmap_len(oaki_weakmap *w);
bool oaki_weakmap_purge(oaki_weakmap *w, size_t budget);

/* A walk, as oak_map_iter; a heap object. */
typedef struct oaki_weakmap_walk {
    oaki_weakmap *w;
    void *key; /* a copy */
    void *handle;
    oak_map_iter it;
} oaki_weakmap_walk;

/* NULL with ENOMEM. */
oaki_weakmap_walk *oaki_weakmap_walk_new(oaki_weakmap *w);

/* Advances to the next entry, dead or alive: 1. 0 at the end, or -1 with ENOMEM. */
int oaki_weakmap_walk_next(oaki_weakmap_walk *k);

#endif
