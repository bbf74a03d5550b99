/* map_resize.c - growing and shrinking: when, how far, and by small steps.
 *
 * array[1] is evacuated in hash order. A step moves the next home group's entries, in it and behind
 * it, to their homes in array[0], and then the frontier over them (map_move.c). Before the frontier
 * array[1] is clear, and its segments are freed one by one. Shrinking stops before homes that don't
 * fit into the new ones. Deletes in the order of positions leave such homes; further deletes reach
 * them, and adds turn the shrinking back.
 *
 * Owns: m->last, the frontier.
 * Bound: a step moves HOMES homes, or EMPTY times as many that are empty. Arrays of at most
 * 2^oaki_map_whole_bits groups are resized in one step (map_rebuild.c). So are the last FEW
 * entries, side by side in a large array. */
#include "held.h"
#include "map.h"
#include "resizehook.h"
#include "runtime/heap.h"
#include <oakum/heap.h>
#include <string.h>

#define HOMES 2        /* homes that a write moves */
#define EMPTY 16       /* homes without entries that count as one */
#define LOOK 4         /* new homes whose entries are counted before shrinking makes them */
#define SAMPLE 256     /* old homes, the first ones, which decide how many become one */
#define LEVELS 6u      /* log2 of how many old homes become one, at most */
#define THIN 4         /* entries in a new home, on average, where it joins more than two */
#define RETRY 64       /* writes until a resize that found no memory is tried again */
#define PATIENCE 8     /* for deletes, this part of the entries instead */
#define FEW 2048       /* entries that may be moved in one step */
#define SPARSE_BITS 4  /* log2 of the factor by which an array is then too large */
#define SHRINK_NUM 6   /* entries in two groups, on average, below which a map shrinks */
#define SOON 16 /* the part of the limit, at its end, in which memory is made ready */
#define SOON_FROM ((size_t)1 << 20) /* bytes of the next array, from which that is done */

/* ---- limits ---- */

unsigned oaki_map_bits_for(size_t n)
{
    if (n <= OAK_MAP_SLOTS_) return 0;
    size_t groups = (n - 1) / OAKI_MAP_FILL * 2 + 2;
    unsigned bits = oaki_log2(groups);
    return bits + (((size_t)1 << bits) < groups);
}

/* Bytes that the next growth takes, less those that it gives back. */
static size_t growth_bytes(const oak_map *m)
{
    return ((size_t)OAK_MAP_SLOTS_ * m->entry_size + 2 * OAKI_MAP_GROUP) << m->bits;
}

/* A map that stays small, or is emptied and filled again, neither shrinks nor grows for that. */
static bool is_kept(const oak_map *m)
{
    size_t group = (size_t)OAK_MAP_SLOTS_ * m->entry_size + OAKI_MAP_GROUP;
    if (m->bits > 0) group += OAKI_MAP_GROUP / 2; /* the tail's tags */
    return group << m->bits <= (m->flags & OAKI_MAP_PART ? OAKI_MAP_PART_KEPT : OAKI_MAP_KEPT);
}

void oaki_map_set_limits(oak_map *m)
{
    size_t groups = (size_t)1 << m->bits, filled = groups * SHRINK_NUM / 2;
    size_t shrink = oaki_map_is_whole(m) ? groups : filled;
    OAKI_ASSERT(m->bits == 63u - m->array[0].shift);
    m->limit = m->bits ? groups * OAKI_MAP_FILL / 2 : oaki_popcount(m->array[0].slots);
    /* the last delete from a kept array, too, comes to the library: it forgets a bad hash */
    m->shrink_at = !is_kept(m) ? shrink : m->more && m->more->bad_hash;
    m->flags &= (uint8_t)~(OAKI_MAP_SOON | OAKI_MAP_SOON_LESS);
    if (growth_bytes(m) >= SOON_FROM) {
        m->limit -= m->limit / SOON;
        m->flags |= OAKI_MAP_SOON | OAKI_MAP_SOON_LESS;
    }
    if (m->flags & OAKI_MAP_HINTED) {
        m->limit = OAKI_MIN(m->limit, filled); /* from there on it may shrink */
        m->shrink_at = 0;
    }
    OAKI_ASSERT(m->shrink_at < m->limit && (m->bits > 0 || m->shrink_at <= 1));
}

