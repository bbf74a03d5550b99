/* classic.c - the classic map: creation, lookup, put, delete, clear, and the ready types.
 *
 * Go 1.19's map (runtime/map.go), reproduced: see classic.h for the structures and invariants,
 * classic_grow.c for growth, classic_iter.c for iteration.
 *
 * Owns:  the header's count, flags (but for the iterators'), seed and random numbers.
 * Lock:  none; begin_write and end_write detect most writes that overlap.
 * Bound: an operation reads one chain. A write also evacuates at most two old buckets with their
 *        chains, and skips at most 1024 evacuated ones. The put that starts a growth allocates the
 *        new array. */
#include "classic.h"
#include "held.h"
#include "inspect.h"
#include "runtime/heap.h"
#include <errno.h>

/* No system can allocate more. Go treats such a hint as a mistake, and as 0. */
#define MAX_ALLOC ((uint64_t)1 << 48)

/* ---- ready types ---- */

static void need_key(const void *key)
{
    if (OAKI_UNLIKELY(!key)) oak_fatal("oakum: NULL is no key to hash");
}

uint64_t oak_classic_hash_bytes(const void *key, uint64_t seed, size_t size)
{
    need_key(key);
    return oaki_hash_bytes(key, size, seed);
}

uint64_t oak_classic_hash_string(const void *key, uint64_t seed, size_t size OAKI_UNUSED)
{
    const oak_classic_string *s = key;
    need_key(key);
    return oaki_hash_bytes(s->data, s->len, seed);
}

uint64_t oak_classic_hash_double(const void *key, uint64_t seed, size_t size OAKI_UNUSED)
{
    double d;
    need_key(key);
    memcpy(&d, key, sizeof d);
    return oaki_hash_double(d, seed);
}

bool oak_classic_equal_bytes(const void *a, const void *b, size_t size)
{
    if (OAKI_UNLIKELY(!a || !b)) return a == b;
    return memcmp(a, b, size) == 0;
}

bool oak_classic_equal_string(const void *a, const void *b, size_t size OAKI_UNUSED)
{
    const oak_classic_string *x = a, *y = b;
    if (OAKI_UNLIKELY(!x || !y)) return x == y;
    if (x->len != y->len) return false;
    return x->len == 0 || x->data == y->data || memcmp(x->data, y->data, x->len) == 0;
}

bool oak_classic_equal_double(const void *a, const void *b, size_t size OAKI_UNUSED)
{
    double x, y;
    if (OAKI_UNLIKELY(!a || !b)) return a == b;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return oaki_double_bits(x) == oaki_double_bits(y) && x == x;
}

const oak_classic_type oak_classic_int_int = { 8, 8, oak_classic_hash_bytes,
                                               oak_classic_equal_bytes, 0 };
const oak_classic_type oak_classic_int_ptr = { 8, sizeof(void *), oak_classic_hash_bytes,
                                               oak_classic_equal_bytes,
                                               OAK_CLASSIC_VALUE_POINTERS };
const oak_classic_type oak_classic_string_int = { sizeof(oak_classic_string), 8,
                                                  oak_classic_hash_string, oak_classic_equal_string,
                                                  OAK_CLASSIC_KEY_POINTERS |
                                                      OAK_CLASSIC_NEED_KEY_UPDATE };
const oak_classic_type oak_classic_string_any = { sizeof(oak_classic_string), 2 * sizeof(void *),
                                                  oak_classic_hash_string, oak_classic_equal_string,
                                                  OAK_CLASSIC_KEY_POINTERS |
                                                      OAK_CLASSIC_VALUE_POINTERS |
                                                      OAK_CLASSIC_NEED_KEY_UPDATE };
const oak_classic_type oak_classic_double_int = { 8, 8, oak_classic_hash_double,
                                                  oak_classic_equal_double,
                                                  OAK_CLASSIC_NEED_KEY_UPDATE };

/* ---- seeds and the writing flag ---- */

uint64_t oaki_classic_random(oak_classic_map *m)
{
    if (!m->seeded) return oaki_hash_random();
    m->rng += UINT64_C(0x9e3779b97f4a7c15);
    return oaki_hash_u64(m->rng, 1);
}

void oak_classic_set_seed(oak_classic_map *m, uint32_t seed)
{
    if (!m) oak_fatal("oakum: oak_classic_set_seed: NULL is no map");
    if (m->written) oak_fatal("oakum: oak_classic_set_seed: the map has been written already");
    m->seeded = true;
    m->rng = seed;
    m->hash0 = seed;
}

