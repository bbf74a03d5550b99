/* heap.h - allocating. Every function here may be called from any thread; the first call
 * attaches it. None may be called from a signal handler, or from a mark function. All that
 * allocate may collect, and may do sweeping work in proportion to what they allocate. */
#ifndef OAKUM_HEAP_H
#define OAKUM_HEAP_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** n bytes, zeroed, 16-aligned, scanned conservatively for pointers. n = 0 gives a distinct
 * object. NULL with ENOMEM when out of memory, after a collection had its chance. The object
 * lives as long as a root or a live object holds a pointer to it, to any of its bytes. */
OAK_API OAK_MALLOC void *oak_alloc(size_t n);

/** As oak_alloc, for what holds no pointers: it is never scanned. */
OAK_API OAK_MALLOC void *oak_alloc_noscan(size_t n);

/** As oak_alloc, a root: it lives until oak_free, whoever points at it, and is scanned. */
OAK_API OAK_MALLOC void *oak_alloc_pinned(size_t n);

/** As oak_alloc, with an address that is a multiple of align, a power of two of at most 1 GiB.
 * NULL with EINVAL for another align. */
OAK_API OAK_MALLOC void *oak_alloc_aligned(size_t align, size_t n);

/** As oak_alloc_aligned and noscan at once. */
OAK_API OAK_MALLOC void *oak_alloc_aligned_noscan(size_t align, size_t n);

/** Resize in place where it fits, otherwise move. Keeps the kind (scan, noscan, pinned) and the
 * old contents up to the smaller size; what is new is zero. p = NULL acts as oak_alloc; n = 0
 * frees and returns NULL. Typed objects may shrink or grow in whole elements. On failure returns
 * NULL with ENOMEM and p is as it was. Fatal when p is not the start of a live object.
 * Finalizers and weak references stay with p and do not move. */
OAK_API void *oak_realloc(void *p, size_t n);

/** Give an object back now; optional, except for pinned ones. NULL is allowed. Interior pointers,
 * pointers to what is free already or lay in a zone that was discarded, and pointers that are not
 * Oakum's are fatal. Not seen, as with any allocator: that the address is another object's by now,
 * or that another thread has taken the slot to allocate from; OAKUM_DEBUG=guard (docs/guard.md)
 * keeps freed objects back for a while, and finds writes outside of objects. Drops its finalizers,
 * clears its weak references. */
OAK_API void oak_free(void *p);

/** Bytes usable in the object that p points to or into; 0 when p is not in a live one of ours. */
OAK_API size_t oak_usable_size(const void *p);

/** Start of the object that p points to or into; NULL when p is not in a live object of ours.
 * O(1), no lock. */
OAK_API void *oak_base(const void *p);

/* ---- typed objects ---- */

/** What an element looks like. Made once, lives for ever. */
typedef struct oak_type oak_type;

/** Handed to mark functions. */
typedef struct oak_marker oak_marker;

/** Mark what `size` bytes at obj (a whole object, all its elements) refer to, with the calls
 * below. Runs while the world is stopped, perhaps on several threads at once, and now and then on
 * two for the same object: it may only read memory and call oak_mark_*. Not for what was given to
 * oak_free, or went with its zone. */
typedef void (*oak_mark_fn)(oak_marker *m, void *obj, size_t size);

/** An element of elem_size bytes (a multiple of 8) whose word i may hold a pointer when bit i of
 * the bitmap is set (bit i % 64 of bitmap[i / 64]). name and bitmap are copied. NULL with EINVAL
 * or ENOMEM. */
OAK_API oak_type *oak_type_bitmap(const char *name, size_t elem_size, const uint64_t *bitmap);

/** A type whose objects a function marks. NULL with EINVAL or ENOMEM. */
OAK_API oak_type *oak_type_function(const char *name, size_t elem_size, oak_mark_fn fn);

/** The name given at creation. */
OAK_API const char *oak_type_name(const oak_type *t);

/** count elements of type t, zeroed. NULL with ENOMEM, also when count * size overflows. Fatal when
 * t is NULL: a type that could not be made. */
OAK_API OAK_MALLOC void *oak_alloc_typed(const oak_type *t, size_t count);

/** The type of the object that p points to or into, or NULL. */
OAK_API const oak_type *oak_type_of(const void *p);

/** In a mark function: this pointer, to the start of an object or into it, or NULL, or not ours. */
OAK_API void oak_mark_ptr(oak_marker *m, const void *p);

/** In a mark function: every aligned word of [p, p + n) may be a pointer. */
OAK_API void oak_mark_range(oak_marker *m, const void *p, size_t n);

/* ---- memory as a whole ---- */

/** Soft limit in bytes on all that Oakum holds; 0 none; SIZE_MAX asks only. Returns the old one. */
OAK_API size_t oak_set_memory_limit(size_t bytes);

/** Hard limit in bytes on heap memory in use, in whole pages of spans; 0 none. Returns the old one.
 *
 * Below a limit, be it this one, a zone's or the system's, an allocation fails only when a full
 * collection that began after the call left too little room. That holds for any number of threads:
 * they wait for one collection together, and its end hands the room out in the order of the calls.
 * Garbage with finalizers makes room once they have run; another thread's are waited for, up to
 * 0.1 s. While collections are disabled the allocation fails at once, and so does a request that
 * exceeds the limit by itself.
 *
 * One exception bounds what a full heap costs. A thread that was refused 16 times in a row may then
 * be refused without a collection: no longer than four times the last one's pause, nor more often
 * than it was refused before, nor when a page's worth has been freed since. Then, or after an
 * oak_collect of its own, the answer is exact again. */
