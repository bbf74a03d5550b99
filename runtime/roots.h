/* roots.h - where the program keeps its references: everything that a mark starts from, save
 * pinned objects (span.h) and finalizers (gc/).
 *
 * Owns: registered ranges, exclusions, and the table of loaded objects (writable segments and
 * TLS blocks).
 * Lock: oaki_heap.roots_lock; with the world stopped, none.
 *
 * The table of loaded objects is read with dl_iterate_phdr, which takes a lock of the host, and
 * so before the stop, and before gc_lock is taken; in the stop, the list that the loader keeps for
 * debuggers (_r_debug) tells whether it is still true. If not, or if a thread was stopped inside
 * dlopen or dlclose, the world is started again and all of that repeated. */
#ifndef OAKI_ROOTS_H
#define OAKI_ROOTS_H

#include "base.h"
#include "thread.h"

typedef enum oaki_root_kind {
    OAKI_ROOT_STACK,  /* of a thread, from its sp to its base */
    OAKI_ROOT_REGS,   /* saved registers of a thread or of a fiber */
    OAKI_ROOT_TLS,    /* static or dlopen'ed thread-local storage, and the thread descriptor */
    OAKI_ROOT_DATA,   /* writable segment of a loaded object */
    OAKI_ROOT_RANGE,  /* oak_root_add */
    /* stack of a fiber that a thread runs on; parked fibers are marked as objects */
    OAKI_ROOT_FIBER,
    OAKI_ROOT_SLOT    /* words of the runtime's own that refer to objects */
} oaki_root_kind;

typedef struct oaki_root {
    oaki_root_kind kind;
    const char *lo, *hi;       /* every aligned word in [lo, hi) */
    /* stacks and registers: a word that equals an object's start also keeps the object before it */
    bool past_end;
    const oaki_thread *thread; /* whose it is, or NULL */
    const char *name;          /* of the loaded object, or NULL */
    /* what to add to an address in [lo, hi) to get the one that the program knows: not 0 where a
     * copy is scanned, of data that may be unloaded at any moment */
    ptrdiff_t shift;
} oaki_root;

#define OAKI_ROOT_LARGE ((size_t)256 << 10) /* bytes of a registered range */

typedef struct oaki_root_place {
    size_t i, done;
} oaki_root_place;

/* Of the registered ranges that are large, the next bytes, at most so many, from *at on, which is
 * zero at first. false: there are no more. roots_lock is held, so that who unmaps one removes it
 * before or afterwards; the program may be writing to it. */
bool oaki_roots_visit_some(oaki_root_place *at, size_t bytes,
                           void (*fn)(const oaki_root *root, void *ctx), void *ctx);

/* Call fn for every root range, exclusions cut out. */
void oaki_roots_visit(void (*fn)(const oaki_root *root, void *ctx), void *ctx);

/* Whose data is scanned, of the objects that the loader loaded: bits, all at first. Thread-local
 * storage always is. Any thread, at any time. */
enum {
    OAKI_OBJECTS_NONE = 0,
    OAKI_OBJECTS_MAIN = 1,      /* the program */
    OAKI_OBJECTS_LIBRARIES = 2, /* the others */
    OAKI_OBJECTS_ALL = 3
};
void oaki_roots_objects(unsigned which);

/* Is p in data of loaded objects that is scanned, as of the last collection or the start?
 * O(segments). */
bool oaki_roots_in_object(const void *p);

/* Forget all ranges of oak_root_add. */
void oaki_roots_clear(void);

const char *oaki_roots_check(void); /* the rule that is broken, or NULL */

int oaki_roots_init(void);
/* Before a stop, and again when one failed: read the loaded objects if they changed.
 * Waits for the loader as oaki_lock_acquire_parked does. */
void oaki_roots_refresh(oaki_thread *t);
bool oaki_roots_consistent(void); /* in a stop: is what refresh read still true? */

/* As oak_root_exclude, for what the runtime has in static data. */
int oaki_roots_exclude(const void *p, size_t n);
/* Is all of [lo, hi) excluded? */
bool oaki_roots_excluded(const char *lo, const char *hi);

/* The thread goes, and what it runs on is done with: called when it detaches. */
void oaki_fiber_thread_exit(oaki_thread *t);

#endif