/* Attaches the thread, so that no stop comes while entries move. */
static void begin_write(oak_classic_map *m)
{
    oaki_attach("a map is written");
    AO_char_store(&m->flags, (uint8_t)(oaki_classic_flags(m) ^ OAKI_WRITING));
    OAKI_REQUIRES_SOUND_ONCE(m, oaki_classic_check_inside(m));
    OAKI_ASSERT(!oaki_classic_growing(m) || m->nevacuate < oaki_classic_noldbuckets(m));
}

static void end_write(oak_classic_map *m)
{
    uint8_t flags = oaki_classic_flags(m);
    if ((flags & OAKI_WRITING) == 0) oak_fatal("oakum: concurrent map writes");
    AO_char_store(&m->flags, (uint8_t)(flags & ~OAKI_WRITING));
}

static void refuse_second_write(const oak_classic_map *m)
{
    if (OAKI_UNLIKELY(oaki_classic_flags(m) & OAKI_WRITING))
        oak_fatal("oakum: concurrent map writes");
}

/* ---- making ---- */

static AO_t header_type; /* const oak_type *, made when it is first needed */

static void mark_header(oak_marker *marker, void *object, size_t bytes)
{
    const oak_classic_map *m = object;
    (void)bytes;
    oak_mark_ptr(marker, m->buckets);
    oak_mark_ptr(marker, m->oldbuckets);
    oak_mark_ptr(marker, m->extra);
    oak_mark_ptr(marker, m->type);
}

bool oaki_classic_is_header_type(const oak_type *t)
{
    return t->mark == mark_header;
}

/* Typed, so that all maps can be found. */
static oak_classic_map *new_header(void)
{
    const oak_type *t =
        oaki_type_once(&header_type, "oak_classic_map", sizeof(oak_classic_map), mark_header);
    if (t && !t->anytime) oaki_type_anytime(t); /* each word is read once; any value is safe */
    return t ? oak_alloc_typed(t, 1) : NULL;
}

oak_classic_map *oak_classic_new(const oak_classic_type *t, size_t hint)
{
    if (!t || !t->hash || !t->equal) {
        errno = EINVAL;
        return NULL;
    }
    size_t bytes;
    if (__builtin_mul_overflow(hint, oaki_classic_bucket_size(t), &bytes) || bytes > MAX_ALLOC)
        hint = 0;
    oak_classic_map *m = new_header();
    if (!m) return NULL;
    m->type = t;
    m->hash0 = (uint32_t)oaki_hash_random();
    uint8_t B = 0;
    int saved = errno;
    while (oaki_classic_over_load(hint, B)) B++;
    if (B > 0 && !oaki_classic_make(m, B)) errno = saved; /* the map is as without the hint */
    return m;
}

size_t oak_classic_len(const oak_classic_map *m)
{
    return m ? m->count : 0;
}

/* ---- lookup ---- */

/* Searches the chain from b on. */
static oaki_classic_slot find_in_chain(const oak_classic_type *t, oaki_bmap *b, const void *key,
                                       uint8_t tag)
{
    OAKI_ASSERT(tag >= OAKI_TAG_MIN && !oaki_classic_evacuated(b));
    for (; b; b = oaki_classic_overflow(t, b)) {
        for (size_t i = 0; i < OAKI_SLOTS; i++) {
            if (b->tags[i] == tag) {
                if (oaki_classic_equal(t, key, oaki_classic_key(t, b, i)))
                    return (oaki_classic_slot){ b, i };
            } else if (b->tags[i] == OAKI_EMPTY_REST) {
                return (oaki_classic_slot){ NULL, 0 };
            }
        }
    }
    return (oaki_classic_slot){ NULL, 0 };
}

oaki_classic_slot oaki_classic_find(const oak_classic_map *m, const void *key)
{
    OAKI_ASSERT(m->count > 0);
    uint64_t hash = oaki_classic_hash(m, key);
    return find_in_chain(m->type, oaki_classic_home(m, hash), key, oaki_classic_tag(hash));
}

void *oak_classic_get(const oak_classic_map *m, const void *key)
{
    if (!m || m->count == 0 || OAKI_UNLIKELY(!key)) return NULL;
    if (OAKI_UNLIKELY(oaki_classic_flags(m) & OAKI_WRITING))
        oak_fatal("oakum: concurrent map read and map write");
    oaki_classic_slot s = oaki_classic_find(m, key);
    return s.b ? oaki_classic_value(m->type, s.b, s.i) : NULL;
}

/* ---- put ---- */

/* The key may lie in a slot of the map, as an iterator's does. Evacuation clears the old copies, so
 * the key is copied first. Large keys don't move. */
static const void *key_beyond_evacuation(const oak_classic_type *t, const void *key, char *copy)
{
    if (!oaki_classic_scanned(t) || oaki_classic_key_indirect(t) || key == copy) return key;
    return memcpy(copy, key, t->key_size);
}

