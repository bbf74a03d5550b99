/* map_iter.c - iterators: positions in hash order.
 *
 * An iterator works by units: the entries of one home group. When it comes to a home it takes down
 * a fingerprint of each key there, and then gives them one by one. While nothing moves it knows
 * where they are; after a move it looks for the fingerprints that are left where the home's
 * positions lie now. Whatever the map becomes, the entries of positions before the unit were given,
 * those behind it were not (docs/maps.md).
 *
 * Invariants: fingerprints are the key's own bytes or a hash of them, so that two keys of one map
 *   have two; those that are bytes are stored inverted, so that a conservative collector doesn't
 *   take them for pointers. An iterator writes to nothing but itself.
 * Bound: amortized O(1) an entry; after a move, each entry that is left in the unit costs a search
 *   of the homes that the unit's home has become. */
#include "map.h"
#include "hash.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

/* it->state */
enum {
    BEGIN = 0,
    FIRST,     /* from start to the top */
    WRAPPED,   /* from 0 to start */
    LAST_WORDS, /* a reseed ended the order: what its unit left, then all again */
    END
};

struct oak_map_unit_ {
    uint64_t print;
    uint32_t at;
};

/* ---- fingerprints ---- */

static uint64_t fingerprint(const oak_map_type *t, const char *e)
{
    if (t->key == OAK_KEY_DOUBLE) {
        double d = oak_map_load_real_(e, t->key_size) + 0.0; /* a put may change the sign of 0 */
        return ~oak_map_load8_(&d);
    }
    if (t->flags & OAK_MAP_KEY_UPDATE)
        return oak_map_hash_with_(t, oaki_map_entry_key(t, e), 1, 1);
    if (t->key_size == 8 || t->key_size > OAK_MAP_INDIRECT_) return ~oak_map_load8_(e);
    if (t->key_size == 4) return oak_map_load4_(e);
    if (t->key_size < 8) {
        uint64_t x = 0;
        memcpy(&x, e, t->key_size);
        return x;
    }
    return oak_hash_bytes(e, t->key_size, 0);
}

/* ---- where the unit is now ---- */

/* Of the home group that position p is in: array, place, and the positions it stands for. */
typedef struct home {
    const struct oak_map_array_ *a;
    oaki_map_place at;
    uint64_t lo, hi;
} home;

static home home_of(const oak_map *m, uint64_t p)
{
    bool old = p > m->last;
    home h = { .a = &m->array[old] };
    uint64_t mask = (UINT64_C(1) << h.a->shift) - 1;
    h.at = oaki_map_home(h.a, p);
    h.lo = p & ~mask;
    h.hi = h.lo + mask + 1;
    if (!old && m->last < h.hi) h.hi = m->last + 1; /* shrinking: half of the home has moved */
    return h;
}

/* The entry with that fingerprint whose position is in [lo, hi), or NULL. */
static char *find_print(const oak_map *m, uint64_t lo, uint64_t hi, uint64_t print)
{
    const oak_map_type *t = m->type;
    for (uint64_t p = lo; p < hi;) {
        home h = home_of(m, p);
        for (oaki_map_place at = h.at;; oaki_map_next(h.a, &at)) {
            const uint8_t *tags = oaki_map_tags(h.a, at);
            char *entries = oaki_map_entries(h.a, at, m->entry_size);
            for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
                char *e = entries + oaki_ctz(used) * m->entry_size;
                if (fingerprint(t, e) == print) return e;
            }
            if (tags[OAK_MAP_SLOTS_] == 0) break;
        }
        p = h.hi;
    }
    return NULL;
}

/* ---- making a unit ---- */

/* A reseed gave up an order: was this entry given in it? */
static bool was_given(const oak_map_iter *it, const oak_map_type *t, const char *e)
{
    for (unsigned i = 0; i < it->nfilters; i++) {
        uint64_t p = oak_map_position_(oak_map_hash_with_(t, oaki_map_entry_key(t, e),
                                                          it->filter[i].seed, it->filter[i].mult));
        uint64_t start = it->filter[i].start, hi = it->filter[i].hi;
        if (it->filter[i].wrapped ? p >= start || p < hi : p >= start && p < hi) return true;
    }
    return false;
}

static bool more_room(oak_map_iter *it)
{
    uint32_t n = it->more_size ? it->more_size * 2 : 4 * OAK_MAP_UNIT;
    struct oak_map_unit_ *unit = oak_alloc_noscan(n * sizeof *unit);
    if (!unit) return false;
    for (uint32_t i = 0; i < it->count; i++)
        unit[i] = it->more ? it->more[i]
                           : (struct oak_map_unit_){ .print = it->print[i], .at = it->at[i] };
    it->more = unit;
    it->more_size = n;
    return true;
}

