/* map.c - the default map: creation, adding and removing an entry, clearing, misuse.
 *
 * Lookups are in <oakum/map_inline.h>, as typed maps use them too.
 * Owns: struct oak_map. Invariants and lock: map.h. */
#include "map.h"
#include "hash.h"
#include "held.h"
#include "resizehook.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

#define CROWDED 200 /* overflowing groups in a row: more than by chance (docs/maps-internals.md) */
#define NEAR 32     /* groups behind its home: no entry of an evenly filled array is as far */
#define SPARSE 7    /* entries a group: a larger array would not shrink at once */
#define FEW_FROM 16  /* bytes of an entry, above which a new map has room for three only */
#define NAN_TRIES 100
/* a hint is forgotten after so many deletes, or after a quarter of its groups if that is more */
#define HINT_DELETES ((size_t)64)

/* Programs are compiled with these offsets: a change of one requires a new major version. */
_Static_assert(sizeof(void *) != 8 ||
                   (offsetof(struct oak_map, array) == 32 && offsetof(struct oak_map, len) == 80 &&
                    offsetof(struct oak_map, more) == 120 && sizeof(struct oak_map_array_) == 24 &&
                    offsetof(struct oak_map_more_, deletes) == 0),
               "what typed maps read stays where it is");

/* ---- making ---- */

unsigned oaki_map_hint_bits(const oaki_map_layout *l, size_t hint)
{
    unsigned bits = oaki_map_bits_for(hint), most = OAKI_MAP_BITS_MAX;
    size_t group = OAK_MAP_SLOTS_ * l->entry_size + OAKI_MAP_GROUP, room = oaki_os_memory();
    size_t limit = AO_load(&oaki_the_heap.heap_max);
    if (limit && limit < room) room = limit;
    while (most > 0 && group > room / 2 >> most) most--;
    return OAKI_MIN(bits, most);
}

unsigned oaki_map_slots_for(const oak_map *m, size_t n)
{
    OAKI_ASSERT(m->entry_size > 0);
    return n <= 3 && m->entry_size > FEW_FROM ? 0x7 : n <= 7 ? 0x7f : OAK_MAP_USED_;
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
    if (l->type.key_size > OAK_MAP_INDIRECT_ || l->type.value_size > OAK_MAP_INDIRECT_)
        m->flags = OAKI_MAP_CELLS;
    m->entry_size = (uint16_t)l->entry_size;
    m->value_offset = (uint16_t)l->value_offset;
    oaki_map_set_seed(m, oaki_hash_random());
    m->last = UINT64_MAX;
    unsigned bits = hint <= OAK_MAP_SLOTS_ ? 0 : oaki_map_hint_bits(l, hint);
    unsigned few = oaki_map_slots_for(m, hint);
    while (!oaki_map_array_init(m, 0, bits, bits ? OAK_MAP_USED_ : few, true))
        if (bits-- == 0) return NULL;
    m->bits = (uint8_t)bits;
    if (bits > 0) m->flags |= OAKI_MAP_HINTED;
    oaki_map_set_limits(m);
    oaki_held_over();
    return m;
}

void oaki_map_make_part(oak_map *m)
{
    OAKI_ASSERT(m->len == 0 && !m->resizing);
    m->flags |= OAKI_MAP_PART;
    oaki_map_set_limits(m);
}

void oak_map_set_seed(oak_map *m, uint64_t seed)
{
    if (!m) oak_map_misuse_(m, OAK_MAP_NIL_);
    if (m->moves > 0) oak_fatal("oakum: oak_map_set_seed: the map has been written");
    oaki_map_set_seed(m, seed);
}

/* ---- adding ---- */

/* NaNs of one payload would have one hash, and crowd. So each gets a payload of its own. No other
 * NaN of the map may have it, as iterators distinguish keys by their bytes. */
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

static bool has_bytes(const oak_map *m, uint64_t hash, const void *key, size_t size)
{
    OAKI_ASSERT(size == m->type->key_size && size <= OAK_MAP_INDIRECT_);
    uint64_t p = oak_map_position_(hash);
    const struct oak_map_array_ *a = &m->array[p > m->last];
    for (size_t g = oaki_map_home(a, p);; g++) {
        const char *tags = (char *)oaki_map_tags(a, g);
        for (unsigned hit = oak_map_match_(tags, oak_map_tags_of_(hash)); hit; hit &= hit - 1)
            if (memcmp(oaki_map_entry(m, a, g, oaki_ctz(hit)), key, size) == 0) return true;
        if (!oak_map_went_past_(tags, oak_map_tag_(hash))) return false;
    }
}

