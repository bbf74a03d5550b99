/* syncmap.c - the sync map's operations.
 *
 * Operations take effect in an entry's value: a store over a key that is there swaps it, a delete
 * sets it to OAKI_SYNC_DEAD. Only a key that comes or goes changes the trie (syncmap_trie.c).
 *
 * Owns: struct oak_syncmap, the types of entries.
 * Invariant: an operation reads the root once. An operation that a clear overtakes continues in the
 *   old trie, which is no longer reachable: its instant is just before the clear.
 * Lock: none. User code (hash, equal, range's function) may do anything, as no lock is held. */
#include "syncmap.h"

#include "hash.h"
#include "held.h"
#include "inner.h"
#include "map.h"
#include <errno.h>
#include <oakum/heap.h>

enum { LINE = 64, KEY_WORDS = OAK_MAP_INDIRECT_ / sizeof(void *) };

static AO_t entry_types[2][KEY_WORDS + 1]; /* oak_type *: scanned or not, by the key's words */

/* ---- making ---- */

static size_t key_words(const oak_map_type *t)
{
    size_t size = t->key_size > OAK_MAP_INDIRECT_ ? sizeof(void *) : t->key_size;
    return (size + sizeof(void *) - 1) / sizeof(void *);
}

/* The collector reads an entry's value, and its key if that may hold pointers. */
static const oak_type *entry_type(const oak_map_type *t)
{
    bool scan = (t->flags & OAK_MAP_SCAN_KEY) != 0 || t->key_size > OAK_MAP_INDIRECT_;
    size_t words = key_words(t), before = sizeof(oaki_sync_entry) / sizeof(void *);
    OAKI_ASSERT(words > 0 && words <= KEY_WORDS);
    AO_t *where = &entry_types[scan][words];
    const oak_type *type = (const oak_type *)AO_load_acquire(where);
    if (type) return type;
    uint64_t map = 1;
    if (scan) map |= ((UINT64_C(1) << words) - 1) << before;
    type = oak_type_bitmap("syncmap entry", (before + words) * sizeof(void *), &map);
    if (type) AO_store_release(where, (AO_t)type);
    return type;
}

oak_syncmap *oak_syncmap_new(const oak_map_type *keys)
{
    if (!keys) {
        errno = EINVAL;
        return NULL;
    }
    oak_map_type given = { .key = keys->key,
                           .flags = keys->flags & OAKI_MAP_KEY_FLAGS,
                           .key_size = keys->key_size,
                           .hash = keys->hash,
                           .equal = keys->equal,
                           .name = keys->name };
    const oaki_map_layout *l = oaki_map_layout_get(&given);
    const oak_type *type = l ? entry_type(&l->type) : NULL;
    oak_syncmap *m = type ? oak_alloc(sizeof *m) : NULL;
    if (!m) return NULL;
    m->type = &l->type;
    m->entry_type = type;
    m->seed = oaki_hash_random();
    m->mult = oaki_hash_random() | 1;
    return m;
}

static oaki_sync_entry *new_entry(const oak_syncmap *m, uint64_t hash, const void *key, void *value)
{
    const oak_map_type *t = m->type;
    oaki_sync_entry *e = OAKI_PART(m, oak_alloc_typed(m->entry_type, 1));
    if (!e) return NULL;
    void *at = e->key;
    if (t->key_size > OAK_MAP_INDIRECT_) {
        at = oaki_map_cell_new(m, t->key_size, (t->flags & OAK_MAP_SCAN_KEY) != 0);
        if (!at) return NULL;
        *(void **)(void *)e->key = at;
    }
    OAKI_ASSERT((AO_t)value != OAKI_SYNC_DEAD);
    memcpy(at, key, t->key_size);
    e->hash = hash;
    e->value = (AO_t)value;
    return e;
}

/* ---- finding ---- */

