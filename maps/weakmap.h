/* weakmap.h - what maps with weak values and maps with weak keys share: the removal of what has
 * died, and walks.
 *
 * A slot of the map holds a handle, an oak_weak or an oak_ephemeron, whose object the collector
 * clears. Nobody tells the map. So when the number of collections has changed, it begins to go over
 * all entries, a few with each operation, with an iterator as anybody could: it survives whatever
 * the operations do meanwhile. (Cleanups that each remove an entry would cost a record and a call
 * for each, on another thread.)
 *
 * Owns:       struct oaki_weakmap. Invariants: `cycle` is the collection whose dead are being
 *             looked for, or all removed when `looking` is false.
 * Lock:       inner.h's.
 * Bound:      an operation looks at OAKI_WEAKMAP_STEP entries. So the dead that puts of short-lived
 *             objects leave behind are about one in so many, and those of one collection. */
#ifndef OAKI_WEAKMAP_H
#define OAKI_WEAKMAP_H

#include "inner.h"
#include <oakum/weakmap.h>

enum { OAKI_WEAKMAP_STEP = 8 };

typedef struct oaki_weakmap {
    oaki_inner in;
    bool (*alive)(void *handle);
    size_t cycle;
    bool looking;
    void *key; /* room for one, to delete by */
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

/* Enter, and remove some of the dead. */
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

/* The handle of the key, or NULL. Entered. */
OAKI_INLINE void *oaki_weakmap_find(const oaki_weakmap *w, const void *key)
{
    OAKI_REQUIRES_ENTERED(&w->in);
    void **slot = oak_map_get(w->in.map, key);
    return slot ? *slot : NULL;
}

/* 0 or -1 with ENOMEM. Entered. */
int oaki_weakmap_set(oaki_weakmap *w, const void *key, void *handle);

/* The public ones. */
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

/* The next entry, dead or alive. 1, 0 at the end, or -1 with ENOMEM. */
int oaki_weakmap_walk_next(oaki_weakmap_walk *k);

#endif
