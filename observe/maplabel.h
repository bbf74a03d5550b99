/* maplabel.h - labels for words in maps: a key's entry, the old array, a field of an iterator.
 *
 * For use in an image, where maps may be in the middle of a write. So nothing read from a map is
 * trusted, and memory that may be outside of the heap is copied by the kernel. */
#ifndef OAKI_MAPLABEL_H
#define OAKI_MAPLABEL_H

#include "image.h"
#include <oakum/classic.h>
#include <oakum/why.h>

#define OAKI_LABEL (sizeof(((oak_step *)0)->label))
#define OAKI_KEY_SHOWN 48 /* bytes of a key */

/* The object at obj if it is a classic map's header with consistent fields; or NULL. */
const oak_classic_map *oaki_classic_seen(const oaki_image *im, const void *obj);

/* The position of a path in a classic map: its map, and the part that the path is in. */
typedef enum oaki_classic_at { OAKI_AT_NONE, OAKI_AT_BUCKETS, OAKI_AT_LISTS } oaki_classic_at;

typedef struct oaki_label_context {
    const oak_classic_map *map;
    oaki_classic_at at;
} oaki_label_context;

/* Labels the word at offset `at` (SIZE_MAX: unknown) of the object at `from`, which refers to the
 * object at `to`. Empty: no label. c is kept along a path, and is zero at its start. */
void oaki_map_label(const oaki_image *im, oaki_label_context *c, const char *from, size_t at,
                    const char *to, char out[OAKI_LABEL]);

/* Labels a word outside of the heap, at `place`: e.g. "oak_classic_iter.buckets", or empty. */
void oaki_iterator_label(const oaki_image *im, const char *place, char out[OAKI_LABEL]);

/* Writes the key of the entry that contains a word of a default map's entries. Returns its length;
 * 0: the word is in no entry. For snapshots. */
size_t oaki_map_key_at(const void *entries, size_t at, char *out, size_t n);

/* As oaki_map_key_at, for a word of a classic map's array of buckets. */
size_t oaki_classic_key_at(const oak_classic_map *m, const void *array, size_t at, char *out,
                           size_t n);

#endif