/* ---- the frontier ---- */

static void finish(oak_map *m)
{
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(m->last == OAKI_MAP_HALF - 1);
    oaki_map_array_free(m, 1); /* the tail, the tags, the directory */
    m->resizing = 0;
    m->more->halve = false;
    m->last = UINT64_MAX;
    m->moves++;
    oaki_map_set_limits(m);
    oaki_resize_ends(m, false, m->len);
    OAKI_REQUIRES_SOUND(oaki_map_check_inside(m));
}

static bool move_next(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    size_t h = oaki_map_home(a, m->last + 1);
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(h < oaki_map_homes(a) && (uint64_t)h << a->shift == m->last + 1);
    if ((h & a->gmask) == 0 && !a->dir[h >> a->gbits])
        oaki_map_skip_segment(m, h >> a->gbits);
    else if (!oaki_map_move_home(m, h))
        return false;
    if (m->last == OAKI_MAP_HALF - 1) finish(m);
    return true;
}

/* Entries in groups from h to `end`; up to the last home, also those in the tail. */
static size_t entries_in(const oak_map *m, unsigned i, size_t h, size_t end)
{
    const struct oak_map_array_ *a = &m->array[i];
    OAKI_ASSERT(h <= end && end <= oaki_map_homes(a));
    size_t n = 0, to = end == oaki_map_homes(a) ? oaki_map_array_groups(m, i) : end;
    for (size_t g = h; g < to; g++)
        if (g < end || a->dir[g >> a->gbits])
            n += oaki_map_count(oaki_map_tags(a, g));
    return n;
}

/* Shrinking makes one home of 2^levels. Deletes in the order of positions leave the rest as dense
 * as it was. Are the next homes, from the start of a new one, too dense to fit? */
static bool is_dense(const oak_map *m, unsigned i, size_t h, unsigned levels)
{
    OAKI_ASSERT(levels > 0 && levels <= LEVELS);
    size_t end = OAKI_MIN(h + ((size_t)LOOK << levels), oaki_map_homes(&m->array[i]));
    return entries_in(m, i, h, end) << (levels + 1) > (end - h) * OAKI_MAP_FILL;
}

static bool turn_back(oak_map *m)
{
    OAKI_REQUIRES_RESIZE(m);
    if (!oaki_map_move_back(m)) return false;
    if (m->last != UINT64_MAX) return true;
    oaki_map_swap_back(m, 63u - m->array[1].shift);
    m->resizing = 0;
    oaki_map_set_limits(m);
    oaki_resize_ends(m, false, m->len);
    OAKI_REQUIRES_SOUND(oaki_map_check_inside(m));
    return true;
}

/* While shrinking waits, one segment after the other is examined, and freed if it has neither
 * entries nor bits of byte 15. */
static void free_if_empty(oak_map *m, unsigned i)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t groups = (size_t)a->gmask + 1, s = m->more->looked % (oaki_map_homes(a) >> a->gbits);
    if (!a->dir[s]) return;
    const uint8_t *tags = oaki_map_tags(a, s << a->gbits);
    for (size_t at = 0; at < groups * OAKI_MAP_GROUP; at += 8)
        if (oak_map_load8_(tags + at)) return;
    oaki_map_drop_segment(m, i, s);
    m->moves++;
}

/* Has the array so few entries for its size that reordering them all is cheaper than the memory?
 * Deletes in the order of positions lead here. */
static bool is_sparse(const oak_map *m, unsigned bits)
{
    return m->len <= FEW && bits >= oaki_map_bits_for(m->len) + SPARSE_BITS;
}

/* Each try costs a collection. Adds need the room; deletes can wait until many entries are gone. */
static void wait_for_memory(oak_map *m, bool adds)
{
    size_t n = adds ? RETRY : OAKI_MAX(m->len / PATIENCE, (size_t)RETRY);
    m->more->wait = (uint32_t)OAKI_MIN(n, (size_t)UINT32_MAX);
}

/* Ends a resize that is under way, and moves all entries to an array of their size, in one step. */
static void restart(oak_map *m)
{
    while (m->resizing)
        if (!move_next(m)) {
            wait_for_memory(m, false);
            return;
        }
    (void)oaki_map_reorder(m, oaki_map_bits_for(m->len));
    oaki_map_set_limits(m);
}

