/* weakkey.c - a map with weak keys: its slots hold ephemerons (gc/refs/ephemeron.c), found by the
 * key's address, which the map doesn't scan.
 *
 * Objects don't move. An address may get a new object once the old one is dead. Before that, the
 * pause that found the object dead (or oak_free) has cleared its ephemeron. So if an entry's
 * ephemeron still has its key, the entry is that of the object at this address. Otherwise the entry
 * is dead.
 * Owner, invariants and lock: weakmap.h. */
#include "weakmap.h"

#include "runtime/zone.h"
#include <errno.h>
#include <oakum/gc.h>
#include <oakum/heap.h>

static const oak_map_type addresses = { .key = OAK_KEY_POINTER, .name = "weak keys" };

static bool alive(void *handle)
{
    return oak_ephemeron_get(handle, NULL) != NULL;
}

oak_weakkey *oak_weakkey_new(unsigned flags, size_t hint)
{
    oak_weakkey *m = oak_alloc(sizeof *m);
    return m && oaki_weakmap_init(&m->w, "oak_weakkey", &addresses, flags, hint, alive) ? m : NULL;
}

void *oak_weakkey_get(oak_weakkey *m, const void *key)
{
    void *value = NULL;
    if (!m || !key) return NULL;
    oaki_weakmap_enter(&m->w);
    oak_ephemeron *e = oaki_weakmap_find(&m->w, &key);
    if (e) (void)oak_ephemeron_get(e, &value);
    oaki_weakmap_leave(&m->w);
    return value;
}

int oak_weakkey_put(oak_weakkey *m, void *key, void *value)
{
    if (!m) oak_fatal("oakum: oak_weakkey_put: NULL is no map");
    if (!value || !key || oak_base(key) != key) {
        errno = EINVAL;
        return -1;
    }
    int result;
    oaki_held_forget();
    do {
        result = 0;
        oaki_weakmap_enter(&m->w);
        oak_ephemeron *e = oaki_weakmap_find(&m->w, &key);
        if (e && alive(e))
            oak_ephemeron_set(e, value);
        else if ((e = OAKI_IN_ZONE_OF(m, oak_ephemeron_new(key, value))) != NULL)
            result = oaki_weakmap_set(&m->w, &key, e);
        else
            result = -1;
        oaki_weakmap_leave(&m->w);
    } while (oaki_held_retry(m, result != 0));
    return result;
}

bool oak_weakkey_delete(oak_weakkey *m, const void *key)
{
    return m && key && oaki_weakmap_delete(&m->w, &key);
}

void oak_weakkey_clear(oak_weakkey *m)
{
    if (m) oaki_weakmap_clear(&m->w);
}

size_t oak_weakkey_len(oak_weakkey *m)
{
    return m ? oaki_weakmap_len(&m->w) : 0;
}

bool oak_weakkey_purge(oak_weakkey *m, size_t budget)
{
    return m && oaki_weakmap_purge(&m->w, budget);
}

int oak_weakkey_each(oak_weakkey *m, bool (*fn)(void *key, void *value, void *ctx), void *ctx)
{
    if (!m) return 0;
    if (!fn) return errno = EINVAL, -1;
    oaki_weakmap_walk *k = oaki_weakmap_walk_new(&m->w);
    int more = k ? 1 : -1;
    while (more == 1 && (more = oaki_weakmap_walk_next(k)) == 1) {
        void *value, *key = oak_ephemeron_get(k->handle, &value);
        if (key && !fn(key, value, ctx)) return 0;
    }
    return more;
}
