/* maplock.h - the lock of a structure on a map, which is held while functions of the program run.
 *
 * Under the lock a key type's hash and equal run, or a callback. One of these may be left: by
 * longjmp, an exception, or its thread's end. The lock would stay held, over a map that may be half
 * changed, and other threads would wait forever. So that is fatal, as soon as it shows:
 *
 *   An exception, pthread_exit and cancellation: as they pass the frame (contain.h).
 *   longjmp: before it jumps, by a cleanup around each such call. The map calls the key type's
 *   functions by way of two of this file's, which add the cleanup.
 *   A jump that libc doesn't make, as __builtin_longjmp or a switch of stacks; or a thread that
 *   ends without libc: a thread that waits long stops the world and checks the holder's frame.
 *
 * Owns: struct oaki_maplock, and the one that the calling thread has entered last.
 * Invariants: `call` is the call of the program's function that is under way, on the holder's
 *   stack; written by the holder, with `tid`. `outer` is the lock that the holder had entered
 *   before.
 * Lock: OAKI_RANK_MAP, held outside of oaki_enter and around calls that allocate. */
#ifndef OAKI_MAPLOCK_H
#define OAKI_MAPLOCK_H

#include "held.h"
#include "runtime/contain.h"
#include "runtime/lock.h"
#include <oakum/map.h>

typedef struct oaki_maplock {
    oaki_lock lock;
    unsigned int tid;                                              /* AO_int */
    AO_t call;                                                     /* oaki_leaving *, or 0 */
    uint64_t (*hash)(const void *key, uint64_t seed, size_t size); /* the key type's own */
    bool (*equal)(const void *a, const void *b, size_t size);
    const char *what; /* the structure's public name, for messages */
    struct oaki_maplock *outer;
} oaki_maplock;

/* Makes the lock, and the type of keys for the map under it. That is `keys`, but its functions for
 * custom keys may run between enter and leave only. */
oak_map_type oaki_maplock_init(oaki_maplock *l, const char *what, const oak_map_type *keys);

/* Takes the lock. The thread is attached, and counts as stopped while it waits. */
void oaki_maplock_wait(oaki_maplock *l);

/* enter: the calling thread begins to use the map. leave: it ends that. It holds the lock, if the
 * structure uses it. Functions of the program are held back in between. The caller calls them when
 * it has released the lock. */
void oaki_maplock_enter(oaki_maplock *l);
void oaki_maplock_leave(oaki_maplock *l);

/* The unwind action of a function that enters. */
void oaki_maplock_unwound(void);

void oaki_maplock_begin_call(oaki_maplock *l, oaki_leaving *call);
void oaki_maplock_end_call(oaki_maplock *l, oaki_leaving *call);

/* Calls a function of the program between enter and leave. */
#define OAKI_CALL_LOCKED(l, fn)                \
    do {                                       \
        oaki_leaving leaving_;                 \
        oaki_held held_ = oaki_held_suspend(); \
        oaki_maplock_begin_call(l, &leaving_); \
        fn;                                    \
        oaki_maplock_end_call(l, &leaving_);   \
        oaki_held_resume(held_);               \
    } while (0)

#endif
