/* syncmap.h - the sync map's structures, and how its files divide the work.
 *
 * syncmap.c        the operations
 * syncmap_trie.c   the trie: finding a place, adding, unlinking, freezing; the walk in hash order
 * syncmap_stats.c  statistics, and whether the rules below hold
 *
 * A trie over seeded 64-bit hashes, four bits a level from the top. A slot is a word: 0, a node, an
 * entry, or a list of entries that share a hash. Tags in the low bits of the pointer distinguish
 * them. The collector takes a tagged word for a pointer into the object. Slots change by compare
 * and swap. Lists and entries never change, except an entry's value.
 *
 * Invariants:
 * - An entry whose value is OAKI_SYNC_DEAD is deleted, for good. The thread that deleted it unlinks
 *   it; others may do so before.
 * - No two entries of a trie that are not deleted have equal keys.
 * - A slot with the frozen bit never changes again. The node that replaces a frozen one has the
 *   same content, so a reader may be in either.
 * - Entries never move from one root to another.
 *
 * Lock: none. docs/maps-internals.md shows why each operation is linearizable. */
#ifndef OAKI_SYNCMAP_H
#define OAKI_SYNCMAP_H

#include "runtime/base.h"
#include <oakum/syncmap.h>

#define OAKI_SYNC_BITS 4
#define OAKI_SYNC_SLOTS (1 << OAKI_SYNC_BITS)
#define OAKI_SYNC_TOP (64 - OAKI_SYNC_BITS) /* shift of the root's level */
#define OAKI_SYNC_LEVELS (64 / OAKI_SYNC_BITS)

/* Tags of a slot. */
enum { OAKI_SYNC_ENTRY = 1, OAKI_SYNC_FROZEN = 2, OAKI_SYNC_LIST = 4 };
#define OAKI_SYNC_TAGS ((AO_t)7)

typedef struct oaki_sync_node {
    AO_t slot[OAKI_SYNC_SLOTS];
} oaki_sync_node;

/* Adds and deletes write the count; it is apart from the lines that lookups read. */
typedef struct oaki_sync_root {
    oaki_sync_node top;
    char apart[64];
    AO_t len;
    char behind[56];
} oaki_sync_root;

typedef struct oaki_sync_entry {
    AO_t value;
    uint64_t hash;
    char key[]; /* or a pointer to a large key */
} oaki_sync_entry;

typedef struct oaki_sync_list {
    size_t n;
    oaki_sync_entry *entry[];
} oaki_sync_list;

struct oak_syncmap {
    AO_t root; /* oaki_sync_root *, or 0: empty */
    const oak_map_type *type;
    const struct oak_type *entry_type;
    uint64_t seed, mult;
};

extern OAKI_HIDDEN const char oaki_sync_dead;
#define OAKI_SYNC_DEAD ((AO_t)&oaki_sync_dead)

OAKI_INLINE unsigned oaki_sync_index(uint64_t hash, unsigned shift)
{
    return (unsigned)(hash >> shift) & (OAKI_SYNC_SLOTS - 1);
}

OAKI_INLINE const void *oaki_sync_key(const oak_map_type *t, const oaki_sync_entry *e)
{
    return t->key_size > OAK_MAP_INDIRECT_ ? *(void *const *)(const void *)e->key : e->key;
}

OAKI_INLINE bool oaki_sync_is_dead(const oaki_sync_entry *e)
{
    return AO_load_acquire(&e->value) == OAKI_SYNC_DEAD;
}

/* The object that a word refers to, without the tags. */
OAKI_INLINE void *oaki_sync_pointer(AO_t word) { return (void *)(word & ~OAKI_SYNC_TAGS); }

OAKI_INLINE bool oaki_sync_is_node(AO_t word)
{
    return (word & (OAKI_SYNC_ENTRY | OAKI_SYNC_LIST)) == 0 && oaki_sync_pointer(word);
}

/* The entries of a word that is no node: returns their number, and *at is their array. *one is the
 * array of a single entry. */
OAKI_INLINE size_t oaki_sync_entries(AO_t word, oaki_sync_entry **one, oaki_sync_entry ***at)
{
    if (word & OAKI_SYNC_LIST) {
        oaki_sync_list *l = oaki_sync_pointer(word);
        *at = l->entry;
        return l->n;
    }
    *one = oaki_sync_pointer(word);
    *at = one;
    return *one != NULL;
}

/* Returns the entry with this key, deleted or not, or NULL. Writes nothing. */
oaki_sync_entry *oaki_sync_find(const oak_syncmap *m, const oaki_sync_root *r, uint64_t hash,
                                const void *key);

/* Adds e, whose hash is set, and returns 1. If an entry with its key is there and isn't deleted,
 * returns 0 with that entry in *other. -1 with ENOMEM. */
int oaki_sync_add(const oak_syncmap *m, oaki_sync_root *r, oaki_sync_entry *e,
                  oaki_sync_entry **other);

/* Unlinks e, which is deleted, and the nodes that are left with one entry or none. */
void oaki_sync_unlink(oaki_sync_root *r, const oaki_sync_entry *e);

/* Returns the word of the first slot in hash order, from hash `from` on, whose entries aren't all
 * deleted; or 0. */
AO_t oaki_sync_next(const oaki_sync_root *r, uint64_t from);

/* ---- syncmap_stats.c ---- */

/* The rule that the map breaks, or NULL: while no other thread uses it. O(entries). */
const char *oaki_sync_check(const oak_syncmap *m);

#endif
