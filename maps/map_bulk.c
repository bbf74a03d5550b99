/* map_bulk.c - many of a map's operations in one call: lookups, room for entries, deletes by a
 * predicate. The part that is compiled into programs is in <oakum/map_bulk.h>.
 *
 * Owns: nothing.
 * Invariants: a pass deletes an entry whole, and resizes nothing before its end. So the map is
 * consistent between two calls of the predicate, and a pass that is left half-way has lost nothing.
 * Lock: none; `busy` is set while the map is written, and not while a predicate runs. A write by
 * the predicate, or concurrently with it, is found by `moves` and `len`. */
#include "held.h"
#include "map.h"
#include "runtime/mcache.h"
#include <errno.h>
#include <string.h>

/* ---- many lookups ---- */

/* Where many keys share one hash, a lookup of map_far.c takes the least time. */
static size_t get_many_custom(const oak_map *m, const char *keys, size_t n, void **values)
{
    uint64_t hash[OAK_MAP_BATCH_];
    size_t found = 0;
    oak_map_hash_batch_(m, m->type, keys, n, hash);
    for (size_t i = 0; i < n; i++) {
        void *value = oaki_map_find_custom(m, hash[i], keys + i * m->type->key_size);
        found += value != NULL;
        if (values) values[i] = value;
    }
    return found;
}

size_t oak_map_get_many(const oak_map *m, const void *keys, size_t n, void **values)
{
    static const oak_map_type u64 = { .key = OAK_KEY_U64, .key_size = 8, .value_size = 8 };
    const oak_map_type *t = m ? m->type : &u64;
    const char *from = keys;
    size_t found = 0;
    if (m && t->key == OAK_KEY_U64 && m->entry_size == 16 && t->value_size == 8)
        return oak_map_get_many_as_(m, &u64, 16, 8, keys, n, values);
    if (!m || !keys || t->key != OAK_KEY_CUSTOM || t->equal || t->key_size != 8)
        return oak_map_get_many_as_(m, t, m ? m->entry_size : 0, m ? m->value_offset : 0, keys, n,
                                    values);
    for (size_t at = 0; at < n; at += OAK_MAP_BATCH_)
        found +=
            get_many_custom(m, from + at * t->key_size, OAKI_MIN(n - at, (size_t)OAK_MAP_BATCH_),
                            values ? values + at : NULL);
    return found;
}

/* ---- room ---- */

/* Groups for n entries, log2, if there is memory for so many. */
static bool bits_for(const oak_map *m, size_t n, unsigned *bits)
{
    *bits = oaki_map_bits_for(n);
    return *bits <= oaki_map_hint_bits(oaki_map_layout_of(m), n);
}

/* The single group gets room for n entries. */
static bool make_group_for(oak_map *m, size_t n)
{
    struct oak_map_array_ *a = &m->array[0];
    unsigned slots = oaki_map_slots_for(m, n);
    if (!a->dir[0]) a->slots |= (uint16_t)slots; /* its segment isn't made yet */
    while (slots & ~(unsigned)a->slots)
        if (!oaki_map_widen(m)) return false;
    return true;
}

/* Gives an empty map a larger array. Without memory the map keeps the one that it has. */
static bool make_empty(oak_map *m, unsigned bits)
{
    oaki_map_array_move(m, 0, 1);
    bool made = oaki_map_array_init(m, 0, bits, OAK_MAP_USED_, true);
    if (!made)
        oaki_map_array_move(m, 1, 0);
    else
        oaki_map_array_free(m, 1);
    m->moves++;
    if (made) m->bits = (uint8_t)bits;
    return made;
}

static bool make_room(oak_map *m, size_t n)
{
    unsigned bits;
    OAKI_REQUIRES_WRITE(m);
    OAKI_REQUIRES_AT_REST(m);
    if (!bits_for(m, n, &bits)) return false;
    if (bits == 0) {
        if (m->bits == 0 && !make_group_for(m, n)) return false;
    } else if (bits > m->bits) {
        if (!oaki_map_need_more(m)) return false;
        if (!(m->len ? oaki_map_enlarge(m, bits) : make_empty(m, bits))) return false;
    }
    if (m->bits > 0 && n > m->len) {
        m->flags |= OAKI_MAP_HINTED;
        m->more->looked = 0;
    }
    oaki_map_set_limits(m);
    return true;
}

/* Ends a resize that is under way. false: no memory. */
static bool end_resize(oak_map *m)
{
    if (m->resizing) m->more->wait = 0;
    while (m->resizing && !m->more->wait) oaki_map_step(m, true);
    return !m->resizing;
}

