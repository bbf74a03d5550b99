/* map_bulk.h - calls that do many of a map's operations at once, and their typed forms.
 *
 * Included by <oakum/map.h>. Names that end in _ are private. Each call does the same as a loop of
 * the single calls, and treats misuse as they do. The typed forms are part of OAK_MAP_DEFINE. */
#ifndef OAKUM_MAP_BULK_H
#define OAKUM_MAP_BULK_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

/** Looks up `n` keys, which lie one behind the other, key_size bytes each. Sets values[i] to the
 * value's slot of key i, or to NULL when it is absent. Returns the number of keys that are present.
 * A key may occur more than once. Memory for several keys is fetched at the same time, so keys in
 * any order cost a fraction of a loop of oak_map_get.
 *
 * `values` has room for n slots. If it is NULL, the keys are only counted. Where m or `keys` is
 * NULL, no key is present. Any number of threads may call this at the same time. It never writes to
 * the map. It allocates nothing, and so never collects, unless the type's own functions do. If a
 * hash leaves by longjmp, the slots of earlier batches of 16 are set. */
OAK_API size_t oak_map_get_many(const oak_map *m, const void *keys, size_t n, void **values);

/** Makes room for `n` entries in all: until there are more, no put resizes the map. Moves all
 * entries in one step, O(entries + n / 15). The new room is not touched before it is used, and is
 * kept like that of a hint. A map with enough room stays as it is, and keeps its room.
 *
 * A write: the thread is attached, slots are stale after it, and other calls must not be
 * concurrent. It allocates, and may collect. Returns 0; -1 with ENOMEM when memory is exhausted,
 * or n entries exceed it; -1 with EINVAL for a NULL map. After an error the map holds what it
 * held. */
OAK_API int oak_map_reserve(oak_map *m, size_t n);

/** Deletes the entries for which `keep` returns false, in one pass, and gives back memory that this
 * frees. Returns the number of deleted entries. keep is called once for each entry, in any order.
 * It may change the value, allocate, and read the map. A write to the map by keep is fatal. An
 * entry is deleted as soon as keep has refused it. So keep may leave by longjmp: entries that it
 * has refused are gone, the others stay. Their memory stays too, until a later delete, retain or
 * clear.
 *
 * A write, like oak_map_delete. It allocates only a smaller array, at the end. If there is no
 * memory for that, the map stays large, and later deletes try again. A NULL map has no entries; a
 * NULL keep deletes none, with errno EINVAL. */
OAK_API size_t oak_map_retain(oak_map *m, bool (*keep)(const void *key, void *value, void *arg),
                              void *arg);

/** Returns a map of the same type with the same entries; keys and values are copied as bytes, so
 * what they point to is shared. It has the original's seed and order. Before entries of one are put
 * into the other in order of iteration, call oak_map_reserve: a small array would be crowded.
 * The copy belongs to the caller as one of oak_map_new does, and lies in the calling thread's zone.
 *
 * Reads the original as oak_map_get does, so other reads may be concurrent. It allocates, and may
 * collect. A resize that is under way is under way in the copy too. NULL with ENOMEM when memory is
 * exhausted: nothing is left of the copy. NULL with EINVAL for a NULL map. */
OAK_API oak_map *oak_map_copy(const oak_map *m);

/* ---- lookups ---- */

enum {
    OAK_MAP_BATCH_ = 16,
    OAK_MAP_NEAR_BITS_ = 10 /* log2 of groups: below, a map lies in the caches */
};

/* Whether the key's bytes lie outside of its entry. */
OAK_MAP_INLINE_ bool oak_map_key_is_away_(const oak_map_type *t)
{
    return t->key == OAK_KEY_CSTRING || t->key == OAK_KEY_SLICE || t->key_size > OAK_MAP_INDIRECT_;
}

