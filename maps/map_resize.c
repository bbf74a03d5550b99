/* map_resize.c - growing and shrinking by small steps, and taking a new seed at one go.
 *
 * Owns: m->last, the frontier. array[1] is left behind in hash order: a step takes the next home
 * group's entries, in it and behind it, to the homes that they have in array[0], and then moves the
 * frontier over them. What lies before the frontier in array[1] is clear, and its segments are
 * freed one by one.
 * Invariants: a home is moved whole or not at all: memory for it is there before the first entry
 *   moves.
 * Bound: a step moves one home while growing, two while shrinking, all of an array of up to
 *   WHOLE groups. A new seed is O(entries); only an attack, or a hash that no seed mends, asks for
 *   it. */
#include "hash.h"
#include "map.h"
#include <oakum/heap.h>
#include <string.h>

#define WHOLE 8        /* groups: smaller arrays are left at one go */
#define RETRY 64       /* writes until a resize is tried again that found no memory */
#define SHRINK_NUM 5   /* entries in two groups, on average, below which a map shrinks */
#define COLLISIONS 16  /* of the full hash, in one home: no seed will part them */

/* ---- limits ---- */

unsigned oaki_map_bits_for(size_t n)
{
    if (n <= OAK_MAP_SLOTS_) return 0;
    size_t groups = (n - 1) / OAKI_MAP_FILL + 1;
    unsigned bits = oaki_log2(groups);
    return bits + (((size_t)1 << bits) < groups);
}

void oaki_map_set_limits(oak_map *m)
{
    size_t groups = (size_t)1 << m->bits, shrink = groups * SHRINK_NUM / 2;
    m->limit = m->bits ? groups * OAKI_MAP_FILL : oaki_popcount(m->array[0].slots);
    m->shrink_at = m->bits ? shrink : m->limit > 3 ? 1 : 0;
    if (m->flags & OAKI_MAP_HINTED) {
        m->limit = shrink; /* from there on it counts as filled, and may shrink */
        m->shrink_at = 0;
    }
}

/* ---- moving a home ---- */

static void move_entry(oak_map *m, const char *from, uint8_t tag)
{
    const oak_map_type *t = m->type;
    uint64_t p = oak_map_position_(oaki_map_entry_hash(m, t, from));
    size_t past, size = m->entry_size;
    char *to;
    uint8_t *slot = oaki_map_take_slot(m, 0, p, &to, &past);
    if (size == 16)
        memcpy(to, from, 16);
    else if (size == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, size);
    AO_compiler_barrier();
    *slot = tag;
}

/* How many entries of home h lie behind it, exactly unless the count is full. */
static size_t behind(const oak_map *m, uint64_t h, oaki_map_place at)
{
    const struct oak_map_array_ *a = &m->array[1];
    const oak_map_type *t = m->type;
    size_t n = oaki_map_tags(a, at)[OAK_MAP_SLOTS_];
    if (OAKI_LIKELY(n < UINT8_MAX)) return n;
    for (n = 0; oaki_map_tags(a, at)[OAK_MAP_SLOTS_];) {
        oaki_map_next(a, &at);
        const char *entries = oaki_map_entries(a, at, m->entry_size);
        for (unsigned used = oaki_map_used(oaki_map_tags(a, at)); used; used &= used - 1) {
            const char *e = entries + oaki_ctz(used) * m->entry_size;
            n += oak_map_position_(oaki_map_entry_hash(m, t, e)) >> a->shift == h;
        }
    }
    return n;
}

/* Home h's entries that lie behind it: n of them. Those of later homes that lie among them stay. */
static void move_overflow(oak_map *m, uint64_t h, oaki_map_place at, size_t n)
{
    const struct oak_map_array_ *a = &m->array[1];
    const oak_map_type *t = m->type;
    while (n > 0) {
        oaki_map_next(a, &at);
        uint8_t *tags = oaki_map_tags(a, at);
        const char *entries = oaki_map_entries(a, at, m->entry_size);
        for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            const char *e = entries + slot * m->entry_size;
            if (oak_map_position_(oaki_map_entry_hash(m, t, e)) >> a->shift != h) continue;
            move_entry(m, e, tags[slot]);
            AO_compiler_barrier();
            tags[slot] = 0;
            n--;
        }
        /* those of home h that are left went past this group */
        uint8_t *count = &tags[OAK_MAP_SLOTS_];
        if (*count != UINT8_MAX) *count = (uint8_t)(*count - n);
    }
}

/* Everything in home h itself is of home h: what was of earlier homes has moved already. false: no
 * memory, nothing was moved. */
