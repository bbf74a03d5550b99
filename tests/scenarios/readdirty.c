/* readdirty.c - a map in two parts, as Go 1.19's sync.Map is.
 *
 * Invariants: the map that `read` leads to is never written once it is there. While `dirty` is not
 *   nil it has every entry that is not expunged; `amended` says that it has some which the read
 *   part has not.
 *   An entry's word is 0 (deleted), the mark `expunged` (deleted, and not in dirty), or a box with
 *   the value.
 * Lock: `lock` guards dirty, misses and the counters, and writes of `read`; entries are changed by
 *   compare and swap. */
#include "readdirty.h"

#include <atomic_ops.h>
#include <string.h>

typedef struct entry {
    AO_t box; /* scn_any *, or one of the marks */
} entry;

typedef struct read_part {
    oak_classic_map *map;
    bool amended;
} read_part;

struct scn_rdmap {
    pthread_mutex_t lock;
    AO_t read; /* read_part *; 0 before the first promotion */
    oak_classic_map *dirty;
    size_t misses;
    uint64_t promotions, copied;
};

static scn_any expunged_box;
#define EXPUNGED ((AO_t)&expunged_box)

/* ---- keys: interfaces that hold a string ---- */

static const char string_type;

static uint64_t key_hash(const void *key, uint64_t seed, size_t size)
{
    (void)size;
    return oak_classic_hash_string(((const scn_any *)key)->data, seed, sizeof(scn_string));
}

static bool key_equal(const void *a, const void *b, size_t size)
{
    const scn_any *x = a, *y = b;

    (void)size;
    return x->type == y->type && oak_classic_equal_string(x->data, y->data, sizeof(scn_string));
}

static const oak_classic_type entries_by_key = {
    .key_size = sizeof(scn_any),
    .value_size = sizeof(entry *),
    .hash = key_hash,
    .equal = key_equal,
    .flags = OAK_CLASSIC_KEY_POINTERS | OAK_CLASSIC_VALUE_POINTERS | OAK_CLASSIC_NEED_KEY_UPDATE,
};

/* For a lookup: it refers to the caller's string. */
static scn_any key_of(const scn_string *string)
{
    return (scn_any){ &string_type, (void *)(uintptr_t)string };
}

/* For a map: it refers to a header in the heap. */
static scn_any key_to_keep(const scn_string *string)
{
    scn_string *header = scn_must(oak_alloc(sizeof(*header)));

    *header = *string;
    return (scn_any){ &string_type, header };
}

static entry *find(const oak_classic_map *m, const scn_any *key)
{
    entry **slot = oak_classic_get(m, key);

    return slot != NULL ? *slot : NULL;
}

/* ---- entries ---- */

static scn_any *box_new(void *value)
{
    scn_any *box = scn_must(oak_alloc(sizeof(*box)));

    box->data = value;
    return box;
}

static void *entry_load(const entry *e)
{
    AO_t box = AO_load_acquire(&e->box);

    return box == 0 || box == EXPUNGED ? NULL : ((const scn_any *)box)->data;
}

/* Unless it is expunged. */
static bool entry_try_store(entry *e, scn_any *box)
{
    for (;;) {
        AO_t old = AO_load_acquire(&e->box);

        if (old == EXPUNGED) return false;
        if (AO_compare_and_swap_full(&e->box, old, (AO_t)box)) return true;
    }
}

static void entry_delete(entry *e)
{
    for (;;) {
        AO_t old = AO_load_acquire(&e->box);

        if (old == 0 || old == EXPUNGED || AO_compare_and_swap_full(&e->box, old, 0)) return;
    }
}

/* Whether it is expunged now: what was deleted becomes so. */
static bool entry_try_expunge(entry *e)
{
    AO_t old = AO_load_acquire(&e->box);

    while (old == 0) {
        if (AO_compare_and_swap_full(&e->box, 0, EXPUNGED)) return true;
        old = AO_load_acquire(&e->box);
    }
    return old == EXPUNGED;
}

/* ---- the two parts, under the lock ---- */

static read_part read_of(const scn_rdmap *m)
{
    const read_part *r = (const read_part *)AO_load_acquire(&m->read);

    return r != NULL ? *r : (read_part){ NULL, false };
}

static void set_read(scn_rdmap *m, oak_classic_map *map, bool amended)
{
    read_part *r = scn_must(oak_alloc(sizeof(*r)));

    *r = (read_part){ map, amended };
    AO_store_release(&m->read, (AO_t)r);
}

