/* inner.c - the map inside another structure: who may use it now, and which keys it takes. */
#include "inner.h"

#include "runtime/thread.h"
#include <errno.h>
#include <oakum/heap.h>

/* The address of a thread-local variable tells threads apart, attached or not. */
static AO_t self(void)
{
    return (AO_t)&oaki_tls_mcache;
}

static size_t key_size(const oak_map_type *t)
{
    switch (t->key) {
    case OAK_KEY_U32:
        return 4;
    case OAK_KEY_U64:
        return 8;
    case OAK_KEY_POINTER:
    case OAK_KEY_CSTRING:
        return sizeof(void *);
    case OAK_KEY_SLICE:
        return sizeof(oak_slice);
    case OAK_KEY_DOUBLE:
        return t->key_size ? t->key_size : sizeof(double);
    case OAK_KEY_BYTES:
    case OAK_KEY_CUSTOM:
    default:
        return t->key_size;
    }
}

bool oaki_inner_init(oaki_inner *in, const char *what, const oak_map_type *keys, size_t value_size,
                     bool locked, size_t hint)
{
    if (!keys) {
        errno = EINVAL;
        return false;
    }
    in->type = (oak_map_type){
        .key = keys->key,
        .flags = (keys->flags & OAK_MAP_SCAN_KEY) | OAK_MAP_SCAN_VALUE,
        .key_size = key_size(keys),
        .value_size = value_size,
        .hash = keys->hash,
        .equal = keys->equal,
        .name = keys->name,
    };
    in->what = what;
    in->locked = locked;
    oaki_lock_init(&in->lock, OAKI_RANK_MAP);
    in->map = oak_map_new(&in->type, hint);
    return in->map != NULL;
}

/* ---- exclusion ---- */

void oaki_inner_enter(oaki_inner *in)
{
    AO_t owner = AO_load(&in->owner);
    if (OAKI_UNLIKELY(owner == self()))
        oak_fatal("oakum: %s: used from inside of itself, by its hash or equal function", in->what);
    if (in->locked)
        oaki_lock_acquire(&in->lock);
    else if (OAKI_UNLIKELY(owner != 0))
        oak_fatal("oakum: %s: used by two threads at once, and has no lock", in->what);
    AO_store(&in->owner, self());
}

void oaki_inner_leave(oaki_inner *in)
{
    if (OAKI_UNLIKELY(AO_load(&in->owner) != self()))
        oak_fatal("oakum: %s: used by two threads at once, and has no lock", in->what);
    AO_store(&in->owner, 0);
    if (in->locked) oaki_lock_release(&in->lock);
}

/* ---- keys ---- */

static bool equals_itself(const oak_map_type *t, const void *key)
{
    if (t->key == OAK_KEY_CUSTOM) return t->equal(key, key, t->key_size);
    if (t->key != OAK_KEY_DOUBLE) return true;
    float f;
    double d;
    if (t->key_size == sizeof f) {
        memcpy(&f, key, sizeof f);
        return f == f;
    }
    memcpy(&d, key, sizeof d);
    return d == d;
}

bool oaki_inner_takes(const oaki_inner *in, const void *key)
{
    if (key && equals_itself(&in->type, key)) return true;
    errno = EINVAL;
    return false;
}

void oaki_inner_remove(oaki_inner *in, const void *key)
{
    if (OAKI_UNLIKELY(!oak_map_delete(in->map, key)))
        oak_fatal("oakum: %s: a key can't be found any more: it changed while it was in", in->what);
}