static bool move_home(oak_map *m, uint64_t h)
{
    struct oak_map_array_ *a = &m->array[1], *to = &m->array[0];
    uint64_t lo = h << a->shift, hi = lo + (UINT64_C(1) << a->shift);
    oaki_map_place at = oaki_map_home(a, lo);
    uint8_t *tags = oaki_map_tags(a, at);
    unsigned used = oaki_map_used(tags);
    size_t over = behind(m, h, at), n = oaki_popcount(used) + over;
    if (n > 0) {
        if (!oaki_map_make_room(m, 0, oaki_map_home(to, lo), 1) ||
            !oaki_map_make_room(m, 0, oaki_map_home(to, hi - 1), n))
            return false;
        const char *entries = oaki_map_entries(a, at, m->entry_size);
        for (; used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            move_entry(m, entries + slot * m->entry_size, tags[slot]);
        }
        if (over > 0) move_overflow(m, h, at, over);
        AO_compiler_barrier();
        memset(tags, 0, OAK_MAP_SLOTS_ + 1);
    }
    m->last = hi - 1;
    m->moves++;
    if (at.g == a->gmask && a->dir[at.s] != OAKI_MAP_EMPTY) {
        char *segment = a->dir[at.s];
        a->dir[at.s] = OAKI_MAP_EMPTY;
        oak_free(segment);
    }
    return true;
}

static void finish(oak_map *m)
{
    oaki_map_array_free(m, 1); /* the tail, and the directory */
    m->array[1].dir = NULL;
    m->resizing = 0;
    m->last = UINT64_MAX;
    m->moves++;
    oaki_map_set_limits(m);
}

static bool move_next(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    uint64_t h = (m->last + 1) >> a->shift;
    if (!move_home(m, h)) return false;
    if (m->last == OAKI_MAP_HALF - 1) finish(m);
    return true;
}

void oak_map_step_(oak_map *m)
{
    if (OAKI_UNLIKELY(m->more->wait > 0)) {
        m->more->wait--;
        return;
    }
    unsigned n = 1, old = 63u - m->array[1].shift;
    if (old > m->bits) n = 2;
    if (((size_t)1 << old) <= WHOLE) n = WHOLE;
    for (; n > 0 && m->resizing; n--)
        if (!move_next(m)) {
            m->more->wait = RETRY;
            return;
        }
}

int oak_map_settle(oak_map *m)
{
    if (!m || !m->resizing) return 0;
    if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    m->more->wait = 0;
    while (m->resizing && !m->more->wait) oak_map_step_(m);
    m->busy = 0;
    return m->resizing ? -1 : 0;
}

/* ---- beginning ---- */

/* array[j] becomes what array[i] is. */
static void move_array(oak_map *m, unsigned i, unsigned j)
{
    struct oak_map_array_ a = m->array[i];
    if (a.dir == m->few[i]) {
        memcpy(m->few[j], m->few[i], sizeof m->few[0]);
        a.dir = m->few[j];
    }
    m->more->tail[j] = m->more->tail[i];
    m->more->segments[j] = m->more->segments[i];
    m->array[j] = a;
    AO_compiler_barrier();
}

/* array[0] becomes array[1], and array[0] one of 2^bits empty groups. false: no memory, nothing has
 * changed. */
static bool swap_arrays(oak_map *m, unsigned bits)
{
    if (!oaki_map_need_more(m)) return false;
    move_array(m, 0, 1);
    if (!oaki_map_array_init(m, 0, bits, OAK_MAP_USED_)) {
        m->array[1].dir = NULL;
        return false;
    }
    m->bits = (uint8_t)bits;
    return true;
}

static void swap_back(oak_map *m, unsigned bits)
{
    oaki_map_array_free(m, 0);
    move_array(m, 1, 0);
    m->array[1].dir = NULL;
    m->bits = (uint8_t)bits;
}

/* Begin to move to an array of 2^bits groups, with the first home, so that there is a frontier. */
static bool begin(oak_map *m, unsigned bits)
{
    unsigned before = m->bits;
    if (!swap_arrays(m, bits)) return false;
    m->resizing = 1;
    m->more->wait = 0;
    if (move_next(m)) return true;
    m->resizing = 0;
    swap_back(m, before);
    return false;
}

/* There is no memory: the map fills up a little more, or stays large, before it tries again. */
static void put_off(oak_map *m)
{
    m->limit = m->len + OAKI_MAX(((size_t)OAKI_MAP_FILL << m->bits) / RETRY, 1);
    m->shrink_at -= m->shrink_at / RETRY;
}

