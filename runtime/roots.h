/* roots.h - where the host keeps its references: everything that a mark starts from, save pinned
 * objects (span.h) and finalizers (gc/).
 *
 * Owns: registered ranges, exclusions, and the table of loaded objects (writable segments and TLS
 * blocks).
 * Lock: oaki_heap.roots_lock for ranges and exclusions, gc_lock for the table (dlroots.c); with the
 * world stopped, none.
 *
 * The table of loaded objects is read with dl_iterate_phdr, which takes a lock of the host. So it
 * is read before the stop, and before gc_lock is taken. In the stop, the list that the loader keeps
 * for debuggers (_r_debug) shows whether the table still holds. If it does not, or if a thread was
 * stopped inside dlopen or dlclose, the world is started again and everything is repeated. */
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
    /* stack of a fiber that a thread runs on; a parked fiber is marked as an object */
    OAKI_ROOT_FIBER,
    OAKI_ROOT_SLOT    /* the runtime's own words that refer to objects */
} oaki_root_kind;

typedef struct oaki_root {
    oaki_root_kind kind;
    const char *lo, *hi;       /* every aligned word in [lo, hi) */
    /* stacks and registers: a word equal to an object's start also keeps the object before it */
    bool past_end;
    const oaki_thread *thread; /* the owner, or NULL */
    const char *name;          /* of the loaded object, or NULL */
    /* added to an address in [lo, hi), gives the address in the host's data. Not 0 where a copy is
     * scanned, of data that may be unloaded at any moment. */
    ptrdiff_t shift;
} oaki_root;

#define OAKI_ROOT_LARGE ((size_t)256 << 10) /* bytes from which a registered range is large */

typedef struct oaki_root_place {
    size_t i, done;
} oaki_root_place;

/* Visits the next part, of at most `bytes`, of the large registered ranges, from *at on. *at is
 * zero at first. false: there is no more. roots_lock is held, so an unmapping thread removes its
 * range before or after the visit. Mutators may write to the range meanwhile. */
bool oaki_roots_visit_some(oaki_root_place *at, size_t bytes,
                           void (*fn)(const oaki_root *root, void *ctx), void *ctx);

/* Calls fn for every root range, exclusions cut out. */
void oaki_roots_visit(void (*fn)(const oaki_root *root, void *ctx), void *ctx);

/* Selects the loaded objects whose data is scanned; all at first. Thread-local storage is always
 * scanned. Callable from any thread, at any time. */
enum {
    OAKI_OBJECTS_NONE = 0,
    OAKI_OBJECTS_MAIN = 1,      /* the program */
    OAKI_OBJECTS_LIBRARIES = 2, /* the others */
    OAKI_OBJECTS_ALL = 3
};
void oaki_roots_objects(unsigned which);

/* From the next reading of the loaded objects on, a writable segment is scanned only if fn says so.
 * fn is called while the loader's lock is held, in each reading, and not in a stop. It calls
 * nothing of Oakum's. NULL: all are scanned. The objects are read before the next collection. */
typedef int oaki_roots_filter(const char *name, void *lo, size_t bytes);
void oaki_roots_set_filter(oaki_roots_filter *fn);

/* Is p in scanned data of a loaded object, as of the last collection or the start? O(segments). */
bool oaki_roots_in_object(const void *p);

/* Forgets all ranges of oak_root_add. */
void oaki_roots_clear(void);

const char *oaki_roots_check(void); /* the broken rule, or NULL */

int oaki_roots_init(void);
/* Called before a stop, and again after a failed one: reads the loaded objects if they have
 * changed. Waits for the loader as oaki_lock_acquire_parked does. false: there is no memory for
 * their table, so the world can't be stopped now. */
bool oaki_roots_refresh(oaki_thread *t);
bool oaki_roots_consistent(void); /* in a stop: does the table that refresh read still hold? */

/* As oak_root_exclude, for the runtime's own static data. */
int oaki_roots_exclude(const void *p, size_t n);
/* Undoes all of oak_root_exclude. 0, or -1 with ENOMEM. */
int oaki_roots_exclude_own_only(void);
/* Is all of [lo, hi) excluded? */
bool oaki_roots_excluded(const char *lo, const char *hi);

/* Called when a thread detaches: the thread ends, and the fiber that it runs on is finished. */
void oaki_fiber_thread_exit(oaki_thread *t);

#endif