/* Sets hash[i], and fetches the tags of its home group. A custom hash must not write to the map. */
OAK_MAP_INLINE_ void oak_map_hash_batch_(const oak_map *m, const oak_map_type *t, const char *keys,
                                         size_t n, uint64_t *hash)
{
    uint64_t moves = m->moves;
    size_t len = m->len;
    for (size_t i = 0; i < n; i++) {
        hash[i] = oak_map_hash_with_(t, keys + i * t->key_size, m->seed, m->mult);
        if (t->key == OAK_KEY_CUSTOM && OAK_MAP_UNLIKELY_(m->moves != moves || m->len != len))
            oak_map_misuse_(m, OAK_MAP_HASH_);
        const struct oak_map_array_ *a = oak_map_array_of_(m, hash[i]);
        size_t g = (size_t)(oak_map_position_(hash[i]) >> a->shift);
        __builtin_prefetch(a->tags + g * (OAK_MAP_SLOTS_ + 1));
    }
    if (OAK_MAP_UNLIKELY_(m->busy)) oak_map_misuse_(m, OAK_MAP_READ_);
}

/* The first entry in the home group that has the tag; NULL when there is none. Prefetches the
 * entry, and the key that it points to. */
OAK_MAP_INLINE_ void oak_map_fetch_batch_(const oak_map *m, const oak_map_type *t,
                                          size_t entry_size, const uint64_t *hash, size_t n,
                                          char **first)
{
    for (size_t i = 0; i < n; i++) {
        const struct oak_map_array_ *a = oak_map_array_of_(m, hash[i]);
        size_t g = (size_t)(oak_map_position_(hash[i]) >> a->shift);
        char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1);
        unsigned hit = oak_map_match_(tags, oak_map_tags_of_(hash[i]));
        first[i] = NULL;
        if (!hit) continue;
        first[i] =
            a->dir[g >> a->gbits] + (g * OAK_MAP_SLOTS_ + (size_t)__builtin_ctz(hit)) * entry_size;
        __builtin_prefetch(first[i]);
    }
    for (size_t i = 0; oak_map_key_is_away_(t) && i < n; i++)
        if (first[i]) __builtin_prefetch(*(void **)(void *)first[i]);
}

/* Returns the key's entry, or NULL. `first`: the entry that oak_map_fetch_batch_ found, or NULL. */
OAK_MAP_INLINE_ char *oak_map_find_fetched_(const oak_map *m, const oak_map_type *t,
                                            size_t entry_size, uint64_t hash, const void *key,
                                            char *first)
{
    const struct oak_map_array_ *a = oak_map_array_of_(m, hash);
    if (first) {
        if (OAK_MAP_LIKELY_(oak_map_has_(m, t, first, key))) return first;
    } else {
        size_t g = (size_t)(oak_map_position_(hash) >> a->shift);
        if (OAK_MAP_LIKELY_(
                !oak_map_went_past_(a->tags + g * (OAK_MAP_SLOTS_ + 1), oak_map_tag_(hash))))
            return NULL;
    }
    char *at;
    return oak_map_find_in_(m, a, t, entry_size, hash, key, &at);
}

OAK_MAP_INLINE_ size_t oak_map_get_batch_(const oak_map *m, const oak_map_type *t,
                                          size_t entry_size, size_t value_offset, const char *keys,
                                          size_t n, void **values)
{
    uint64_t hash[OAK_MAP_BATCH_];
    char *first[OAK_MAP_BATCH_];
    size_t found = 0;
    oak_map_hash_batch_(m, t, keys, n, hash);
    oak_map_fetch_batch_(m, t, entry_size, hash, n, first);
    for (size_t i = 0; i < n; i++) {
        char *e =
            oak_map_find_fetched_(m, t, entry_size, hash[i], keys + i * t->key_size, first[i]);
        found += e != NULL;
        if (values) values[i] = e ? oak_map_value_(t, e, value_offset) : NULL;
    }
    return found;
}

OAK_MAP_INLINE_ size_t oak_map_get_many_as_(const oak_map *m, const oak_map_type *t,
                                            size_t entry_size, size_t value_offset,
                                            const void *keys, size_t n, void **values)
{
    const char *from = (const char *)keys;
    size_t found = 0;
    if (OAK_MAP_UNLIKELY_(!m || !keys)) {
        for (size_t i = 0; values && i < n; i++) values[i] = NULL;
        return 0;
    }
    for (size_t i = 0; m->bits < OAK_MAP_NEAR_BITS_ && i < n; i++) {
        void *value = oak_map_get_as_(m, t, entry_size, value_offset, from + i * t->key_size);
        found += value != NULL;
        if (values) values[i] = value;
    }
    for (size_t at = 0; m->bits >= OAK_MAP_NEAR_BITS_ && at < n; at += OAK_MAP_BATCH_)
        found += oak_map_get_batch_(m, t, entry_size, value_offset, from + at * t->key_size,
                                    n - at < OAK_MAP_BATCH_ ? n - at : (size_t)OAK_MAP_BATCH_,
                                    values ? values + at : NULL);
    return found;
}

