/* syncmap_trie.c - the sync map's trie: finding a place, adding, unlinking, and the walk.
 *
 * A node that deletes leave with one entry or none is removed. Its slots are frozen one by one, so
 * that no thread adds to it any more. Then its parent's slot is set to the entry that is left, or
 * 0. A writer that meets a frozen slot does the same, and starts again from the top. So a thread
 * that stops in the middle delays no other. (Freezing slots before a node is copied: Prokopec,
 * "Cache-tries", 2018. Tries that are shared without locks: Prokopec et al., "Concurrent tries with
 * efficient non-blocking snapshots", 2012.)
 *
 * Owns: nodes and lists. Lock: none; see syncmap.h.
 * Invariant: nodes and lists are complete before a release store publishes them. No memory is
 * reused while a thread refers to it, so an unchanged word means an unchanged slot.
 * Bound: 16 levels, 16 slots of each node that is searched. */
#include "held.h"
#include "syncmap.h"
#include <oakum/heap.h>

const char oaki_sync_dead;

OAKI_INLINE bool swing(AO_t *slot, AO_t from, AO_t to)
{
    return AO_compare_and_swap_full(slot, from, to);
}

OAKI_INLINE AO_t tagged(const void *p, AO_t tag)
{
    OAKI_ASSERT(p && ((AO_t)p & OAKI_SYNC_TAGS) == 0);
    return (AO_t)p | tag;
}

/* ---- reading ---- */

OAKI_INLINE oaki_sync_entry *find_in(const oak_map_type *t, AO_t word, uint64_t hash,
                                     const void *key)
{
    oaki_sync_entry *one, **e;
    for (size_t n = oaki_sync_entries(word, &one, &e); n > 0; n--, e++)
        if ((*e)->hash == hash && oak_map_equal_(t, oaki_sync_key(t, *e), key)) return *e;
    return NULL;
}

oaki_sync_entry *oaki_sync_find(const oak_syncmap *m, const oaki_sync_root *r, uint64_t hash,
                                const void *key)
{
    const oaki_sync_node *n = &r->top;
    for (unsigned shift = OAKI_SYNC_TOP;; shift -= OAKI_SYNC_BITS) {
        AO_t w = AO_load_acquire(&n->slot[oaki_sync_index(hash, shift)]);
        if (!oaki_sync_is_node(w)) return find_in(m->type, w, hash, key);
        OAKI_ASSERT(shift > 0); /* below the last level there is no node */
        n = oaki_sync_pointer(w);
    }
}

static bool all_dead(AO_t word)
{
    oaki_sync_entry *one, **e;
    for (size_t n = oaki_sync_entries(word, &one, &e); n > 0; n--, e++)
        if (!oaki_sync_is_dead(*e)) return false;
    return true;
}

static uint64_t word_hash(AO_t word)
{
    oaki_sync_entry *one, **e;
    return oaki_sync_entries(word, &one, &e) ? (*e)->hash : 0;
}

/* Below n, whose slots are at `shift`. */
static AO_t next_below(const oaki_sync_node *n, unsigned shift, uint64_t from)
{
    for (unsigned i = oaki_sync_index(from, shift); i < OAKI_SYNC_SLOTS; i++, from = 0) {
        AO_t w = AO_load_acquire(&n->slot[i]);
        if (oaki_sync_is_node(w)) {
            OAKI_ASSERT(shift > 0);
            w = next_below(oaki_sync_pointer(w), shift - OAKI_SYNC_BITS, from);
            if (w) return w;
        } else if (!all_dead(w) && word_hash(w) >= from) {
            return w;
        }
    }
    return 0;
}

AO_t oaki_sync_next(const oaki_sync_root *r, uint64_t from)
{
    return next_below(&r->top, OAKI_SYNC_TOP, from);
}

/* ---- freezing ---- */

/* Returns the number of slots in use, counting a node as two; *word is the last one's word. Slots
 * of deleted entries don't count. */
