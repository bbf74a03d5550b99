/* map.h - the default map's private interface: layouts, arrays, and the division into files.
 *
 * map.c         creation, adding and removing an entry, clearing
 * map_layout.c  the layout of entries, and how the collector reads a segment
 * map_array.c   arrays: tags, directories, segments, finding a free slot
 * map_far.c     lookups of keys that may have one hash
 * map_resize.c  growing and shrinking: when, how far, by small steps
 * map_rebuild.c small maps' resizes and new seeds, in one step
 * map_move.c    moving homes from the old array to the new one, and back
 * map_iter.c    iterators
 * map_bulk.c    many lookups, room for many entries, deletes by a predicate
 * map_copy.c    copies
 * map_stats.c   statistics
 * map_types.c   ready types and hashes
 * map_check.c   whether the rules below hold
 *
 * The frontier is `last`: a resize has evacuated the positions up to it from array[1] to array[0].
 *
 * Invariants (docs/maps-internals.md shows that they suffice):
 * - An entry whose position p is at most m->last is in array[0], else in array[1]. At rest `last`
 *   is UINT64_MAX.
 * - An entry of home h lies in the first group at or behind h that had a free slot when it came.
 *   It went past the groups before that one. In each of these, bit (tag modulo 8) of byte 15 is
 *   set. In array[0] a bit is set only while there is such an entry, so deletes leave no trace.
 * - Tags of groups that are in a segment are sound. Tags of other groups are not read unless they
 *   were zeroed. A resize fills an array from its beginning.
 * - A slot's tag is written after its entry, and cleared in the old array after it is written in
 *   the new one. So in each pause the tags cover every entry.
 * - Segments belong to the map alone. A segment is freed as soon as its last home has moved.
 *
 * Lock: none; the map's callers exclude each other. `busy` is set while a write is under way. */
#ifndef OAKI_MAP_H
#define OAKI_MAP_H

#include "contract.h"
#include "runtime/base.h"
#include <oakum/map.h>

#define OAKI_MAP_SEGMENT_BITS 10               /* of a segment's groups, at most */
#define OAKI_MAP_SEGMENT ((size_t)256 << 10)   /* bytes, at most */
#define OAKI_MAP_SEGMENT_MIN ((size_t)4 << 10) /* smaller arrays are one segment */
#define OAKI_MAP_SEGMENTS_BITS 5 /* an array has so many before they become larger */
#define OAKI_MAP_KEPT ((size_t)4 << 10) /* bytes of an array that deletes leave as it is, at most */
#define OAKI_MAP_PART_KEPT ((size_t)256) /* the same of a sharded map's part */
#define OAKI_MAP_FILL 25 /* entries in two groups, on average, at which a map grows */
#define OAKI_MAP_BITS_MAX 44
#define OAKI_MAP_HALF (UINT64_C(1) << 63) /* positions are below it */
#define OAKI_MAP_COLLISIONS 16 /* entries of one full hash, which no seed separates */
#define OAKI_MAP_GROUP (OAK_MAP_SLOTS_ + 1u) /* bytes of a group's tags */
#define OAKI_MAP_KEY_FLAGS (OAK_MAP_SCAN_KEY | OAK_MAP_AVALANCHING) /* of keys alone */
#define OAKI_MAP_RUN 8 /* adjacent deletes: more than by chance */
#define OAKI_MAP_RUNS 64

/* oak_map.flags */
enum {
    OAKI_MAP_HINTED = OAK_MAP_HINTED_,
    OAKI_MAP_CELLS = 2,  /* keys or values are in objects of their own */
    /* the next limit to be reached, upper or lower, is early: memory is made ready there, and the
     * map doesn't grow or shrink yet */
    OAKI_MAP_SOON = 4,
    OAKI_MAP_SOON_LESS = 8,
    OAKI_MAP_PART = 16 /* of a sharded map: as there may be many, each keeps less */
};

