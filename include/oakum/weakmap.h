/* weakmap.h - maps that don't keep their objects alive: weak values, or weak keys.
 *
 * An entry is dead when its object is. Dead entries are absent at once, to every call but the
 * lengths. They are removed bit by bit: after each collection, every get, put and delete examines a
 * few entries, until all are. The map shrinks meanwhile. So no call takes O(entries), and a map in
 * use gives back the memory of dead entries. All calls except the lengths and clear may allocate,
 * and so may collect.
 *
 * Threads: with OAK_WEAK_LOCKED any number of threads may use a map at the same time. Without it,
 * one at a time may, gets included; two at once are fatal where it is detected. A lock that another
 * thread holds at a fork stays held in the child, as any lock of a program does. The key type's
 * functions run under the lock. They must not use the map or another locked structure, and must
 * return. Leaving them otherwise is fatal.
 *
 * A NULL map reads as empty, and deletes nothing. A put into it is fatal. */
#ifndef OAKUM_WEAKMAP_H
#define OAKUM_WEAKMAP_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

enum { OAK_WEAK_LOCKED = 1 };

/* ---- weak values: to find, or to share, objects that are kept elsewhere ---- */

/** A map from keys of any kind, which it keeps alive, to objects, which it doesn't. For pools,
 * registries and interning. A heap object. */
typedef struct oak_weakvalue oak_weakvalue;

/** Makes a map. The fields key, key_size, hash and equal of the type and its flag OAK_MAP_SCAN_KEY
 * are copied; the others don't matter. NULL with EINVAL or ENOMEM.
 *
 * A key must not refer to its value, as it would keep the value alive: make a copy of a string.
 * Without OAK_MAP_SCAN_KEY something besides the value must keep the key: the map still reads it
 * after the value is dead. */
OAK_API oak_weakvalue *oak_weakvalue_new(const oak_map_type *keys, unsigned flags, size_t hint);

/** Returns the value, or NULL when there is none or it is dead. A value is dead when no other
 * reference to it is left, before its finalizers run. A finalizer that resurrects the value doesn't
 * bring back the entry. */
OAK_API void *oak_weakvalue_get(oak_weakvalue *m, const void *key);

/** Puts a value: a heap object, or a pointer into one. Returns 0, or -1 and the map is as it was.
 * EINVAL: any other value, or a key that doesn't equal itself. ENOMEM: memory is exhausted. */
OAK_API int oak_weakvalue_put(oak_weakvalue *m, const void *key, void *value);

/** Returns the key's value if it is alive. Otherwise puts `value` and returns it. The operation is
 * atomic. NULL with the errors of oak_weakvalue_put. */
OAK_API void *oak_weakvalue_intern(oak_weakvalue *m, const void *key, void *value);

/** Deletes the key; returns whether it was there with a live value. */
OAK_API bool oak_weakvalue_delete(oak_weakvalue *m, const void *key);

/** Removes all entries and gives the memory back at once. */
OAK_API void oak_weakvalue_clear(oak_weakvalue *m);

/** Returns the number of entries, including dead ones that are not removed yet. */
OAK_API size_t oak_weakvalue_len(oak_weakvalue *m);

/** Examines up to `budget` entries, and removes the dead ones. Returns false once all were examined
 * since the last collection. For programs that don't use the map for a long time. */
OAK_API bool oak_weakvalue_purge(oak_weakvalue *m, size_t budget);

/** Calls fn with each entry whose value is alive, until it returns false. The key is a copy that is
 * valid until fn returns. fn may use the map. Each entry that is there all the time is given once.
 * Returns 0, or -1 with ENOMEM. */
OAK_API int oak_weakvalue_each(oak_weakvalue *m,
                               bool (*fn)(const void *key, void *value, void *ctx), void *ctx);

/* ---- weak keys: to attach a value to an object from outside ---- */

/** A map from objects, by identity, to values. An entry and its value are there as long as its key
 * is alive. A key is not kept alive by its own value, nor by a cycle through values of such maps:
 * the entries are ephemerons. A heap object. */
typedef struct oak_weakkey oak_weakkey;

/** Makes a map. NULL with EINVAL (unknown flags) or ENOMEM. */
OAK_API oak_weakkey *oak_weakkey_new(unsigned flags, size_t hint);

/** Returns the value, or NULL. Any pointer may be looked up. */
OAK_API void *oak_weakkey_get(oak_weakkey *m, const void *key);

/** Puts a value. `key` is the start of a heap object. `value` is any pointer but NULL; its object
 * is kept alive as long as the key is alive. Returns 0, or -1 with EINVAL or ENOMEM and the map is
 * as it was. */
OAK_API int oak_weakkey_put(oak_weakkey *m, void *key, void *value);

/** As the functions of weak values with these names. A key with a finalizer has its entry until the
 * finalizer has run. */
OAK_API bool oak_weakkey_delete(oak_weakkey *m, const void *key);
OAK_API void oak_weakkey_clear(oak_weakkey *m);
OAK_API size_t oak_weakkey_len(oak_weakkey *m);
OAK_API bool oak_weakkey_purge(oak_weakkey *m, size_t budget);
OAK_API int oak_weakkey_each(oak_weakkey *m, bool (*fn)(void *key, void *value, void *ctx),
                             void *ctx);

OAK_END_DECLS

#endif