static unsigned content(const oaki_sync_node *n, AO_t *word)
{
    unsigned used = 0;
    *word = 0;
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS; i++) {
        AO_t w = AO_load_acquire(&n->slot[i]) & ~(AO_t)OAKI_SYNC_FROZEN;
        bool node = oaki_sync_is_node(w);
        if (!node && all_dead(w)) continue;
        used += node ? 2 : 1;
        *word = w;
    }
    return used;
}

/* The word that replaces a frozen node: 0, its one word, or a copy. false: no memory for a copy. */
static bool substitute(const oaki_sync_node *n, AO_t *word)
{
    if (content(n, word) <= 1) return true;
    oaki_sync_node *copy = OAKI_PART(n, oak_alloc(sizeof *copy));
    if (!copy) return false;
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS; i++) {
        OAKI_ASSERT(AO_load(&n->slot[i]) & OAKI_SYNC_FROZEN); /* it won't change behind the copy */
        copy->slot[i] = AO_load_acquire(&n->slot[i]) & ~(AO_t)OAKI_SYNC_FROZEN;
    }
    *word = (AO_t)copy;
    return true;
}

/* The slot keeps its content from now on. */
static void freeze(AO_t *slot)
{
    AO_t w;
    do {
        w = AO_load_acquire(slot);
    } while (!(w & OAKI_SYNC_FROZEN) && !swing(slot, w, w | OAKI_SYNC_FROZEN));
}

/* Replaces n, which the slot `up` refers to, by its content; the first thread to do so succeeds.
 * false: no memory. */
static bool replace(AO_t *up, oaki_sync_node *n)
{
    AO_t word;
    OAKI_ASSERT(n && ((AO_t)n & OAKI_SYNC_TAGS) == 0);
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS; i++) freeze(&n->slot[i]);
    if (!substitute(n, &word)) return false;
    (void)swing(up, (AO_t)n, word); /* or `up` is frozen too: that node's replacement comes first */
    return true;
}

/* ---- places ---- */

typedef struct place {
    AO_t *slot, word;
    unsigned shift;
    int depth; /* of the slot's node; up[depth] refers to it when depth > 0 */
    AO_t *up[OAKI_SYNC_LEVELS];
} place;

/* Finds the slot for this hash, which wasn't frozen when it was read. false: no memory to replace a
 * frozen node on the way. */
static bool locate(oaki_sync_root *r, uint64_t hash, place *at)
{
    for (;;) {
        oaki_sync_node *n = &r->top;
        at->depth = 0;
        for (at->shift = OAKI_SYNC_TOP;; at->shift -= OAKI_SYNC_BITS) {
            at->slot = &n->slot[oaki_sync_index(hash, at->shift)];
            at->word = AO_load_acquire(at->slot);
            if ((at->word & OAKI_SYNC_FROZEN) || !oaki_sync_is_node(at->word)) break;
            n = oaki_sync_pointer(at->word);
            OAKI_ASSERT(at->shift > 0 && at->depth + 1 < OAKI_SYNC_LEVELS);
            at->up[++at->depth] = at->slot;
        }
        if (!(at->word & OAKI_SYNC_FROZEN)) return true;
        OAKI_ASSERT(at->depth > 0); /* the top node is never frozen */
        if (!replace(at->up[at->depth], n)) return false;
    }
}

/* ---- adding ---- */

/* *out is a word for the entries of `word` that aren't deleted, and e if that isn't NULL. All share
 * a hash. false: no memory. */
static bool without_dead(AO_t word, oaki_sync_entry *e, AO_t *out)
{
    oaki_sync_entry *one, **old, *single = e;
    oaki_sync_list *l;
    size_t n = oaki_sync_entries(word, &one, &old), live = e != NULL;
    for (size_t i = 0; i < n; i++) {
        OAKI_ASSERT(old[i]->hash == (e ? e : old[0])->hash);
        if (oaki_sync_is_dead(old[i])) continue;
        single = old[i];
        live++;
    }
    *out = live ? tagged(single, OAKI_SYNC_ENTRY) : 0;
    if (live <= 1) return true;
    size_t bytes = sizeof *l + live * sizeof l->entry[0];
    l = OAKI_PART(single, oak_alloc(bytes));
    if (!l) return false;
    for (size_t i = 0; i < n && l->n < live - (e != NULL); i++)
        if (!oaki_sync_is_dead(old[i])) l->entry[l->n++] = old[i];
    if (e) l->entry[l->n++] = e;
    OAKI_ASSERT(l->n <= live && (!e || l->n > 0));
    if (l->n > 1)
        *out = tagged(l, OAKI_SYNC_LIST);
    else
        *out = l->n ? tagged(l->entry[0], OAKI_SYNC_ENTRY) : 0; /* others died meanwhile */
    return true;
}

