/* inspect.h - what a census asks of a map, in a stop that may have come in the middle of a write.
 *
 * Reads what the collector reads, and trusts no more of it: pointers are looked up in the heap
 * before what they point to is used. Lock: none; the world is stopped. Bound: O(segments). */
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
    size_t entry_bytes;      /* that a slot takes, tag and all */
    bool reserved;           /* made for many entries, and not filled yet */
    size_t array_bytes;      /* of the current array, without a classic map's overflow buckets */
    size_t old_array_bytes;  /* of the one that is being left */
    bool growing;            /* a resize is under way */
    bool same_size;          /* to as many buckets */
    bool busy;               /* in the middle of a write: the figures are about right */
    uint64_t growths;        /* begun, of all kinds, since it was made */
    double moved;            /* part of the old array that is left behind, 0 to 1 */
    uint64_t progress;       /* another one whenever a step of a resize is made */
    /* part of the groups, a sample of them, that entries went past for want of room; of a classic
     * map overflow buckets for each bucket; -1: not known in the middle of a write or resize */
    double crowded;
    bool bad_hash;           /* many keys have one full hash, or few hashes have all keys */
} oaki_map_view;

/* What map an object of this type is. */
oaki_map_kind oaki_map_kind_of(const oak_type *t);

/* The map whose header is at p, of this kind. false when it isn't made yet. */
bool oaki_map_view_read(const void *p, oaki_map_kind kind, oaki_map_view *out);

/* ---- the two kinds' own ---- */

bool oaki_map_is_header_type(const oak_type *t);
void oaki_map_inspect(const oak_map *m, oaki_map_view *out);
bool oaki_classic_is_header_type(const oak_type *t);
void oaki_classic_inspect(const oak_classic_map *m, oaki_map_view *out);

#endif
