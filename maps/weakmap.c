/* weakmap.c - shared by maps with weak values and maps with weak keys.
 *
 * Owner, invariants and lock: weakmap.h. */
#include "weakmap.h"

#include "map.h"
#include "runtime/heap.h"
#include <errno.h>
#include <oakum/heap.h>

static size_t collections(void)
{
    return AO_load(&oaki_the_heap.cycle);
}

static void *key_room(const oaki_weakmap *w)
{
    bool scanned = (w->in.type.flags & OAK_MAP_SCAN_KEY) != 0;
    return (scanned ? oak_alloc : oak_alloc_noscan)(w->in.type.key_size);
}

bool oaki_weakmap_init(oaki_weakmap *w, const char *what, const oak_map_type *keys, unsigned flags,
                       size_t hint, bool (*alive)(void *handle))
{
    if ((flags & ~(unsigned)OAK_WEAK_LOCKED) != 0) {
        errno = EINVAL;
        return false;
    }
    bool locked = (flags & OAK_WEAK_LOCKED) != 0;
    if (!oaki_inner_init(&w->in, what, keys, sizeof(void *), locked, hint)) return false;
    w->alive = alive;
    w->cycle = collections();
    w->key = key_room(w);
    return w->key != NULL;
}

/* Another thread's write may begin a resize or take a new seed, so the iterator starts inside. */
static void start_iterator(const oaki_weakmap *w, oak_map_iter *it)
{
    OAKI_REQUIRES_ENTERED(&w->in);
    oak_map_iter_init(it, w->in.map);
}

/* ---- the dead ---- */

static void end_of_round(oaki_weakmap *w, bool early)
{
    OAKI_REQUIRES_ENTERED(&w->in);
    OAKI_REQUIRES_SOUND(oaki_map_check_inside(w->in.map));
    w->in_round = false;
    if (early)
        w->cycle = collections() - 1; /* the iterator had no memory: another round begins */
    memset(&w->it, 0, sizeof w->it);
}

static bool begin_round(oaki_weakmap *w)
{
    OAKI_ASSERT(!w->in_round && !w->it.map);
    size_t now = collections();
    if (OAKI_LIKELY(w->cycle == now)) return false;
    w->cycle = now;
    if (oak_map_len(w->in.map) == 0) return false;
    start_iterator(w, &w->it);
    w->in_round = true;
    return true;
}

static void drop_if_dead(oaki_weakmap *w)
{
    size_t size = w->in.type.key_size;
    OAKI_ASSERT(w->in_round && *(void **)w->it.value);
    if (w->alive(*(void **)w->it.value)) return;
    memcpy(w->key, w->it.key, size); /* the delete moves the map's own copy */
    oaki_inner_remove(&w->in, w->key);
    memset(w->key, 0, size);
}

/* Returns whether more entries are to be examined. Keeps errno. */
static bool step(oaki_weakmap *w, size_t budget)
{
    OAKI_REQUIRES_ENTERED(&w->in);
    if (!w->in_round && OAKI_LIKELY(!begin_round(w))) return false;
    int saved = errno;
    for (; w->in_round && budget > 0; budget--) {
        if (oak_map_iter_next(&w->it))
            drop_if_dead(w);
        else
            end_of_round(w, errno == ENOMEM);
    }
    errno = saved;
    return w->in_round || w->cycle != collections();
}

void oaki_weakmap_take(oaki_weakmap *w)
{
    oaki_inner_enter(&w->in);
    (void)step(w, OAKI_WEAKMAP_STEP);
}

bool oaki_weakmap_purge(oaki_weakmap *w, size_t budget)
{
    oaki_inner_enter(&w->in);
    bool more = step(w, budget);
    oaki_inner_leave(&w->in);
    return more;
}

/* ---- operations ---- */

int oaki_weakmap_set(oaki_weakmap *w, const void *key, void *handle)
{
    OAKI_REQUIRES_ENTERED(&w->in);
    OAKI_ASSERT(handle);
    void **slot = oak_map_put(w->in.map, key);
    if (!slot) return -1;
    *slot = handle;
    return 0;
}

bool oaki_weakmap_delete(oaki_weakmap *w, const void *key)
{
    oaki_weakmap_enter(w);
    void *handle = oaki_weakmap_find(w, key);
    bool there = handle && w->alive(handle);
    if (handle) oaki_inner_remove(&w->in, key);
    oaki_weakmap_leave(w);
    return there;
}

void oaki_weakmap_clear(oaki_weakmap *w)
{
    oaki_inner_enter(&w->in);
    oak_map_clear(w->in.map);
    end_of_round(w, false);
    oaki_inner_leave(&w->in);
}

size_t oaki_weakmap_len(oaki_weakmap *w)
{
    oaki_inner_enter(&w->in);
    size_t n = oak_map_len(w->in.map);
    oaki_inner_leave(&w->in);
    return n;
}

/* ---- walks ---- */

oaki_weakmap_walk *oaki_weakmap_walk_new(oaki_weakmap *w)
{
    oaki_weakmap_walk *k = oak_alloc(sizeof *k);
    if (!k || !(k->key = key_room(w))) return NULL;
    k->w = w;
    oaki_inner_enter(&w->in);
    start_iterator(w, &k->it);
    oaki_inner_leave(&w->in);
    return k;
}

int oaki_weakmap_walk_next(oaki_weakmap_walk *k)
{
    oaki_inner_enter(&k->w->in);
    bool more = oak_map_iter_next(&k->it);
    int result = more ? 1 : errno == ENOMEM ? -1 : 0;
    if (more) {
        memcpy(k->key, k->it.key, k->w->in.type.key_size);
        k->handle = *(void **)k->it.value;
    }
    oaki_inner_leave(&k->w->in);
    return result;
}