typedef struct oaki_map_layout oaki_map_layout;

/* Shared by all maps of one type; made once, never freed. */
struct oaki_map_layout {
    oak_map_type type; /* complete; oak_map.type points here */
    oaki_map_layout *next;
    oak_map_type given; /* the program's, from which `type` was completed */
    size_t entry_size, value_offset;
    uint64_t words; /* a bit for each word of an entry that the collector reads */
    uint8_t gbits_min, gbits_max;
    AO_t segment_type; /* id of an oak_type; 0: not made yet */
};

/* Lies before the entries of a segment that the collector reads. */
typedef struct oaki_map_head {
    const char *tags; /* of its first group */
    size_t groups;
} oaki_map_head;

/* Fields that a map of one group can do without. */
struct oak_map_more_ {
    struct oak_map_deletes_ deletes; /* run: at most RUNS; mixed: at most RUN, and then stays until
                                      * a long run without adds */
    uint64_t growths, shrinks, reseeds;
    uint64_t crowding;    /* groups in the runs that puts met in crowded places, since a new seed */
    size_t groups[2];     /* groups with tags in each array, those behind the last home included */
    size_t segments[2];   /* in each directory */
    uint32_t tail[2];     /* groups in the last segment behind the homes */
    size_t released;      /* groups of array[1], at its beginning, whose tags have no memory */
    size_t looked;        /* segments that were examined while shrinking waited */
    uint32_t wait;        /* writes until a resize that found no memory is tried again */
    bool bad_hash;
    bool reseeded;        /* a new seed was taken or tried */
    bool back;            /* shrinking was given up: the frontier goes back */
    bool halve;           /* shrinking had gone too far: the next one halves only */
};

/* The map has no entries, or these move to where the new seed puts them. Both numbers are secret,
 * so the multiplier may follow from the seed. */
OAKI_INLINE void oaki_map_set_seed(oak_map *m, uint64_t seed)
{
    m->seed = seed;
    m->mult = oak_map_mix_(seed, UINT64_C(0x243f6a8885a308d3), UINT64_C(0x452821e638d01377)) | 1;
}

OAKI_INLINE const oaki_map_layout *oaki_map_layout_of(const oak_map *m)
{
    return (const oaki_map_layout *)(const void *)m->type;
}

/* ---- map_layout.c ---- */

const oaki_map_layout *oaki_map_layout_get(const oak_map_type *t); /* NULL: EINVAL, ENOMEM */
/* An empty map's header; a directory of n segments of `stride` bytes. Both are zeroed. NULL when
 * out of memory. Memory for a map lies in the map's zone, whatever zone the thread is in. */
oak_map *oaki_map_header_new(void);
bool oaki_map_is_header(const oak_map *m); /* is it a live map? */
char **oaki_map_dir_new(const oak_map *m, size_t n, size_t stride);
void oaki_map_dir_free(char **dir);
char *oaki_map_tags_new(const oak_map *m, size_t groups, bool zero);
/* Makes a segment for `groups` groups of `slots` slots, whose tags begin at `tags`. Returns its
 * first entry. */
char *oaki_map_segment_new(const oak_map *m, const char *tags, size_t groups, size_t slots);
/* The segment's tags have moved to `tags`. */
void oaki_map_segment_set_tags(const oaki_map_layout *l, char *segment, const char *tags);
void oaki_map_segment_free(const oaki_map_layout *l, char *segment);
size_t oaki_map_segment_bytes(const oaki_map_layout *l, const char *segment);
/* An object for a large key or value. */
void *oaki_map_cell_new(const void *owner, size_t size, bool scanned);
/* Bytes that array i holds. The world is stopped, perhaps in the middle of a write. */
size_t oaki_map_array_held(const oak_map *m, unsigned i);

/* ---- map_array.c ---- */

OAKI_INLINE size_t oaki_map_home(const struct oak_map_array_ *a, uint64_t p)
{
    return (size_t)(p >> a->shift);
}

