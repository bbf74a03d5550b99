/* map_resize.c - growing and shrinking by small steps, and taking a new seed at one go.
 *
 * Owns: m->last, the frontier. array[1] is left behind in hash order: a step takes the next home
 * group's entries, in it and behind it, to the homes that they have in array[0], and then moves
 * the frontier over them. What lies before the frontier in array[1] is clear, and its segments
 * are freed one by one.
 * Invariants: a home is moved whole or not at all: memory for it is there before the first entry
 *   moves.
 * Shrinking stops before homes that don't fit into half as many, as they are left by deletes in
 * the order of positions; deletes that go on get there, adds turn it back.
 * Bound: a step moves HOMES homes, or all of an array of up to WHOLE groups. A new seed is
 * O(entries); only an attack, or a hash that no seed mends, asks for it, or a map of FEW entries
 * at most that were left side by side in a large array. */
#include "hash.h"
#include "map.h"
#include "resizehook.h"
#include "runtime/heap.h"
#include <oakum/heap.h>
#include <string.h>

#define HOMES 2        /* that a write moves */
#define LOOK 8         /* homes that are looked at before shrinking takes them */
#define WHOLE 8        /* groups: smaller arrays are left at one go */
#define RETRY 64       /* writes until a resize is tried again that found no memory */
#define FEW 2048       /* entries that may be moved at one go */
#define SPARSE_BITS 4  /* log2 of how many times too large an array then is */
#define SHRINK_NUM 6   /* entries in two groups, on average, below which a map shrinks */
#define SOON 16 /* part of the limit, at its end, in which an array's memory is made ready */
#define SOON_FROM ((size_t)1 << 20) /* bytes of a larger array */

/* ---- limits ---- */

unsigned oaki_map_bits_for(size_t n)
{
    if (n <= OAK_MAP_SLOTS_) return 0;
    size_t groups = (n - 1) / OAKI_MAP_FILL * 2 + 2;
    unsigned bits = oaki_log2(groups);
    return bits + (((size_t)1 << bits) < groups);
}

/* Bytes that the next growth takes beyond what it gives back. */
static size_t growth_bytes(const oak_map *m)
{
    return ((size_t)OAK_MAP_SLOTS_ * m->entry_size + 2 * OAKI_MAP_GROUP) << m->bits;
}

void oaki_map_set_limits(oak_map *m)
{
    size_t groups = (size_t)1 << m->bits, shrink = groups * SHRINK_NUM / 2;
    m->limit = m->bits ? groups * OAKI_MAP_FILL / 2 : oaki_popcount(m->array[0].slots);
    m->shrink_at = m->bits ? shrink : 0;
    m->flags &= (uint8_t)~(OAKI_MAP_SOON | OAKI_MAP_SOON_LESS);
    if (growth_bytes(m) >= SOON_FROM) {
        m->limit -= m->limit / SOON;
        m->flags |= OAKI_MAP_SOON | OAKI_MAP_SOON_LESS;
    }
    if (m->flags & OAKI_MAP_HINTED) {
        m->limit = shrink; /* from there on it counts as filled, and may shrink */
        m->shrink_at = 0;
    }
}

/* ---- moving a home ---- */

OAKI_INLINE void copy_entry(char *to, const char *from, size_t size)
{
    if (size == 16)
        memcpy(to, from, 16);
    else if (size == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, size);
}

/* There is room. */
static void move_entry(oak_map *m, const char *from, uint8_t tag)
{
    const oak_map_type *t = m->type;
    uint64_t p = oaki_map_entry_position(m, t, from);
    size_t past;
    char *to;
    uint8_t *slot = oaki_map_take_slot(m, 0, p, tag, &to, &past);
    copy_entry(to, from, m->entry_size);
    AO_compiler_barrier();
    *slot = tag;
    oaki_map_told(to);
}

/* A home that nothing overflowed from goes to two homes side by side in one segment, or to one,
 * which have room for it whatever the hashes say: the usual case, done without going through
 * take_slot for each entry. The new tags are stored when all entries are there. */
