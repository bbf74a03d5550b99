/* syncmap_stats.c - a sync map's statistics, and the check of its rules.
 *
 * Owns: nothing. Lock: none. Statistics count the entries that the walk meets, while other threads
 * may write. */
#include "runtime/mcache.h"
#include "syncmap.h"
#include <oakum/heap.h>

static void count_entries(const oak_syncmap *m, AO_t word, oak_syncmap_stats *out)
{
    oaki_sync_entry *one, **e;
    size_t n = oaki_sync_entries(word, &one, &e);
    OAKI_ASSERT(n > 1 || !(word & OAKI_SYNC_LIST));
    if (word & OAKI_SYNC_LIST) out->bytes += oak_usable_size(oaki_sync_pointer(word));
    out->entries += n;
    out->same_hash = OAKI_MAX(out->same_hash, n);
    for (size_t i = 0; i < n; i++) {
        out->bytes += oak_usable_size(e[i]);
        if (m->type->key_size > OAK_MAP_INDIRECT_)
            out->bytes += oak_usable_size(oaki_sync_key(m->type, e[i]));
    }
}

static void count_node(const oak_syncmap *m, const oaki_sync_node *n, size_t depth,
                       oak_syncmap_stats *out)
{
    OAKI_ASSERT(depth <= OAKI_SYNC_LEVELS);
    out->nodes++;
    out->bytes += oak_usable_size(n);
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS; i++) {
        AO_t w = AO_load_acquire(&n->slot[i]);
        if (oaki_sync_is_node(w)) {
            count_node(m, oaki_sync_pointer(w), depth + 1, out);
        } else if (oaki_sync_pointer(w)) {
            count_entries(m, w, out);
            out->deepest = OAKI_MAX(out->deepest, depth);
        }
    }
}

void oak_syncmap_stats_read(const oak_syncmap *m, oak_syncmap_stats *out)
{
    if (!out) return;
    *out = (oak_syncmap_stats){ 0 };
    if (!m || !oaki_attached()) return; /* what is read must be in a stack that is scanned */
    const oaki_sync_root *r = (const oaki_sync_root *)AO_load_acquire(&m->root);
    out->len = oak_syncmap_len(m);
    out->bytes = oak_usable_size(m);
    if (r) count_node(m, &r->top, 1, out);
}

/* ---- the check ---- */

/* `prefix` below: the bits of a hash above `shift`, which node and slot imply. */
typedef struct counted {
    const oak_map_type *type;
    size_t live;
    const char *broken;
} counted;

static void check_entries(AO_t word, uint64_t prefix, unsigned shift, counted *sum)
{
    oaki_sync_entry *one, **e;
    size_t n = oaki_sync_entries(word, &one, &e);
    if ((word & OAKI_SYNC_LIST) && n < 2) sum->broken = "syncmap: a list has two entries at least";
    for (size_t i = 0; i < n; i++) {
        if (e[i]->hash >> shift != prefix) sum->broken = "syncmap: an entry is where its hash says";
        if (e[i]->hash != e[0]->hash) sum->broken = "syncmap: entries of a list share their hash";
        if (oaki_sync_is_dead(e[i])) continue;
        sum->live++;
        const void *key = oaki_sync_key(sum->type, e[i]);
        for (size_t k = 0; k < i; k++)
            if (!oaki_sync_is_dead(e[k]) &&
                oak_map_equal_(sum->type, oaki_sync_key(sum->type, e[k]), key))
                sum->broken = "syncmap: no two entries that live have equal keys";
    }
}

static void check_node(const oaki_sync_node *n, uint64_t prefix, unsigned shift, counted *sum)
{
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS && !sum->broken; i++) {
        AO_t w = AO_load_acquire(&n->slot[i]);
        uint64_t here = prefix << OAKI_SYNC_BITS | i;
        if (!oaki_sync_is_node(w))
            check_entries(w, here, shift, sum);
        else if (shift == 0)
            sum->broken = "syncmap: the trie has 16 levels";
        else
            check_node(oaki_sync_pointer(w), here, shift - OAKI_SYNC_BITS, sum);
    }
}

const char *oaki_sync_check(const oak_syncmap *m)
{
    const oaki_sync_root *r = (const oaki_sync_root *)AO_load_acquire(&m->root);
    counted sum = { .type = m->type };
    if (!r) return NULL;
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS; i++)
        if (AO_load(&r->top.slot[i]) & OAKI_SYNC_FROZEN)
            return "syncmap: the top node is never frozen";
    check_node(&r->top, 0, OAKI_SYNC_TOP, &sum);
    if (!sum.broken && sum.live != (size_t)AO_load(&r->len))
        return "syncmap: len is the number of entries that live";
    return sum.broken;
}