OAKI_INLINE uint8_t *oaki_map_tags(const struct oak_map_array_ *a, size_t g)
{
    return (uint8_t *)a->tags + g * OAKI_MAP_GROUP;
}

OAKI_INLINE char *oaki_map_entries(const struct oak_map_array_ *a, size_t g, size_t size)
{
    return a->dir[g >> a->gbits] + g * OAK_MAP_SLOTS_ * size;
}

OAKI_INLINE char *oaki_map_entry(const oak_map *m, const struct oak_map_array_ *a, size_t g,
                                 unsigned slot)
{
    return oaki_map_entries(a, g, m->entry_size) + slot * m->entry_size;
}

/* The tag of the entry at e was stored after the entry. A concurrent mark may have scanned the
 * segment in between. This write makes the entry's page dirty once more, so the page is
 * rescanned. */
OAKI_INLINE void oaki_map_note_write(char *e)
{
    AO_char_store_release((unsigned char *)e, *(unsigned char *)e);
}

/* stride: bytes of a segment's entries. segment: segment s, or NULL. */
OAKI_INLINE size_t oaki_map_stride(const oak_map *m, const struct oak_map_array_ *a)
{
    return ((size_t)a->gmask + 1) * OAK_MAP_SLOTS_ * m->entry_size;
}

OAKI_INLINE char *oaki_map_segment(const oak_map *m, const struct oak_map_array_ *a, size_t s)
{
    return a->dir[s] ? a->dir[s] + s * oaki_map_stride(m, a) : NULL;
}

OAKI_INLINE void oaki_map_copy_entry(char *to, const char *from, size_t size)
{
    if (size == 16)
        memcpy(to, from, 16);
    else if (size == 8)
        memcpy(to, from, 8);
    else if (size == 64)
        memcpy(to, from, 64);
    else
        memcpy(to, from, size);
}

OAKI_INLINE unsigned oaki_map_used(const uint8_t *tags)
{
    return oak_map_used_((const char *)tags);
}

/* The number of slots in use. */
OAKI_INLINE unsigned oaki_map_count(const uint8_t *tags)
{
#ifdef __SSE2__
    const __m128i one = _mm_set_epi32(0x00010101, 0x01010101, 0x01010101, 0x01010101);
    __m128i t = _mm_load_si128((const __m128i *)(const void *)tags);
    __m128i sum = _mm_sad_epu8(_mm_min_epu8(t, one), _mm_setzero_si128());
    return (unsigned)_mm_cvtsi128_si32(sum) + (unsigned)_mm_extract_epi16(sum, 4);
#else
    return oaki_popcount(oaki_map_used(tags));
#endif
}

OAKI_INLINE size_t oaki_map_homes(const struct oak_map_array_ *a)
{
    return (size_t)1 << (63 - a->shift);
}

/* array[i] becomes an empty array of 2^bits groups, with `slots` slots each. It is filled from its
 * beginning, or, with `zero`, in any order. false: no memory, the array is as it was. */
bool oaki_map_array_init(oak_map *m, unsigned i, unsigned bits, unsigned slots, bool zero);
void oaki_map_array_free(oak_map *m, unsigned i); /* with its segments */
/* array[i] moves to array[j], which is not in use. */
void oaki_map_array_move(oak_map *m, unsigned i, unsigned j);
void oaki_map_drop_segment(oak_map *m, unsigned i, size_t s); /* if there is one */
size_t oaki_map_array_bytes(const oak_map *m, unsigned i);
/* Groups that may hold entries, where they have a segment. */
size_t oaki_map_array_groups(const oak_map *m, unsigned i);
/* Makes sure that there is memory for n more entries of home g. */
bool oaki_map_make_room(oak_map *m, unsigned i, size_t g, size_t n);
/* Finds a free slot for an entry of this position and tag, and sets the bits of the groups that the
 * entry goes past. Returns the tag's address; *entry is the entry, *past the number of these
 * groups. NULL: no memory. */