OAK_API size_t oak_set_heap_max(size_t bytes);

/** Return all free pages to the system now. Returns the bytes that were returned. Objects don't
 * move, so a span of 8 to 128 KiB stays while anything in it lives. Sweeps first; may take a
 * while for gigabytes, other threads go on. */
OAK_API size_t oak_scavenge(void);

/** What a size class has seen: objects of at most `size` bytes, and of more than the one before. */
typedef struct oak_size_stats {
    uint32_t size;
    uint64_t mallocs, frees;
} oak_size_stats;

/** Go's MemStats in snake_case. All sizes in bytes. Read with the world stopped, so that the
 * figures agree: heap_sys = heap_inuse + heap_idle; sys = heap_sys + stacks_sys + mspan_sys +
 * mcache_sys + buckhash_sys + gc_sys + other_sys; heap_objects = mallocs - frees. */
typedef struct oak_memstats {
    uint64_t alloc;           /* live and not yet swept objects: as heap_alloc */
    uint64_t total_alloc;     /* allocated since the start */
    uint64_t sys;             /* all that Oakum got from the system */
    uint64_t lookups;         /* always 0, as in Go */
    uint64_t mallocs, frees;  /* objects, since the start */
    uint64_t heap_alloc;      /* bytes in objects that are live or not yet swept */
    uint64_t heap_sys;        /* heap address space that was made readable and writable */
    uint64_t heap_idle;       /* in free pages */
    uint64_t heap_inuse;      /* in spans */
    uint64_t heap_released;   /* of heap_idle, what the system does not back with memory */
    uint64_t heap_objects;    /* mallocs - frees */
    /* bytes in use of attached threads' stacks, and of fibers that a thread runs on */
    uint64_t stack_inuse;
    uint64_t stack_sys;       /* 0: C's stacks are the system's, not Oakum's */
    uint64_t mspan_inuse, mspan_sys;   /* span structs */
    uint64_t mcache_inuse, mcache_sys; /* thread caches */
    uint64_t buck_hash_sys;   /* profile buckets */
    uint64_t gc_sys;          /* mark and allocation bits, page table, mark stacks */
    uint64_t other_sys;       /* other metadata: threads, roots, finalizers, types */
    /* heap_alloc at which the next collection starts; a little less will do where a heap is small
     * and its objects of many sizes, as what a thread has taken to allocate from counts in full */
    uint64_t next_gc;
    uint64_t last_gc;         /* nanoseconds since 1970 */
    uint64_t pause_total_ns;
    uint64_t pause_ns[256];   /* ring of the last pauses; the newest at (num_gc + 255) % 256 */
    uint64_t pause_end[256];  /* nanoseconds since 1970 */
    uint32_t num_gc, num_forced_gc;
    double gc_cpu_fraction;   /* of the CPU time available since the start */
    bool enable_gc;
    bool debug_gc;            /* always false, as in Go */
    /* by size class, in rising order; size 0 ends them. Objects above the last size are in none:
     * they are mallocs and frees less the sums of these */
    oak_size_stats by_size[64];
    /* beyond Go's */
    uint64_t meta_sys;        /* what the metadata arena holds; part of the *_sys figures above */
    uint64_t heap_reserved;   /* address space reserved */
    uint64_t threads;         /* attached */
    uint64_t finalizers;      /* registered */
    uint64_t finalizers_ready;/* queued and not yet run */
    uint64_t finalizer_cycles;/* whose ordered finalizer can't run: reachable from themselves */
    uint64_t finalizer_cycle_bytes; /* of these objects, without what else they refer to */
    uint64_t weak_refs;       /* weak references whose object is there, or went a moment ago */
    /* whose object has gone, and that the program still holds: dead entries of maps of them */
    uint64_t weak_refs_cleared;
    uint64_t zones;           /* that there are, without the default one (zone.h) */
    uint64_t zones_inuse;     /* of heap_inuse, what is in spans of those, and of discarded ones */
} oak_memstats;

/** Fill *out. Stops the world for some microseconds. */
OAK_API void oak_memstats_read(oak_memstats *out);

/** *s as a JSON object with Go's names (HeapAlloc, NumGC, ...), as expvar prints them, and after
 * them Oakum's own. At most n bytes go to buf, the zero byte at the end included; returns the
 * length that all has, as snprintf does: 32 KiB are enough for any values. */
OAK_API size_t oak_memstats_json(const oak_memstats *s, char *buf, size_t n);

/** Where the heap is, for tools. Constant once Oakum has started; zeroes before. */
typedef struct oak_heap_info {
    void *base;           /* of the reserved range */
    size_t reserved;      /* its bytes */
    const char *metadata; /* what keeps the metadata: "jemalloc 5.3.0", "built-in" */
} oak_heap_info;

OAK_API void oak_heap_info_read(oak_heap_info *out);

/** How Oakum learns what the program writes. */
typedef struct oak_writes_told {
    const char *by;      /* "userfaultfd", "page faults"; NULL: it doesn't, and marks in a stop */
    const char *refused; /* what was wanted rather than that, and can't be had; NULL: nothing */
    int error;           /* why: errno; 0: the program handles SIGSEGV itself by now */
} oak_writes_told;

/** Does the system tell what the program writes, so that a mark can run while it does? What it
 * takes is opened to find out, and kept, as by the first such mark. out may be NULL. */
OAK_API bool oak_heap_tells_writes(oak_writes_told *out);

OAK_END_DECLS

#endif