/* The one group of a small map gets more slots. */
static bool widen(oak_map *m)
{
    struct oak_map_array_ *a = &m->array[0];
    unsigned slots = a->slots == 0x7 ? 0x7f : OAK_MAP_USED_;
    char *old = a->dir[0],
         *p = oaki_map_segment_new(oaki_map_layout_of(m), 0,
                                   a->entries + oaki_popcount(slots) * m->entry_size);
    if (!p) return false;
    if (old != OAKI_MAP_EMPTY)
        memcpy(p, old, a->entries + oaki_popcount(a->slots) * m->entry_size);
    AO_compiler_barrier();
    a->dir[0] = p;
    a->slots = (uint16_t)slots;
    m->moves++;
    if (old != OAKI_MAP_EMPTY) oak_free(old);
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
    if (m->bits == 0 && m->array[0].slots != OAK_MAP_USED_) {
        if (!widen(m)) put_off(m);
        return;
    }
    if (m->bits < OAKI_MAP_BITS_MAX && begin(m, m->bits + 1u))
        m->more->growths++;
    else
        put_off(m);
}

/* Deletes left nothing: the one group goes too. */
static void drop_last(oak_map *m)
{
    oaki_map_array_free(m, 0);
    (void)oaki_map_array_init(m, 0, 0, 0x7); /* can't fail: its directory is in m */
    m->moves++;
    oaki_map_set_limits(m);
}

void oaki_map_shrink(oak_map *m)
{
    if (m->bits == 0)
        drop_last(m);
    else if (begin(m, m->bits - 1u))
        m->more->shrinks++;
    else
        put_off(m);
}

/* ---- a new seed ---- */

static bool copy_all(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    const oak_map_type *t = m->type;
    size_t n = m->more->segments[1];
    for (oaki_map_place at = { 0, 0 }; at.s < n; oaki_map_next(a, &at)) {
        const uint8_t *tags = oaki_map_tags(a, at);
        unsigned used = oaki_map_used(tags);
        if (!used) continue;
        const char *entries = oaki_map_entries(a, at, m->entry_size);
        for (; used; used &= used - 1) {
            const char *e = entries + oaki_ctz(used) * m->entry_size;
            uint64_t hash = oaki_map_entry_hash(m, t, e);
            oaki_map_place home = oaki_map_home(&m->array[0], oak_map_position_(hash));
            if (!oaki_map_make_room(m, 0, home, 1)) return false;
            move_entry(m, e, (uint8_t)oak_map_tag_(hash));
        }
    }
    return true;
}

static bool reseed(oak_map *m)
{
    uint64_t seed = m->seed, mult = m->mult;
    unsigned bits = m->bits;
    if (!swap_arrays(m, bits)) return false;
    m->seed = oaki_hash_random();
    m->mult = oaki_hash_random() | 1;
    bool done = copy_all(m);
    if (done) {
        oaki_map_array_free(m, 1);
        m->array[1].dir = NULL;
        m->more->reseeds++;
    } else {
        swap_back(m, bits);
        m->seed = seed;
        m->mult = mult;
    }
    m->moves++;
    return done;
}

/* Entries of this very hash; a seed doesn't part them. */
static size_t count_same(const oak_map *m, uint64_t hash)
{
    const oak_map_type *t = m->type;
    uint64_t p = oak_map_position_(hash);
    const struct oak_map_array_ *a = &m->array[p > m->last];
    size_t n = 0;
    for (oaki_map_place at = oaki_map_home(a, p);; oaki_map_next(a, &at)) {
        const uint8_t *tags = oaki_map_tags(a, at);
        const char *entries = oaki_map_entries(a, at, m->entry_size);
        unsigned hit = oak_map_match_((const char *)tags, oak_map_tag_(hash));
        for (; hit; hit &= hit - 1)
            n += oaki_map_entry_hash(m, t, entries + oaki_ctz(hit) * m->entry_size) == hash;
        if (tags[OAK_MAP_SLOTS_] == 0) return n;
    }
}

void oaki_map_crowded(oak_map *m, uint64_t hash)
{
    if (!oaki_map_need_more(m) || m->more->bad_hash) return;
    size_t same = count_same(m, hash);
    m->more->same_hash = OAKI_MAX(m->more->same_hash, same);
    if (same >= COLLISIONS || m->more->reseeds == OAKI_MAP_RESEEDS || m->bits == 0)
        m->more->bad_hash = true;
    else
        (void)reseed(m);
}
