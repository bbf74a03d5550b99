/* pool.h - the object pool's structures, and the functions that its two files share.
 *
 * pool.c        getting and putting, and the turn at each collection
 * pool_check.c  walks over a whole pool: the checks of debug mode, and statistics */
#ifndef OAKI_POOL_H
#define OAKI_POOL_H

#include "runtime/contract.h"
#include "runtime/heap.h"
#include <oakum/heap.h>
#include <oakum/pool.h>

enum {
    OAKI_POOL_ROOM = 16, /* objects of a magazine */
    OAKI_POOL_CELLS = 32 /* lists of threads' own magazines */
};

typedef struct oaki_magazine {
    struct oaki_magazine *next;
    const oaki_thread *owner;
    AO_t gets, puts; /* by its owner */
    AO_t n;
    AO_t item[OAKI_POOL_ROOM]; /* other threads only read them, in debug mode and for statistics */
} oaki_magazine;

struct oak_pool {
    void *(*make)(void *ctx);
    void (*reset)(void *obj, void *ctx);
    void *ctx;
    size_t (*size)(const void *obj, void *ctx);
    size_t limit;
    struct oak_pool *next; /* in the list */
    AO_t listed;
    AO_t cell[OAKI_POOL_CELLS];    /* oaki_magazine *: threads' own, by thread */
    AO_t full, victims;  /* oaki_magazine * */
    AO_t gets, puts;     /* those that no magazine counts */
    AO_t made, dropped, stale;
    AO_t model; /* debug: the bytes of a new object, not scanned */
};

OAKI_INLINE bool oaki_pool_debugging(void)
{
    return OAKI_UNLIKELY(oaki_debug_switches.verify | oaki_debug_switches.poison);
}

/* The object's size by the pool's function: user code, called outside of oaki_enter. */
OAKI_INLINE size_t oaki_pool_size_of(const oak_pool *p, const void *obj)
{
    OAKI_REQUIRES_OUTSIDE();
    return p->size ? p->size(obj, p->ctx) : oak_usable_size(obj);
}

/* ---- pool_check.c; in debug mode ---- */

void oaki_pool_note_new(oak_pool *p, const void *obj); /* before the program writes to it */
void oaki_pool_check_double(const oak_pool *p, void *obj);
void oaki_pool_check_reset(oak_pool *p, const void *obj);
OAK_NORETURN void oaki_pool_put_twice(const oak_pool *p, const void *obj);
/* The rule that the pool breaks, or NULL. The world is stopped. O(magazines). */
const char *oaki_pool_check(const oak_pool *p);

#endif
