/* heap.h - allocation, typed objects, limits and statistics of the heap.
 *
 * Any thread may call these functions. Calls that allocate, resize or free attach the thread.
 * Except for oak_mark_*, none may be called from a signal handler or from a mark function.
 * Functions that allocate may collect, and may do marking and sweeping work in proportion to the
 * bytes that they allocate. */
#ifndef OAKUM_HEAP_H
#define OAKUM_HEAP_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Allocate n bytes, zeroed and aligned to 16. The object is scanned conservatively for pointers.
 * It lives as long as a root or a live object has a pointer to any of its bytes. n = 0 gives a
 * distinct object. Returns NULL with ENOMEM when there is no room, even after a collection. */
OAK_API OAK_MALLOC void *oak_alloc(size_t n);

/** As oak_alloc, for data without pointers: the object is never scanned. */
OAK_API OAK_MALLOC void *oak_alloc_noscan(size_t n);

/** As oak_alloc, for an object that is a root: it lives until oak_free, even if nothing points to
 * it. */
OAK_API OAK_MALLOC void *oak_alloc_pinned(size_t n);

/** As oak_alloc, with an address that is a multiple of align, a power of two of at most 1 GiB.
 * Returns NULL with EINVAL for any other align. */
OAK_API OAK_MALLOC void *oak_alloc_aligned(size_t align, size_t n);

/** As oak_alloc_aligned, for data without pointers. */
OAK_API OAK_MALLOC void *oak_alloc_aligned_noscan(size_t align, size_t n);

/** Resize an object, in place where it fits; otherwise it moves. The kind (scan, noscan, pinned)
 * and the contents up to the smaller size are kept; new bytes are zero. Typed objects change in
 * whole elements. p = NULL acts as oak_alloc. n = 0 frees p and returns NULL.
 *
 * An object that moves is freed at its old place, as by oak_free: its finalizers are dropped, and
 * its weak references cleared. Returns NULL with ENOMEM on failure, and p is unchanged. Fatal when
 * p is not the start of a live object. */
OAK_API void *oak_realloc(void *p, size_t n);

/** Resize an object in place, or not at all. It never moves, so pointers to it, finalizers and weak
 * references stay valid. An object fits as long as n is at most oak_usable_size(p). Contents up to
 * the smaller size are kept; the other bytes of the object are zero afterwards. A large object has
 * more than 32 KiB. It gives whole pages back when it shrinks, though not while a mark is under
 * way; oak_usable_size then shrinks, too. n = 0 only clears. Doesn't allocate or collect.
 *
 * Returns false, with nothing changed, if n doesn't fit, if p is NULL, and for a guarded object
 * (OAKUM_DEBUG=guard) unless n is its size. Fatal when p is not the start of a live object. Any
 * thread that may use the object; no other thread may resize or free it at the same time. */
OAK_API bool oak_try_resize(void *p, size_t n);

/** Free an object now. Optional, except for pinned objects. Drops its finalizers and clears its
 * weak references. NULL is allowed. Does nothing if the thread is not attached, and there is no
 * memory for that.
 *
 * Fatal for interior pointers, free objects, objects of a discarded zone until their place is used
 * again, and foreign pointers. A double free goes unnoticed once the slot belongs to another object
 * or to a thread's cache. OAKUM_DEBUG=guard (docs/guard.md) delays the reuse of freed objects, and
 * finds writes outside of objects. */
OAK_API void oak_free(void *p);

/** The usable bytes of the object that p points to or into; 0 when p is in no live object of
 * Oakum's. */
OAK_API size_t oak_usable_size(const void *p);

/** The start of the object that p points to or into; NULL when p is in no live object of Oakum's.
 * O(1), without a lock. */
OAK_API void *oak_base(const void *p);

/* ---- typed objects ---- */

/** The layout of an element. A type is never freed. */
typedef struct oak_type oak_type;

/** The collector's side of a mark function: the argument of oak_mark_*. */
typedef struct oak_marker oak_marker;

/** A mark function: marks all that an object refers to, by calls of oak_mark_*. obj is the start of
 * the object, size the bytes of all its elements. It may only read memory and call oak_mark_*. It
 * runs in a pause, perhaps on several threads at once, and sometimes on two threads for the same
 * object. It is not called for objects that oak_free or the end of their zone has freed. */
typedef void (*oak_mark_fn)(oak_marker *m, void *obj, size_t size);

/** Make a type by a bitmap. An element has elem_size bytes, a multiple of 8. Word i of it may hold
 * a pointer iff bit i % 64 of bitmap[i / 64] is set. name and bitmap are copied. Returns NULL with
 * EINVAL or ENOMEM. */
