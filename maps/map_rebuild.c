/* map_rebuild.c - all entries move to a new array in one step: small maps that grow or shrink, room
 * for many entries, and a new seed.
 *
 * Owns: oaki_map_whole_bits.
 * Invariants: the old array stays as it is until the new one has all entries. Without memory it
 * takes its place again.
 * Bound: O(groups), and O(entries) and their chains. A resize of a small map moves at most 12.5
 * entries for each of 2^oaki_map_whole_bits groups. A new seed is taken for an attack, for a hash
 * that no seed helps, or for few entries that are left side by side. */
#include "hash.h"
#include "map.h"
#include "resizehook.h"

#define CHARGE 16 /* groups that are read for each entry before another new seed */

unsigned oaki_map_whole_bits = 7;

/* ---- two arrays ---- */

void oaki_map_swap_back(oak_map *m, unsigned bits)
{
    OAKI_ASSERT(m->array[1].dir && m->array[1].shift == 63u - bits);
    oaki_map_array_free(m, 0);
    oaki_map_array_move(m, 1, 0);
    m->bits = (uint8_t)bits;
}

bool oaki_map_swap_arrays(oak_map *m, unsigned bits, bool zero)
{
    OAKI_REQUIRES_WRITE(m);
    OAKI_REQUIRES_AT_REST(m);
    if (!oaki_map_need_more(m)) return false;
    oaki_map_array_move(m, 0, 1);
    if (!oaki_map_array_init(m, 0, bits, OAK_MAP_USED_, zero)) {
        oaki_map_array_move(m, 1, 0); /* its segment may refer to the tags in the header */
        return false;
    }
    m->bits = (uint8_t)bits;
    return true;
}

/* ---- copying ---- */

/* Copies a group's entries to their homes in array[0], for one type or any. The slow part: a home
 * that is full, or has no segment yet. false: no memory. */
OAKI_INLINE bool copy_group_as(oak_map *m, const oak_map_type *t, size_t size, const uint8_t *tags,
                               const char *entries)
{
    const struct oak_map_array_ *to = &m->array[0];
    const uint64_t seed = m->seed, mult = m->mult;
    const unsigned shift = to->shift, gbits = to->gbits;
    const bool scanned = oaki_map_layout_of(m)->words != 0;
    char *all = to->tags, **dir = to->dir; /* which stores of bytes don't change */
    for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
        const char *e = entries + oaki_ctz(used) * size;
        uint64_t hash = oak_map_hash_with_(t, oak_map_stored_key_(t, e), seed, mult);
        size_t home = (size_t)(oak_map_position_(hash) >> shift);
        uint8_t *there = (uint8_t *)all + home * OAKI_MAP_GROUP, tag = (uint8_t)oak_map_tag_(hash);
        unsigned free = ~oaki_map_used(there) & OAK_MAP_USED_;
        OAKI_ASSERT(home < oaki_map_homes(to));
        if (OAKI_UNLIKELY(!free || !dir[home >> gbits])) {
            if (!oaki_map_make_room(m, 0, home, 1)) return false;
            oaki_map_move_entry(m, e, tag);
            all = to->tags;
            dir = to->dir;
            continue;
        }
        char *place = dir[home >> gbits] + (home * OAK_MAP_SLOTS_ + oaki_ctz(free)) * size;
        oaki_map_copy_entry(place, e, size);
        AO_compiler_barrier();
        there[oaki_ctz(free)] = tag;
        if (scanned) oaki_map_note_write(place);
    }
    return true;
}

/* For integer keys the loop has the hash inlined; for the usual entries, the copy too. */
static bool copy_group(oak_map *m, const uint8_t *tags, const char *entries)
{
    static const oak_map_type u64 = { .key = OAK_KEY_U64, .key_size = 8 };
    static const oak_map_type u32 = { .key = OAK_KEY_U32, .key_size = 4 };
    const oak_map_type *t = m->type;
    const size_t size = m->entry_size;
    if (t->key == OAK_KEY_U64 && size == 16) return copy_group_as(m, &u64, 16, tags, entries);
    if (t->key == OAK_KEY_U64 && size == 64) return copy_group_as(m, &u64, 64, tags, entries);
    if (t->key == OAK_KEY_U64 || t->key == OAK_KEY_POINTER)
        return copy_group_as(m, &u64, size, tags, entries);
    if (t->key == OAK_KEY_U32 && size == 8) return copy_group_as(m, &u32, 8, tags, entries);
    if (t->key == OAK_KEY_U32) return copy_group_as(m, &u32, size, tags, entries);
    return copy_group_as(m, t, size, tags, entries);
}

