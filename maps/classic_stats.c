/* classic_stats.c - the classic map's statistics, and the check of its rules.
 *
 * Owns:  nothing.
 * Lock:  none, as for a lookup.
 * Bound: O(buckets) for the statistics, but O(entries) where keys may not equal themselves.
 *        O(entries) for the check. */
#include "classic.h"

static size_t count_unfindable(const oak_classic_type *t, oaki_bmap *b)
{
    size_t n = 0;
    for (size_t i = 0; i < OAKI_SLOTS; i++)
        n += b->tags[i] >= OAKI_TAG_MIN && !oaki_classic_reflexive(t, oaki_classic_key(t, b, i));
    return n;
}

/* Adds the chain that begins at head. */
static void count_chain(const oak_classic_type *t, oaki_bmap *head, oak_classic_stats *out)
{
    size_t length = 0;
    for (oaki_bmap *b = head; b; b = oaki_classic_overflow(t, b)) {
        out->unfindable += count_unfindable(t, b);
        if (length++ == 0) continue;
        for (size_t i = 0; i < OAKI_SLOTS; i++) out->in_overflow += b->tags[i] >= OAKI_TAG_MIN;
    }
    out->overflow_buckets += length - 1;
    out->longest_chain = OAKI_MAX(out->longest_chain, length);
}

void oak_classic_stats_read(const oak_classic_map *m, oak_classic_stats *out)
{
    if (!out) return;
    memset(out, 0, sizeof *out);
    if (!m) return;
    const oak_classic_type *t = m->type;
    size_t chains = 0;
    out->count = m->count;
    out->B = m->B;
    out->flags = oaki_classic_flags(m);
    out->noverflow = m->noverflow;
    out->growths = m->doublings;
    out->same_size_growths = m->same_size_growths;
    out->nevacuate = m->nevacuate;
    if (m->buckets) out->array_bytes = oak_usable_size(m->buckets);
    if (oaki_classic_growing(m)) {
        out->growing = true;
        out->same_size = oaki_classic_same_size(m);
        out->noldbuckets = oaki_classic_noldbuckets(m);
        out->old_array_bytes = oak_usable_size(m->oldbuckets);
    }
    for (size_t i = 0; i < out->noldbuckets; i++) {
        oaki_bmap *b = oaki_classic_bucket(t, m->oldbuckets, i);
        if (oaki_classic_evacuated(b)) {
            out->evacuated++;
            continue;
        }
        count_chain(t, b, out);
        chains++;
    }
    /* until their old bucket is evacuated, new buckets are empty, and lookups don't read them */
    for (size_t i = 0; m->buckets && i < oaki_classic_nbuckets(m->B); i++) {
        if (out->growing && !oaki_classic_evacuated(
                                oaki_classic_bucket(t, m->oldbuckets, i & (out->noldbuckets - 1))))
            continue;
        count_chain(t, oaki_classic_bucket(t, m->buckets, i), out);
        chains++;
    }
    if (chains > 0) out->mean_chain = (double)(chains + out->overflow_buckets) / (double)chains;
}

/* ---- the check ---- */

typedef struct counted {
    size_t entries, overflow; /* overflow buckets */
    bool hashes;              /* hash and equal may be called */
} counted;

/* Rules of the chain that begins at head, bucket i of an array that is masked with `mask`. */
static const char *check_chain(const oak_classic_map *m, oaki_bmap *head, size_t i, size_t mask,
                               counted *n)
{
    const oak_classic_type *t = m->type;
    bool rest = false, one = false;
    for (oaki_bmap *b = head; b; b = oaki_classic_overflow(t, b)) {
        if (b != head) n->overflow++;
        for (size_t s = 0; s < OAKI_SLOTS; s++) {
            uint8_t tag = b->tags[s];
            if (rest && tag != OAKI_EMPTY_REST) return "classic: nothing follows EMPTY_REST";
            rest = tag == OAKI_EMPTY_REST;
            if (rest && one) return "classic: empty slots after the last entry are EMPTY_REST";
            one = tag == OAKI_EMPTY_ONE;
            if (oaki_classic_empty(tag)) continue;
            if (tag < OAKI_TAG_MIN) return "classic: a chain is evacuated whole or not at all";
            n->entries++;
            if (!n->hashes) continue;
            const void *key = oaki_classic_key(t, b, s);
            if (!oaki_classic_reflexive(t, key)) continue;
            uint64_t hash = oaki_classic_hash(m, key);
            if (tag != oaki_classic_tag(hash)) return "classic: a tag is its hash's top byte";
            if (((size_t)hash & mask) != i) return "classic: an entry is in its hash's bucket";
        }
    }
    return one ? "classic: empty slots at the end of a chain are EMPTY_REST" : NULL;
}

