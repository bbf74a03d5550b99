/* weakmap.h - maps that don't keep what they refer to: weak values, or weak keys.
 *
 * Entries whose object has gone are absent at once, to every call but the lengths, and removed
 * without anyone asking: after each collection, every get, put and delete looks at a few entries
 * until all have been looked at, and the map shrinks as they go. So no call takes O(entries), and a
 * map that is used gives back what the dead held.
 *
 * Threads: with OAK_WEAK_LOCKED any may use a map at any time; without, one at a time, gets
 * included, and two at once are fatal where it is seen. Functions of the key's type run under the
 * lock: they may not use the map, nor leave other than by returning, which is fatal (but for
 * longjmp, which nothing tells), nor use another locked structure. As with any lock of a program,
 * what another thread holds at a fork stays held in the child.
 *
 * A NULL map reads as empty, and nothing can be deleted; to put is fatal. */
#ifndef OAKUM_WEAKMAP_H
#define OAKUM_WEAKMAP_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

enum { OAK_WEAK_LOCKED = 1 };

/* ---- weak values: to find again, or to share, what somebody else keeps ---- */

/** From keys of any kind, which the map keeps, to objects, which it doesn't: for pools, registries,
 * interning. A heap object. */
typedef struct oak_weakvalue oak_weakvalue;

/** Of the type, key, key_size, hash, equal and OAK_MAP_SCAN_KEY count, and are copied. A key
 * must not lead to its value, which it would keep: give a string its own copy. Nor may it live by
 * its value alone, without OAK_MAP_SCAN_KEY: an entry, and so its key, is still looked at when the
 * value has gone. NULL with EINVAL or ENOMEM. */
OAK_API oak_weakvalue *oak_weakvalue_new(const oak_map_type *keys, unsigned flags, size_t hint);

/** The value, or NULL when there is none or it has gone: it goes when no other reference is left,
 * and before finalizers run; one that brings it back doesn't bring back the entry. */
OAK_API void *oak_weakvalue_get(oak_weakvalue *m, const void *key);

/** Put a value: a heap object, or a pointer into one. 0, or -1, and the map is as it was, with
 * EINVAL for any other value and for keys that don't equal themselves; ENOMEM. */
OAK_API int oak_weakvalue_put(oak_weakvalue *m, const void *key, void *value);

/** The value that is there, and lives; else put this one, and return it. One step for all threads.
 * NULL as oak_weakvalue_put. */
OAK_API void *oak_weakvalue_intern(oak_weakvalue *m, const void *key, void *value);

/** Whether the key was there, its value alive. */
OAK_API bool oak_weakvalue_delete(oak_weakvalue *m, const void *key);

/** Remove everything and give the memory back now. */
OAK_API void oak_weakvalue_clear(oak_weakvalue *m);

/** Entries, those included that have died and are not removed yet. */
OAK_API size_t oak_weakvalue_len(oak_weakvalue *m);

/** Look at up to `budget` entries now, and remove the dead; returns whether some are still to be
 * looked at since the last collection. For programs that don't use the map for long. */
OAK_API bool oak_weakvalue_purge(oak_weakvalue *m, size_t budget);

/** Call fn with each entry whose value lives, until it returns false; the key is a copy that is
 * good until then. fn may use the map: as an iterator's, each entry that is there all the time is
 * given once. 0, or -1 with ENOMEM. */
OAK_API int oak_weakvalue_each(oak_weakvalue *m,
                               bool (*fn)(const void *key, void *value, void *ctx), void *ctx);

/* ---- weak keys: to hang something on an object from outside ---- */

/** From objects, by identity, to values; an entry, and its value, is there for as long as the key
 * lives by other means than by its own value, or by the values of such maps in a circle
 * (ephemerons). A heap object. */
typedef struct oak_weakkey oak_weakkey;

/** NULL with EINVAL (unknown flags) or ENOMEM. */
OAK_API oak_weakkey *oak_weakkey_new(unsigned flags, size_t hint);

/** The value, or NULL. Any pointer may be asked for. */
OAK_API void *oak_weakkey_get(oak_weakkey *m, const void *key);

/** key: the start of a heap object. value: any pointer but NULL; what it refers to is kept as long
 * as the key lives. 0, or -1, and the map is as it was, with EINVAL or ENOMEM. */
OAK_API int oak_weakkey_put(oak_weakkey *m, void *key, void *value);

/** As those for weak values. A key that has a finalizer keeps its entry until that has run. */
OAK_API bool oak_weakkey_delete(oak_weakkey *m, const void *key);
OAK_API void oak_weakkey_clear(oak_weakkey *m);
OAK_API size_t oak_weakkey_len(oak_weakkey *m);
OAK_API bool oak_weakkey_purge(oak_weakkey *m, size_t budget);
OAK_API int oak_weakkey_each(oak_weakkey *m, bool (*fn)(void *key, void *value, void *ctx),
                             void *ctx);

OAK_END_DECLS

#endif
