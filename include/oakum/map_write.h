/* map_write.h - the part of the map's writes that is compiled into programs: puts and deletes that
 * need no resize.
 *
 * Included by <oakum/map.h>. Names that end in _ are private. */
#ifndef OAKUM_MAP_WRITE_H
#define OAKUM_MAP_WRITE_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

/* Whether the collector may read the segments of maps of this type. */
OAK_MAP_INLINE_ bool oak_map_is_scanned_(const oak_map_type *t)
{
    return (t->flags & (OAK_MAP_SCAN_KEY | OAK_MAP_SCAN_VALUE)) != 0;
}

/* The types whose entries are made in line: plain cells, and keys that equal themselves. */
OAK_MAP_INLINE_ bool oak_map_is_simple_(const oak_map_type *t)
{
    return t->key != OAK_KEY_DOUBLE && t->key_size <= OAK_MAP_INDIRECT_ &&
           t->value_size <= OAK_MAP_INDIRECT_;
}

OAK_MAP_INLINE_ void oak_map_fill_(const oak_map_type *t, char *e, size_t value_offset,
                                   const void *key)
{
    if (t->key_size == 8)
        memcpy(e, key, 8);
    else
        memcpy(e, key, t->key_size);
    if (t->value_size == 8)
        memset(e + value_offset, 0, 8);
    else
        memset(e + value_offset, 0, t->value_size);
}

/* A store barrier: earlier stores become visible before later ones. */
OAK_MAP_INLINE_ void oak_map_stored_(void)
{
#ifdef __aarch64__
    __asm__ __volatile__("dmb ishst" : : : "memory");
#else
    __asm__ __volatile__("" : : : "memory");
#endif
}

/* Adds an absent key, in the library. */
OAK_MAP_INLINE_ void *oak_map_add_there_(oak_map *m, uint64_t hash, const void *key,
                                         oak_map_fresh_ *fresh)
{
    return fresh ? oak_map_add_fresh_(m, hash, key, fresh) : oak_map_add_(m, hash, key);
}

/* Adds an absent key to its home in array[0], if that has room and no resize is due. Nothing is
 * being resized. The library does the rest. It also does all adds to large arrays: there each add
 * waits for memory, and the library's add waits less. The entry is stored before its tag. For
 * scanned types, a byte of the entry is stored again after the tag. This makes its page dirty, as a
 * concurrent mark may have read the tags in between. */
OAK_MAP_INLINE_ void *oak_map_add_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, uint64_t hash, const void *key,
                                      const oak_map_home_ *home, oak_map_fresh_ *fresh)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t g = home->group;
    char *entries = a->dir[g >> a->gbits], *e;
    unsigned free = oak_map_match_(home->tags, oak_map_no_tag_()) & a->slots, slot;
    if (OAK_MAP_UNLIKELY_(!oak_map_is_simple_(t) || a->shift < 63 - OAK_MAP_CALL_BITS_ ||
                          m->len >= m->limit || !free || !entries || !oak_attached_)) {
        oak_map_own_ own;
        return oak_map_add_there_(m, hash, oak_map_own_key_(t, key, &own), fresh);
    }
    slot = (unsigned)__builtin_ctz(free);
    e = entries + (g * OAK_MAP_SLOTS_ + slot) * entry_size;
    oak_map_fill_(t, e, value_offset, key);
    oak_map_stored_();
    home->tags[slot] = (char)home->tag;
    if (oak_map_is_scanned_(t)) {
        char first = *e;
        oak_map_stored_();
        *e = first;
    }
    oak_map_stored_();
    m->len++;
    m->moves++;
    m->busy = 0;
    if (fresh) {
        if (t->value_size) memcpy(e + value_offset, fresh->value, t->value_size);
        fresh->added = true;
    }
    return e + value_offset;
}

/* Removes an entry from its home in array[0], where its tag is at `at`, and ends the write. Nothing
 * is being resized. The library does this where a resize is due, or the latest deletes are near
 * this one. */