/* The result of a put's search in a chain: the key's slot, or else the first free slot and the last
 * bucket read. free.b is NULL when there is no free slot. */
typedef struct search {
    oaki_classic_slot found, free;
    oaki_bmap *last;
} search;

static search search_for_put(const oak_classic_type *t, oaki_bmap *b, const void *key, uint8_t tag)
{
    search s = { { NULL, 0 }, { NULL, 0 }, NULL };
    OAKI_ASSERT(tag >= OAKI_TAG_MIN && !oaki_classic_evacuated(b));
    for (; b; b = oaki_classic_overflow(t, b)) {
        s.last = b;
        for (size_t i = 0; i < OAKI_SLOTS; i++) {
            if (b->tags[i] == tag) {
                if (oaki_classic_equal(t, key, oaki_classic_key(t, b, i))) {
                    s.found = (oaki_classic_slot){ b, i };
                    return s;
                }
                continue;
            }
            if (oaki_classic_empty(b->tags[i]) && !s.free.b) s.free = (oaki_classic_slot){ b, i };
            if (b->tags[i] == OAKI_EMPTY_REST) return s;
        }
    }
    return s;
}

/* Allocates a large key or value in the map's zone. */
static void *some(const oak_classic_map *m, size_t size, bool scanned)
{
    return OAKI_PART(m, scanned ? oak_alloc(size) : oak_alloc_noscan(size));
}

/* Adds an entry in the free slot, or in a new overflow bucket after s->last. All its memory is
 * allocated before the map changes. Returns the value, or NULL with ENOMEM. */
static void *insert(oak_classic_map *m, const search *s, const void *key, uint8_t tag)
{
    const oak_classic_type *t = m->type;
    void *kmem = NULL, *vmem = NULL;
    oaki_classic_slot slot = s->free;
    OAKI_REQUIRES_CLASSIC_WRITE(m);
    OAKI_ASSERT(!s->found.b && s->last);
    if (oaki_classic_key_indirect(t)) {
        kmem = some(m, t->key_size, (t->flags & OAK_CLASSIC_KEY_POINTERS) != 0);
        if (!kmem) return NULL;
    }
    if (oaki_classic_value_indirect(t)) {
        vmem = some(m, t->value_size, (t->flags & OAK_CLASSIC_VALUE_POINTERS) != 0);
        if (!vmem) return NULL;
    }
    if (!slot.b) {
        slot = (oaki_classic_slot){ oaki_classic_add_overflow(m, s->last), 0 };
        if (!slot.b) return NULL;
    }
    OAKI_ASSERT(oaki_classic_empty(slot.b->tags[slot.i]));
    if (kmem) *(void **)oaki_classic_key_place(t, slot.b, slot.i) = kmem;
    if (vmem) *(void **)oaki_classic_value_place(t, slot.b, slot.i) = vmem;
    memcpy(oaki_classic_key(t, slot.b, slot.i), key, t->key_size);
    slot.b->tags[slot.i] = tag;
    m->count++;
    return oaki_classic_value(t, slot.b, slot.i);
}

/* *at: the key; it leads to the copy once the map may clear the place where it lies. */
static void *put(oak_classic_map *m, const void **at, char *copy, uint64_t hash)
{
    const oak_classic_type *t = m->type;
    uint8_t tag = oaki_classic_tag(hash);
    if (!m->buckets && !oaki_classic_make(m, 0)) return NULL;
    for (;;) {
        size_t bucket = (size_t)hash & (oaki_classic_nbuckets(m->B) - 1);
        if (oaki_classic_growing(m)) {
            *at = key_beyond_evacuation(t, *at, copy);
            oaki_classic_grow_work(m, bucket);
        }
        const void *key = *at;
        oaki_bmap *home = oaki_classic_home(m, hash);
        search s = search_for_put(t, home, key, tag);
        if (s.found.b) {
            if (t->flags & OAK_CLASSIC_NEED_KEY_UPDATE)
                memmove(oaki_classic_key(t, s.found.b, s.found.i), key, t->key_size);
            return oaki_classic_value(t, s.found.b, s.found.i);
        }
        if (home != oaki_classic_bucket(t, m->buckets, bucket)) {
            errno = ENOMEM; /* the old bucket could not be evacuated, and takes no new keys */
            return NULL;
        }
        if (!oaki_classic_growing(m) && oaki_classic_wants_growth(m) && oaki_classic_grow(m))
            continue; /* the home has moved */
        return insert(m, &s, key, tag);
    }
}