static bool append(oak_map_iter *it, uint64_t print, uint32_t at)
{
    if (!it->more && it->count < OAK_MAP_UNIT) {
        it->print[it->count] = print;
        it->at[it->count++] = at;
        return true;
    }
    if (it->count >= it->more_size && !more_room(it)) return false;
    it->more[it->count++] = (struct oak_map_unit_){ .print = print, .at = at };
    return true;
}

/* The unit is the home's entries in [it->lo, it->hi), one by one by their hashes. */
static bool make_list(oak_map_iter *it, const home *h)
{
    const oak_map *m = it->map;
    const oak_map_type *t = m->type;
    oaki_map_place at = h->at;
    for (uint32_t dist = 0;; dist++, oaki_map_next(h->a, &at)) {
        const uint8_t *tags = oaki_map_tags(h->a, at);
        const char *entries = oaki_map_entries(h->a, at, m->entry_size);
        for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            const char *e = entries + slot * m->entry_size;
            uint64_t p = oak_map_position_(oaki_map_entry_hash(m, t, e));
            if (p < it->lo || p >= it->hi || (it->nfilters && was_given(it, t, e))) continue;
            if (!append(it, fingerprint(t, e), dist * 16 + slot)) return false;
        }
        if (tags[OAK_MAP_SLOTS_] == 0) return true;
    }
}

/* The unit is all that is in the home group, and nothing else: its slots. */
static void make_group_unit(oak_map_iter *it, const home *h, unsigned used)
{
    const oak_map *m = it->map;
    const oak_map_type *t = m->type;
    size_t size = m->entry_size;
    it->tags = (const char *)oaki_map_tags(h->a, h->at);
    it->entries = oaki_map_entries(h->a, h->at, size);
    it->left = (uint16_t)used;
    if (t->key_size == 8 && t->key != OAK_KEY_DOUBLE && !(t->flags & OAK_MAP_KEY_UPDATE))
        for (; used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            it->print[slot] = ~oak_map_load8_(it->entries + slot * size);
        }
    else
        for (; used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            it->print[slot] = fingerprint(t, it->entries + slot * size);
        }
}

/* No entry of the home is elsewhere, and no other home's is in its group. */
static bool is_alone(const home *h, const uint8_t *tags)
{
    if (tags[OAK_MAP_SLOTS_] != 0) return false;
    if (h->at.g > 0) return tags[-1] == 0;
    if (h->at.s == 0) return true;
    const uint8_t *before = (const uint8_t *)h->a->dir[h->at.s - 1];
    return before == (const uint8_t *)OAKI_MAP_EMPTY ||
           before[(size_t)h->a->gmask * (OAK_MAP_SLOTS_ + 1) + OAK_MAP_SLOTS_] == 0;
}

/* ---- going on ---- */

static bool at_end(oak_map_iter *it, int error)
{
    it->key = it->value = NULL;
    it->left = 0;
    it->next = it->count = 0;
    it->state = END;
    errno = error;
    return false;
}

static bool give(oak_map_iter *it, char *e)
{
    const oak_map_type *t = it->map->type;
    it->key = oaki_map_entry_key(t, e);
    it->value = oak_map_value_(t, e, it->map->value_offset);
    return true;
}

/* Something moved while the unit was a group's slots: it becomes a list. */
static void list_what_is_left(oak_map_iter *it)
{
    unsigned left = it->left;
    it->left = 0;
    it->next = it->count = 0;
    for (; left; left &= left - 1) it->print[it->count++] = it->print[oaki_ctz(left)];
    it->more = NULL;
    it->more_size = 0;
}

/* The next entry of a unit that is a list; NULL when there is none. */
static char *next_of_list(oak_map_iter *it)
{
    const oak_map *m = it->map;
    while (it->next < it->count) {
        uint32_t i = it->next++;
        uint64_t print = it->more ? it->more[i].print : it->print[i];
        char *e;
        if (it->moves == m->moves && it->state != LAST_WORDS) {
            uint32_t where = it->more ? it->more[i].at : it->at[i];
            home h = home_of(m, it->lo);
            for (uint32_t dist = where / 16; dist > 0; dist--) oaki_map_next(h.a, &h.at);
            e = oaki_map_entries(h.a, h.at, m->entry_size) + where % 16 * m->entry_size;
            if (oaki_map_tags(h.a, h.at)[where % 16] && fingerprint(m->type, e) == print) return e;
            continue;
        }
        uint64_t lo = it->lo, hi = it->hi;
        if (it->state == LAST_WORDS) lo = 0, hi = OAKI_MAP_HALF;
        e = find_print(m, lo, hi, print);
        if (e) return e;
    }
    it->next = it->count = 0;
    return NULL;
}