/* `doubles`: to twice as many homes, under the same seed. Then most homes are split as they are: a
 * tag that is stored for each entry, and loaded with its neighbours for the next one, is slow. */
static bool copy_all(oak_map *m, bool doubles)
{
    const struct oak_map_array_ *a = &m->array[1];
    size_t n = oaki_map_array_groups(m, 1);
    for (size_t g = 0; g < n; g++) {
        if (!a->dir[g >> a->gbits])
            g |= a->gmask; /* a whole segment without entries */
        else if (!(doubles && oaki_map_split_home(m, g)) &&
                 !copy_group(m, oaki_map_tags(a, g), oaki_map_entries(a, g, m->entry_size)))
            return false;
    }
    return true;
}

/* All entries move to an array of 2^bits groups, under this seed. */
static bool rebuild(oak_map *m, unsigned bits, uint64_t new_seed)
{
    uint64_t seed = m->seed;
    unsigned before = m->bits;
    if (!oaki_map_swap_arrays(m, bits, true)) return false;
    oaki_map_set_seed(m, new_seed);
    bool done = copy_all(m, bits == before + 1 && new_seed == seed);
    if (done) {
        oaki_map_array_free(m, 1);
        OAKI_REQUIRES_SOUND(oaki_map_check_inside(m));
    } else {
        oaki_map_swap_back(m, before);
        oaki_map_set_seed(m, seed);
    }
    m->moves++;
    return done;
}

bool oaki_map_reorder(oak_map *m, unsigned bits)
{
    return rebuild(m, bits, oaki_hash_random());
}

/* ---- resizes ---- */

/* Do entries lie side by side, so that some new home would get more than it has room for? Deletes
 * in the order of positions leave them so. */
static bool crowds(const oak_map *m, unsigned bits)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t each = (size_t)1 << (m->bits - bits);
    OAKI_ASSERT(bits < m->bits);
    for (size_t g = 0, n = 0; g < oaki_map_homes(a); g++) {
        if (g % each == 0) n = 0;
        if (a->dir[g >> a->gbits]) n += oaki_map_count(oaki_map_tags(a, g));
        if (n > OAK_MAP_SLOTS_) return true;
    }
    return false;
}

static bool resize(oak_map *m, unsigned bits, uint64_t seed)
{
    oaki_resize_begins(m, false, m->len, (size_t)OAK_MAP_SLOTS_ << m->bits,
                       (size_t)OAK_MAP_SLOTS_ << bits);
    bool done = rebuild(m, bits, seed);
    oaki_resize_ends(m, false, m->len);
    return done;
}

bool oaki_map_resize_whole(oak_map *m, unsigned bits)
{
    OAKI_ASSERT(bits != m->bits && OAKI_MAX(bits, m->bits) <= oaki_map_whole_bits);
    bool anew = bits < m->bits && !m->more->bad_hash && crowds(m, bits);
    uint64_t seed = anew ? oak_map_mix_(~m->seed, m->mult, m->mult) : m->seed;
    if (!resize(m, bits, seed)) return false;
    if (anew) m->more->reseeds++;
    oaki_map_set_limits(m);
    return true;
}

bool oaki_map_enlarge(oak_map *m, unsigned bits)
{
    OAKI_ASSERT(bits > m->bits);
    bool done = resize(m, bits, m->seed);
    if (done) m->more->growths++;
    return done;
}

/* ---- a new seed ---- */

/* A new seed costs as much as reading CHARGE groups for each entry. It is taken when crowding has
 * cost that many reads. */
bool oaki_map_crowded(oak_map *m, uint64_t hash, size_t run)
{
    OAKI_REQUIRES_AT_REST(m);
    if (!oaki_map_need_more(m) || m->more->bad_hash) return false;
    m->more->crowding += run;
    if (m->more->reseeded && m->more->crowding < m->len * CHARGE) return false;
    const oak_map_type *t = m->type;
    bool again = m->more->reseeded && (t->flags & OAK_MAP_AVALANCHING) != 0; /* as it isn't */
    m->more->reseeded = true;
    m->more->crowding = 0;
    const struct oak_map_array_ *a = &m->array[0];
    size_t home = oaki_map_home(a, oak_map_position_(hash));
    size_t same = oaki_map_same_hash(m, a, home, hash) + 1;
    /* keys of the other kinds share a hash under one seed only */
    m->more->bad_hash = t->key == OAK_KEY_CUSTOM && (again || same >= OAKI_MAP_COLLISIONS);
    if (m->more->bad_hash || !oaki_map_reorder(m, m->bits)) return false;
    m->more->reseeds++;
    return true;
}