static void *put_once(oak_classic_map *m, const void **key, char *copy)
{
    refuse_second_write(m);
    uint64_t hash = oaki_classic_hash(m, *key);
    begin_write(m);
    m->written = true;
    void *value = put(m, key, copy, hash);
    end_write(m);
    return value;
}

/* After a put: calls what it has held back. That may write to the map, so the entry is looked up,
 * or put again. A key that is unequal to itself can't be found: then the calls wait for the next
 * write. */
static OAKI_NOINLINE void *call_held(oak_classic_map *m, const void *key, char *copy, void *value)
{
    const oak_classic_type *t = m->type;
    while (oaki_held_any() && !(value && !oaki_classic_equal(t, key, key))) {
        bool again = oaki_held_again(m, !value);
        if (!value && !again) break;
        value = value ? oak_classic_get(m, key) : NULL;
        if (!value) value = put_once(m, &key, copy);
    }
    if (!value) errno = ENOMEM;
    return value;
}

void *oak_classic_put(oak_classic_map *m, const void *key)
{
    if (!m) oak_fatal("oakum: assignment to entry in nil map");
    if (OAKI_UNLIKELY(!key)) return errno = EINVAL, NULL;
    char copy[OAKI_INLINE_MAX];
    oaki_held_forget();
    void *value = put_once(m, &key, copy);
    return oaki_held_any() ? call_held(m, key, copy, value) : value;
}

/* ---- delete, clear ---- */

/* The slot was just emptied. If nothing follows it in the chain that begins at head, it and the
 * empty ones before it become EMPTY_REST. */
static void trim_chain(const oak_classic_type *t, oaki_bmap *head, oaki_bmap *b, size_t i)
{
    OAKI_ASSERT(b->tags[i] == OAKI_EMPTY_ONE);
    if (i == OAKI_SLOTS - 1) {
        oaki_bmap *next = oaki_classic_overflow(t, b);
        if (next && next->tags[0] != OAKI_EMPTY_REST) return;
    } else if (b->tags[i + 1] != OAKI_EMPTY_REST) {
        return;
    }
    for (;;) {
        b->tags[i] = OAKI_EMPTY_REST;
        if (i == 0) {
            if (b == head) return;
            oaki_bmap *before = head;
            while (oaki_classic_overflow(t, before) != b) before = oaki_classic_overflow(t, before);
            b = before;
            i = OAKI_SLOTS;
        }
        i--;
        if (b->tags[i] != OAKI_EMPTY_ONE) return;
    }
}

/* A key is cleared only if it may hold a pointer. A value always is, as a put returns a zeroed
 * one. */
static void clear_slot(const oak_classic_type *t, oaki_bmap *b, size_t i)
{
    if (oaki_classic_key_indirect(t) || (t->flags & OAK_CLASSIC_KEY_POINTERS))
        memset(oaki_classic_key_place(t, b, i), 0, oaki_classic_key_slot(t));
    memset(oaki_classic_value_place(t, b, i), 0, oaki_classic_value_slot(t));
}

bool oak_classic_delete(oak_classic_map *m, const void *key)
{
    if (!m || m->count == 0 || OAKI_UNLIKELY(!key)) return false;
    refuse_second_write(m);
    const oak_classic_type *t = m->type;
    uint64_t hash = oaki_classic_hash(m, key);
    char copy[OAKI_INLINE_MAX];
    begin_write(m);
    if (oaki_classic_growing(m)) {
        key = key_beyond_evacuation(t, key, copy);
        oaki_classic_grow_work(m, (size_t)hash & (oaki_classic_nbuckets(m->B) - 1));
    }
    oaki_bmap *home = oaki_classic_home(m, hash);
    oaki_classic_slot s = find_in_chain(t, home, key, oaki_classic_tag(hash));
    if (s.b) {
        clear_slot(t, s.b, s.i);
        s.b->tags[s.i] = OAKI_EMPTY_ONE;
        trim_chain(t, home, s.b, s.i);
        if (--m->count == 0)
            m->hash0 = (uint32_t)oaki_classic_random(m); /* makes known collisions useless */
    }
    end_write(m);
    oaki_held_over();
    return s.b != NULL;
}

void oak_classic_clear(oak_classic_map *m)
{
    if (!m || m->count == 0) return;
    refuse_second_write(m);
    begin_write(m);
    m->count = 0;
    m->hash0 = (uint32_t)oaki_classic_random(m);
    oaki_classic_reset(m);
    AO_char_store(&m->flags, (uint8_t)(oaki_classic_flags(m) & ~OAKI_SAME_SIZE));
    OAKI_REQUIRES_SOUND(oaki_classic_check_inside(m));
    end_write(m);
    oaki_held_over();
}
