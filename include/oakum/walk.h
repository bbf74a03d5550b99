/* walk.h - a walk over the heap's objects, and the properties of a single one.
 *
 * For tools, and for a host's own statistics, consistency checks and dumps. All objects count, also
 * those of maps and other structures of Oakum. No function collects. */
#ifndef OAKUM_WALK_H
#define OAKUM_WALK_H

#include <oakum/heap.h>
#include <oakum/zone.h>

OAK_BEGIN_DECLS

/** How the collector scans an object, by the function that allocated it. */
typedef enum oak_kind {
    OAK_KIND_SCAN,   /* oak_alloc: conservatively */
    OAK_KIND_NOSCAN, /* oak_alloc_noscan: not at all */
    OAK_KIND_TYPED,  /* oak_alloc_typed: by its type */
    OAK_KIND_PINNED  /* oak_alloc_pinned: conservatively, and it is a root */
} oak_kind;

/** Whether the object has lived through a collection. Known only while mark bits are kept: before a
 * minor collection (oak_config.generations), or until the span is swept. There is no count of
 * collections. */
typedef enum oak_age {
    /* not known; also while a mark is under way */
    OAK_AGE_UNKNOWN,
    OAK_AGE_YOUNG, /* allocated since the last mark ended: a minor collection may free it */
    OAK_AGE_OLD    /* the last mark has reached it: only a full collection frees it */
} oak_age;

/** An object. */
typedef struct oak_object {
    void *object;         /* its start */
    size_t size;          /* usable bytes, as of oak_usable_size */
    const oak_type *type; /* NULL: it has none */
    oak_zone *zone;       /* NULL: the default zone */
    oak_kind kind;
    oak_age age;
    /* Marked by the mark under way, or by the last one. False: not yet reached, allocated later, or
     * dead. Of an object of unknown age, outside of a mark, true means only that it isn't dead. */
    bool marked;
} oak_object;

/** Read the properties of the object that p points to or into. Returns false when p is in no live
 * object of Oakum's; *out is then unchanged. out may be NULL. Any thread. Doesn't collect, and
 * doesn't stop other threads; may sweep the object's span. */
OAK_API bool oak_object_read(const void *p, oak_object *out);

/** Flags of a walk: which objects it includes. */
enum {
    /* Also objects that the last mark has found dead, and whose memory isn't swept yet. They are
     * unmarked and of unknown age. The objects that they refer to may be gone. */
    OAK_WALK_DEAD = 1
};

/** Called for each object. *o is valid until it returns. True: go on; false: end the walk. */
typedef bool (*oak_walk_fn)(const oak_object *o, void *ctx);

/** Call fn(o, ctx) for each object of the heap, in the order of addresses, in one pause. So the
 * objects and their words agree with each other. flags is 0 or OAK_WALK_DEAD.
 *
 * fn runs with all other threads stopped. It may read memory, and write its own. It may not call
 * Oakum's functions, except for oak_type_name: most are fatal then, with one line. Nor may it wait
 * for another thread, which includes malloc and stdio: a stopped thread may hold their locks. It
 * may not be left by longjmp or an exception. The pause takes some nanoseconds for each object.
 *
 * Returns 0, or -1 with errno. EINVAL: fn is NULL, or flags are unknown. ENOMEM: the thread can't
 * be attached. Fatal inside of a mark function and of another walk. */
OAK_API int oak_heap_each(oak_walk_fn fn, void *ctx, unsigned flags);

/** The place of a walk in steps: all zero at first. */
typedef struct oak_heap_cursor {
    uintptr_t at;
} oak_heap_cursor;

/** The next step of a walk: store up to max live objects from *c on in out, and move *c past
 * them. A step stops other threads for some ten microseconds at a time, for 4,096 slots or free
 * pages each, until it has found an object. Returns how many were stored. Returns 0 at the end,
 * and from then on, with errno unchanged. Returns 0 with EINVAL when c or out is NULL or max is 0,
 * and with ENOMEM.
 *
 * Between steps the program may do what it likes. An object that lives during the whole walk comes
 * once. One that is allocated meanwhile comes if its address is not below the cursor. On a stack or
 * in an object, `out` keeps its objects alive; in memory of malloc it doesn't. */
OAK_API size_t oak_heap_step(oak_heap_cursor *c, oak_object *out, size_t max);

OAK_END_DECLS

#endif
