/* limit_maps.h - for limit.c: structures of each kind, and references to objects. */
#ifndef TESTS_GC_LIMIT_MAPS_H
#define TESTS_GC_LIMIT_MAPS_H

#include "runtime/base.h"

#define LIMIT_MAP_KINDS 8
/* Entries of a structure, at most; and of one whose entries are objects of their own, in all
 * threads together: each may keep a page that has nothing else. */
#define LIMIT_MAP_KEYS 400
#define LIMIT_MAP_OBJECTS 64
#define LIMIT_MAP_NEED 8 /* pages that a step takes at most, with what the structure had before */

/* Makes an empty one. NULL: no memory. */
void *limit_map_new(size_t kind);

/* Keys from 0 on, so that all of so many threads may have such a structure. */
size_t limit_map_keys(size_t kind, size_t threads);

/* Adds an entry for the key, or deletes it. `object` is a heap object that is kept elsewhere.
 * Returns the call that found no memory, or NULL. */
const char *limit_map_step(size_t kind, void *map, uint64_t key, bool adds, void *object);

/* The first ones are weak references and ephemerons, the others run functions. */
enum { LIMIT_WEAK_REFERENCES = 2, LIMIT_REFERENCES = 4 };

/* Makes one. Returns the call that found no memory, or NULL. */
const char *limit_refer(size_t kind, void *obj);

#endif