uint8_t *oaki_map_take_slot(oak_map *m, unsigned i, uint64_t p, unsigned tag, char **entry,
                            size_t *past);
bool oaki_map_need_more(oak_map *m);

/* Gives back the memory of array[1]'s tags before the frontier, of whole segments and in large
 * pieces. */
void oaki_map_release_tags(oak_map *m);
/* Gives the tags of group g of array[1], and of those behind it, memory again; they are clear.
 * false: no memory, nothing has changed. */
bool oaki_map_restore_tags(oak_map *m, size_t g);

/* ---- map.c ---- */

/* An entry of this tag and of home h has left group g, which lies behind h. Clears the bits in
 * between that no other entry needs. */
void oaki_map_forget_past(oak_map *m, const struct oak_map_array_ *a, size_t h, size_t g,
                          unsigned tag);
/* hint_bits: log2 of the fewest groups that n entries fit into, within the heap's limit and the
 * machine's memory. slots_for: the slots of a single group for n entries, as bits. */
unsigned oaki_map_hint_bits(const oaki_map_layout *l, size_t n);
unsigned oaki_map_slots_for(const oak_map *m, size_t n);
/* Gives the arrays back. The map has no entries. */
void oaki_map_release(oak_map *m);
void oaki_map_make_part(oak_map *m); /* a new map becomes one of a sharded map */
/* Of an emptied map at rest: its array is kept, as it is small, or as a hint holds. */
OAKI_INLINE bool oaki_map_keeps_array(const oak_map *m)
{
    return !m->resizing && m->shrink_at == 0;
}

/* After many deletes the hint no longer holds: the map isn't filled further, but is in use. */
void oaki_map_forget_hint(oak_map *m, size_t deletes);

/* ---- map_far.c ---- */

/* oak_map_get of a custom key; m is not NULL. */
void *oaki_map_get_custom(const oak_map *m, const void *key);
/* The value's slot, or NULL, of a custom key of 8 bytes that has no `equal`. */
void *oaki_map_find_custom(const oak_map *m, uint64_t hash, const void *key);

/* ---- map_move.c ---- */

void oaki_map_move_entry(oak_map *m, const char *from, uint8_t tag); /* there is room for it */
/* Copies the entries of group h of the old array to the two homes that home h becomes in one of
 * twice its size. false, and nothing is copied, where entries of other homes lie in h, or the two
 * have no room. */
bool oaki_map_split_home(oak_map *m, size_t h);
/* Move the frontier. move_home: over home h of the old array. skip_segment: over all of segment s,
 * which isn't there. move_back: back by half of a new home, but by at least one old home. false: no
 * memory, nothing was moved. */
bool oaki_map_move_home(oak_map *m, size_t h);
void oaki_map_skip_segment(oak_map *m, size_t s);
bool oaki_map_move_back(oak_map *m);

/* ---- map_resize.c ---- */

/* The part of a resize that one write does. `adds`: it adds an entry, else it deletes one. */
void oaki_map_step(oak_map *m, bool adds);
unsigned oaki_map_bits_for(size_t n); /* groups for n entries, log2 */
void oaki_map_set_limits(oak_map *m);
/* Begins to grow, or has memory made ready for it. Without memory, puts growing off. */
void oaki_map_grow(oak_map *m);
/* Grows at the next entry, unless a growth has just found no memory. */
void oaki_map_grow_soon(oak_map *m);
void oaki_map_shrink(oak_map *m); /* the same for shrinking */
/* The one group of a small map gets more slots. false: no memory. */
bool oaki_map_widen(oak_map *m);

/* ---- map_rebuild.c ---- */

/* Log2 of the groups of the largest array that is resized in one step. Tests set it to 0. */
extern OAKI_HIDDEN unsigned oaki_map_whole_bits;

