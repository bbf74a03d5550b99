/* map_move.c - moving entries over the frontier, home by home, and back.
 *
 * Owns: nothing; array[1] is the one that is left, array[0] the one that is filled.
 * Invariants: a home is moved whole or not at all. Memory for it is there before the first entry
 *   moves. At each instruction the tags cover every entry: a new tag is set before the old one is
 *   cleared.
 * Bound: the entries of a home and those behind it that belong to it. */
#include "map.h"
#include <string.h>

/* ---- moving a home ---- */

/* Copies an entry into array i, which has room for it. */
OAKI_INLINE void put_copy(oak_map *m, unsigned i, uint64_t p, const char *from, uint8_t tag)
{
    size_t past;
    char *to;
    uint8_t *slot = oaki_map_take_slot(m, i, p, tag, &to, &past);
    OAKI_ASSERT(slot && *slot == 0);
    oaki_map_copy_entry(to, from, m->entry_size);
    AO_compiler_barrier();
    *slot = tag;
    oaki_map_note_write(to);
}

void oaki_map_move_entry(oak_map *m, const char *from, uint8_t tag)
{
    put_copy(m, 0, oaki_map_entry_position(m, m->type, from), from, tag);
}

/* The entries `which` of a group are copied into `home`, which has room for them, and their tags
 * into a copy of its tags. */
OAKI_INLINE void copy_some(const oak_map *m, size_t home, size_t size, const char *entries,
                           const uint8_t *tags, unsigned which, uint8_t *copy)
{
    const struct oak_map_array_ *to = &m->array[0];
    char *place = oaki_map_entries(to, home, size);
    memcpy(copy, oaki_map_tags(to, home), OAKI_MAP_GROUP);
    unsigned free = ~oaki_map_used(copy) & OAK_MAP_USED_;
    for (; which; which &= which - 1, free &= free - 1) {
        unsigned from = oaki_ctz(which), slot = oaki_ctz(free);
        OAKI_ASSERT(free);
        OAKI_ASSERT(oaki_map_home(to, oaki_map_entry_position(m, m->type, entries + from * size)) ==
                        home ||
                    !oaki_map_hash_is_own(m->type));
        oaki_map_copy_entry(place + slot * size, entries + from * size, size);
        copy[slot] = tags[from];
    }
}

/* The usual case, without take_slot for each entry: a home goes to one new home, or to two side by
 * side; `upper` are the slots whose entries go to the second. Each of them has room for all of its
 * entries, whatever the hashes say. The new tags are stored when all entries are there. */
OAKI_INLINE void move_group_as(oak_map *m, size_t size, const uint8_t *tags, const char *entries,
                               size_t home, unsigned nhomes, unsigned upper)
{
    const struct oak_map_array_ *to = &m->array[0];
    uint8_t copy[2][OAKI_MAP_GROUP] __attribute__((aligned(16)));
    unsigned used = oaki_map_used(tags);
    OAKI_ASSERT(to->dir[home >> to->gbits] && to->dir[(home + nhomes - 1) >> to->gbits]);
    OAKI_ASSERT((upper & ~used) == 0 && (nhomes == 2 || (nhomes == 1 && !upper)));
    copy_some(m, home, size, entries, tags, used & ~upper, copy[0]);
    if (nhomes == 2) copy_some(m, home + 1, size, entries, tags, upper, copy[1]);
    AO_compiler_barrier();
    for (unsigned k = 0; k < nhomes; k++) {
        memcpy(oaki_map_tags(to, home + k), copy[k], sizeof copy[k]);
        oaki_map_note_write(oaki_map_entries(to, home + k, size));
    }
}

/* For integer keys the loop has the hash inlined. */
static unsigned split(const oak_map *m, const uint8_t *tags, const char *entries)
{
    static const oak_map_type u64 = { .key = OAK_KEY_U64, .key_size = 8 };
    static const oak_map_type u32 = { .key = OAK_KEY_U32, .key_size = 4 };
    const oak_map_type *t = m->type;
    const uint64_t seed = m->seed, mult = m->mult;
    const unsigned used = oaki_map_used(tags), shift = m->array[0].shift;
    const size_t size = m->entry_size;
    if (t->split) return t->split(entries, used, seed, mult, shift);
    if (t->key == OAK_KEY_U64 || t->key == OAK_KEY_POINTER)
        return oak_map_split_as_(&u64, size, entries, used, seed, mult, shift);
    if (t->key == OAK_KEY_U32)
        return oak_map_split_as_(&u32, size, entries, used, seed, mult, shift);
    return oak_map_split_as_(t, size, entries, used, seed, mult, shift);
}