OAKI_INLINE void move_group_as(oak_map *m, const oak_map_type *t, size_t size, const uint8_t *tags,
                               const char *entries, size_t home, unsigned nhomes)
{
    const struct oak_map_array_ *to = &m->array[0];
    uint8_t copy[2][OAKI_MAP_GROUP] __attribute__((aligned(16)));
    unsigned free[2];
    char *place[2];
    for (unsigned k = 0; k < nhomes; k++) {
        memcpy(copy[k], oaki_map_tags(to, home + k), sizeof copy[k]);
        free[k] = ~oaki_map_used(copy[k]) & OAK_MAP_USED_;
        place[k] = oaki_map_entries(to, home + k, size);
    }
    for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
        unsigned from = oaki_ctz(used);
        const char *e = entries + from * size;
        uint64_t p = oaki_map_entry_position(m, t, e);
        unsigned k = (unsigned)(p >> to->shift) & (nhomes - 1), slot = oaki_ctz(free[k]);
        free[k] &= free[k] - 1;
        copy_entry(place[k] + slot * size, e, size);
        copy[k][slot] = tags[from];
    }
    AO_compiler_barrier();
    for (unsigned k = 0; k < nhomes; k++) {
        memcpy(oaki_map_tags(to, home + k), copy[k], sizeof copy[k]);
        oaki_map_told(place[k]);
    }
}

static void move_group(oak_map *m, size_t home, unsigned nhomes, const uint8_t *tags,
                       const char *entries)
{
    static const oak_map_type u64 = { .key = OAK_KEY_U64, .key_size = 8 };
    const oak_map_type *t = m->type;
    if (t->key == OAK_KEY_U64 && m->entry_size == 16)
        move_group_as(m, &u64, 16, tags, entries, home, nhomes);
    else
        move_group_as(m, t, m->entry_size, tags, entries, home, nhomes);
}

static bool has_room(const struct oak_map_array_ *a, size_t g, size_t n)
{
    return a->dir[g >> a->gbits] &&
           OAK_MAP_SLOTS_ - oaki_popcount(oaki_map_used(oaki_map_tags(a, g))) >= n;
}

/* The frontier comes to home g of the new array: its tags are sound from here on, even if nothing
 * is put there. */
static void make_sound(const struct oak_map_array_ *a, size_t g)
{
    if ((g & a->gmask) == 0 && !a->dir[g >> a->gbits])
        memset(oaki_map_tags(a, g), 0, ((size_t)a->gmask + 1) * OAKI_MAP_GROUP);
}

/* How many entries of home h may lie behind it: those of the kinds that went past, as far as their
 * chain goes. */
static size_t behind(const struct oak_map_array_ *a, size_t h)
{
    unsigned told = oaki_map_tags(a, h)[OAK_MAP_SLOTS_];
    size_t n = 0;
    while (told) {
        const uint8_t *tags = oaki_map_tags(a, ++h);
        n += oaki_popcount(oaki_map_of_class(tags, told));
        told &= tags[OAK_MAP_SLOTS_];
    }
    return n;
}

/* Home h's entries that lie behind it. Those of later homes among them stay; what the groups
 * tell of those that went past isn't mended, as this array is being left. */
static void move_overflow(oak_map *m, size_t h)
{
    const struct oak_map_array_ *a = &m->array[1];
    const oak_map_type *t = m->type;
    unsigned told = oaki_map_tags(a, h)[OAK_MAP_SLOTS_];
    for (size_t g = h; told;) {
        uint8_t *tags = oaki_map_tags(a, ++g);
        for (unsigned some = oaki_map_of_class(tags, told); some; some &= some - 1) {
            unsigned slot = oaki_ctz(some);
            const char *e = oaki_map_entry(m, a, g, slot);
            if (oaki_map_home(a, oaki_map_entry_position(m, t, e)) != h) continue;
            move_entry(m, e, tags[slot]);
            AO_compiler_barrier();
            tags[slot] = 0;
        }
        told &= tags[OAK_MAP_SLOTS_];
    }
}

/* Everything in home h itself is of home h: what was of earlier homes has moved already. false: no
 * memory, nothing was moved. */
