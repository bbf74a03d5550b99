/* weakvalue.c - a map with weak values: its slots hold weak references (gc/refs/weak.c).
 *
 * Owner, invariants and lock: weakmap.h. */
#include "weakmap.h"

#include <errno.h>
#include <oakum/gc.h>
#include <oakum/heap.h>

static bool alive(void *handle)
{
    return oak_weak_get(handle) != NULL;
}

oak_weakvalue *oak_weakvalue_new(const oak_map_type *keys, unsigned flags, size_t hint)
{
    oak_weakvalue *m = oak_alloc(sizeof *m);
    return m && oaki_weakmap_init(&m->w, "oak_weakvalue", keys, flags, hint, alive) ? m : NULL;
}

static void *value_of(const oaki_weakmap *w, const void *key)
{
    oak_weak *handle = oaki_weakmap_find(w, key);
    return handle ? oak_weak_get(handle) : NULL;
}

void *oak_weakvalue_get(oak_weakvalue *m, const void *key)
{
    if (!m || !key) return NULL;
    oaki_weakmap_enter(&m->w);
    void *value = value_of(&m->w, key);
    oaki_weakmap_leave(&m->w);
    return value;
}

/* Returns the value that is there afterwards, or NULL with errno. */
static void *put(oak_weakvalue *m, const void *key, void *value, bool keep)
{
    if (!m) oak_fatal("oakum: oak_weakvalue_put: NULL is no map");
    if (!oaki_inner_takes(&m->w.in, key)) return NULL;
    if (!oak_base(value)) {
        errno = EINVAL;
        return NULL;
    }
    void *there;
    oaki_held_forget();
    do {
        oaki_weakmap_enter(&m->w);
        there = keep ? value_of(&m->w, key) : NULL;
        if (!there) {
            oak_weak *handle = oak_weak_new(value);
            if (handle && oaki_weakmap_set(&m->w, key, handle) == 0) there = value;
        }
        oaki_weakmap_leave(&m->w);
    } while (oaki_held_retry(m, !there));
    return there;
}

int oak_weakvalue_put(oak_weakvalue *m, const void *key, void *value)
{
    return put(m, key, value, false) ? 0 : -1;
}

void *oak_weakvalue_intern(oak_weakvalue *m, const void *key, void *value)
{
    return put(m, key, value, true);
}

bool oak_weakvalue_delete(oak_weakvalue *m, const void *key)
{
    return m && key && oaki_weakmap_delete(&m->w, key);
}

void oak_weakvalue_clear(oak_weakvalue *m)
{
    if (m) oaki_weakmap_clear(&m->w);
}

size_t oak_weakvalue_len(oak_weakvalue *m)
{
    return m ? oaki_weakmap_len(&m->w) : 0;
}

bool oak_weakvalue_purge(oak_weakvalue *m, size_t budget)
{
    return m && oaki_weakmap_purge(&m->w, budget);
}

int oak_weakvalue_each(oak_weakvalue *m, bool (*fn)(const void *key, void *value, void *ctx),
                       void *ctx)
{
    if (!m) return 0;
    if (!fn) return errno = EINVAL, -1;
    oaki_weakmap_walk *k = oaki_weakmap_walk_new(&m->w);
    int more = k ? 1 : -1;
    while (more == 1 && (more = oaki_weakmap_walk_next(k)) == 1) {
        void *value = oak_weak_get(k->handle);
        if (value && !fn(k->key, value, ctx)) return 0;
    }
    return more;
}
