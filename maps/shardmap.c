/* shardmap.c - a map in parts, each a default map behind a lock.
 *
 * Owns: struct oak_shardmap and its parts; the part, if any, that the calling thread is in.
 * Invariants:
 * - A key's hash under the whole map's seed selects its part. The parts' maps have seeds of their
 *   own, so a part's keys are spread evenly in it.
 * - A part's map is NULL until a key is put into it, and reads as empty.
 * - A thread is in one part at most, of all sharded maps.
 *
 * Lock: each part's (maplock.h). A stop counts threads that wait for it as blocked. It halts the
 * holder like any thread, as no collection takes the lock.
 * Bound: a default map's, and the wait. */
#include "hash.h"
#include "inner.h"
#include "map.h"
#include "runtime/contain.h"
#include "runtime/contract.h"
#include "runtime/os.h"
#include "runtime/zone.h"
#include <errno.h>
#include <oakum/heap.h>
#include <oakum/shardmap.h>

#define APART 128 /* bytes: two lines, as processors fetch them in pairs */

typedef struct shard {
    oaki_maplock lock;
    oak_map *map;
} __attribute__((aligned(APART))) shard;

struct oak_shardmap {
    const oak_map_type *full; /* the user's, with all sizes */
    const oak_map_type *part; /* of the parts' maps (maplock.h) */
    size_t mask;              /* parts - 1 */
    size_t hint;              /* entries of a part */
    uint64_t seed, mult;
    shard shard[];
};

static __thread const shard *inside __attribute__((tls_model("initial-exec")));

/* ---- parts ---- */

/* Uses bits that a default map uses neither for the home group nor for the tag. */
static shard *shard_of(const oak_shardmap *m, const void *key)
{
    OAKI_ASSERT((m->mask & (m->mask + 1)) == 0 && m->mask < OAK_SHARDMAP_MAX);
    uint64_t hash = oak_map_hash_with_(m->full, key, m->seed, m->mult);
    return (shard *)(uintptr_t)&m->shard[(hash >> 16) & m->mask];
}

OAKI_UNWIND_ACTION(oaki_shardmap_left)
{
    oaki_maplock_unwound();
}

/* Inlined, as the unwind action must belong to the callers' frames. */
OAKI_INLINE shard *enter(shard *s)
{
    OAKI_ON_UNWIND(oaki_shardmap_left);
    if (OAKI_UNLIKELY(inside != NULL))
        oak_fatal("oakum: a sharded map is used from inside a function that one has called, or "
                  "after a jump out of one");
    oaki_maplock_wait(&s->lock);
    oaki_maplock_enter(&s->lock);
    inside = s;
    return s;
}

static void leave(shard *s)
{
    OAKI_REQUIRES_LOCK(&s->lock.lock);
    OAKI_ASSERT(inside == s);
    inside = NULL;
    oaki_maplock_leave(&s->lock);
    oaki_lock_release(&s->lock.lock);
    oaki_held_over();
}

/* Leaves part s, if any, and enters the next one, or the first. NULL: there is none. */
OAKI_INLINE shard *enter_next(const oak_shardmap *m, shard *s)
{
    const shard *end = m->shard + m->mask + 1;
    if (s) leave(s);
    s = s ? s + 1 : (shard *)(uintptr_t)m->shard;
    return s < end ? enter(s) : NULL;
}

/* ---- the public side ---- */

static size_t count_parts(size_t wanted)
{
    size_t n = 1;
    if (wanted == 0) wanted = 4 * (size_t)oaki_os_cpus();
    while (n < wanted && n < OAK_SHARDMAP_MAX) n *= 2;
    return n;
}

/* Keys of a part vary about the mean by its root (a Poisson distribution): four of these are
 * exceeded by one part in 30,000. */
static size_t most_of_part(size_t mean)
{
    size_t root = 1;
    if (mean == 0 || mean > SIZE_MAX / 2) return mean;
    while (root < mean / root) root += 1 + root / 64;
    return mean + 4 * root;
}

oak_shardmap *oak_shardmap_new(const oak_map_type *t, size_t shards, size_t hint)
{
    if (!t) {
        errno = EINVAL;
        return NULL;
    }
    const oaki_map_layout *l = oaki_map_layout_get(t);
    oak_map_type part = *t;
    size_t n = count_parts(shards);
    oak_shardmap *m = l ? oak_alloc_aligned(APART, sizeof *m + n * sizeof m->shard[0]) : NULL;
    if (!m) return NULL;
    for (size_t i = 0; i < n; i++) part = oaki_maplock_init(&m->shard[i].lock, "oak_shardmap", t);
    const oaki_map_layout *parts = oaki_map_layout_get(&part);
    if (!parts) return NULL;
    m->full = &l->type;
    m->part = &parts->type;
    m->mask = n - 1;
    m->hint = most_of_part(hint / n + (hint % n > 0));
    m->seed = oaki_hash_random();
    m->mult = oaki_hash_random() | 1;
    return m;
}

bool oak_shardmap_get(const oak_shardmap *m, const void *key, void *value_out)
{
    if (!m || !key || !oaki_attached()) return false;
    shard *s = enter(shard_of(m, key));
    const void *value = oak_map_get(s->map, key);
    if (value && value_out) memcpy(value_out, value, m->full->value_size);
    leave(s);
    return value != NULL;
}

