/* map.h - the default map's inside: layouts, arrays, and how its files divide the work.
 *
 * map.c       creation, adding and removing an entry, clearing map_layout.c  what entries look
 * like, and how the collector reads a segment map_array.c   arrays: directories, segments,
 * finding a free slot map_resize.c  growing, shrinking, a new seed: moving homes from the old
 * array to the new one map_iter.c    iterators map_stats.c   what it looks like inside
 * map_types.c   ready types and hashes
 *
 * Invariants (proved in docs/maps.md):
 * - An entry whose position p is at most m->last is in array[0], else in array[1]. At rest
 * `last` is
 *   UINT64_MAX.
 * - An entry of home h lies in the first group at or behind h that had a free slot when it came.
 *   Byte 15 of a group counts the entries that went past it; 255 means 255 or more, for ever.
 * - A slot's tag is written after its entry, and cleared in the old array after it is written in
 *   the new one: whenever the world stops, the tags tell every entry there is.
 * - Segments belong to the map alone: they are freed as soon as the last home in them has moved.
 * Lock: none; a map is its callers' to guard. `busy` is set while a write is under way. */
#ifndef OAKI_MAP_H
#define OAKI_MAP_H

#include "runtime/base.h"
#include <oakum/map.h>

#define OAKI_MAP_SEGMENT_BITS 10               /* of a segment's groups, at most */
#define OAKI_MAP_SEGMENT ((size_t)256 << 10)   /* bytes, at most, tags included */
#define OAKI_MAP_SEGMENT_MIN ((size_t)4 << 10) /* smaller arrays are one segment */
#define OAKI_MAP_SEGMENTS_BITS 5 /* an array has so many before they become larger */
#define OAKI_MAP_FILL 13         /* entries a group, on average, at which a map grows */
#define OAKI_MAP_BITS_MAX 44
#define OAKI_MAP_HALF (UINT64_C(1) << 63) /* positions are below it */
#define OAKI_MAP_RESEEDS 3

/* oak_map.flags */
enum { OAKI_MAP_HINTED = 1 /* and not filled yet: it is not to shrink */ };

typedef struct oaki_map_layout oaki_map_layout;

typedef struct oaki_map_segment_type {
    const oaki_map_layout *layout;
    AO_t id; /* of the oak_type; 0: not made yet */
    uint32_t gbits;
} oaki_map_segment_type;

/* Of all maps of one type; made once, never freed. */
struct oaki_map_layout {
    oak_map_type type; /* complete; oak_map.type points here */
    oaki_map_layout *next;
    oak_map_type given; /* what `type` was made of */
    size_t entry_size, value_offset, group_bytes;
    uint64_t words; /* of an entry: those that the collector reads */
    uint8_t gbits_min, gbits_max;
    oaki_map_segment_type segment[OAKI_MAP_SEGMENT_BITS + 1];
};

/* What a map of one group does without. */
struct oak_map_more_ {
    uint64_t growths, shrinks, reseeds;
    uint32_t tail[2];     /* groups in the last tail segment of each array */
    uint32_t segments[2]; /* in each directory, tail included */
    uint32_t wait;        /* writes until a resize is tried again that found no memory */
    size_t same_hash;
    bool bad_hash;
};

OAKI_INLINE const oaki_map_layout *oaki_map_layout_of(const oak_map *m)
{
    return (const oaki_map_layout *)(const void *)m->type;
}

/* ---- map_layout.c ---- */

const oaki_map_layout *oaki_map_layout_get(const oak_map_type *t); /* NULL: EINVAL, ENOMEM */
/* An empty map's header, a directory of n, `more`, a segment: zeroed, the segment's tags only.
 * NULL when out of memory. */
oak_map *oaki_map_header_new(void);
bool oaki_map_is_header(const oak_map *m); /* a live one */
char **oaki_map_dir_new(size_t n);
char *oaki_map_segment_new(const oaki_map_layout *l, unsigned gbits, size_t bytes);
void *oaki_map_cell_new(size_t size, bool scanned); /* for a large key or value */

/* ---- map_array.c ---- */

extern OAKI_HIDDEN const char oaki_map_empty[];
#define OAKI_MAP_EMPTY ((char *)(uintptr_t)oaki_map_empty)

/* A place: group g of segment s. */
typedef struct oaki_map_place {
    size_t s, g;
} oaki_map_place;

OAKI_INLINE oaki_map_place oaki_map_home(const struct oak_map_array_ *a, uint64_t p)
{
    return (oaki_map_place){ (size_t)(p >> a->segshift), (size_t)(p >> a->shift) & a->gmask };
}

OAKI_INLINE void oaki_map_next(const struct oak_map_array_ *a, oaki_map_place *at)
{
    if (++at->g <= a->gmask) return;
    at->g = 0;
    at->s++;
}

OAKI_INLINE uint8_t *oaki_map_tags(const struct oak_map_array_ *a, oaki_map_place at)
{
    return (uint8_t *)a->dir[at.s] + at.g * (OAK_MAP_SLOTS_ + 1);
}

OAKI_INLINE char *oaki_map_entries(const struct oak_map_array_ *a, oaki_map_place at, size_t size)
{
    return a->dir[at.s] + a->entries + at.g * OAK_MAP_SLOTS_ * size;
}

OAKI_INLINE unsigned oaki_map_used(const uint8_t *tags)
{
    return oak_map_used_((const char *)tags);
}

/* array[i] becomes an empty one of 2^bits groups, with `slots` slots each. false: no memory, the
 * array is as it was. */
bool oaki_map_array_init(oak_map *m, unsigned i, unsigned bits, unsigned slots);
void oaki_map_array_free(oak_map *m, unsigned i); /* and everything in it; it is empty then */
size_t oaki_map_segments(const oak_map *m, unsigned i); /* without the tail */
/* Memory for at least n more entries whose home is at `at` or behind it. */
bool oaki_map_make_room(oak_map *m, unsigned i, oaki_map_place at, size_t n);
/* A free slot for an entry of position p: its tag's place, its entry in *entry; those that it went
 * past are counted, how many in *past. NULL: no memory. */
uint8_t *oaki_map_take_slot(oak_map *m, unsigned i, uint64_t p, char **entry, size_t *past);
size_t oaki_map_array_bytes(const oak_map *m, unsigned i);
bool oaki_map_need_more(oak_map *m);

/* ---- map_resize.c ---- */

unsigned oaki_map_bits_for(size_t n); /* groups for n entries, log2 */
void oaki_map_set_limits(oak_map *m);
void oaki_map_grow(oak_map *m);   /* begin; or put it off when there is no memory */
void oaki_map_shrink(oak_map *m); /* begin */
/* An entry of this hash was put far behind its home: is it the hash function? May give the map a
 * new seed. */
void oaki_map_crowded(oak_map *m, uint64_t hash);

/* ---- shared ---- */

OAKI_INLINE uint64_t oaki_map_entry_hash(const oak_map *m, const oak_map_type *t, const char *e)
{
    const void *key = t->key_size > OAK_MAP_INDIRECT_ ? *(void *const *)(const void *)e : e;
    return oak_map_hash_with_(t, key, m->seed, m->mult);
}

OAKI_INLINE const void *oaki_map_entry_key(const oak_map_type *t, const char *e)
{
    return t->key_size > OAK_MAP_INDIRECT_ ? *(void *const *)(const void *)e : e;
}

#endif