/* ---- passes ---- */

/* A walk over all entries that deletes those that are not kept. Nothing else may write to the map
 * meanwhile. */
typedef struct oak_map_pass_ {
    const void *key; /* of the current entry */
    void *value;
    oak_map *map;
    uint64_t moves;       /* of the map: constant. Only the pass itself changes `len` */
    size_t len, began;    /* entries, now and before the pass */
    char *tags, *entries; /* of the current group */
    size_t group;         /* the next one */
    unsigned array, left, slot; /* slots of the group that are left; the current one */
    bool crossed;               /* entries of earlier groups may lie in this one */
} oak_map_pass_;

OAK_API void oak_map_pass_begin_(oak_map_pass_ *p, oak_map *m);
OAK_API bool oak_map_pass_more_(oak_map_pass_ *p); /* to the next group with entries */
OAK_API void oak_map_pass_drop_(oak_map_pass_ *p); /* deletes the current entry */
OAK_API size_t oak_map_pass_end_(oak_map_pass_ *p);

OAK_MAP_INLINE_ bool oak_map_pass_next_(oak_map_pass_ *p, const oak_map_type *t, size_t entry_size,
                                        size_t value_offset)
{
    if (OAK_MAP_UNLIKELY_(!p->left) && !oak_map_pass_more_(p)) return false;
    p->slot = (unsigned)__builtin_ctz(p->left);
    p->left &= p->left - 1;
    char *e = p->entries + p->slot * entry_size;
    p->key = oak_map_stored_key_(t, e);
    p->value = oak_map_value_(t, e, value_offset);
    return true;
}

/* A processor can't predict which entries stay, so the tag of one that goes is cleared without a
 * branch. */
OAK_MAP_INLINE_ void oak_map_pass_judge_(oak_map_pass_ *p, bool keep)
{
    oak_map *m = p->map;
    if (OAK_MAP_UNLIKELY_(m->moves != p->moves || m->len != p->len || m->busy))
        oak_map_misuse_(m, OAK_MAP_KEEP_);
    if (OAK_MAP_UNLIKELY_(p->crossed)) {
        if (!keep) oak_map_pass_drop_(p);
        return;
    }
    m->busy = 1;
    p->tags[p->slot] = (char)(p->tags[p->slot] & -(int)keep);
    m->len = p->len -= !keep;
    m->busy = 0;
}

OAK_END_DECLS

/* ---- typed maps ---- */

#define OAK_MAP_BULK_(name, K, V)                                                                  \
    OAK_MAP_INLINE_ size_t name##_get_many(const name *m, K const *keys, size_t n, V **values)     \
    {                                                                                              \
        return oak_map_get_many_as_(name##_map(m), &name##_type, OAK_MAP_ENTRY_(K, V),             \
                                    OAK_MAP_OFFSET_(K, V), keys, n, (void **)values);              \
    }                                                                                              \
    OAK_MAP_INLINE_ int name##_reserve(name *m, size_t n)                                          \
    {                                                                                              \
        return oak_map_reserve(name##_map(m), n);                                                  \
    }                                                                                              \
    OAK_MAP_INLINE_ size_t name##_retain(name *m, bool (*keep)(K const *key, V *value, void *arg), \
                                         void *arg)                                                \
    {                                                                                              \
        oak_map_pass_ p;                                                                           \
        if (OAK_MAP_UNLIKELY_(!keep)) return oak_map_retain(name##_map(m), NULL, NULL);            \
        oak_map_pass_begin_(&p, name##_map(m));                                                    \
        while (oak_map_pass_next_(&p, &name##_type, OAK_MAP_ENTRY_(K, V), OAK_MAP_OFFSET_(K, V)))  \
            oak_map_pass_judge_(&p, keep((K const *)p.key, (V *)p.value, arg));                    \
        return oak_map_pass_end_(&p);                                                              \
    }                                                                                              \
    OAK_MAP_INLINE_ name *name##_copy(const name *m)                                               \
    {                                                                                              \
        return (name *)oak_map_copy(name##_map(m));                                                \
    }

#endif
