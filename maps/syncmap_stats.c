/* syncmap_stats.c - what a sync map looks like inside.
 *
 * Owns: nothing. Lock: none: a walk over what is there when it comes by, while others may write. */
#include "syncmap.h"
#include <oakum/heap.h>

static void count_entries(const oak_syncmap *m, AO_t word, oak_syncmap_stats *out)
{
    oaki_sync_entry *one, **e;
    size_t n = oaki_sync_entries(word, &one, &e);
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
    if (!m) return;
    const oaki_sync_root *r = (const oaki_sync_root *)AO_load_acquire(&m->root);
    out->len = oak_syncmap_len(m);
    out->bytes = oak_usable_size(m);
    if (r) count_node(m, &r->top, 1, out);
}