bool oak_shardmap_delete(oak_shardmap *m, const void *key)
{
    if (!m || !key || !oaki_attached()) return false;
    shard *s = enter(shard_of(m, key));
    bool deleted = oak_map_delete(s->map, key);
    leave(s);
    return deleted;
}

/* Returns the slot of a key in s, which is entered; NULL with ENOMEM. */
static void *slot_for(const oak_shardmap *m, shard *s, const void *key)
{
    OAKI_REQUIRES_LOCK(&s->lock.lock);
    if (!s->map && (s->map = OAKI_IN_ZONE_OF(m, oak_map_new(m->part, m->hint))) != NULL)
        oaki_map_make_part(s->map);
    return s->map ? oak_map_put(s->map, key) : NULL;
}

OAKI_INLINE shard *enter_for_put(oak_shardmap *m, const void *key)
{
    if (OAKI_UNLIKELY(!m)) oak_fatal("oakum: write to a nil sharded map");
    if (OAKI_UNLIKELY(!key)) return errno = EINVAL, NULL;
    return oaki_attached() ? enter(shard_of(m, key)) : NULL;
}

int oak_shardmap_put(oak_shardmap *m, const void *key, const void *value)
{
    void *slot;
    oaki_held_forget();
    do {
        shard *s = enter_for_put(m, key);
        if (!s) return -1;
        slot = slot_for(m, s, key);
        if (slot && value)
            memcpy(slot, value, m->full->value_size);
        else if (slot)
            memset(slot, 0, m->full->value_size);
        leave(s);
    } while (oaki_held_retry(m, !slot));
    return slot ? 0 : -1;
}

static bool is_other(const void *key, void *value, void *slot)
{
    (void)key;
    return value != slot;
}

/* A key that is unequal to itself, such as a NaN, can't be looked up. */
static void remove_new(shard *s, const void *key, void *slot)
{
    if (!oak_map_delete(s->map, key)) (void)oak_map_retain(s->map, is_other, slot);
}

int oak_shardmap_update(oak_shardmap *m, const void *key,
                        bool (*fn)(void *value, bool there, void *ctx), void *ctx)
{
    OAKI_NO_CANCEL; /* fn has to return */
    void *slot;
    bool there;
    oaki_held_forget();
    do {
        shard *s = enter_for_put(m, fn ? key : NULL);
        if (!s) return -1;
        slot = oak_map_get(s->map, key);
        there = slot != NULL;
        if (!there) slot = slot_for(m, s, key);
        bool keep = true;
        if (slot) OAKI_CALL_LOCKED(&s->lock, keep = fn(slot, there, ctx));
        if (!keep) remove_new(s, key, slot);
        leave(s);
    } while (!slot && oaki_held_again(m, true)); /* fn is called once */
    return slot ? there : -1;
}

int oak_shardmap_range(const oak_shardmap *m, bool (*fn)(const void *key, void *value, void *ctx),
                       void *ctx)
{
    OAKI_NO_CANCEL;
    oak_map_iter it;
    if (!m) return 0;
    if (!fn) return errno = EINVAL, -1;
    if (!oaki_attached()) return -1;
    for (shard *s = NULL; (s = enter_next(m, s)) != NULL;) {
        oak_map_iter_init(&it, s->map);
        bool wanted = true;
        while (wanted && oak_map_iter_next(&it))
            OAKI_CALL_LOCKED(&s->lock, wanted = fn(it.key, it.value, ctx));
        if (wanted && errno != ENOMEM) continue;
        leave(s);
        return wanted ? -1 : 0;
    }
    return 0;
}

size_t oak_shardmap_len(const oak_shardmap *m)
{
    size_t n = 0;
    if (!m || !oaki_attached()) return 0;
    for (shard *s = NULL; (s = enter_next(m, s)) != NULL;) n += oak_map_len(s->map);
    return n;
}

void oak_shardmap_clear(oak_shardmap *m)
{
    if (!m || !oaki_attached()) return;
    for (shard *s = NULL; (s = enter_next(m, s)) != NULL;) oak_map_clear(s->map);
}

void oak_shardmap_stats_read(const oak_shardmap *m, oak_shardmap_stats *out)
{
    if (!out) return;
    *out = (oak_shardmap_stats){ 0 };
    if (!m || !oaki_attached()) return;
    out->shards = m->mask + 1;
    out->smallest = SIZE_MAX;
    for (shard *s = NULL; (s = enter_next(m, s)) != NULL;) {
        oak_map_stats part;
        oak_map_stats_read(s->map, &part);
        out->len += part.len;
        out->smallest = OAKI_MIN(out->smallest, part.len);
        out->largest = OAKI_MAX(out->largest, part.len);
        out->array_bytes += part.array_bytes;
        out->old_array_bytes += part.old_array_bytes;
        out->resizing += part.resizing;
        out->growths += part.growths;
        out->shrinks += part.shrinks;
        out->reseeds += part.reseeds;
        out->same_hash = OAKI_MAX(out->same_hash, part.same_hash);
        out->bad_hash |= part.bad_hash;
    }
}