OAK_API oak_type *oak_type_bitmap(const char *name, size_t elem_size, const uint64_t *bitmap);

/** Make a type whose objects a mark function marks. name is copied. Returns NULL with EINVAL or
 * ENOMEM.
 *
 * The function decides at mark time what counts. So it may mark the live part of another object
 * whose own type marks nothing, as the slots of an operand stack (examples/operands.c). */
OAK_API oak_type *oak_type_function(const char *name, size_t elem_size, oak_mark_fn fn);

/** The name of a type. */
OAK_API const char *oak_type_name(const oak_type *t);

/** Allocate count elements of type t, zeroed. Returns NULL with ENOMEM, also when count * elem_size
 * overflows. Fatal when t is NULL, that is, when the type could not be made. */
OAK_API OAK_MALLOC void *oak_alloc_typed(const oak_type *t, size_t count);

/** The type of the object that p points to or into, or NULL. */
OAK_API const oak_type *oak_type_of(const void *p);

/** In a mark function: mark the object that p points to or into. NULL and foreign pointers are
 * ignored. */
OAK_API void oak_mark_ptr(oak_marker *m, const void *p);

/** In a mark function: mark conservatively the objects that the aligned words of [p, p + n) point
 * to. */
OAK_API void oak_mark_range(oak_marker *m, const void *p, size_t n);

/* ---- memory as a whole ---- */

/** Set the soft limit on all memory that Oakum holds, in bytes; 0: none. Near it the collector
 * works harder, and free memory returns to the system at once. SIZE_MAX changes nothing. Returns
 * the previous limit. */
OAK_API size_t oak_set_memory_limit(size_t bytes);

/** Set the hard limit on heap memory in use, in bytes, counted in whole pages of spans; 0: none.
 * Returns the previous limit.
 *
 * The following holds for this limit, a zone's and the system's. An allocation fails only if a full
 * collection that began after the call leaves too little room. Room is also taken by garbage that a
 * word refers to by chance. The address of an object is the end of the one in front, too, if that
 * fills its pages. Any number of threads wait for the same collection; its end gives the room to
 * them in the order of their calls. Garbage with finalizers makes room once they have run. The
 * allocation waits up to 0.1 s for finalizers that run on another thread. It fails at once while
 * collections are disabled, and when the request alone exceeds the limit.
 *
 * One exception bounds the cost of a full heap. After 16 failures in a row at one limit, a thread's
 * allocations may fail without a collection. This lasts at most four times the last pause, and at
 * most as many allocations as have failed before. It also ends when a page's worth of memory has
 * been freed, or when the thread calls oak_collect. Then failures are exact again. When the last 64
 * collections, of any threads, have made no room, the next one waits four times their pause. */
OAK_API size_t oak_set_heap_max(size_t bytes);

/** Sweep, and return all free pages to the system at once. Without the call they are returned when
 * they have been free for the time that the option decay_ms gives. Objects don't move, so a span
 * (8 to 128 KiB for small objects) stays while any object in it is alive. Gigabytes take a while;
 * other threads go on. Returns the number of bytes that were returned. */
OAK_API size_t oak_scavenge(void);

/** The counts of a size class. */
typedef struct oak_size_stats {
    uint32_t size; /* of its largest objects; smaller ones are in earlier classes */
    uint64_t mallocs, frees;
} oak_size_stats;

/** Go's MemStats in snake_case. All sizes are in bytes. The figures are read in a pause, so they
 * agree: heap_sys = heap_inuse + heap_idle; heap_objects = mallocs - frees; sys = heap_sys +
 * stack_sys + mspan_sys + mcache_sys + buck_hash_sys + gc_sys + other_sys. */
