/* store_linear.h - a hash table for memory managers that come without one, of the shape of Oakum's.
 *
 * Groups of 14 slots with a byte of the hash for each, in segments of 256 KiB, and it grows and
 * shrinks a group at a time with each write: linear hashing (Litwin, 1980). So no operation waits
 * for the table, and what it waits for is the memory manager. A group that is full goes on in
 * another that it points to.
 * Invariant: an entry with hash h is in the group address(h) or in one behind it; a slot's tag is 0
 * if and only if the slot is empty. */
#ifndef BENCH_PAUSE_STORE_H
#define BENCH_PAUSE_STORE_H

enum { SLOTS = 14, SEGMENT = 1024, SEGMENTS = 4096, FULL = 10, EMPTY = 5 };

typedef struct entry {
    uint64_t key;
    item *value;
} entry;

typedef struct group {
    uint8_t tags[16];
    entry entries[SLOTS];
    struct group *more;
    uint64_t unused;
} group;

typedef struct store {
    group *segments[SEGMENTS];
    uint64_t mask; /* of the larger of the two powers of two between which the table is */
    uint64_t groups, size;
} store;

static inline void *store_alloc(size_t n)
{
    void *p = MEM_ALLOC(n);
    if (!p) mem_out();
#if !MEM_COLLECTS
    memset(p, 0, n);
#endif
    return p;
}

static inline store *store_make(void)
{
    store *s = store_alloc(sizeof *s);
    s->segments[0] = store_alloc(SEGMENT * sizeof(group));
    s->groups = 1;
    return s;
}

static inline group *store_group(const store *s, uint64_t i)
{
    return &s->segments[i / SEGMENT][i % SEGMENT];
}

static inline group *store_home(const store *s, uint64_t hash)
{
    uint64_t i = hash & s->mask;
    return store_group(s, i < s->groups ? i : i & s->mask >> 1);
}

static inline uint8_t store_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 56) | 1;
}

static inline entry *store_free_slot(group *g, uint8_t tag)
{
    for (;;) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (g->tags[i]) continue;
            g->tags[i] = tag;
            return &g->entries[i];
        }
        if (!g->more) g->more = store_alloc(sizeof *g);
        g = g->more;
    }
}

/* Hand out all entries of a chain again; the groups behind the first are given up. */
static inline void store_scatter(store *s, group *g)
{
    group old = *g;
    memset(g, 0, sizeof *g);
    for (group *from = &old; from;) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (!from->tags[i]) continue;
            uint64_t hash = bench_mix(from->entries[i].key);
            *store_free_slot(store_home(s, hash), from->tags[i]) = from->entries[i];
        }
        group *next = from->more;
        if (from != &old) MEM_FREE(from);
        from = next;
    }
}

static inline void store_grow(store *s)
{
    uint64_t i = s->groups++;
    if (i / SEGMENT == SEGMENTS) mem_out();
    if (!s->segments[i / SEGMENT])
        s->segments[i / SEGMENT] = store_alloc(SEGMENT * sizeof(group));
    if (i > s->mask) s->mask = 2 * s->mask + 1;
    store_scatter(s, store_group(s, i & s->mask >> 1));
}

static inline void store_shrink(store *s)
{
    uint64_t i = --s->groups;
    group *last = store_group(s, i);
    store_scatter(s, last);
    if (s->groups == (s->mask >> 1) + 1) s->mask >>= 1;
    if (i % SEGMENT) return;
    MEM_FREE(s->segments[i / SEGMENT]);
    s->segments[i / SEGMENT] = NULL;
}

static inline void store_add(store *s, uint64_t key, item *value)
{
    uint64_t hash = bench_mix(key);
    *store_free_slot(store_home(s, hash), store_tag(hash)) = (entry){ key, value };
    if (++s->size > s->groups * FULL) store_grow(s);
}

static inline entry *store_search(const store *s, uint64_t key, uint8_t **tag)
{
    uint64_t hash = bench_mix(key);
    for (group *g = store_home(s, hash); g; g = g->more) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (g->tags[i] != store_tag(hash) || g->entries[i].key != key) continue;
            *tag = &g->tags[i];
            return &g->entries[i];
        }
    }
    return NULL;
}

static inline item *store_take(store *s, uint64_t key)
{
    uint8_t *tag;
    entry *e = store_search(s, key, &tag);
    if (!e) return NULL;
    item *value = e->value;
    *tag = 0;
    e->value = NULL;
    if (--s->size < s->groups * EMPTY && s->groups > 1) store_shrink(s);
    return value;
}

static inline item *store_find(const store *s, uint64_t key)
{
    uint8_t *tag;
    entry *e = store_search(s, key, &tag);
    return e ? e->value : NULL;
}

static inline uint64_t store_size(const store *s)
{
    return s->size;
}

#endif