/* Chooses the payload of the key, a NaN, and returns its hash. A float has four million payloads,
 * so few tries find a free one. */
static uint64_t choose_nan(const oak_map *m, void *key)
{
    const oak_map_type *t = m->type;
    uint64_t hash;
    for (unsigned tries = 0;; tries++) {
        randomize_nan(key, t->key_size);
        hash = oak_map_hash_with_(t, key, m->seed, m->mult);
        if (tries == NAN_TRIES || !has_bytes(m, hash, key, t->key_size)) return hash;
    }
}

/* Makes the objects of a large key and value; false when there is no memory. */
static bool make_cells(const oak_map *m, const oak_map_type *t, void **key, void **value)
{
    if (t->key_size > OAK_MAP_INDIRECT_ &&
        !(*key = oaki_map_cell_new(m, t->key_size, (t->flags & OAK_MAP_SCAN_KEY) != 0)))
        return false;
    return t->value_size <= OAK_MAP_INDIRECT_ ||
           (*value = oaki_map_cell_new(m, t->value_size, (t->flags & OAK_MAP_SCAN_VALUE) != 0));
}

static void *fill(const oak_map_type *t, char *e, const void *key, void *key_cell, void *value_cell)
{
    OAKI_ASSERT(!key_cell == (t->key_size <= OAK_MAP_INDIRECT_));
    OAKI_ASSERT(!value_cell == (t->value_size <= OAK_MAP_INDIRECT_));
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

/* The number of adjacent groups, around the home of a tag, that entries of its kind went past. A
 * lookup of an absent key reads all of them. */
static size_t run_of(const oak_map *m, size_t home, unsigned tag)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t from = home, to = home;
    OAKI_REQUIRES_AT_REST(m);
    while (from > 0 && a->dir[(from - 1) >> a->gbits] &&
           oak_map_went_past_((char *)oaki_map_tags(a, from - 1), tag))
        from--;
    while (oak_map_went_past_((char *)oaki_map_tags(a, to), tag)) to++;
    return to - from;
}

/* Finds a slot and returns its tag's address. Where entries crowd, the map may take a new seed
 * first. NULL: no memory. */
static uint8_t *take_slot(oak_map *m, uint64_t *hash, const void *key, char **e)
{
    size_t past = 0;
    uint64_t p = oak_map_position_(*hash);
    OAKI_REQUIRES_WRITE(m);
    uint8_t *tag = oaki_map_take_slot(m, p > m->last, p, oak_map_tag_(*hash), e, &past);
    if (!tag || past == 0 || m->resizing) return tag;
    size_t run = run_of(m, oaki_map_home(&m->array[0], p), oak_map_tag_(*hash));
    if (run < CROWDED) {
        if (past >= NEAR && m->len >= (size_t)SPARSE << m->bits)
            oaki_map_grow_soon(m); /* dense in places */
        return tag;
    }
    if (m->len >= m->limit || !oaki_map_crowded(m, *hash, run)) return tag;
    *hash = oak_map_hash_with_(m->type, key, m->seed, m->mult);
    p = oak_map_position_(*hash);
    return oaki_map_take_slot(m, false, p, oak_map_tag_(*hash), e, &past);
}

/* A key may lie in the map itself, as a value or as an iterator's key, so it is copied before
 * entries move. Larger keys never lie among the entries. */
OAKI_INLINE const void *keep_key(const oak_map_type *t, void *own, const void *key)
{
    if (t->key_size > OAK_MAP_INDIRECT_) return key;
    if (t->key_size == 8) return memcpy(own, key, 8);
    return memcpy(own, key, t->key_size);
}

typedef union own_key {
    char bytes[OAK_MAP_INDIRECT_];
    long double aligned;
} own_key;

/* The rare cases: a NaN, a resize that begins, a large key or value, a group that is full or not
 * there. The key doesn't lie in the map. */
