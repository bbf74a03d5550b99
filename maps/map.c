/* map.c - the default map: making one, adding and removing an entry, clearing, misuse.
 *
 * Lookups are in <oakum/map_inline.h>, where typed maps have them from too. */
#include "map.h"
#include "hash.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

#define CROWDED 16 /* groups behind its home: chance puts no entry there (docs/maps.md) */

/* ---- making ---- */

/* As few groups as n entries fit into, none that the address space can't hold. */
static unsigned hint_bits(const oaki_map_layout *l, size_t hint)
{
    unsigned bits = oaki_map_bits_for(hint), most = OAKI_MAP_BITS_MAX;
    oak_heap_info info;
    oak_heap_info_read(&info);
    while (most > 0 && l->group_bytes > info.reserved >> most) most--;
    return OAKI_MIN(bits, most);
}

static unsigned slots_for(size_t n)
{
    return n <= 3 ? 0x7 : n <= 7 ? 0x7f : OAK_MAP_USED_;
}

oak_map *oak_map_new(const oak_map_type *t, size_t hint)
{
    if (!t) {
        errno = EINVAL;
        return NULL;
    }
    const oaki_map_layout *l = oaki_map_layout_get(t);
    if (!l) return NULL;
    oak_map *m = oaki_map_header_new();
    if (!m) return NULL;
    m->type = &l->type;
    m->entry_size = (uint16_t)l->entry_size;
    m->value_offset = (uint16_t)l->value_offset;
    m->seed = oaki_hash_random();
    m->mult = oaki_hash_random() | 1;
    m->last = UINT64_MAX;
    unsigned bits = hint <= OAK_MAP_SLOTS_ ? 0 : hint_bits(l, hint);
    while (!oaki_map_array_init(m, 0, bits, bits ? OAK_MAP_USED_ : slots_for(hint)))
        if (bits-- == 0) return NULL;
    m->bits = (uint8_t)bits;
    if (bits > 0) m->flags |= OAKI_MAP_HINTED;
    oaki_map_set_limits(m);
    return m;
}

void oak_map_set_seed(oak_map *m, uint64_t seed)
{
    if (!m) oak_map_misuse_(m, OAK_MAP_NIL_);
    if (m->len > 0 || m->moves > 0) oak_fatal("oakum: oak_map_set_seed: the map has been written");
    m->seed = seed;
    m->mult = oak_map_mix_(seed, UINT64_C(0x243f6a8885a308d3), UINT64_C(0x452821e638d01377)) | 1;
}

/* ---- adding and removing ---- */

/* All NaNs would have one hash, and a thousand of them would be found one after the other: so each
 * gets a payload of its own. */
static void randomize_nan(void *key, size_t size)
{
    uint64_t r = oaki_hash_random();
    if (size == sizeof(float)) {
        uint32_t bits = oak_map_load4_(key);
        bits = (bits & 0xff800000u) | 0x00400000u | ((uint32_t)r & 0x003fffffu);
        memcpy(key, &bits, sizeof bits);
    } else {
        uint64_t bits = oak_map_load8_(key);
        bits = (bits & UINT64_C(0xfff0000000000000)) | UINT64_C(0x0008000000000000) |
               (r & UINT64_C(0x0007ffffffffffff));
        memcpy(key, &bits, sizeof bits);
    }
}

/* The objects of a large key and value; false when there is no memory. */
static bool make_cells(const oak_map_type *t, void **key, void **value)
{
    if (t->key_size > OAK_MAP_INDIRECT_ &&
        !(*key = oaki_map_cell_new(t->key_size, (t->flags & OAK_MAP_SCAN_KEY) != 0)))
        return false;
    return t->value_size <= OAK_MAP_INDIRECT_ ||
           (*value = oaki_map_cell_new(t->value_size, (t->flags & OAK_MAP_SCAN_VALUE) != 0));
}

static void *fill(const oak_map_type *t, char *e, const void *key, void *key_cell, void *value_cell)
{
    char *v = e + t->value_offset;
    if (key_cell) {
        memcpy(key_cell, key, t->key_size);
        memcpy(e, &key_cell, sizeof key_cell);
    } else if (t->key_size == 8) {
        memcpy(e, key, 8);
    } else {
        memcpy(e, key, t->key_size);
    }
    if (value_cell) {
        memcpy(v, &value_cell, sizeof value_cell);
        return value_cell;
    }
    if (t->value_size == 8)
        memset(v, 0, 8);
    else
        memset(v, 0, t->value_size);
    return v;
}

static bool is_nan(const oak_map_type *t, const void *key)
{
    return t->key == OAK_KEY_DOUBLE && !oak_map_equal_(t, key, key);
}

