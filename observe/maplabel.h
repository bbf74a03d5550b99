/* maplabel.h - what a word in a map is: which key's entry, the old array, an iterator's place.
 *
 * In an image: maps may be in the middle of a write, so nothing that is read of one is trusted, and
 * what may lie outside of the heap is copied by the kernel. */
#ifndef OAKI_MAPLABEL_H
#define OAKI_MAPLABEL_H

#include "image.h"
#include <oakum/classic.h>
#include <oakum/why.h>

#define OAKI_LABEL (sizeof(((oak_step *)0)->label))
#define OAKI_KEY_SHOWN 48 /* bytes of a key */

/* The object at obj if it is a classic map's header, whose fields fit each other; or NULL. */
const oak_classic_map *oaki_classic_seen(const oaki_image *im, const void *obj);

/* A path through a classic map knows whose buckets it is in. */
typedef enum oaki_classic_at { OAKI_AT_NONE, OAKI_AT_BUCKETS, OAKI_AT_LISTS } oaki_classic_at;

typedef struct oaki_label_context {
    const oak_classic_map *map;
    oaki_classic_at at;
} oaki_label_context;

/* What the word at `at` (SIZE_MAX: not known) of the object at `from` is, which refers to the
 * object at `to`; empty when there is nothing to say. c goes along a path: zero at its start. */
void oaki_map_label(const oaki_image *im, oaki_label_context *c, const char *from, size_t at,
                    const char *to, char out[OAKI_LABEL]);

/* What a word outside of the heap, at place, is: "oak_classic_iter.buckets", or empty. */
void oaki_iterator_label(const oaki_image *im, const char *place, char out[OAKI_LABEL]);

/* The key of the entry that a word of a default map's entries is in; 0 when the word is in none.
 * Returns its length. For snapshots. */
size_t oaki_map_key_at(const void *entries, size_t at, char *out, size_t n);

/* The same for a word of a classic map's array of buckets. */
size_t oaki_classic_key_at(const oak_classic_map *m, const void *array, size_t at, char *out,
                           size_t n);

#endif