static OAKI_NOINLINE void *add_rarely(oak_map *m, uint64_t hash, const void *key)
{
    const oak_map_type *t = m->type;
    void *key_cell = NULL, *value_cell = NULL;
    char *e;
    own_key own;
    if (is_nan(t, key)) {
        key = keep_key(t, &own, key);
        hash = choose_nan(m, own.bytes);
    }
    if (m->len >= m->limit && !m->resizing) oaki_map_grow(m);
    uint8_t *tag =
        make_cells(m, t, &key_cell, &value_cell) ? take_slot(m, &hash, key, &e) : NULL;
    if (!tag) {
        m->busy = 0;
        errno = ENOMEM;
        return NULL;
    }
    OAKI_ASSERT(*tag == 0);
    void *value = fill(t, e, key, key_cell, value_cell);
    AO_compiler_barrier();
    *tag = (uint8_t)oak_map_tag_(hash);
    oaki_map_note_write(e);
    OAKI_HOLD(key_cell);
    OAKI_HOLD(value_cell);
    m->len++;
    m->moves++;
    m->busy = 0;
    return value;
}

/* A stop doesn't wait for a thread that isn't attached, so a write attaches its thread first. */
static void begin_write(const oak_map *m)
{
    oaki_attach("a map is written");
    OAKI_REQUIRES_SOUND_ONCE(m, oaki_map_check_inside(m));
    (void)m;
}

/* slow: does the rare cases. */
OAKI_INLINE void *add(oak_map *m, uint64_t hash, const void *key,
                      void *(*slow)(oak_map *m, uint64_t hash, const void *key))
{
    const oak_map_type *t = m->type;
    uint64_t p = oak_map_position_(hash);
    const struct oak_map_array_ *a = &m->array[p > m->last];
    size_t g = oaki_map_home(a, p);
    OAKI_ASSERT(a->dir && g < oaki_map_homes(a));
    uint8_t *tags = oaki_map_tags(a, g);
    unsigned free = ~oaki_map_used(tags) & a->slots;
    if (OAKI_UNLIKELY(!free || m->len >= m->limit || t->key == OAK_KEY_DOUBLE ||
                      !a->dir[g >> a->gbits] || (m->flags & OAKI_MAP_CELLS)))
        return slow(m, hash, key);
    unsigned slot = oaki_ctz(free);
    char *e = oaki_map_entry(m, a, g, slot);
    void *value = fill(t, e, key, NULL, NULL);
    AO_compiler_barrier();
    tags[slot] = (uint8_t)oak_map_tag_(hash);
    oaki_map_note_write(e);
    m->len++;
    m->moves++;
    m->busy = 0;
    return value;
}

static void *step_and_add(oak_map *m, uint64_t hash, const void *key)
{
    OAKI_REQUIRES_RESIZE(m);
    oaki_map_step(m, true);
    return add(m, hash, key, add_rarely);
}

static void *add_once(oak_map *m, uint64_t hash, const void *key)
{
    OAKI_REQUIRES_WRITE(m);
    return m->resizing ? step_and_add(m, hash, key) : add_rarely(m, hash, key);
}

/* As oak_map_put, but leaves to the caller what is held back. */
static void *put_once(oak_map *m, const void *key)
{
    if (oak_map_get(m, key)) return oak_map_put(m, key);
    uint64_t hash = oak_map_hash_with_(m->type, key, m->seed, m->mult);
    if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    return add_once(m, hash, key);
}

/* After a put: calls what it has held back. That may write to the map, so the entry is found again,
 * or put again. A NaN that was added can't be found: then the calls wait for the next slow put. */
static OAKI_NOINLINE void *call_held(oak_map *m, const void *key, void *value)
{
    while (oaki_held_any() && !(value && is_nan(m->type, key))) {
        bool again = oaki_held_again(m, !value);
        if (!value && !again) break;
        value = put_once(m, key);
    }
    if (!value) errno = ENOMEM;
    return value;
}

/* Out of line, as the fast path has no frame. */
static OAKI_NOINLINE void *add_slow(oak_map *m, uint64_t hash, const void *key)
{
    own_key own;
    key = keep_key(m->type, &own, key);
    oaki_held_forget();
    if (oaki_held_any()) { /* left by the put of a NaN */
        m->busy = 0;
        oaki_held_over();
        return oak_map_put(m, key);
    }
    void *value = add_once(m, hash, key);
    return oaki_held_any() ? call_held(m, key, value) : value;
}

void *oak_map_add_(oak_map *m, uint64_t hash, const void *key)
{
    OAKI_REQUIRES_WRITE(m);
    begin_write(m);
    if (OAKI_UNLIKELY(m->resizing)) return add_slow(m, hash, key);
    return add(m, hash, key, add_slow);
}

