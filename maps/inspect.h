/* inspect.h - the figures of a map for a census, in a stop that may come in the middle of a write.
 *
 * Reads the fields that the collector reads, and trusts them no more: a pointer is looked up in the
 * heap before its object is read. Lock: none; the world is stopped. Bound: O(segments). */
#ifndef OAKI_INSPECT_H
#define OAKI_INSPECT_H

#include "runtime/type.h"
#include <oakum/classic.h>
#include <oakum/map.h>

typedef enum oaki_map_kind { OAKI_MAP_NONE, OAKI_MAP_DEFAULT, OAKI_MAP_CLASSIC } oaki_map_kind;

typedef struct oaki_map_view {
    oaki_map_kind kind;
    char name[32];           /* of its type, cut; empty when it has none */
    size_t len, capacity;    /* entries; slots of the current array */
    size_t entry_bytes;      /* of a slot, its tag included */
    bool reserved;           /* made with a hint, and not filled yet */
    size_t array_bytes;      /* of the current array, without a classic map's overflow buckets */
    size_t old_array_bytes;  /* of the one that is being evacuated */
    bool growing;            /* a resize is under way */
    bool same_size;          /* to the same number of buckets */
    bool busy;               /* in the middle of a write: the figures are approximate */
    uint64_t growths;        /* resizes of all kinds that were begun */
    double moved;            /* part of the old array that is evacuated, 0 to 1 */
    uint64_t progress;       /* changes with each step of a resize */
    /* The part of a sample of groups that entries went past, as the groups were full. For a classic
     * map, the overflow buckets for each bucket. -1: unknown, in the middle of a write or
     * resize. */
    double crowded;
    bool bad_hash;           /* many keys share one full hash, or all keys share few hashes */
} oaki_map_view;

/* The kind of map whose header has this type. */
oaki_map_kind oaki_map_kind_of(const oak_type *t);

/* Reads the map whose header is at p, of this kind. false when it isn't made yet. */
bool oaki_map_view_read(const void *p, oaki_map_kind kind, oaki_map_view *out);

/* ---- the two kinds' own ---- */

bool oaki_map_is_header_type(const oak_type *t);
void oaki_map_inspect(const oak_map *m, oaki_map_view *out);
bool oaki_classic_is_header_type(const oak_type *t);
void oaki_classic_inspect(const oak_classic_map *m, oaki_map_view *out);

#endif
