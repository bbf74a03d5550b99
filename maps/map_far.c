/* map_far.c - lookups of custom keys, of which many may share one hash.
 *
 * Keys of the other kinds share a full hash only by chance. Where custom keys share one, a lookup
 * reads many groups, nearly all of whose slots have the tag in question. Then the time of a
 * comparison matters. Keys of 8 bytes without an `equal` are compared in a loop without branches on
 * the tags. This lookup is a function of its own, as it would take registers from the usual one.
 *
 * Owns: nothing. Lock: none, as for a lookup. Bound: the entries behind the home. */
#include "map.h"

/* Slots of a group whose 8 bytes are `key`. */
OAKI_INLINE unsigned same_words(const char *e, size_t size, uint64_t key)
{
    unsigned same = 0;
    for (unsigned slot = 0; slot < OAK_MAP_SLOTS_; slot++, e += size)
        same |= (unsigned)(oak_map_load8_(e) == key) << slot;
    return same;
}

/* The key's entry, or NULL, in an array whose groups have all their slots. */
static char *find_word(const oak_map *m, const struct oak_map_array_ *a, uint64_t hash,
                       uint64_t key)
{
    oak_map_tags_ tag = oak_map_tags_of_(hash);
    size_t size = m->entry_size;
    OAKI_ASSERT(a->slots == OAK_MAP_USED_ && m->type->key_size == 8);
    for (size_t g = oaki_map_home(a, oak_map_position_(hash));; g++) {
        char *tags = (char *)oaki_map_tags(a, g);
        unsigned hit = oak_map_match_(tags, tag);
        if (hit) {
            char *e = oaki_map_entries(a, g, size);
            hit &= same_words(e, size, key);
            if (hit) return e + oaki_ctz(hit) * size;
        }
        if (!oak_map_went_past_(tags, oak_map_tag_(hash))) return NULL;
    }
}

void *oaki_map_find_custom(const oak_map *m, uint64_t hash, const void *key)
{
    const oak_map_type *t = m->type;
    OAKI_ASSERT(t->key == OAK_KEY_CUSTOM && !t->equal);
    const struct oak_map_array_ *a = oak_map_array_of_(m, hash);
    char *at, *e = a->slots == OAK_MAP_USED_
                       ? find_word(m, a, hash, oak_map_load8_(key))
                       : oak_map_find_in_(m, a, t, m->entry_size, hash, key, &at);
    return e ? oak_map_value_(t, e, m->value_offset) : NULL;
}

void *oaki_map_get_custom(const oak_map *m, const void *key)
{
    const oak_map_type *t = m->type;
    if (t->equal || t->key_size != 8)
        return oak_map_get_as_(m, t, m->entry_size, m->value_offset, key);
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (m->busy) oak_map_misuse_(m, OAK_MAP_READ_);
    return oaki_map_find_custom(m, hash, key);
}