static void move_group(oak_map *m, size_t home, unsigned nhomes, const uint8_t *tags,
                       const char *entries)
{
    const size_t size = m->entry_size;
    unsigned upper = nhomes == 2 ? split(m, tags, entries) : 0;
    if (size == 16)
        move_group_as(m, 16, tags, entries, home, nhomes, upper);
    else if (size == 8)
        move_group_as(m, 8, tags, entries, home, nhomes, upper);
    else
        move_group_as(m, size, tags, entries, home, nhomes, upper);
}

static bool has_room(const struct oak_map_array_ *a, size_t g, size_t n)
{
    return a->dir[g >> a->gbits] && OAK_MAP_SLOTS_ - oaki_map_count(oaki_map_tags(a, g)) >= n;
}

bool oaki_map_split_home(oak_map *m, size_t h)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    OAKI_ASSERT(to->shift + 1 == a->shift);
    if (h >= oaki_map_homes(a) || (h > 0 && oaki_map_tags(a, h - 1)[OAK_MAP_SLOTS_])) return false;
    const uint8_t *tags = oaki_map_tags(a, h);
    size_t own = oaki_map_count(tags);
    if (!has_room(to, 2 * h, own) || !has_room(to, 2 * h + 1, own)) return false;
    move_group(m, 2 * h, 2, tags, oaki_map_entries(a, h, m->entry_size));
    return true;
}

/* The frontier comes to home g of the new array. Its tags are sound from here on, even if no entry
 * is put there. */
static void make_sound(const struct oak_map_array_ *a, size_t g)
{
    if (OAKI_UNLIKELY((g & a->gmask) == 0 && !a->dir[g >> a->gbits]))
        memset(oaki_map_tags(a, g), 0, ((size_t)a->gmask + 1) * OAKI_MAP_GROUP);
}

/* An upper bound for the entries of home h that lie behind it: the entries of the kinds that went
 * past it, to their chain's end. */
static size_t behind(const struct oak_map_array_ *a, size_t h)
{
    unsigned overflow = oaki_map_tags(a, h)[OAK_MAP_SLOTS_];
    size_t n = 0;
    while (overflow) {
        const uint8_t *tags = oaki_map_tags(a, ++h);
        n += oaki_popcount(oaki_map_of_class(tags, overflow));
        overflow &= tags[OAK_MAP_SLOTS_];
    }
    return n;
}

/* Moves home h's entries that lie behind it; entries of later homes stay. Bits of byte 15 are
 * cleared only while shrinking, as the map may return to the old array then. */
static void move_overflow(oak_map *m, size_t h)
{
    const struct oak_map_array_ *a = &m->array[1];
    const oak_map_type *t = m->type;
    unsigned overflow = oaki_map_tags(a, h)[OAK_MAP_SLOTS_];
    bool shrinks = m->array[0].shift > a->shift;
    OAKI_ASSERT(overflow);
    for (size_t g = h; overflow;) {
        uint8_t *tags = oaki_map_tags(a, ++g);
        for (unsigned some = oaki_map_of_class(tags, overflow); some; some &= some - 1) {
            unsigned slot = oaki_ctz(some);
            const char *e = oaki_map_entry(m, a, g, slot);
            if (oaki_map_home(a, oaki_map_entry_position(m, t, e)) != h) continue;
            unsigned tag = tags[slot];
            oaki_map_move_entry(m, e, (uint8_t)tag);
            AO_compiler_barrier();
            tags[slot] = 0;
            if (shrinks) oaki_map_forget_past(m, a, h, g, tag);
        }
        overflow &= tags[OAK_MAP_SLOTS_];
    }
}

/* All entries in home h itself are of home h, as those of earlier homes have moved. false: no
 * memory, nothing was moved. */