typedef struct oak_memstats {
    uint64_t alloc;           /* as heap_alloc */
    uint64_t total_alloc;     /* bytes allocated since the start */
    uint64_t sys;             /* all memory that Oakum has from the system */
    uint64_t lookups;         /* always 0, as in Go */
    uint64_t mallocs, frees;  /* objects allocated and freed since the start */
    uint64_t heap_alloc;      /* bytes in objects that are live or not yet swept */
    uint64_t heap_sys;        /* heap address space that is readable and writable */
    uint64_t heap_idle;       /* in free pages */
    uint64_t heap_inuse;      /* in spans */
    uint64_t heap_released;   /* the part of heap_idle that the system doesn't back with memory */
    uint64_t heap_objects;    /* mallocs - frees */
    /* used bytes of the stacks of attached threads, and of fibers that a thread runs on */
    uint64_t stack_inuse;
    uint64_t stack_sys;       /* 0: stacks belong to the system, not to Oakum */
    uint64_t mspan_inuse, mspan_sys;   /* span structs */
    uint64_t mcache_inuse, mcache_sys; /* thread caches */
    uint64_t buck_hash_sys;   /* profile buckets */
    uint64_t gc_sys;          /* mark and allocation bits, page table, mark stacks */
    uint64_t other_sys;       /* other metadata: threads, roots, finalizers, types */
    /* heap_alloc at which the next collection starts. A small heap with objects of many sizes is
     * collected a little earlier, as free slots in thread caches count as allocated */
    uint64_t next_gc;
    uint64_t last_gc;         /* nanoseconds since 1970 */
    uint64_t pause_total_ns;
    /* rings of the last cycles, the newest at (num_gc + 255) % 256: the sum of each one's pauses,
     * and its end */
    uint64_t pause_ns[256];
    uint64_t pause_end[256];  /* nanoseconds since 1970 */
    uint32_t num_gc, num_forced_gc;
    double gc_cpu_fraction;   /* the collector's part of the CPU time available since the start */
    bool enable_gc;
    bool debug_gc;            /* always false, as in Go */
    /* by size class, in rising order; size 0 ends the list. Larger objects are in no class: their
     * counts are mallocs and frees less the sums of the classes' */
    oak_size_stats by_size[64];
    /* not in Go's MemStats */
    uint64_t meta_sys;        /* the metadata arena; part of the *_sys figures above */
    uint64_t heap_reserved;   /* address space reserved */
    uint64_t threads;         /* attached */
    uint64_t finalizers;      /* registered */
    uint64_t finalizers_ready;/* queued and not yet run */
    /* objects that reach themselves, so that their ordered finalizers never run */
    uint64_t finalizer_cycles;
    uint64_t finalizer_cycle_bytes; /* of these objects, without others that they refer to */
    uint64_t weak_refs;       /* weak references whose object is alive, or died just now */
    /* weak references whose object is dead, and that the program still holds: dead map entries */
    uint64_t weak_refs_cleared;
    uint64_t zones;           /* without the default zone (zone.h) */
    uint64_t zones_inuse;     /* the part of heap_inuse in these zones and in discarded ones */
    /* cycles of num_gc that marked concurrently, and minor ones; a cycle may be both */
    uint32_t num_concurrent_gc, num_minor_gc;
    uint64_t marked_bytes;    /* by all cycles; a minor one marks new objects only */
    uint64_t rescanned_bytes; /* on pages that were written during a mark, by all cycles */
    uint64_t pages_asked;     /* system pages examined, to protect them or to find dirty ones */
    uint64_t pages_dirty;     /* found dirty, of these */
    /* first writes to protected pages. With userfaultfd, each is counted when its page is found
     * dirty */
    uint64_t tracking_faults;
    uint64_t pause_max_ns;    /* the longest time that a cycle stopped the world at once */
    /* heap_idle - heap_released: free memory that the system still backs. It is returned when it
     * was not used for decay_ms, at once near the memory limit and by oak_scavenge */
    uint64_t heap_retained;
    uint64_t external;        /* external bytes (oak_external_add); only next_gc includes them */
} oak_memstats;

/** Read the statistics into *out. Stops the world for some microseconds. */
OAK_API void oak_memstats_read(oak_memstats *out);

/** Write *s as a JSON object: Go's names first (HeapAlloc, NumGC, ...), as expvar prints them, then
 * Oakum's own. At most n bytes are stored in buf, with the NUL at the end; 32 KiB are always
 * enough. Returns the whole length without the NUL, as snprintf does. */
OAK_API size_t oak_memstats_json(const oak_memstats *s, char *buf, size_t n);

/** The place of the heap, for tools. Constant once Oakum has started; zeroes before. */
typedef struct oak_heap_info {
    void *base;           /* of the reserved range */
    size_t reserved;      /* its bytes */
    const char *metadata; /* the metadata's allocator: "jemalloc 5.3.0", "built-in" */
} oak_heap_info;

/** Read the place of the heap into *out. */
OAK_API void oak_heap_info_read(oak_heap_info *out);

/** How Oakum finds pages that the program writes during a mark. */
typedef struct oak_writes_told {
    const char *by;      /* "userfaultfd", "page faults"; NULL: none, and marking is in a pause */
    const char *refused; /* a preferred way that the system refuses; NULL: none */
    int error;           /* why it is refused: errno; 0: the program now handles SIGSEGV itself */
} oak_writes_told;

/** Whether the system reports dirty pages, so that Oakum can mark concurrently. The call opens the
 * needed descriptors, as the first concurrent mark does, and keeps them. out may be NULL. */
OAK_API bool oak_heap_tells_writes(oak_writes_told *out);

OAK_END_DECLS

#endif