/* Once the entry is there nothing that was held back is called: it could remove the entry, and the
 * caller returns its place. The next slow put calls it, or the end of the next collection. */
void *oak_map_add_fresh_(oak_map *m, uint64_t hash, const void *key, oak_map_fresh_ *fresh)
{
    OAKI_REQUIRES_WRITE(m);
    const oak_map_type *t = m->type;
    own_key own;
    key = keep_key(t, &own, key);
    begin_write(m);
    oaki_held_forget();
    void *value = NULL;
    bool called = oaki_held_any(); /* left by such a put */
    if (called) {
        m->busy = 0;
        oaki_held_over();
    }
    while (!value) {
        if (called) { /* by what may have added the key */
            value = oak_map_get(m, key);
            if (value) return value;
            hash = oak_map_hash_with_(t, key, m->seed, m->mult);
            if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
            m->busy = 1;
        }
        value = m->resizing ? step_and_add(m, hash, key) : add(m, hash, key, add_rarely);
        if (!value && !(called = oaki_held_again(m, true))) return errno = ENOMEM, NULL;
    }
    oaki_held_forget();
    if (t->value_size > 0) memcpy(value, fresh->value, t->value_size);
    fresh->added = true;
    return value;
}

/* ---- removing ---- */

/* Returns the least of `first` and of the homes of this group's entries of the tag's kind. */
static size_t first_home(const oak_map *m, const struct oak_map_array_ *a, size_t g, unsigned tag,
                         size_t first)
{
    const oak_map_type *t = m->type;
    unsigned same = oaki_map_of_class(oaki_map_tags(a, g), oaki_map_class(tag));
    for (; same; same &= same - 1) {
        const char *e = oaki_map_entry(m, a, g, oaki_ctz(same));
        size_t h = oaki_map_home(a, oaki_map_entry_position(m, t, e));
        first = OAKI_MIN(first, h);
    }
    return first;
}

/* The groups from h to g keep the bit of the tag's kind only if another entry of that kind went
 * past them. The search goes from the chain's end to h, with the least home of the entries met so
 * far. */
OAKI_NOINLINE void oaki_map_forget_past(oak_map *m, const struct oak_map_array_ *a, size_t h,
                                        size_t g, unsigned tag)
{
    size_t end = g, first = SIZE_MAX;
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(h < g && oak_map_went_past_((char *)oaki_map_tags(a, h), tag));
    OAKI_ASSERT(oak_map_went_past_((char *)oaki_map_tags(a, g - 1), tag));
    while (oak_map_went_past_((char *)oaki_map_tags(a, end), tag)) end++;
    for (; end >= g; end--) first = first_home(m, a, end, tag, first);
    for (; end >= h && end != SIZE_MAX; end--) {
        uint8_t *told = oaki_map_tags(a, end) + OAK_MAP_SLOTS_;
        if (first > end) *told &= (uint8_t)~oaki_map_class(tag);
        first = first_home(m, a, end, tag, first);
    }
}

void oaki_map_release(oak_map *m)
{
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(m->len == 0);
    m->moves++;
    if (m->more) { /* what crowded has gone */
        m->more->bad_hash = m->more->reseeded = false;
        m->more->crowding = 0;
    }
    oaki_map_array_free(m, 0);
    oaki_map_array_free(m, 1);
    if (m->resizing) oaki_resize_ends(m, false, 0);
    m->resizing = 0;
    m->last = UINT64_MAX;
    m->bits = 0;
    /* can't fail: all is in m */
    (void)oaki_map_array_init(m, 0, 0, oaki_map_slots_for(m, 0), true);
    oaki_map_set_limits(m);
}

/* Notes whether deletes come in the order of positions, and if so, whether adds come between
 * them. */
OAKI_INLINE void note_order(struct oak_map_deletes_ *d, uint64_t p, size_t len)
{
    bool next = oak_map_is_near_(d, p), after = len + 1 == d->left;
    d->left = len;
    d->deleted = p;
    d->run = next ? d->run + (d->run < OAKI_MAP_RUNS) : 0;
    if (OAKI_LIKELY(d->mixed < OAKI_MAP_RUN))
        d->mixed = next ? d->mixed + !after : 0;
    else if (after && d->run == OAKI_MAP_RUNS)
        d->mixed = 0;
}