static bool move_entries(oak_map *m, size_t h, size_t first, size_t last)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint8_t *tags = oaki_map_tags(a, h);
    unsigned used = oaki_map_used(tags), own = oaki_map_count(tags);
    size_t n = own + (OAKI_UNLIKELY(tags[OAK_MAP_SLOTS_]) ? behind(a, h) : 0);
    OAKI_ASSERT(first <= last && last - first <= 1 && last < oaki_map_homes(to));
    if (n == 0) return true;
    bool fits = has_room(to, first, n) && (first == last || has_room(to, last, n));
    if (!fits && (!oaki_map_make_room(m, 0, first, 1) || !oaki_map_make_room(m, 0, last, n)))
        return false;
    if (own > 0) {
        if (OAKI_LIKELY(fits || (has_room(to, first, own) && has_room(to, last, own))))
            move_group(m, first, (unsigned)(last - first) + 1, tags,
                       oaki_map_entries(a, h, m->entry_size));
        else
            for (unsigned slot; used; used &= used - 1) {
                slot = oaki_ctz(used);
                oaki_map_move_entry(m, oaki_map_entry(m, a, h, slot), tags[slot]);
            }
    }
    if (n > own) move_overflow(m, h);
    AO_compiler_barrier();
    memset(tags, 0, OAKI_MAP_GROUP);
    return true;
}

/* Segment s of the old array isn't there, so its homes have no entries, in them or behind them. The
 * frontier moves over all of them. */
void oaki_map_skip_segment(oak_map *m, size_t s)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint64_t lo = (uint64_t)(s << a->gbits) << a->shift;
    uint64_t hi = (uint64_t)((s + 1) << a->gbits) << a->shift;
    OAKI_REQUIRES_WRITE(m);
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(!a->dir[s] && lo == m->last + 1);
    size_t last = oaki_map_home(to, hi - 1);
    for (size_t g = oaki_map_home(to, lo); g <= last; g = (g | to->gmask) + 1) make_sound(to, g);
    m->last = hi - 1;
    m->moves++;
}

bool oaki_map_move_home(oak_map *m, size_t h)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint64_t lo = (uint64_t)h << a->shift, hi = lo + (UINT64_C(1) << a->shift);
    size_t first = oaki_map_home(to, lo), last = oaki_map_home(to, hi - 1);
    OAKI_REQUIRES_WRITE(m);
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(lo == m->last + 1);
    if (lo == (uint64_t)first << to->shift) make_sound(to, first);
    make_sound(to, last);
    if (!move_entries(m, h, first, last)) return false;
    m->last = hi - 1;
    m->moves++;
    if ((h & a->gmask) == a->gmask) oaki_map_drop_segment(m, 1, h >> a->gbits);
    return true;
}

/* ---- and back ---- */

/* Puts back the entries between position lo and the frontier. They lie in the new array's group
 * `from` or behind it. */
static void put_back(oak_map *m, uint64_t lo, size_t from)
{
    const struct oak_map_array_ *a = &m->array[0];
    const oak_map_type *t = m->type;
    for (size_t g = from;; g++) {
        uint8_t *tags = oaki_map_tags(a, g);
        unsigned overflow = tags[OAK_MAP_SLOTS_];
        for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
            unsigned slot = oaki_ctz(used), tag = tags[slot];
            const char *e = oaki_map_entry(m, a, g, slot);
            uint64_t p = oaki_map_entry_position(m, t, e);
            if (p < lo || p > m->last) continue;
            OAKI_ASSERT(oaki_map_home(a, p) == from);
            put_copy(m, 1, p, e, (uint8_t)tag);
            tags[slot] = 0;
            if (g != from) oaki_map_forget_past(m, a, from, g, tag);
        }
        if (overflow == 0) break;
    }
}

/* Moves the frontier back by half of a new home, and that half's entries to the old array. false:
 * no memory, nothing was moved. */
bool oaki_map_move_back(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[0], *to = &m->array[1];
    unsigned half = a->shift - to->shift - 1u;
    size_t last = oaki_map_home(to, m->last), h = last >> half << half, n = 0;
    uint64_t lo = (uint64_t)h << to->shift;
    size_t home = oaki_map_home(a, lo);
    OAKI_REQUIRES_WRITE(m);
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(a->shift > to->shift && m->last < OAKI_MAP_HALF);
    OAKI_ASSERT(home == oaki_map_home(a, m->last));
    if (h < m->more->released && !oaki_map_restore_tags(m, h)) return false;
    for (size_t g = home;; g++) {
        n += oaki_map_count(oaki_map_tags(a, g));
        if (oaki_map_tags(a, g)[OAK_MAP_SLOTS_] == 0) break;
    }
    if (n > 0) {
        for (size_t g = h; g <= last; g++)
            if (!oaki_map_make_room(m, 1, g, g < last ? 1 : n)) return false;
        put_back(m, lo, home);
    }
    m->moves++;
    m->last = lo - 1;
    return true;
}
