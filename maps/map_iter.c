/* map_iter.c - iterators: positions in hash order.
 *
 * Usually an iterator walks an array group by group, and gives the entries of a group when it comes
 * to that group. It also prepares for moves in the meantime. At group g it notes a fingerprint of
 * each key in g, and of each `crosser`. A crosser is an entry of home g or before that lies behind
 * g, as g was full. These fingerprints are the unit. When entries have moved, it first gives the
 * rest of the unit, wherever those entries are now. Then it gives every entry whose home lies
 * behind g's positions, home by home, by hashes. At the first group without an entry of an earlier
 * home it walks again (docs/maps-internals.md).
 *
 * Invariants: a fingerprint is the key's bytes or a hash of them, so two keys of one map have
 * different ones. Bytes are stored inverted, so that a conservative collector doesn't take them for
 * pointers. An iterator writes only to itself.
 * Bound: amortized O(1) an entry. After a move, each entry that is left in the unit costs a search
 * of the homes that the unit's home has become. */
#include "hash.h"
#include "held.h"
#include "map.h"
#include "runtime/zone.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

/* it->state */
enum {
    BEGIN = 0,
    FIRST,     /* from start to the top */
    WRAPPED,   /* from 0 to start */
    AGAIN,     /* a new seed ended the order: the rest of the unit, then all in the new one */
    END
};

struct oak_map_unit_ {
    uint64_t print;
    uint32_t at;
};

/* An order that a new seed has ended. Positions in [start, hi) were given; after it had wrapped,
 * all but those in [hi, start). */
struct oak_map_order_ {
    struct oak_map_order_ *before;
    uint64_t seed, mult, start, hi;
    bool wrapped;
};

/* ---- fingerprints ---- */

static uint64_t hash_under(const oak_map *m, const char *e, uint64_t seed, uint64_t mult)
{
    return oak_map_hash_under_(m, m->type, oak_map_stored_key_(m->type, e), seed, mult);
}

static uint64_t fingerprint(const oak_map *m, const char *e)
{
    const oak_map_type *t = m->type;
    /* a put may change the sign of 0 */
    if (t->key == OAK_KEY_DOUBLE) return ~oak_map_real_(e, t->key_size);
    if (t->flags & OAK_MAP_KEY_UPDATE) return hash_under(m, e, oaki_hash_lasting(), 1);
    if (t->key_size == 8 || t->key_size > OAK_MAP_INDIRECT_) return ~oak_map_load8_(e);
    if (t->key_size == 4) return oak_map_load4_(e);
    if (t->key_size < 8) {
        uint64_t x = 0;
        memcpy(&x, e, t->key_size);
        return x;
    }
    return oak_hash_bytes(e, t->key_size, oaki_hash_lasting());
}

/* ---- the unit's present place ---- */

/* A home group: its array, its number, and its positions [lo, hi). */
typedef struct home {
    const struct oak_map_array_ *a;
    size_t g;
    uint64_t lo, hi;
} home;

static home home_of(const oak_map *m, uint64_t p)
{
    bool old = p > m->last;
    home h = { .a = &m->array[old] };
    h.g = oaki_map_home(h.a, p);
    h.lo = (uint64_t)h.g << h.a->shift;
    h.hi = h.lo + (UINT64_C(1) << h.a->shift);
    if (!old && m->last < h.hi) h.hi = m->last + 1; /* shrinking: half of the home has moved */
    OAKI_ASSERT(h.a->dir && h.lo <= p && p < h.hi && h.hi <= OAKI_MAP_HALF);
    return h;
}

static uint64_t position(const oak_map *m, const char *e)
{
    return oak_map_position_(hash_under(m, e, m->seed, m->mult));
}

/* The entry of group g that has this fingerprint and whose position is in [lo, hi), or NULL. (The
 * object of a large key may lie where that of a deleted one lay.) */
