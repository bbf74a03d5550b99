/* classic_iter.c - iteration over the classic map.
 *
 * An iterator walks the bucket array that was current when it began, even after the map has
 * replaced that array. It begins at a random bucket and a random slot. It keeps the array alive, so
 * a stuck iterator leaks it. Where an entry has moved from the array, the iterator looks up its
 * present value.
 * Where the array was still being filled when the iterator began, the iterator reads the old
 * bucket. It gives only the entries that belong to the new bucket in question.
 *
 * So each entry that is in the map throughout is given exactly once, and one that comes or goes
 * meanwhile at most once. Go 1.19 breaks this in two ways, which are copied. A clear is not
 * noticed: entries that an old array still holds are given. And keys may repeat: an iterator may
 * be in an old bucket, of which it gives one half. When that growth has ended and one to the
 * same size has begun, it gives all of the bucket.
 *
 * Invariants: it->map is NULL at the end, and then the iterator holds nothing.
 * Lock:       none; any number of iterators at once, while nothing writes. The only write to the
 *             map is an atomic or of two flags.
 * Bound:      a step reads the buckets up to the next entry. */
#include "classic.h"

/* A random start. For a map whose seed was set it depends on the map's state, so that runs
 * repeat. */
static uint64_t random_start(const oak_classic_map *m)
{
    return m->seeded ? oaki_hash_u64(m->count + m->B, m->rng) : oaki_hash_random();
}

void oak_classic_iter_init(oak_classic_iter *it, const oak_classic_map *m)
{
    if (!it) return;
    memset(it, 0, sizeof *it);
    if (!m || m->count == 0) return;
    uint64_t r = random_start(m);
    it->map = (oak_classic_map *)(uintptr_t)m; /* iterating changes flags only */
    it->B = m->B;
    it->buckets = m->buckets;
    if (!oaki_classic_scanned(m->type)) {
        it->overflow = m->extra->overflow;
        it->oldoverflow = m->extra->oldoverflow;
    }
    it->start_bucket = (size_t)r & (oaki_classic_nbuckets(m->B) - 1);
    it->offset = (uint8_t)(r >> 61);
    OAKI_ASSERT(it->offset < OAKI_SLOTS && it->start_bucket < oaki_classic_nbuckets(it->B));
    it->bucket = it->start_bucket;
    if ((oaki_classic_flags(m) & (OAKI_ITERATOR | OAKI_OLD_ITERATOR)) !=
        (OAKI_ITERATOR | OAKI_OLD_ITERATOR))
        AO_char_or(&it->map->flags, OAKI_ITERATOR | OAKI_OLD_ITERATOR);
}

/* The next bucket; the one of the old array if that isn't evacuated yet. NULL at the end. */
static oaki_bmap *next_bucket(oak_classic_iter *it)
{
    const oak_classic_map *m = it->map;
    const oak_classic_type *t = m->type;
    if (it->bucket == it->start_bucket && it->wrapped) return NULL;
    size_t bucket = it->bucket;
    OAKI_ASSERT(it->B <= m->B && bucket < oaki_classic_nbuckets(it->B)); /* a map never shrinks */
    oaki_bmap *b = oaki_classic_bucket(t, it->buckets, bucket);
    it->check_bucket = OAKI_NO_CHECK;
    if (oaki_classic_growing(m) && it->B == m->B) {
        oaki_bmap *old =
            oaki_classic_bucket(t, m->oldbuckets, bucket & (oaki_classic_noldbuckets(m) - 1));
        if (!oaki_classic_evacuated(old)) {
            b = old;
            it->check_bucket = bucket;
        }
    }
    if (++it->bucket == oaki_classic_nbuckets(it->B)) {
        it->bucket = 0;
        it->wrapped = 1;
    }
    it->i = 0;
    return b;
}

/* Will an entry of an old bucket go to the new bucket that the iterator is at? */
static bool belongs(const oak_classic_iter *it, const void *key, uint8_t tag)
{
    const oak_classic_map *m = it->map;
    if (it->check_bucket == OAKI_NO_CHECK || oaki_classic_same_size(m)) return true;
    OAKI_ASSERT(it->check_bucket < oaki_classic_nbuckets(it->B));
    if (oaki_classic_reflexive(m->type, key))
        return ((size_t)oaki_classic_hash(m, key) & (oaki_classic_nbuckets(it->B) - 1)) ==
               it->check_bucket;
    return it->check_bucket << 1 >> it->B == (size_t)(tag & 1); /* B may be 0 */
}

/* Gives the entry in slot i of b, unless it belongs to another bucket or is gone. */
static bool give(oak_classic_iter *it, oaki_bmap *b, size_t i)
{
    const oak_classic_map *m = it->map;
    const oak_classic_type *t = m->type;
    uint8_t tag = b->tags[i];
    if (oaki_classic_empty(tag) || tag == OAKI_EVACUATED_EMPTY) return false;
    void *key = oaki_classic_key(t, b, i);
    if (!belongs(it, key, tag)) return false;
    if ((tag == OAKI_EVACUATED_X || tag == OAKI_EVACUATED_Y) && oaki_classic_reflexive(t, key)) {
        /* The map has moved the entry. It may have another value now, an equal but different key,
         * or be gone. None of these can happen to a key that isn't equal to itself, as no call
         * finds it. */
        if (m->count == 0) return false;
        oaki_classic_slot now = oaki_classic_find(m, key);
        if (!now.b) return false;
        b = now.b;
        i = now.i;
    }
    it->key = oaki_classic_key(t, b, i);
    it->value = oaki_classic_value(t, b, i);
    return true;
}

bool oak_classic_iter_next(oak_classic_iter *it)
{
    const oak_classic_map *m = it ? it->map : NULL;
    if (!m) return false;
    if (OAKI_UNLIKELY(oaki_classic_flags(m) & OAKI_WRITING))
        oak_fatal("oakum: concurrent map iteration and map write");
    oaki_bmap *b = it->bptr;
    for (;;) {
        if (!b && !(b = next_bucket(it))) {
            memset(it, 0, sizeof *it);
            return false;
        }
        while (it->i < OAKI_SLOTS) {
            size_t slot = (size_t)(it->i++ + it->offset) & (OAKI_SLOTS - 1);
            if (give(it, b, slot)) {
                it->bptr = b;
                return true;
            }
        }
        b = oaki_classic_overflow(m->type, b);
        it->i = 0;
    }
}