/* Must shrinking stop here, as the next homes are dense, or as an add exceeds the new array's
 * limit? */
static bool is_too_much(const oak_map *m, bool adds)
{
    const struct oak_map_array_ *a = &m->array[1];
    unsigned levels = m->array[0].shift - a->shift;
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(m->array[0].shift > a->shift);
    size_t h = oaki_map_home(a, m->last + 1), most = ((size_t)OAKI_MAP_FILL << m->bits) / 2;
    if (adds && levels > 1 && m->len >= most) return true;
    return (h & (((size_t)1 << (levels - 1)) - 1)) == 0 && is_dense(m, 1, h, levels);
}

/* The cost of moving the next home: EMPTY units, or one if the home is empty. */
static unsigned cost_of_next(const oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    size_t h = oaki_map_home(a, m->last + 1);
    const uint8_t *tags = oaki_map_tags(a, h);
    if (!a->dir[h >> a->gbits]) return EMPTY;
    return (oak_map_load8_(tags) | oak_map_load8_(tags + 8)) == 0 ? 1 : EMPTY;
}

void oaki_map_step(oak_map *m, bool adds)
{
    OAKI_REQUIRES_WRITE(m);
    OAKI_REQUIRES_RESIZE(m);
    if (OAKI_UNLIKELY(m->more->wait > 0)) {
        if (adds) m->more->wait = OAKI_MIN(m->more->wait, (uint32_t)RETRY);
        m->more->wait--;
        return;
    }
    const struct oak_map_array_ *a = &m->array[1];
    unsigned old = 63u - a->shift;
    bool shrinks = old > m->bits;
    int left = EMPTY * HOMES;
    while (left > 0 && m->resizing) {
        bool much = shrinks && is_too_much(m, adds);
        if (!adds && much) { /* further deletes reach the dense homes */
            m->more->looked++;
            free_if_empty(m, 1);
            free_if_empty(m, 0);
            if (m->last >= OAKI_MAP_HALF / 2) oaki_map_release_tags(m);
            if (is_sparse(m, old)) restart(m);
            return;
        }
        m->more->back = adds && (much || m->more->back);
        m->more->halve |= m->more->back;
        left -= m->more->back ? EMPTY : (int)cost_of_next(m);
        if (m->more->back ? turn_back(m) : move_next(m)) continue;
        wait_for_memory(m, adds);
        return;
    }
}

int oak_map_settle(oak_map *m)
{
    if (!m || !m->resizing) return 0;
    if (!oaki_attached()) return -1;
    oaki_held_forget();
    do {
        if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
        m->busy = 1;
        m->more->wait = 0;
        while (m->resizing && !m->more->wait) oaki_map_step(m, true);
        m->busy = 0;
    } while (oaki_held_again(m, m->resizing) && m->resizing);
    return m->resizing ? -1 : 0;
}

/* ---- beginning ---- */

/* Begins a resize to 2^bits groups, and moves the first home, so that there is a frontier. */
static bool begin(oak_map *m, unsigned bits)
{
    unsigned before = m->bits;
    OAKI_ASSERT(bits <= OAKI_MAP_BITS_MAX && bits != before);
    if (!oaki_map_swap_arrays(m, bits, false)) return false;
    m->resizing = 1;
    m->more->wait = 0;
    m->more->back = false;
    oaki_resize_begins(m, false, m->len, (size_t)OAK_MAP_SLOTS_ << before,
                       (size_t)OAK_MAP_SLOTS_ << bits);
    if (move_next(m)) return true;
    m->resizing = 0;
    oaki_map_swap_back(m, before);
    oaki_resize_ends(m, false, m->len);
    return false;
}

/* Without memory the map fills up a little more, or stays large, before it tries again. */
static void put_off_growth(oak_map *m)
{
    if (m->more) m->more->wait = RETRY;
    m->limit = m->len + OAKI_MAX(((size_t)OAK_MAP_SLOTS_ << m->bits) / RETRY, 1);
}

static void put_off_shrink(oak_map *m)
{
    if (m->shrink_at > 1) m->shrink_at -= (m->shrink_at + RETRY - 1) / RETRY;
}

