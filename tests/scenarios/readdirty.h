/* readdirty.h - Go 1.19's sync.Map, written on the classic map: a part that is only read, a dirty
 * one behind a lock, and promotion of the second to the first after as many misses as it has
 * entries. The twin of oak_syncmap that leaks; its keys are strings.
 *
 * Source: the design of Go 1.19's sync.Map (package sync, map.go), by its description there. Like
 * that, a key is an interface of 16 bytes, whose string's header and bytes are objects of the heap;
 * an entry is a pointer; a value is reached through an interface of its own.
 *
 * Any number of threads may use one. A heap object. */
#ifndef SCN_READDIRTY_H
#define SCN_READDIRTY_H

#include "scenario.h"

typedef struct scn_rdmap scn_rdmap;

scn_rdmap *scn_rdmap_new(void);

/* The value, or NULL. A miss of the read part counts towards a promotion. */
void *scn_rdmap_load(scn_rdmap *m, const scn_string *key);

/* value: not NULL. */
void scn_rdmap_store(scn_rdmap *m, const scn_string *key, void *value);

void scn_rdmap_delete(scn_rdmap *m, const scn_string *key);

typedef struct scn_rdmap_stats {
    size_t live;         /* keys that have a value */
    size_t held;         /* entries in the larger of the two parts */
    uint64_t promotions; /* of the dirty part */
    uint64_t copied;     /* entries, by stores that began a dirty part */
} scn_rdmap_stats;

/* O(entries); while nobody writes. */
void scn_rdmap_stats_read(scn_rdmap *m, scn_rdmap_stats *out);

/* ---- a sync map of either policy ---- */

/* That of Go 1.19, where the policy leaks as Go does, or oak_syncmap. A static variable. */
typedef struct scn_syncmap {
    scn_rdmap *rd;
    oak_syncmap *sync;
} scn_syncmap;

static inline void scn_syncmap_init(scn_syncmap *m, const scn_map_policy *p)
{
    m->rd = p->leaks_as_go ? scn_rdmap_new() : NULL;
    m->sync = p->leaks_as_go ? NULL : scn_must(oak_syncmap_new(&oak_map_slice_ptr));
}

static inline void *scn_syncmap_load(const scn_syncmap *m, const scn_string *key)
{
    void *value = NULL;

    if (m->rd != NULL) return scn_rdmap_load(m->rd, key);
    oak_syncmap_load(m->sync, key, &value);
    return value;
}

static inline void scn_syncmap_store(const scn_syncmap *m, const scn_string *key, void *value)
{
    if (m->rd != NULL)
        scn_rdmap_store(m->rd, key, value);
    else if (oak_syncmap_store(m->sync, key, value) != 0)
        scn_die("out of memory");
}

static inline void scn_syncmap_delete(const scn_syncmap *m, const scn_string *key)
{
    if (m->rd != NULL)
        scn_rdmap_delete(m->rd, key);
    else
        oak_syncmap_delete(m->sync, key);
}

#endif