static void missed(scn_rdmap *m)
{
    if (++m->misses < oak_classic_len(m->dirty)) return;
    set_read(m, m->dirty, false);
    m->dirty = NULL;
    m->misses = 0;
    m->promotions++;
}

static void put_dirty(scn_rdmap *m, const scn_any *key, entry *e)
{
    *(entry **)scn_must(oak_classic_put(m->dirty, key)) = e;
}

/* A dirty part with all that the read part has and that was not deleted. */
static void begin_dirty(scn_rdmap *m)
{
    oak_classic_map *map = read_of(m).map;
    oak_classic_iter it;

    if (m->dirty != NULL) return;
    m->dirty = scn_must(oak_classic_new(&entries_by_key, oak_classic_len(map)));
    oak_classic_iter_init(&it, map);
    while (oak_classic_iter_next(&it)) {
        entry *e = *(entry *const *)it.value;

        if (entry_try_expunge(e)) continue;
        put_dirty(m, it.key, e);
        m->copied++;
    }
}

/* ---- operations ---- */

scn_rdmap *scn_rdmap_new(void)
{
    scn_rdmap *m = scn_must(oak_alloc(sizeof(*m)));

    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void *scn_rdmap_load(scn_rdmap *m, const scn_string *string)
{
    scn_any key = key_of(string);
    read_part r = read_of(m);
    entry *e = find(r.map, &key);

    if (e == NULL && r.amended) {
        scn_lock(&m->lock);
        r = read_of(m);
        e = find(r.map, &key);
        if (e == NULL && r.amended) {
            e = find(m->dirty, &key);
            missed(m);
        }
        pthread_mutex_unlock(&m->lock);
    }
    return e != NULL ? entry_load(e) : NULL;
}

static void store_slowly(scn_rdmap *m, const scn_string *string, const scn_any *key, scn_any *box)
{
    read_part r = read_of(m);
    entry *e = find(r.map, key);

    if (e != NULL) {
        if (AO_compare_and_swap_full(&e->box, EXPUNGED, 0)) {
            scn_any kept = key_to_keep(string);

            put_dirty(m, &kept, e);
        }
        AO_store_release(&e->box, (AO_t)box);
        return;
    }
    e = find(m->dirty, key);
    if (e == NULL) {
        scn_any kept = key_to_keep(string);

        if (!r.amended) {
            begin_dirty(m);
            set_read(m, r.map, true);
        }
        e = scn_must(oak_alloc(sizeof(*e)));
        put_dirty(m, &kept, e);
    }
    AO_store_release(&e->box, (AO_t)box);
}

void scn_rdmap_store(scn_rdmap *m, const scn_string *string, void *value)
{
    scn_any key = key_of(string), *box = box_new(value);
    entry *e = find(read_of(m).map, &key);

    if (e != NULL && entry_try_store(e, box)) return;
    scn_lock(&m->lock);
    store_slowly(m, string, &key, box);
    pthread_mutex_unlock(&m->lock);
}

void scn_rdmap_delete(scn_rdmap *m, const scn_string *string)
{
    scn_any key = key_of(string);
    read_part r = read_of(m);
    entry *e = find(r.map, &key);

    if (e == NULL && r.amended) {
        scn_lock(&m->lock);
        r = read_of(m);
        e = find(r.map, &key);
        if (e == NULL && r.amended) {
            e = find(m->dirty, &key);
            oak_classic_delete(m->dirty, &key);
            missed(m);
        }
        pthread_mutex_unlock(&m->lock);
    }
    if (e != NULL) entry_delete(e);
}

/* ---- statistics ---- */

static size_t count_live(const oak_classic_map *map)
{
    oak_classic_iter it;
    size_t live = 0;

    oak_classic_iter_init(&it, map);
    while (oak_classic_iter_next(&it)) live += entry_load(*(entry *const *)it.value) != NULL;
    return live;
}

void scn_rdmap_stats_read(scn_rdmap *m, scn_rdmap_stats *out)
{
    oak_classic_map *read = read_of(m).map;
    size_t in_read = oak_classic_len(read), in_dirty = oak_classic_len(m->dirty);

    memset(out, 0, sizeof(*out));
    out->live = count_live(m->dirty != NULL ? m->dirty : read);
    out->held = in_read > in_dirty ? in_read : in_dirty;
    out->promotions = m->promotions;
    out->copied = m->copied;
}