static char *find_in_group(const oak_map *m, const struct oak_map_array_ *a, size_t g,
                           uint64_t print, uint64_t lo, uint64_t hi)
{
    unsigned used = oaki_map_used(oaki_map_tags(a, g));
    for (; used; used &= used - 1) {
        char *e = oaki_map_entry(m, a, g, oaki_ctz(used));
        if (fingerprint(m, e) != print) continue;
        uint64_t p = position(m, e);
        if (p >= lo && p < hi) return e;
    }
    return NULL;
}

/* The entry with that fingerprint whose position is in [lo, hi), or NULL. */
static char *find_print(const oak_map *m, uint64_t lo, uint64_t hi, uint64_t print)
{
    for (uint64_t p = lo; p < hi;) {
        home h = home_of(m, p);
        for (size_t g = h.g;; g++) {
            char *e = find_in_group(m, h.a, g, print, lo, hi);
            if (e) return e;
            if (oaki_map_tags(h.a, g)[OAK_MAP_SLOTS_] == 0) break;
        }
        p = h.hi;
    }
    return NULL;
}

/* ---- making a unit ---- */

/* Was this entry given in an order that a new seed has ended? */
static bool was_given(const oak_map_iter *it, const char *e)
{
    for (const struct oak_map_order_ *o = it->given; o; o = o->before) {
        uint64_t p = oak_map_position_(hash_under(it->map, e, o->seed, o->mult));
        if (o->wrapped ? p >= o->start || p < o->hi : p >= o->start && p < o->hi) return true;
    }
    return false;
}