OAKI_NOINLINE void oaki_map_forget_hint(oak_map *m, size_t deletes)
{
    OAKI_ASSERT(m->bits > 0 && m->more);
    if ((m->more->looked += deletes) < OAKI_MAX((size_t)1 << m->bits >> 2, HINT_DELETES)) return;
    m->flags &= (uint8_t)~OAKI_MAP_HINTED;
    oaki_map_set_limits(m);
}

bool oak_map_remove_(oak_map *m, uint64_t hash, char *tag)
{
    uint64_t p = oak_map_position_(hash);
    begin_write(m);
    const struct oak_map_array_ *a = &m->array[p > m->last];
    size_t h = oaki_map_home(a, p), g = (size_t)(tag - a->tags) / OAKI_MAP_GROUP;
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(m->len > 0 && h <= g && g < oaki_map_array_groups(m, p > m->last));
    OAKI_ASSERT((unsigned char)*tag == oak_map_tag_(hash));
    *tag = 0;
    if (OAKI_UNLIKELY(g != h)) oaki_map_forget_past(m, a, h, g, oak_map_tag_(hash));
    m->len--;
    if (OAKI_LIKELY(m->more != NULL)) note_order(&m->more->deletes, p, m->len);
    if (OAKI_UNLIKELY(m->flags & OAKI_MAP_HINTED)) oaki_map_forget_hint(m, 1);
    if (OAKI_UNLIKELY(m->len == 0 && !oaki_map_keeps_array(m)))
        oaki_map_release(m);
    else if (OAKI_UNLIKELY(m->resizing))
        oaki_map_step(m, false);
    else if (OAKI_UNLIKELY(m->len < m->shrink_at))
        oaki_map_shrink(m);
    m->busy = 0;
    oaki_held_over();
    return true;
}

/* ---- the public calls ---- */

void *oak_map_get(const oak_map *m, const void *key)
{
    if (OAKI_UNLIKELY(!m || !key)) return NULL;
    if (OAKI_UNLIKELY(m->type->key == OAK_KEY_CUSTOM)) return oaki_map_get_custom(m, key);
    return oak_map_get_as_(m, m->type, m->entry_size, m->value_offset, key);
}

OAKI_INLINE void *add_key(oak_map *m, uint64_t hash, const void *key, const oak_map_home_ *home,
                          oak_map_fresh_ *fresh)
{
    (void)home, (void)fresh;
    return oak_map_add_(m, hash, key);
}

void *oak_map_put(oak_map *m, const void *key)
{
    if (!m) oak_map_misuse_(m, OAK_MAP_NIL_);
    if (OAKI_UNLIKELY(!key)) return errno = EINVAL, NULL;
    return oak_map_put_as_(m, m->type, m->entry_size, m->value_offset, key, add_key, NULL);
}

bool oak_map_delete(oak_map *m, const void *key)
{
    return m && key && oak_map_delete_as_(m, m->type, m->entry_size, key);
}

size_t oak_map_len(const oak_map *m)
{
    return m ? m->len : 0;
}

void oak_map_clear(oak_map *m)
{
    if (!m) return;
    if (m->busy) oak_map_misuse_(m, OAK_MAP_WRITE_);
    begin_write(m);
    m->busy = 1;
    m->len = 0;
    m->flags &= OAKI_MAP_CELLS | OAKI_MAP_PART;
    oaki_map_release(m);
    m->busy = 0;
}

void oak_map_misuse_(const oak_map *m, int what)
{
    static const char *const text[] = {
        [OAK_MAP_READ_] =
            "concurrent map read and map write, or a read by the map's own hash or equal",
        [OAK_MAP_WRITE_] = "concurrent map writes, or a write by the map's own hash or equal",
        [OAK_MAP_ITERATE_] = "concurrent map iteration and map write",
        [OAK_MAP_NIL_] = "assignment to entry in nil map",
        [OAK_MAP_EQUAL_] = "a write by the map's own equal, or another thread, in a lookup",
        [OAK_MAP_HASH_] = "a write by the map's own hash, or another thread, beside it",
        [OAK_MAP_KEEP_] = "a write by a retain's own predicate, or another thread, beside it",
    };
    const char *name = m && m->type->name ? m->type->name : NULL;
    if (name) oak_fatal("oakum: %s (%s)", text[what], name);
    oak_fatal("oakum: %s", text[what]);
}