OAK_MAP_INLINE_ bool oak_map_remove_here_(oak_map *m, uint64_t hash, char *at)
{
    struct oak_map_deletes_ *d = (struct oak_map_deletes_ *)(void *)m->more;
    uint64_t p = oak_map_position_(hash);
    if (OAK_MAP_UNLIKELY_((m->flags & OAK_MAP_HINTED_) || m->len <= m->shrink_at ||
                          !oak_attached_ ||
                          (d && ((d->run | d->mixed) != 0 || oak_map_is_near_(d, p)))))
        return oak_map_remove_(m, hash, at);
    *at = 0;
    m->len--;
    if (d) {
        d->deleted = p;
        d->left = m->len;
    }
    m->busy = 0;
    return true;
}

/* Adds an absent key to a map at rest. */
typedef void *oak_map_adder_(oak_map *m, uint64_t hash, const void *key,
                             const oak_map_home_ *home, oak_map_fresh_ *fresh);

/* The key is in the map. Ends the write, and returns its value. */
OAK_MAP_INLINE_ void *oak_map_put_here_(oak_map *m, const oak_map_type *t, size_t value_offset,
                                        char *e, const void *key)
{
    if (t->key == OAK_KEY_DOUBLE || (t->flags & OAK_MAP_KEY_UPDATE) != 0)
        memmove(t->key_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)e : e, key, t->key_size);
    m->busy = 0;
    return oak_map_value_(t, e, value_offset);
}

OAK_MAP_OUTLINE_ void *oak_map_put_rest_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                         size_t value_offset, uint64_t hash, const void *key,
                                         oak_map_fresh_ *fresh)
{
    char *at, *e = oak_map_find_(m, t, entry_size, hash, key, &at);
    if (e) return oak_map_put_here_(m, t, value_offset, e, key);
    return oak_map_add_there_(m, hash, key, fresh);
}

/* `add` does oak_map_add_as_ for the type. The key may lie in the map: it is not read after entries
 * move. fresh: NULL, unless the value is stored here. */
OAK_MAP_INLINE_ void *oak_map_put_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, const void *key, oak_map_adder_ *add,
                                      oak_map_fresh_ *fresh)
{
    oak_map_own_ own;
    if (OAK_MAP_UNLIKELY_(!m)) oak_map_misuse_(m, OAK_MAP_NIL_);
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_UNLIKELY_(m->busy)) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    if (OAK_MAP_LIKELY_(!m->resizing)) {
        oak_map_home_ home;
        char *at, *e = oak_map_find_first_(m, t, entry_size, hash, key, &at, &home);
        if (e) return oak_map_put_here_(m, t, value_offset, e, key);
        if (OAK_MAP_LIKELY_(!home.unsure)) return add(m, hash, key, &home, fresh);
    }
    key = oak_map_own_key_(t, key, &own);
    return oak_map_put_rest_(m, t, entry_size, value_offset, hash, key, fresh);
}

OAK_MAP_OUTLINE_ bool oak_map_delete_rest_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                           uint64_t hash, const void *key)
{
    char *at;
    if (oak_map_find_(m, t, entry_size, hash, key, &at)) return oak_map_remove_(m, hash, at);
    m->busy = 0;
    return false;
}

OAK_MAP_INLINE_ bool oak_map_delete_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                        const void *key)
{
    oak_map_own_ own;
    if (OAK_MAP_UNLIKELY_(!m)) return false;
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_UNLIKELY_(m->busy)) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    if (OAK_MAP_LIKELY_(!m->resizing)) {
        oak_map_home_ home;
        char *at;
        if (oak_map_find_first_(m, t, entry_size, hash, key, &at, &home))
            return oak_map_remove_here_(m, hash, at);
        if (OAK_MAP_LIKELY_(!home.unsure)) {
            m->busy = 0;
            return false;
        }
    }
    key = oak_map_own_key_(t, key, &own);
    return oak_map_delete_rest_(m, t, entry_size, hash, key);
}

OAK_END_DECLS

#endif