static bool more_room(oak_map_iter *it)
{
    uint32_t n = it->more_size ? it->more_size * 2 : 4 * OAK_MAP_UNIT;
    struct oak_map_unit_ *unit = OAKI_PART(it->map, oak_alloc_noscan(n * sizeof *unit));
    if (!unit) return false;
    OAKI_ASSERT(it->count < n && it->count == (it->more ? it->more_size : OAK_MAP_UNIT));
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

/* Makes the unit of the home's entries in [it->lo, it->hi), which it finds by their hashes. */
static bool make_list(oak_map_iter *it, const home *h)
{
    const oak_map *m = it->map;
    for (size_t g = h->g;; g++) {
        const uint8_t *tags = oaki_map_tags(h->a, g);
        for (unsigned used = oaki_map_used(tags); used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            const char *e = oaki_map_entry(m, h->a, g, slot);
            uint64_t p = position(m, e);
            if (p < it->lo || p >= it->hi || (it->given && was_given(it, e))) continue;
            OAKI_ASSERT(g - h->g < UINT32_MAX / 16); /* `at` has room for it */
            if (!append(it, fingerprint(m, e), (uint32_t)(g - h->g) * 16 + slot)) return false;
        }
        if (tags[OAK_MAP_SLOTS_] == 0) return true;
    }
}

/* Does an entry of an earlier home lie in group g or behind it? */
static bool is_crossed(const struct oak_map_array_ *a, size_t g)
{
    return g > 0 && oaki_map_tags(a, g - 1)[OAK_MAP_SLOTS_] != 0;
}

/* Notes the fingerprints of the group's crossers, behind those of its own entries. */
static bool note_crossers(oak_map_iter *it, const home *h)
{
    const oak_map *m = it->map;
    unsigned past = oaki_map_tags(h->a, h->g)[OAK_MAP_SLOTS_];
    OAKI_ASSERT(past && it->count == 0);
    it->count = OAK_MAP_SLOTS_;
    for (size_t g = h->g; past;) {
        const uint8_t *tags = oaki_map_tags(h->a, ++g);
        for (unsigned some = oaki_map_of_class(tags, past); some; some &= some - 1) {
            const char *e = oaki_map_entry(m, h->a, g, oaki_ctz(some));
            if (position(m, e) >= h->hi) continue;
            if (!append(it, fingerprint(m, e), 0)) return false;
        }
        past &= tags[OAK_MAP_SLOTS_];
    }
    return true;
}

/* Is a key its own fingerprint, but for the inversion? */
static bool is_plain(const oak_map_type *t)
{
    return t->key != OAK_KEY_DOUBLE && !(t->flags & OAK_MAP_KEY_UPDATE);
}

/* Notes the fingerprint of every slot, used or not: that needs no branch. */
OAKI_INLINE void note_all(uint64_t *print, const char *e, size_t size, bool wide)
{
#pragma GCC unroll 15
    for (unsigned i = 0; i < OAK_MAP_SLOTS_; i++, e += size)
        print[i] = wide ? ~oak_map_load8_(e) : oak_map_load4_(e);
}

/* The group's entries become the rest of the unit. */
OAKI_INLINE void take_down(oak_map_iter *it, const struct oak_map_array_ *a, size_t g)
{
    const oak_map *m = it->map;
    const oak_map_type *t = m->type;
    size_t size = m->entry_size;
    unsigned used = oak_map_used_(it->tags = (const char *)oaki_map_tags(a, g));
    it->left = used;
    if (!used) return;
    const char *e = it->entries = oaki_map_entries(a, g, size);
    if (a->slots == OAK_MAP_USED_ && is_plain(t)) {
        if (t->key_size == 8) return note_all(it->print, e, size, true);
        if (t->key_size == 4) return note_all(it->print, e, size, false);
    }
    for (; used; used &= used - 1)
        it->print[oaki_ctz(used)] = fingerprint(m, e + oaki_ctz(used) * size);
}

/* Makes the unit of the entries in the home group, and its crossers. */
static bool make_group_unit(oak_map_iter *it, const home *h)
{
    it->walking = true;
    it->stepping = false;
    take_down(it, h->a, h->g);
    return OAKI_LIKELY(it->tags[OAK_MAP_SLOTS_] == 0) || note_crossers(it, h);
}

/* ---- going on ---- */

static bool at_end(oak_map_iter *it, int error)
{
    it->key = it->value = NULL;
    it->left = 0;
    it->walking = it->stepping = false;
    it->state = END;
    errno = error;
    return false;
}

static bool give(oak_map_iter *it, char *e)
{
    const oak_map_type *t = it->map->type;
    it->key = oak_map_stored_key_(t, e);
    it->value = oak_map_value_(t, e, it->map->value_offset);
    return true;
}

/* Ends the walk: the rest of the unit becomes a list of fingerprints to search for. */
static void stop_walking(oak_map_iter *it)
{
    uint32_t n = 0, crossers = it->count;
    uint64_t *print = it->print;
    OAKI_ASSERT(it->walking && !it->next && (crossers == 0 || crossers >= OAK_MAP_SLOTS_));
    for (unsigned left = it->left; left; left &= left - 1) print[n++] = print[oaki_ctz(left)];
    for (uint32_t i = OAK_MAP_SLOTS_; i < crossers; i++)
        if (it->more)
            it->more[i - OAK_MAP_SLOTS_ + n].print = it->more[i].print;
        else
            print[n + i - OAK_MAP_SLOTS_] = print[i];
    if (it->more)
        for (uint32_t i = 0; i < n; i++) it->more[i].print = print[i];
    it->next = 0;
    it->count = crossers > OAK_MAP_SLOTS_ ? n + crossers - OAK_MAP_SLOTS_ : n;
    it->left = 0;
    it->walking = it->stepping = false;
    it->searching = true;
}

/* The next entry of a unit that is a list; NULL when there is none. */
static char *next_of_list(oak_map_iter *it)
{
    const oak_map *m = it->map;
    OAKI_ASSERT(!it->walking && it->count <= (it->more ? it->more_size : OAK_MAP_UNIT));
    while (it->next < it->count) {
        uint32_t i = it->next++;
        uint64_t print = it->more ? it->more[i].print : it->print[i];
        char *e;
        if (it->moves != m->moves) it->searching = true;
        if (it->searching) {
            e = find_print(m, it->lo, it->hi, print);
            if (e) return e;
            continue;
        }
        uint32_t where = it->more ? it->more[i].at : it->at[i], slot = where % 16;
        home h = home_of(m, it->lo);
        size_t g = h.g + where / 16;
        if (!oaki_map_tags(h.a, g)[slot]) continue;
        e = oaki_map_entry(m, h.a, g, slot);
        if (fingerprint(m, e) == print) return e;
    }
    it->next = it->count = 0;
    it->searching = false;
    return NULL;
}

/* The map has another seed. The entries before it->pos in the old order were given. The rest of the
 * unit comes next, wherever it is, and then all others in the new order. */
static bool note_reseed(oak_map_iter *it)
{
    const oak_map *m = it->map;
    if (it->state == FIRST || it->state == WRAPPED) {
        struct oak_map_order_ *o = OAKI_PART(m, oak_alloc(sizeof *o));
        if (!o) return false;
        *o = (struct oak_map_order_){
            .before = it->given,
            .seed = it->seed,
            .mult = it->mult,
            .start = it->start,
            .hi = it->pos,
            .wrapped = it->state == WRAPPED,
        };
        it->given = o;
        it->state = AGAIN;
        it->lo = 0;
        it->hi = OAKI_MAP_HALF;
    }
    it->seed = m->seed;
    it->mult = m->mult;
    return true;
}

/* The next unit begins at it->pos and ends at *end at most. false: there is none. */
static bool advance(oak_map_iter *it, uint64_t *end)
{
    if (it->state == BEGIN || it->state == AGAIN) {
        if (it->state == AGAIN) it->start = 0;
        it->pos = it->start;
        it->state = FIRST;
    }
    if (it->state == FIRST && it->pos == OAKI_MAP_HALF) {
        it->pos = 0;
        it->state = WRAPPED;
    }
    *end = it->state == WRAPPED ? it->start : OAKI_MAP_HALF;
    OAKI_ASSERT(it->pos <= *end);
    return it->pos < *end;
}

/* May the unit be the entries in home h, without reading hashes? */
static bool may_walk(const oak_map_iter *it, const home *h, uint64_t end)
{
    return it->pos == h->lo && h->hi <= end && h->hi - h->lo == UINT64_C(1) << h->a->shift &&
           !it->given;
}

/* The first position of the homes, h or before, of entries that lie in home h or behind it. */
static uint64_t search_from(const home *h)
{
    size_t g = h->g;
    while (OAKI_UNLIKELY(is_crossed(h->a, g))) g--;
    return (uint64_t)g << h->a->shift;
}

static bool make_unit(oak_map_iter *it, const home *h, uint64_t end)
{
    bool walk = may_walk(it, h, end) && (it->walking || !is_crossed(h->a, h->g));
    it->moves = it->map->moves;
    it->old = h->a == &it->map->array[1];
    it->next = it->count = 0;
    it->more = NULL;
    it->more_size = 0;
    it->lo = it->pos;
    it->hi = it->pos = OAKI_MIN(h->hi, end);
    if (OAKI_UNLIKELY(!walk)) return make_list(it, h);
    if (it->walking) it->lo = search_from(h);
    OAKI_ASSERT(it->lo < it->hi && it->hi <= end);
    return make_group_unit(it, h);
}

/* The usual step of a walk, to the next group with entries. It requires that the map is at rest,
 * that nothing has moved, and that no entry here lies outside of its home. */
OAKI_INLINE bool step(oak_map_iter *it)
{
    const oak_map *m = it->map;
    const struct oak_map_array_ *a = &m->array[0];
    if (it->moves != m->moves || oak_map_state_(m)) return false;
    uint64_t end = it->state == WRAPPED ? it->start : OAKI_MAP_HALF;
    uint64_t width = UINT64_C(1) << a->shift, pos = it->pos;
    size_t g = (size_t)(it->tags - a->tags) / OAKI_MAP_GROUP + 1;
    OAKI_ASSERT(it->walking && it->count == 0 && pos == it->hi && (uint64_t)g << a->shift == pos);
    for (; end - pos >= width; g++) {
        if (it->tags[OAK_MAP_SLOTS_] | it->tags[OAKI_MAP_GROUP + OAK_MAP_SLOTS_]) return false;
        if (OAKI_UNLIKELY(!a->dir[g >> a->gbits])) return false;
        take_down(it, a, g);
        it->lo = pos;
        it->hi = it->pos = pos += width;
        if (!it->left) continue;
        oak_map_fetch_(a, it->entries + OAK_MAP_SLOTS_ * m->entry_size, m->entry_size);
        return true;
    }
    return false;
}

/* Steps, if the unit that ends is a group without crossers. */
static bool begin_to_step(oak_map_iter *it)
{
    const struct oak_map_array_ *a = &it->map->array[0];
    if (!it->walking || it->count || it->pos != it->hi) return false;
    size_t g = oaki_map_home(a, it->pos);
    if (g == 0 || it->tags != (const char *)oaki_map_tags(a, g - 1)) return false;
    return it->stepping = step(it);
}

static OAKI_NOINLINE bool more(oak_map_iter *it)
{
    const oak_map *m = it->map;
    if (!m || it->state == END) return at_end(it, 0);
    OAKI_ASSERT(it->state < END && it->start < OAKI_MAP_HALF);
    if (((it->units++ & 63) == 0 || it->seed != m->seed) && !oaki_map_is_header(m))
        oak_fatal("oakum: an iterator's map is gone: it was collected");
    oaki_held_over(); /* as any code of the program between two calls */
    if (m->busy) oak_map_misuse_(m, OAK_MAP_ITERATE_);
    if (it->walking && it->moves != m->moves) stop_walking(it);
    while (OAKI_UNLIKELY(it->seed != m->seed)) {
        if (!note_reseed(it)) return at_end(it, ENOMEM);
        oaki_held_over();
    }
    if (begin_to_step(it))
        return oak_map_iter_next_as_(it, m->type, m->entry_size, m->value_offset);
    for (;;) {
        home h;
        uint64_t end;
        char *e = it->walking ? NULL : next_of_list(it);
        if (e) return give(it, e);
        bool more = advance(it, &end);
        if (more) h = home_of(m, it->pos);
        bool on = more && it->pos == it->hi && h.a == &m->array[it->old] && may_walk(it, &h, end);
        if (it->walking && !on) {
            stop_walking(it);
            continue;
        }
        if (!more) return at_end(it, 0);
        if (OAKI_UNLIKELY(!make_unit(it, &h, end))) return at_end(it, ENOMEM);
        if (it->left) return oak_map_iter_next_as_(it, m->type, m->entry_size, m->value_offset);
    }
}

/* In a walk, a map that is gone is noticed at one unit of 64. */
bool oak_map_iter_more_(oak_map_iter *it)
{
    if (OAKI_UNLIKELY(!it->stepping || (++it->units & 63) == 0 || !step(it))) return more(it);
    const oak_map *m = it->map;
    return oak_map_iter_next_as_(it, m->type, m->entry_size, m->value_offset);
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

/* Usually position 0, as for shrinking, so that deletes during an iteration go before the frontier.
 * But repeated deletes of an iterator's first entry would leave more and more empty groups at the
 * beginning. Then it starts at the last delete. With as many adds, the rest would be crowded; then
 * it starts at a position that depends on the map's state. */
static uint64_t start_of(const oak_map *m)
{
    if (!m || !m->more) return 0;
    const struct oak_map_deletes_ *d = &m->more->deletes;
    if (d->mixed == OAKI_MAP_RUN && d->run < OAKI_MAP_RUNS)
        return oak_map_position_(oak_map_mix_(m->moves + m->len, m->seed, m->mult));
    return d->run >= OAKI_MAP_RUN ? home_of(m, d->deleted).lo : 0;
}

void oak_map_iter_init(oak_map_iter *it, const oak_map *m)
{
    if (it) init(it, m, start_of(m));
}

void oak_map_iter_init_random(oak_map_iter *it, const oak_map *m)
{
    if (it) init(it, m, oak_map_position_(oaki_hash_random()));
}

bool oak_map_iter_next(oak_map_iter *it)
{
    if (OAKI_UNLIKELY(!it)) return false;
    if (!it->map) return at_end(it, 0);
    if (OAKI_UNLIKELY(it->seed != it->map->seed)) return oak_map_iter_more_(it); /* is it a map? */
    return oak_map_iter_next_as_(it, it->map->type, it->map->entry_size, it->map->value_offset);
}