OAKI_INLINE oaki_sync_root *root_of(const oak_syncmap *m)
{
    return (oaki_sync_root *)AO_load_acquire(&m->root);
}

/* NaNs differ from each other. With one hash they would all be in one list. */
static uint64_t hash_of(const oak_syncmap *m, const void *key)
{
    if (m->type->key == OAK_KEY_DOUBLE && !oak_map_equal_(m->type, key, key))
        return oaki_hash_random();
    return oak_map_hash_with_(m->type, key, m->seed, m->mult);
}

/* Returns the key's entry if it isn't deleted, with its value; or NULL. */
static oaki_sync_entry *find(const oak_syncmap *m, const oaki_sync_root *r, const void *key,
                             AO_t *value)
{
    oaki_sync_entry *e = r && key ? oaki_sync_find(m, r, hash_of(m, key), key) : NULL;
    *value = e ? AO_load_acquire(&e->value) : OAKI_SYNC_DEAD;
    return *value == OAKI_SYNC_DEAD ? NULL : e;
}

bool oak_syncmap_load(const oak_syncmap *m, const void *key, void **value)
{
    AO_t v;
    bool found = m && oaki_attached() && find(m, root_of(m), key, &v);
    if (value) *value = found ? (void *)v : NULL;
    return found;
}

/* ---- storing ---- */

static oaki_sync_root *root_for_adding(oak_syncmap *m)
{
    oaki_sync_root *r = root_of(m);
    if (OAKI_LIKELY(r)) return r;
    r = OAKI_PART(m, oak_alloc_aligned(LINE, sizeof *r));
    OAKI_ASSERT(((AO_t)r & (LINE - 1)) == 0);
    if (!r || AO_compare_and_swap_full(&m->root, 0, (AO_t)r)) return r;
    r = root_of(m);
    return r ? r : root_for_adding(m);
}

/* Sets the value of e; *v is its old one. false: e is deleted. */
static bool swap_value(oaki_sync_entry *e, void *value, AO_t *v)
{
    do {
        *v = AO_load_acquire(&e->value);
    } while (*v != OAKI_SYNC_DEAD && !AO_compare_and_swap_full(&e->value, *v, (AO_t)value));
    return *v != OAKI_SYNC_DEAD;
}

/* 1: the key was there, with the value *v; with `replace` it has the new value now. 0: the key was
 * added. -1: no memory. */
static int put_once(oak_syncmap *m, const void *key, void *value, bool replace, AO_t *v)
{
    uint64_t hash = hash_of(m, key);
    oaki_sync_root *r = root_of(m);
    oaki_sync_entry *e = r ? oaki_sync_find(m, r, hash, key) : NULL, *mine = NULL;
    if (!r && !(r = root_for_adding(m))) return -1;
    for (;;) {
        if (e) *v = AO_load_acquire(&e->value);
        if (e && (replace ? swap_value(e, value, v) : *v != OAKI_SYNC_DEAD)) return 1;
        if (!mine) mine = new_entry(m, hash, key, value);
        if (!mine) return -1;
        int added = oaki_sync_add(m, r, mine, &e);
        if (added < 0) return -1;
        if (added == 0) continue;
        AO_fetch_and_add1(&r->len);
        *v = (AO_t)value;
        return 0;
    }
}

static int put(oak_syncmap *m, const void *key, void *value, bool replace, AO_t *v)
{
    if (OAKI_UNLIKELY(!m)) oak_fatal("oakum: write to a nil sync map");
    if (OAKI_UNLIKELY(!key)) return errno = EINVAL, -1;
    if (!oaki_attached()) return -1;
    int there;
    oaki_held_forget();
    do {
        there = put_once(m, key, value, replace, v);
    } while (oaki_held_retry(m, there < 0));
    return there;
}

int oak_syncmap_store(oak_syncmap *m, const void *key, void *value)
{
    AO_t v;
    return put(m, key, value, true, &v) < 0 ? -1 : 0;
}

