/* inner.c - the map inside another structure: exclusion, and the keys that it takes.
 *
 * Owner, invariants and lock: inner.h. */
#include "inner.h"

#include "map.h"
#include "runtime/contract.h"
#include <errno.h>
#include <oakum/heap.h>

/* The address of a thread-local variable identifies a thread, attached or not. */
static AO_t self(void)
{
    return (AO_t)&oaki_tls_mcache;
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
        .flags = (keys->flags & OAKI_MAP_KEY_FLAGS) | OAK_MAP_SCAN_VALUE,
        .key_size = keys->key_size,
        .value_size = value_size,
        .hash = keys->hash,
        .equal = keys->equal,
        .name = keys->name,
    };
    in->type = oaki_maplock_init(&in->lock, what, &in->type);
    in->locked = locked;
    in->map = oak_map_new(&in->type, hint);
    if (!in->map) return false;
    in->type.key_size = in->map->type->key_size; /* which `keys` may leave to the kind of key */
    return true;
}

/* ---- exclusion ---- */

/* Attaches the thread: the pointers that it reads must be in a scanned stack. */
void oaki_inner_take(oaki_inner *in)
{
    const char *what = in->lock.what;
    oaki_attach(what);
    OAKI_REQUIRES_OUTSIDE();
    AO_t owner = AO_load(&in->owner);
    if (OAKI_UNLIKELY(owner == self()))
        oak_fatal("oakum: %s: used from inside of itself, by its hash or equal function, or after "
                  "a jump out of one",
                  what);
    if (in->locked)
        oaki_maplock_wait(&in->lock);
    else if (OAKI_UNLIKELY(owner != 0))
        oak_fatal("oakum: %s: used by two threads at once, and has no lock", what);
    OAKI_ASSERT(AO_load(&in->owner) == 0 || !in->locked);
    AO_store(&in->owner, self());
    oaki_maplock_enter(&in->lock);
}

OAKI_UNWIND_ACTION(oaki_inner_left)
{
    oaki_maplock_unwound();
}

void oaki_inner_leave(oaki_inner *in)
{
    if (OAKI_UNLIKELY(AO_load(&in->owner) != self()))
        oak_fatal("oakum: %s: used by two threads at once, and has no lock",
                  in->lock.what);
    oaki_maplock_leave(&in->lock);
    AO_store(&in->owner, 0);
    if (in->locked) oaki_lock_release(&in->lock.lock);
    oaki_held_over();
}

#ifdef OAKI_DEBUG
bool oaki_inner_is_mine(const oaki_inner *in)
{
    return AO_load(&in->owner) == self() && (!in->locked || oaki_lock_is_mine(&in->lock.lock));
}
#endif

/* ---- keys ---- */

static bool equals_itself(const oaki_inner *in, const void *key)
{
    const oak_map_type *t = &in->type;
    if (t->key == OAK_KEY_CUSTOM)
        return !in->lock.equal || in->lock.equal(key, key, t->key_size);
    return t->key != OAK_KEY_DOUBLE || oak_map_equal_(t, key, key);
}

bool oaki_inner_takes(const oaki_inner *in, const void *key)
{
    if (key && equals_itself(in, key)) return true;
    errno = EINVAL;
    return false;
}

void oaki_inner_remove(oaki_inner *in, const void *key)
{
    OAKI_REQUIRES_ENTERED(in);
    if (OAKI_UNLIKELY(!oak_map_delete(in->map, key)))
        oak_fatal("oakum: %s: a key can't be found any more: it changed while it was in",
                  in->lock.what);
}