static bool move_entries(oak_map *m, size_t h, size_t first, size_t last)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint8_t *tags = oaki_map_tags(a, h);
    unsigned used = oaki_map_used(tags), own = oaki_popcount(used);
    size_t n = own + (OAKI_UNLIKELY(tags[OAK_MAP_SLOTS_]) ? behind(a, h) : 0);
    if (n == 0) return true;
    if (!has_room(to, first, n) || !has_room(to, last, n))
        if (!oaki_map_make_room(m, 0, first, 1) || !oaki_map_make_room(m, 0, last, n))
            return false;
    if (own > 0) {
        if (OAKI_LIKELY(has_room(to, first, own) && has_room(to, last, own)))
            move_group(m, first, (unsigned)(last - first) + 1, tags,
                       oaki_map_entries(a, h, m->entry_size));
        else
            for (; used; used &= used - 1)
                move_entry(m, oaki_map_entry(m, a, h, oaki_ctz(used)), tags[oaki_ctz(used)]);
    }
    if (n > own) move_overflow(m, h);
    AO_compiler_barrier();
    memset(tags, 0, OAKI_MAP_GROUP);
    return true;
}

/* Segment s of the old array isn't there: no home in it has entries, in it or behind it, and the
 * frontier moves over them all. */
static void skip_segment(oak_map *m, size_t s)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint64_t lo = (uint64_t)(s << a->gbits) << a->shift;
    uint64_t hi = (uint64_t)((s + 1) << a->gbits) << a->shift;
    size_t last = oaki_map_home(to, hi - 1);
    for (size_t g = oaki_map_home(to, lo); g <= last; g = (g | to->gmask) + 1) make_sound(to, g);
    m->last = hi - 1;
    m->moves++;
}

static bool move_home(oak_map *m, size_t h)
{
    const struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint64_t lo = (uint64_t)h << a->shift, hi = lo + (UINT64_C(1) << a->shift);
    size_t first = oaki_map_home(to, lo), last = oaki_map_home(to, hi - 1);
    make_sound(to, first);
    make_sound(to, last);
    if (!move_entries(m, h, first, last)) return false;
    m->last = hi - 1;
    m->moves++;
    if ((h & a->gmask) == a->gmask) oaki_map_drop_segment(m, 1, h >> a->gbits);
    return true;
}

static void finish(oak_map *m)
{
    oaki_map_array_free(m, 1); /* the tail, the tags, the directory */
    m->resizing = 0;
    m->last = UINT64_MAX;
    m->moves++;
    oaki_map_set_limits(m);
    oaki_resize_ends(m, false, m->len);
}

/* What array[1] was before, of 2^bits groups, it is array[0] again. */
static void swap_back(oak_map *m, unsigned bits)
{
    oaki_map_array_free(m, 0);
    oaki_map_array_move(m, 1, 0);
    m->bits = (uint8_t)bits;
}

static bool move_next(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    size_t h = oaki_map_home(a, m->last + 1);
    if ((h & a->gmask) == 0 && !a->dir[h >> a->gbits])
        skip_segment(m, h >> a->gbits);
    else if (!move_home(m, h))
        return false;
    if (m->last == OAKI_MAP_HALF - 1) finish(m);
    return true;
}

/* Shrinking halves homes in twos. Entries that were deleted in the order of positions leave the
 * rest as dense as it was: do the homes that come next fit into half as many? */
static bool is_dense(const struct oak_map_array_ *a, size_t h)
{
    size_t end = OAKI_MIN(h + LOOK, oaki_map_homes(a)), n = 0;
    for (size_t g = h; g < end; g++) n += oaki_popcount(oaki_map_used(oaki_map_tags(a, g)));
    return n * 4 > (end - h) * OAKI_MAP_FILL;
}

/* The frontier goes back by one home of the old array: what lies before it in the new one is put
 * back. false: no memory, nothing was moved. */