/* Makes a node at `shift`, with nodes below it, in which `word` and e have slots of their own.
 * Their hashes differ. 0: no memory. */
static AO_t branch(AO_t word, oaki_sync_entry *e, unsigned shift)
{
    uint64_t old = word_hash(word);
    oaki_sync_node *first = NULL, *n;
    OAKI_ASSERT(old != e->hash);
    for (AO_t *where = NULL;; shift -= OAKI_SYNC_BITS) {
        n = OAKI_PART(e, oak_alloc(sizeof *n));
        if (!n) return 0;
        if (where)
            *where = (AO_t)n;
        else
            first = n;
        where = &n->slot[oaki_sync_index(old, shift)];
        OAKI_ASSERT(shift <= OAKI_SYNC_TOP);
        if (oaki_sync_index(old, shift) == oaki_sync_index(e->hash, shift)) continue;
        *where = word;
        n->slot[oaki_sync_index(e->hash, shift)] = tagged(e, OAKI_SYNC_ENTRY);
        return (AO_t)first;
    }
}

int oaki_sync_add(const oak_syncmap *m, oaki_sync_root *r, oaki_sync_entry *e,
                  oaki_sync_entry **other)
{
    place at;
    OAKI_ASSERT(!oaki_sync_is_dead(e));
    for (;;) {
        AO_t word;
        if (!locate(r, e->hash, &at)) return -1;
        *other = find_in(m->type, at.word, e->hash, oaki_sync_key(m->type, e));
        if (*other && !oaki_sync_is_dead(*other)) return 0;
        if (all_dead(at.word))
            word = tagged(e, OAKI_SYNC_ENTRY);
        else if (word_hash(at.word) != e->hash)
            word = branch(at.word, e, at.shift - OAKI_SYNC_BITS);
        else if (!without_dead(at.word, e, &word))
            word = 0;
        if (!word) return -1;
        if (swing(at.slot, at.word, word)) return 1;
    }
}

/* ---- unlinking ---- */

static bool has(AO_t word, const oaki_sync_entry *e)
{
    oaki_sync_entry *one, **in;
    for (size_t n = oaki_sync_entries(word, &one, &in); n > 0; n--, in++)
        if (*in == e) return true;
    return false;
}

/* Is at most one slot in use, and not by a node? Entries aren't read, as each is another cache
 * line: the thread that deletes one comes here too. */
static bool nearly_empty(const oaki_sync_node *n)
{
    unsigned used = 0;
    for (unsigned i = 0; i < OAKI_SYNC_SLOTS && used <= 1; i++) {
        AO_t w = AO_load_acquire(&n->slot[i]) & ~(AO_t)OAKI_SYNC_FROZEN;
        if (w) used += oaki_sync_is_node(w) ? 2 : 1;
    }
    return used <= 1;
}

/* Without memory e stays linked, until another write to its slot. */
void oaki_sync_unlink(oaki_sync_root *r, const oaki_sync_entry *e)
{
    place at;
    AO_t word;
    OAKI_ASSERT(oaki_sync_is_dead(e));
    do {
        if (!locate(r, e->hash, &at) || !has(at.word, e) || !without_dead(at.word, NULL, &word))
            return;
    } while (!swing(at.slot, at.word, word));
    for (; at.depth > 0; at.depth--) {
        AO_t *up = at.up[at.depth], n = AO_load_acquire(up);
        if (!oaki_sync_is_node(n) || (n & OAKI_SYNC_FROZEN)) return;
        if (!nearly_empty(oaki_sync_pointer(n)) || !replace(up, oaki_sync_pointer(n))) return;
    }
}