static const char *check_list(const oaki_classic_list *l, size_t overflow)
{
    if (!l) return "classic: an unscanned array has a list of overflow buckets";
    if (l->len < overflow) return "classic: a list holds all overflow buckets";
    if (l->len > l->cap) return "classic: list length within capacity";
    for (size_t i = 0; i < l->len; i++)
        if (!l->data[i]) return "classic: a list holds buckets";
    return NULL;
}

/* Rules of the buckets that the old array still holds. */
static const char *check_old(const oak_classic_map *m, counted *n)
{
    size_t nold = oaki_classic_noldbuckets(m);
    const char *broken = NULL;
    for (size_t i = 0; i < nold && !broken; i++) {
        oaki_bmap *b = oaki_classic_bucket(m->type, m->oldbuckets, i);
        if (oaki_classic_evacuated(b)) continue;
        if (i < m->nevacuate) return "classic: old buckets below nevacuate are evacuated";
        broken = check_chain(m, b, i, nold - 1, n);
    }
    if (!broken && !oaki_classic_scanned(m->type))
        broken = check_list(m->extra->oldoverflow, n->overflow);
    return broken;
}

static const char *check_new(const oak_classic_map *m, counted *sum)
{
    const oak_classic_type *t = m->type;
    size_t n = oaki_classic_nbuckets(m->B), overflow = sum->overflow;
    const char *broken = NULL;
    for (size_t i = 0; i < n && !broken; i++) {
        size_t before = sum->entries;
        broken = check_chain(m, oaki_classic_bucket(t, m->buckets, i), i, n - 1, sum);
        if (oaki_classic_growing(m) && sum->entries != before &&
            !oaki_classic_evacuated(oaki_classic_bucket(
                t, m->oldbuckets, i & (oaki_classic_noldbuckets(m) - 1))))
            return "classic: a new bucket is empty until its old one is evacuated";
    }
    if (!broken && !oaki_classic_scanned(t))
        broken = check_list(m->extra->overflow, sum->overflow - overflow);
    return broken;
}

/* The preallocated overflow buckets that are left: the last one's link leads to the array. */
static const char *check_spares(const oak_classic_map *m)
{
    const oak_classic_type *t = m->type;
    size_t size = oaki_classic_bucket_size(t), bytes = oak_usable_size(m->buckets);
    char *spare = m->extra ? (char *)m->extra->next_overflow : NULL, *end = m->buckets + bytes;
    if (!spare || spare < m->buckets || spare >= end) return NULL; /* none, or an older array's */
    if (m->B < OAKI_SPARE_FROM) return "classic: a small array has no spares";
    if (spare < m->buckets + oaki_classic_nbuckets(m->B) * size)
        return "classic: spares lie behind the buckets";
    for (; spare + size <= end; spare += size) {
        oaki_bmap *link = oaki_classic_overflow(t, (oaki_bmap *)(void *)spare);
        if (!link) continue;
        if ((char *)link != m->buckets) return "classic: a spare's link leads to the array";
        return spare + 2 * size > end ? NULL : "classic: only the last spare has a link";
    }
    return "classic: the last spare has a link";
}

static const char *check(const oak_classic_map *m, bool hashes)
{
    counted n = { .hashes = hashes };
    const char *broken = NULL;
    if (!m->buckets)
        return m->count != 0 || m->oldbuckets || m->B != 0 ? "classic: no array, no entries" : NULL;
    if (oaki_classic_same_size(m) && !oaki_classic_growing(m))
        return "classic: same-size only while growing";
    if (!oaki_classic_scanned(m->type) && !m->extra) return "classic: an unscanned array has lists";
    if (oaki_classic_growing(m)) broken = check_old(m, &n);
    if (!broken) broken = check_new(m, &n);
    if (!broken) broken = check_spares(m);
    if (!broken && n.entries != m->count) return "classic: count is the number of entries";
    return broken;
}

const char *oaki_classic_check(const oak_classic_map *m)
{
    if (oaki_classic_flags(m) & OAKI_WRITING) return "classic: no write is under way";
    return check(m, true);
}

const char *oaki_classic_check_inside(const oak_classic_map *m)
{
    return check(m, m->type->hash == oak_classic_hash_bytes &&
                        m->type->equal == oak_classic_equal_bytes);
}