int oak_map_reserve(oak_map *m, size_t n)
{
    if (!m) return errno = EINVAL, -1;
    if (!oaki_attached()) return -1;
    oaki_held_forget();
    bool done;
    do {
        if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
        m->busy = 1;
        OAKI_REQUIRES_SOUND_ONCE(m, oaki_map_check_inside(m));
        done = n <= m->len || (end_resize(m) && make_room(m, n));
        m->busy = 0;
    } while (oaki_held_retry(m, !done));
    if (done) return 0;
    errno = ENOMEM;
    return -1;
}

/* ---- passes ---- */

void oak_map_pass_begin_(oak_map_pass_ *p, oak_map *m)
{
    *p = (oak_map_pass_){ .map = m };
    if (!m) return;
    if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
    oaki_attach("a map is written");
    OAKI_REQUIRES_SOUND_ONCE(m, oaki_map_check_inside(m));
    p->moves = m->moves;
    p->began = p->len = m->len;
}

bool oak_map_pass_more_(oak_map_pass_ *p)
{
    const oak_map *m = p->map;
    OAKI_ASSERT(!p->left);
    for (; m && p->array < 2; p->array++, p->group = 0) {
        const struct oak_map_array_ *a = &m->array[p->array];
        size_t end = oaki_map_array_groups(m, p->array);
        while (p->group < end) {
            size_t g = p->group++;
            if (!a->dir[g >> a->gbits]) {
                p->group = (g | a->gmask) + 1;
                continue;
            }
            p->left = oaki_map_used(oaki_map_tags(a, g));
            if (!p->left) continue;
            p->tags = (char *)oaki_map_tags(a, g);
            p->crossed = g > 0 && p->tags[-1] != 0;
            p->entries = oaki_map_entries(a, g, m->entry_size);
            return true;
        }
    }
    return false;
}

/* The home of the current entry. A group's entries are its own, unless entries of their kind went
 * past the group before it. */
static size_t home_of_current(const oak_map_pass_ *p, size_t g, unsigned tag)
{
    const oak_map *m = p->map;
    const struct oak_map_array_ *a = &m->array[p->array];
    if (g == 0 || !oak_map_went_past_((char *)oaki_map_tags(a, g - 1), tag)) return g;
    const char *e = p->entries + p->slot * m->entry_size;
    return oaki_map_home(a, oaki_map_entry_position(m, m->type, e));
}

void oak_map_pass_drop_(oak_map_pass_ *p)
{
    oak_map *m = p->map;
    m->busy = 1;
    unsigned tag = (unsigned char)p->tags[p->slot];
    size_t g = p->group - 1, home = home_of_current(p, g, tag);
    OAKI_ASSERT(tag && home <= g);
    p->tags[p->slot] = 0;
    if (OAKI_UNLIKELY(home != g)) oaki_map_forget_past(m, &m->array[p->array], home, g, tag);
    m->len = --p->len;
    m->busy = 0;
}

/* Shrinks to the size that the map's entries need, as far as memory and dense homes allow. */
static void fit(oak_map *m)
{
    for (;;) {
        while (m->resizing) {
            uint64_t last = m->last;
            oaki_map_step(m, false);
            if (m->resizing && m->last == last) return;
        }
        unsigned flags = m->flags;
        if (m->len >= m->shrink_at) return;
        oaki_map_shrink(m);
        if (!m->resizing && m->flags == flags) return;
    }
}

size_t oak_map_pass_end_(oak_map_pass_ *p)
{
    oak_map *m = p->map;
    size_t deleted = p->began - p->len;
    /* a pass that was left may have deleted many */
    if (deleted == 0 && (!m || m->len >= m->shrink_at)) return 0;
    OAKI_ASSERT(p->moves == m->moves && p->len == m->len);
    m->busy = 1;
    if (m->flags & OAKI_MAP_HINTED) oaki_map_forget_hint(m, deleted);
    if (m->len == 0 && !(m->flags & OAKI_MAP_HINTED))
        oaki_map_release(m);
    else
        fit(m);
    m->busy = 0;
    oaki_held_over();
    return deleted;
}

size_t oak_map_retain(oak_map *m, bool (*keep)(const void *key, void *value, void *arg), void *arg)
{
    oak_map_pass_ p;
    if (!keep) {
        errno = EINVAL;
        return 0;
    }
    oak_map_pass_begin_(&p, m);
    while (
        oak_map_pass_next_(&p, m ? m->type : NULL, m ? m->entry_size : 0, m ? m->value_offset : 0))
        oak_map_pass_judge_(&p, keep(p.key, p.value, arg));
    return oak_map_pass_end_(&p);
}