static bool move_back(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[0], *to = &m->array[1];
    const oak_map_type *t = m->type;
    size_t h = oaki_map_home(to, m->last), home, n = 0;
    uint64_t lo = (uint64_t)h << to->shift;
    home = oaki_map_home(a, lo);
    for (size_t g = home;; g++) {
        n += oaki_popcount(oaki_map_used(oaki_map_tags(a, g)));
        if (oaki_map_tags(a, g)[OAK_MAP_SLOTS_] == 0) break;
    }
    if (n > 0 && !oaki_map_make_room(m, 1, h, n)) return false;
    for (size_t g = home;; g++) {
        uint8_t *tags = oaki_map_tags(a, g);
        unsigned told = tags[OAK_MAP_SLOTS_];
        for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
            unsigned slot = oaki_ctz(used), tag = tags[slot];
            const char *e = oaki_map_entry(m, a, g, slot);
            uint64_t p = oaki_map_entry_position(m, t, e);
            if (p < lo || p > m->last) continue;
            size_t past;
            char *place;
            uint8_t *place_tag = oaki_map_take_slot(m, 1, p, tag, &place, &past);
            copy_entry(place, e, m->entry_size);
            AO_compiler_barrier();
            *place_tag = (uint8_t)tag;
            oaki_map_told(place);
            tags[slot] = 0;
            if (g != home) oaki_map_untell(m, a, home, g, tag);
        }
        if (told == 0) break;
    }
    m->moves++;
    m->last = lo - 1;
    if (lo > 0) return true;
    swap_back(m, 63u - to->shift);
    m->resizing = 0;
    oaki_map_set_limits(m);
    oaki_resize_ends(m, false, m->len);
    return true;
}

/* While shrinking waits, one segment after the other is looked at: what holds nothing, and tells of
 * nobody that went past, goes. */
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

/* So few entries in so large an array that a new order for all of them costs less than what it
 * holds: deletes in the order of positions come here. */
static bool is_sparse(const oak_map *m, unsigned bits)
{
    return m->len <= FEW && bits >= oaki_map_bits_for(m->len) + SPARSE_BITS;
}

static bool reorder(oak_map *m, unsigned bits);

/* In the middle of a resize or not: at one go, over what segments are left. */
static void restart(oak_map *m)
{
    while (m->resizing)
        if (!move_next(m)) {
            m->more->wait = RETRY;
            return;
        }
    (void)reorder(m, oaki_map_bits_for(m->len));
    oaki_map_set_limits(m);
}

void oaki_map_step(oak_map *m, bool adds)
{
    if (OAKI_UNLIKELY(m->more->wait > 0)) {
        m->more->wait--;
        return;
    }
    const struct oak_map_array_ *a = &m->array[1];
    unsigned n = HOMES, old = 63u - a->shift;
    bool shrinks = old > m->bits;
    if (((size_t)1 << old) <= WHOLE) n = WHOLE;
    for (; n > 0 && m->resizing; n--) {
        bool dense = shrinks && is_dense(a, oaki_map_home(a, m->last + 1));
        if (!adds && dense) { /* deletes that go on get there */
            m->more->looked++;
            free_if_empty(m, 1);
            free_if_empty(m, 0);
            if (is_sparse(m, old)) restart(m);
            return;
        }
        m->more->back = adds && (dense || m->more->back);
        if (m->more->back ? move_back(m) : move_next(m)) continue;
        m->more->wait = RETRY;
        return;
    }
}

int oak_map_settle(oak_map *m)
{
    if (!m || !m->resizing) return 0;
    if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
    if (!oaki_attached()) return -1;
    m->busy = 1;
    m->more->wait = 0;
    while (m->resizing && !m->more->wait) oaki_map_step(m, true);
    m->busy = 0;
    return m->resizing ? -1 : 0;
}

/* ---- beginning ---- */

/* array[0] becomes array[1], and array[0] one of 2^bits empty groups. false: no memory, nothing has
 * changed. */
static bool swap_arrays(oak_map *m, unsigned bits, bool zero)
{
    if (!oaki_map_need_more(m)) return false;
    oaki_map_array_move(m, 0, 1);
    if (!oaki_map_array_init(m, 0, bits, OAK_MAP_USED_, zero)) {
        oaki_map_array_move(m, 1, 0); /* its head may tell of the tags in the header */
        return false;
    }
    m->bits = (uint8_t)bits;
    return true;
}