bool oaki_map_widen(oak_map *m)
{
    struct oak_map_array_ *a = &m->array[0];
    OAKI_REQUIRES_AT_REST(m);
    OAKI_ASSERT(m->bits == 0 && a->slots != OAK_MAP_USED_);
    unsigned slots = a->slots == 0x7 ? 0x7f : OAK_MAP_USED_;
    const oaki_map_layout *l = oaki_map_layout_of(m);
    char *old = a->dir[0], *p = oaki_map_segment_new(m, a->tags, 1, oaki_popcount(slots));
    if (!p) return false;
    if (old) memcpy(p, old, oaki_popcount(a->slots) * m->entry_size);
    AO_compiler_barrier();
    a->dir[0] = p;
    a->slots = (uint16_t)slots;
    m->moves++;
    if (old) oaki_map_segment_free(l, old);
    oaki_map_set_limits(m);
    OAKI_REQUIRES_SOUND(oaki_map_check_inside(m));
    return true;
}

void oaki_map_grow(oak_map *m)
{
    OAKI_REQUIRES_AT_REST(m);
    OAKI_ASSERT(m->len >= m->limit);
    if (m->flags & OAKI_MAP_HINTED) {
        m->flags &= (uint8_t)~OAKI_MAP_HINTED;
        oaki_map_set_limits(m);
        return;
    }
    if (m->flags & OAKI_MAP_SOON) {
        m->flags &= (uint8_t)~OAKI_MAP_SOON;
        m->limit = ((size_t)OAKI_MAP_FILL << m->bits) / 2;
        oaki_ahead_want(growth_bytes(m));
        return;
    }
    if (m->bits == 0 && m->array[0].slots != OAK_MAP_USED_) {
        if (!oaki_map_widen(m)) put_off_growth(m);
        return;
    }
    if (m->bits < oaki_map_whole_bits ? oaki_map_resize_whole(m, m->bits + 1u)
                                      : m->bits < OAKI_MAP_BITS_MAX && begin(m, m->bits + 1u))
        m->more->growths++;
    else
        put_off_growth(m);
}

void oaki_map_grow_soon(oak_map *m)
{
    if (m->more && m->more->wait > 0) {
        m->more->wait--;
        return;
    }
    m->flags &= (uint8_t)~OAKI_MAP_SOON;
    m->limit = 0; /* even after deletes */
}

/* The levels to shrink by; 0: not yet. Where deletes come in the order of positions, the first
 * homes show how dense the others will be. */
static unsigned levels_of(const oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t end = OAKI_MIN((size_t)SAMPLE, oaki_map_homes(a)), n;
    unsigned levels = 1;
    OAKI_ASSERT(m->bits > 0); /* one group has nothing to shrink to */
    if (is_dense(m, 0, 0, 1)) return 0;
    n = entries_in(m, 0, 0, end);
    if (n * 4 > end * OAKI_MAP_FILL) return 0;
    if (!m->more || m->more->halve) return 1;
    while (levels < OAKI_MIN(LEVELS, (unsigned)m->bits) && n << (levels + 1) <= end * THIN)
        levels++;
    return levels;
}

void oaki_map_shrink(oak_map *m)
{
    unsigned levels;
    OAKI_REQUIRES_AT_REST(m);
    OAKI_ASSERT(m->len < m->shrink_at && !(m->flags & OAKI_MAP_HINTED));
    if (oaki_map_is_whole(m)) {
        if (oaki_map_resize_whole(m, oaki_map_bits_for(2 * m->len)))
            m->more->shrinks++;
        else
            put_off_shrink(m);
    } else if (m->flags & OAKI_MAP_SOON_LESS) {
        /* old segments make room for the new ones' entries */
        m->flags &= (uint8_t)~OAKI_MAP_SOON_LESS;
        m->shrink_at -= m->shrink_at / SOON;
        oaki_ahead_want((OAKI_MAP_GROUP << m->bits) / 2 + 2 * OAKI_MAP_SEGMENT);
    } else if ((levels = levels_of(m)) == 0) {
        m->more->looked++;
        free_if_empty(m, 0);
        if (is_sparse(m, m->bits)) restart(m);
    } else if (begin(m, m->bits - levels)) {
        m->more->shrinks++;
    } else {
        put_off_shrink(m);
    }
}
