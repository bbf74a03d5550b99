/* inner.c - the map inside another structure: exclusion, and the keys that it takes. */
#include "inner.h"

#include "runtime/contract.h"
#include <errno.h>
#include <oakum/heap.h>

/* The one that the calling thread has entered, or NULL. */
static __thread const oaki_inner *inside __attribute__((tls_model("initial-exec")));

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
        .flags = (keys->flags & OAK_MAP_SCAN_KEY) | OAK_MAP_SCAN_VALUE,
        .key_size = keys->key_size,
        .value_size = value_size,
        .hash = keys->hash,
        .equal = keys->equal,
        .name = keys->name,
    };
    in->what = what;
    in->locked = locked;
    oaki_lock_init(&in->lock, OAKI_RANK_MAP);
    in->map = oak_map_new(&in->type, hint);
    if (!in->map) return false;
    in->type.key_size = in->map->type->key_size; /* which `keys` may leave to the kind of key */
    return true;
}

/* ---- exclusion ---- */

/* A stop neither wakes the waiting thread nor waits for it. This frame stays until the end of the
 * blocking region. */
static OAKI_NOINLINE void wait_for(oaki_lock *l)
{
    oaki_thread *t = oaki_thread_self();
    oaki_blocking_begin(t);
    oaki_lock_acquire(l);
    oaki_blocking_end(t);
}

void oaki_inner_wait(oaki_lock *l)
{
    OAKI_REQUIRES_OUTSIDE(); /* a stop counts this thread as blocked */
    if (OAKI_UNLIKELY(!oaki_lock_try(l))) wait_for(l);
}

/* Attaches the thread: the pointers that it reads must be in a scanned stack. */
void oaki_inner_take(oaki_inner *in)
{
    oaki_attach(in->what);
    OAKI_REQUIRES_OUTSIDE();
    AO_t owner = AO_load(&in->owner);
    if (OAKI_UNLIKELY(owner == self()))
        oak_fatal("oakum: %s: used from inside of itself, by its hash or equal function", in->what);
    if (in->locked)
        oaki_inner_wait(&in->lock);
    else if (OAKI_UNLIKELY(owner != 0))
        oak_fatal("oakum: %s: used by two threads at once, and has no lock", in->what);
    OAKI_ASSERT(AO_load(&in->owner) == 0 || !in->locked);
    AO_store(&in->owner, self());
    inside = in;
}

OAKI_UNWIND_ACTION(oaki_inner_left)
{
    if (inside)
        oak_fatal("oakum: %s: its hash or equal function was left by an exception, pthread_exit or "
                  "cancellation",
                  inside->what);
}

void oaki_inner_leave(oaki_inner *in)
{
    if (OAKI_UNLIKELY(AO_load(&in->owner) != self()))
        oak_fatal("oakum: %s: used by two threads at once, and has no lock", in->what);
    OAKI_ASSERT(inside == in);
    AO_store(&in->owner, 0);
    inside = NULL;
    if (in->locked) oaki_lock_release(&in->lock);
}

#ifdef OAKI_DEBUG
bool oaki_inner_is_mine(const oaki_inner *in)
{
    return AO_load(&in->owner) == self() && (!in->locked || oaki_lock_is_mine(&in->lock));
}
#endif

/* ---- keys ---- */

static bool equals_itself(const oak_map_type *t, const void *key)
{
    bool may_not = t->key == OAK_KEY_CUSTOM || t->key == OAK_KEY_DOUBLE;
    return !may_not || oak_map_equal_(t, key, key);
}

bool oaki_inner_takes(const oaki_inner *in, const void *key)
{
    if (key && equals_itself(&in->type, key)) return true;
    errno = EINVAL;
    return false;
}

void oaki_inner_remove(oaki_inner *in, const void *key)
{
    OAKI_REQUIRES_ENTERED(in);
    if (OAKI_UNLIKELY(!oak_map_delete(in->map, key)))
        oak_fatal("oakum: %s: a key can't be found any more: it changed while it was in", in->what);
}