void *oak_map_add_(oak_map *m, uint64_t hash, const void *key)
{
    const oak_map_type *t = m->type;
    void *key_cell = NULL, *value_cell = NULL;
    char *e;
    size_t past;
    uint64_t own[2]; /* a NaN's key */
    if (OAKI_UNLIKELY(is_nan(t, key))) {
        memcpy(own, key, t->key_size);
        randomize_nan(own, t->key_size);
        key = own;
        hash = oak_map_hash_with_(t, key, m->seed, m->mult);
    }
    if (OAKI_UNLIKELY(m->len >= m->limit) && !m->resizing) oaki_map_grow(m);
    uint64_t p = oak_map_position_(hash);
    uint8_t *tag = make_cells(t, &key_cell, &value_cell)
                       ? oaki_map_take_slot(m, p > m->last, p, &e, &past)
                       : NULL;
    if (OAKI_UNLIKELY(!tag)) {
        m->busy = 0;
        errno = ENOMEM;
        return NULL;
    }
    void *value = fill(t, e, key, key_cell, value_cell);
    AO_compiler_barrier();
    *tag = (uint8_t)oak_map_tag_(hash);
    m->len++;
    if (OAKI_UNLIKELY(past >= CROWDED) && !m->resizing) {
        uint64_t moves = m->moves;
        oaki_map_crowded(m, hash);
        if (m->moves != moves) {
            hash = oak_map_hash_with_(t, key, m->seed, m->mult);
            e = oak_map_find_(m, t, m->entry_size, hash, key_cell ? key_cell : key);
            value = oak_map_value_(t, e, m->value_offset);
        }
    }
    m->busy = 0;
    return value;
}

/* The group that entry e of array a is in, at home or behind it. */
static oaki_map_place place_of(const oak_map *m, const struct oak_map_array_ *a, uint64_t p,
                               const char *e, unsigned *slot)
{
    oaki_map_place at = oaki_map_home(a, p);
    size_t size = m->entry_size, span = ((size_t)a->gmask + 1) * OAK_MAP_SLOTS_ * size;
    while ((size_t)(e - (a->dir[at.s] + a->entries)) >= span) at = (oaki_map_place){ at.s + 1, 0 };
    uint32_t i = (uint32_t)(e - (a->dir[at.s] + a->entries)) / (uint32_t)size;
    *slot = i % OAK_MAP_SLOTS_;
    at.g = i / OAK_MAP_SLOTS_;
    return at;
}

void oak_map_remove_(oak_map *m, uint64_t hash, char *e)
{
    uint64_t p = oak_map_position_(hash);
    struct oak_map_array_ *a = &m->array[p > m->last];
    unsigned slot;
    oaki_map_place at = place_of(m, a, p, e, &slot), home = oaki_map_home(a, p);
    oaki_map_tags(a, at)[slot] = 0;
    for (; home.s != at.s || home.g != at.g; oaki_map_next(a, &home)) {
        uint8_t *count = oaki_map_tags(a, home) + OAK_MAP_SLOTS_;
        *count = (uint8_t)(*count - (*count != UINT8_MAX));
    }
    m->len--;
    if (OAKI_UNLIKELY(m->len < m->shrink_at) && !m->resizing) oaki_map_shrink(m);
}

/* ---- the public calls ---- */

void *oak_map_get(const oak_map *m, const void *key)
{
    return m ? oak_map_get_as_(m, m->type, m->entry_size, m->value_offset, key) : NULL;
}

void *oak_map_put(oak_map *m, const void *key)
{
    if (!m) oak_map_misuse_(m, OAK_MAP_NIL_);
    return oak_map_put_as_(m, m->type, m->entry_size, m->value_offset, key);
}

bool oak_map_delete(oak_map *m, const void *key)
{
    return m && oak_map_delete_as_(m, m->type, m->entry_size, key);
}

size_t oak_map_len(const oak_map *m)
{
    return m ? m->len : 0;
}

void oak_map_clear(oak_map *m)
{
    if (!m) return;
    if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    m->moves++;
    m->len = 0;
    oaki_map_array_free(m, 0);
    oaki_map_array_free(m, 1);
    m->array[1].dir = NULL;
    m->resizing = 0;
    m->last = UINT64_MAX;
    m->flags = 0;
    m->bits = 0;
    (void)oaki_map_array_init(m, 0, 0, slots_for(0)); /* can't fail: its directory is in m */
    oaki_map_set_limits(m);
    m->busy = 0;
}

void oak_map_misuse_(const oak_map *m, int what)
{
    static const char *const text[] = {
        [OAK_MAP_READ_] = "concurrent map read and map write",
        [OAK_MAP_WRITE_] = "concurrent map writes, or a write by the map's own hash or equal",
        [OAK_MAP_ITERATE_] = "concurrent map iteration and map write",
        [OAK_MAP_NIL_] = "assignment to entry in nil map",
        [OAK_MAP_EQUAL_] = "the map was written by its own equal, or by another thread, in a lookup",
    };
    const char *name = m && m->type->name ? m->type->name : NULL;
    if (name) oak_fatal("oakum: %s (%s)", text[what], name);
    oak_fatal("oakum: %s", text[what]);
}