/* Begin to move to an array of 2^bits groups, with the first home, so that there is a frontier. */
static bool begin(oak_map *m, unsigned bits)
{
    unsigned before = m->bits;
    if (!swap_arrays(m, bits, false)) return false;
    m->resizing = 1;
    m->more->wait = 0;
    m->more->back = false;
    oaki_resize_begins(m, false, m->len, (size_t)OAK_MAP_SLOTS_ << before,
                       (size_t)OAK_MAP_SLOTS_ << bits);
    if (move_next(m)) return true;
    m->resizing = 0;
    swap_back(m, before);
    oaki_resize_ends(m, false, m->len);
    return false;
}

/* There is no memory: the map fills up a little more, or stays large, before it tries again. */
static void put_off(oak_map *m)
{
    m->limit = m->len + OAKI_MAX(((size_t)OAK_MAP_SLOTS_ << m->bits) / RETRY, 1);
    m->shrink_at -= (m->shrink_at + RETRY - 1) / RETRY;
}

/* The one group of a small map gets more slots. */
static bool widen(oak_map *m)
{
    struct oak_map_array_ *a = &m->array[0];
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
    return true;
}

void oaki_map_grow(oak_map *m)
{
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
        if (!widen(m)) put_off(m);
        return;
    }
    if (m->bits < OAKI_MAP_BITS_MAX && begin(m, m->bits + 1u))
        m->more->growths++;
    else
        put_off(m);
}

void oaki_map_grow_next(oak_map *m)
{
    m->flags &= (uint8_t)~OAKI_MAP_SOON;
    m->limit = m->len;
}

void oaki_map_shrink(oak_map *m)
{
    if (m->flags & OAKI_MAP_SOON_LESS) { /* of entries, room comes free as it goes */
        m->flags &= (uint8_t)~OAKI_MAP_SOON_LESS;
        m->shrink_at -= m->shrink_at / SOON;
        oaki_ahead_want((OAKI_MAP_GROUP << m->bits) / 2 + 2 * OAKI_MAP_SEGMENT);
    } else if (is_dense(&m->array[0], 0)) {
        m->more->looked++;
        free_if_empty(m, 0);
        if (is_sparse(m, m->bits)) restart(m);
    } else if (begin(m, m->bits - 1u)) {
        m->more->shrinks++;
    } else {
        put_off(m);
    }
}

/* ---- a new seed ---- */

static bool copy_all(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    const oak_map_type *t = m->type;
    size_t n = oaki_map_array_groups(m, 1);
    for (size_t g = 0; g < n; g++) {
        if (!a->dir[g >> a->gbits]) continue;
        const uint8_t *tags = oaki_map_tags(a, g);
        for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
            const char *e = oaki_map_entry(m, a, g, oaki_ctz(used));
            uint64_t hash = oaki_map_entry_hash(m, t, e);
            size_t home = oaki_map_home(&m->array[0], oak_map_position_(hash));
            if (!oaki_map_make_room(m, 0, home, 1)) return false;
            move_entry(m, e, (uint8_t)oak_map_tag_(hash));
        }
    }
    return true;
}

/* A new seed, in an array of 2^bits groups. */
static bool reorder(oak_map *m, unsigned bits)
{
    uint64_t seed = m->seed, mult = m->mult;
    unsigned before = m->bits;
    if (!swap_arrays(m, bits, true)) return false;
    m->seed = oaki_hash_random();
    m->mult = oaki_hash_random() | 1;
    bool done = copy_all(m);
    if (done) {
        oaki_map_array_free(m, 1);
    } else {
        swap_back(m, before);
        m->seed = seed;
        m->mult = mult;
    }
    m->moves++;
    return done;
}

/* As many writes lie between two new seeds as there were entries to move, at least: who sees each
 * seed can't have more than a constant share of the time. */
void oaki_map_crowded(oak_map *m, uint64_t hash)
{
    if (!oaki_map_need_more(m) || m->more->bad_hash) return;
    if (m->moves < m->more->reorder_at) return;
    uint64_t p = oak_map_position_(hash);
    const struct oak_map_array_ *a = &m->array[p > m->last];
    size_t same = oaki_map_same_hash(m, a, oaki_map_home(a, p), hash);
    m->more->same_hash = OAKI_MAX(m->more->same_hash, same);
    if (same >= OAKI_MAP_COLLISIONS)
        m->more->bad_hash = true;
    else if (reorder(m, m->bits))
        m->more->reseeds++;
    m->more->reorder_at = m->moves + m->len;
}