/* The map has another seed: what was given is what lies before it->hi in the old order. First what
 * is left of the unit, then everything else in the new order. */
static void note_reseed(oak_map_iter *it)
{
    const oak_map *m = it->map;
    if (it->state == FIRST || it->state == WRAPPED) {
        unsigned i = it->nfilters;
        if (it->nfilters < OAKI_MAP_RESEEDS) it->nfilters++;
        i = OAKI_MIN(i, OAKI_MAP_RESEEDS - 1u);
        it->filter[i].seed = it->seed;
        it->filter[i].mult = it->mult;
        it->filter[i].start = it->start;
        it->filter[i].hi = it->hi;
        it->filter[i].wrapped = it->state == WRAPPED;
        it->state = LAST_WORDS;
    }
    it->seed = m->seed;
    it->mult = m->mult;
}

/* The positions that come next, in it->lo and it->hi, and their home. false: there are none. */
static bool advance(oak_map_iter *it, home *h)
{
    uint64_t lo = it->hi, end = OAKI_MAP_HALF;
    if (it->state == BEGIN || it->state == LAST_WORDS) {
        lo = it->state == BEGIN ? it->start : 0;
        if (it->state == LAST_WORDS) it->start = 0;
        it->state = FIRST;
    } else if (it->state == FIRST && lo == OAKI_MAP_HALF) {
        lo = 0;
        it->state = WRAPPED;
    }
    if (it->state == WRAPPED) end = it->start;
    if (lo >= end) return false;
    *h = home_of(it->map, lo);
    it->lo = lo;
    it->hi = OAKI_MIN(h->hi, end);
    return true;
}

static bool make_unit(oak_map_iter *it, const home *h)
{
    const uint8_t *tags = oaki_map_tags(h->a, h->at);
    unsigned used = oaki_map_used(tags);
    it->moves = it->map->moves;
    it->next = it->count = 0;
    it->more = NULL;
    it->more_size = 0;
    bool whole = it->lo == h->lo && it->hi == h->hi &&
                 h->hi - h->lo == UINT64_C(1) << h->a->shift;
    if (OAKI_LIKELY(whole && it->nfilters == 0 && is_alone(h, tags))) {
        make_group_unit(it, h, used);
        return true;
    }
    return make_list(it, h);
}

bool oak_map_iter_more_(oak_map_iter *it)
{
    const oak_map *m = it->map;
    if (!m || it->state == END) return at_end(it, 0);
    if (!oaki_map_is_header(m)) oak_fatal("oakum: an iterator's map is gone: it was collected");
    if (m->busy) oak_map_misuse_(m, OAK_MAP_ITERATE_);
    if (it->left) list_what_is_left(it); /* so something moved */
    if (OAKI_UNLIKELY(it->seed != m->seed)) note_reseed(it);
    for (;;) {
        home h;
        char *e = next_of_list(it);
        if (e) return give(it, e);
        if (!advance(it, &h)) return at_end(it, 0);
        if (OAKI_UNLIKELY(!make_unit(it, &h))) return at_end(it, ENOMEM);
        if (it->left) return oak_map_iter_next_as_(it, m->type, m->entry_size, m->value_offset);
    }
}

/* ---- the public calls ---- */

static void init(oak_map_iter *it, const oak_map *m, uint64_t start)
{
    *it = (oak_map_iter){ .map = (oak_map *)(uintptr_t)m, .start = start };
    if (!m) {
        it->state = END;
        return;
    }
    it->seed = m->seed;
    it->mult = m->mult;
    it->moves = m->moves;
}

void oak_map_iter_init(oak_map_iter *it, const oak_map *m)
{
    init(it, m, 0);
}

void oak_map_iter_init_random(oak_map_iter *it, const oak_map *m)
{
    init(it, m, oak_map_position_(oaki_hash_random()));
}

bool oak_map_iter_next(oak_map_iter *it)
{
    if (!it->map) return at_end(it, 0);
    return oak_map_iter_next_as_(it, it->map->type, it->map->entry_size, it->map->value_offset);
}