OAKI_INLINE bool oaki_map_is_whole(const oak_map *m)
{
    return m->bits <= oaki_map_whole_bits;
}

/* swap_arrays: array[0] becomes array[1], and an array of 2^bits empty groups takes its place; no
 * memory: false, nothing has changed. swap_back: array[1], of 2^bits groups, becomes array[0]
 * again; the one in its place is freed. */
bool oaki_map_swap_arrays(oak_map *m, unsigned bits, bool zero);
void oaki_map_swap_back(oak_map *m, unsigned bits);

/* Resizes a small map to 2^bits groups, and sets its limits. Where deletes have left entries side
 * by side, it gets a new seed, which follows from the old one: a test may repeat a run. false: no
 * memory, nothing has changed. */
bool oaki_map_resize_whole(oak_map *m, unsigned bits);
/* Moves all entries to 2^bits groups under a new seed. false: as above. */
bool oaki_map_reorder(oak_map *m, unsigned bits);
/* An entry of this hash is to be put where entries went past `run` groups in a row. If the hash
 * function may be the cause, takes a new seed. true: the map has one. */
bool oaki_map_crowded(oak_map *m, uint64_t hash, size_t run);

/* Moves all entries to an array of 2^bits groups, more than there are, in one step. false: no
 * memory, nothing has changed. */
bool oaki_map_enlarge(oak_map *m, unsigned bits);

/* ---- map_stats.c ---- */

/* The number of entries of this full hash in group g and behind it. With g their home, or the first
 * group that holds one, these are all. */
size_t oaki_map_same_hash(const oak_map *m, const struct oak_map_array_ *a, size_t g,
                          uint64_t hash);

/* ---- map_check.c ---- */

/* Return the rule that the map breaks, or NULL. O(entries). check: between two writes.
 * check_inside: inside a write; it calls no function of the type's. */
const char *oaki_map_check(const oak_map *m);
const char *oaki_map_check_inside(const oak_map *m);

/* ---- shared ---- */

/* Is the hash that of bytes in the map, computed by no function of the program's? Then nothing but
 * a write of the map can change it. */
OAKI_INLINE bool oaki_map_hash_is_own(const oak_map_type *t)
{
    return t->key != OAK_KEY_CUSTOM && t->key != OAK_KEY_CSTRING && t->key != OAK_KEY_SLICE;
}

/* class: the bit of byte 15 for entries with this tag. of_class: the slots of a group whose tags
 * have their bit in `bits`. */
OAKI_INLINE unsigned oaki_map_class(unsigned tag)
{
    return 1u << (tag & 7);
}

OAKI_INLINE unsigned oaki_map_of_class(const uint8_t *tags, unsigned bits)
{
    unsigned found = 0;
#ifdef __SSE2__
    __m128i kinds = _mm_and_si128(_mm_load_si128((const __m128i *)(const void *)tags),
                                  _mm_set1_epi8(7));
    for (; bits; bits &= bits - 1)
        found |= (unsigned)_mm_movemask_epi8(
            _mm_cmpeq_epi8(kinds, _mm_set1_epi8((char)oaki_ctz(bits))));
    return found & oaki_map_used(tags);
#else
    for (unsigned used = oaki_map_used(tags); used; used &= used - 1)
        if (oaki_map_class(tags[oaki_ctz(used)]) & bits) found |= used & -used;
    return found;
#endif
}

OAKI_INLINE uint64_t oaki_map_entry_hash(const oak_map *m, const oak_map_type *t, const char *e)
{
    return oak_map_hash_with_(t, oak_map_stored_key_(t, e), m->seed, m->mult);
}

OAKI_INLINE uint64_t oaki_map_entry_position(const oak_map *m, const oak_map_type *t,
                                             const char *e)
{
    return oak_map_position_(oaki_map_entry_hash(m, t, e));
}

#endif