int oak_syncmap_swap(oak_syncmap *m, const void *key, void *value, void **previous)
{
    AO_t v;
    int there = put(m, key, value, true, &v);
    if (previous) *previous = there > 0 ? (void *)v : NULL;
    return there;
}

int oak_syncmap_load_or_store(oak_syncmap *m, const void *key, void *value, void **actual)
{
    AO_t v;
    int there = put(m, key, value, false, &v);
    if (actual) *actual = there >= 0 ? (void *)v : NULL;
    return there;
}

bool oak_syncmap_compare_and_swap(oak_syncmap *m, const void *key, void *old, void *value)
{
    AO_t v;
    oaki_sync_entry *e = m && oaki_attached() ? find(m, root_of(m), key, &v) : NULL;
    return e && AO_compare_and_swap_full(&e->value, (AO_t)old, (AO_t)value);
}

/* ---- deleting ---- */

/* Deletes the key if it has the value `old`, or any value if `old` is OAKI_SYNC_DEAD. */
static bool take(oak_syncmap *m, const void *key, AO_t old, AO_t *v)
{
    oaki_sync_root *r = m && oaki_attached() ? root_of(m) : NULL;
    oaki_sync_entry *e = r ? find(m, r, key, v) : NULL;
    if (!e) return false;
    do {
        *v = AO_load_acquire(&e->value);
        if (*v == OAKI_SYNC_DEAD || (old != OAKI_SYNC_DEAD && *v != old)) return false;
    } while (!AO_compare_and_swap_full(&e->value, *v, OAKI_SYNC_DEAD));
    AO_fetch_and_sub1(&r->len);
    oaki_sync_unlink(r, e);
    oaki_held_over();
    return true;
}

bool oak_syncmap_delete(oak_syncmap *m, const void *key)
{
    AO_t v;
    return take(m, key, OAKI_SYNC_DEAD, &v);
}

bool oak_syncmap_load_and_delete(oak_syncmap *m, const void *key, void **value)
{
    AO_t v;
    bool taken = take(m, key, OAKI_SYNC_DEAD, &v);
    if (value) *value = taken ? (void *)v : NULL;
    return taken;
}

bool oak_syncmap_compare_and_delete(oak_syncmap *m, const void *key, void *old)
{
    AO_t v;
    return take(m, key, (AO_t)old, &v);
}

void oak_syncmap_clear(oak_syncmap *m)
{
    if (m) AO_store_full(&m->root, 0);
}

/* ---- the whole ---- */

size_t oak_syncmap_len(const oak_syncmap *m)
{
    const oaki_sync_root *r = m && oaki_attached() ? root_of(m) : NULL;
    intptr_t n = r ? (intptr_t)AO_load(&r->len) : 0;
    return n > 0 ? (size_t)n : 0; /* a delete may count before the store that it followed */
}

/* A range's position is a hash. Only this frame holds nodes, and it is gone while fn runs. */
static OAKI_NOINLINE AO_t next(const oak_syncmap *m, uint64_t from)
{
    const oaki_sync_root *r = root_of(m);
    return r ? oaki_sync_next(r, from) : 0;
}

void oak_syncmap_range(const oak_syncmap *m, bool (*fn)(const void *key, void *value, void *ctx),
                       void *ctx)
{
    AO_t word;
    if (!m || !fn || !oaki_attached()) return;
    for (uint64_t from = 0; (word = next(m, from)) != 0;) {
        oaki_sync_entry *one, **e;
        size_t n = oaki_sync_entries(word, &one, &e);
        for (from = (*e)->hash + 1; n > 0; n--, e++) {
            AO_t v = AO_load_acquire(&(*e)->value);
            if (v != OAKI_SYNC_DEAD && !fn(oaki_sync_key(m->type, *e), (void *)v, ctx)) return;
        }
        if (from == 0) return; /* that was the last hash there is */
    }
}
