/* base.h - the base of all public headers: export marks, options, start-up, errors.
 *
 * Errors are of two kinds. An error that a caller can handle is a return value: NULL or -1, with
 * errno set. Misuse is fatal: a bad free, a write to a nil map, concurrent map writes. A fatal
 * error writes one line to stderr, which begins with "oakum: ", and calls abort(). A handler that
 * oak_set_fatal_handler has set gets the line instead.
 *
 * The functions of this header don't collect.
 *
 * NULL arguments have a defined result. Unless a function's description says otherwise:
 * - A map, cache, pool, path, snapshot or type that is NULL reads as empty: results and figures are
 *   NULL, false or 0. Deleting from it and freeing it do nothing.
 * - A NULL key is in no map. Storing one fails with EINVAL.
 * - A result parameter that is NULL is not stored to.
 * - A call that needs a path, a callback, a profile reading or a snapshot fails with EINVAL when
 *   that is NULL. If the call returns void, it does nothing.
 * - NULL is fatal for a map, cache or pool to write to, and for bytes to hash.
 * - NULL is fatal for an object to finalize, to clean up after or to refer to, and for a type to
 *   allocate.
 * - NULL is fatal for a zone or a fiber, except where it stands for the default one. */
#ifndef OAKUM_BASE_H
#define OAKUM_BASE_H

#if !defined(__cplusplus) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 201112L)
#error "Oakum's headers are C11: compile with -std=c11, -std=gnu11 or later"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define OAK_BEGIN_DECLS extern "C" {
#define OAK_END_DECLS }
#else
#define OAK_BEGIN_DECLS
#define OAK_END_DECLS
#endif

#if defined(__GNUC__)
#define OAK_API __attribute__((visibility("default")))
#define OAK_MALLOC __attribute__((malloc, warn_unused_result))
#define OAK_NORETURN __attribute__((noreturn, cold))
#define OAK_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define OAK_API
#define OAK_MALLOC
#define OAK_NORETURN
#define OAK_PRINTF(f, a)
#endif

#define OAK_VERSION_MAJOR 0
#define OAK_VERSION_MINOR 1
#define OAK_VERSION_PATCH 0

OAK_BEGIN_DECLS

/* The table of all options: field, type (size, int or tracking), default, min, max, help. The
 * struct below, `oakum info` and the manual are made from it. The environment variable of an option
 * is OAKUM_ and the field's name in capitals, without its unit (_us, _ms). A size is in bytes; in
 * the environment it may end in K, M, G or T (powers of 1024). */
/* clang-format off */
#define OAK_OPTIONS(X)                                                                                    \
    X(heap_reserve,     size, 0,   0, 17592186044416, "address space to reserve, at most 16 TiB, halved until it fits; 0: 1 TiB") \
    X(heap_max,         size, 0,   0, SIZE_MAX, "hard limit on the heap: beyond it allocation fails with ENOMEM; 0: none") \
    X(memory_limit,     size, 0,   0, SIZE_MAX, "soft limit on all of Oakum's memory: the collector works harder near it; 0: none") \
    X(gc_percent,       int,  100, -1, 100000,  "growth of the heap between two collections, in percent of the live bytes; -1: no automatic collections") \
    X(thrift,           int,  1,   0, 1,        "lower the goal of a large heap, by at most half of its growth, where marks are cheap") \
    X(min_heap,         size, 0,   0, SIZE_MAX, "least goal of the heap at gc_percent 100; scaled with gc_percent; 0: 512K, and up to 4M where collections would cost more") \
    X(gc_threads,       int,  0,   0, 64,       "threads that mark together; 0: one for each processor, at most 8") \
    X(concurrent,       int,  1,   0, 1,        "mark concurrently with the program, if the system reports dirty pages; 0: in a pause") \
    X(pause_goal_us,    int,  10000, 0, 1000000000, "longest pause wanted, in us: a longer mark is concurrent, below 10000 even where tracking is dear; 0: concurrent in oak_collect_step only") \
    X(tracking,         tracking, OAK_TRACKING_USERFAULTFD, 0, 3, "how to find pages written during a mark: userfaultfd, faults (system calls can't write to scanned objects then), any (the first of these that works), none") \
    X(generations,      int,  1,   0, 1,        "between two full collections, run minor ones, which trace only new objects and dirty pages; needs concurrent") \
    X(background_sweep, int,  1,   0, 1,        "sweep on a thread of its own as well as on allocation") \
    X(scavenge,         int,  1,   0, 1,        "return free memory to the system in the background") \
    X(decay_ms,         int,  10000, 0, 86400000, "memory that was free for so many milliseconds is returned in the background; 0: at once") \
    X(touch_ahead,      int,  1,   0, 1,        "touch fresh memory of a growing heap in the background before it is needed") \
    X(huge_pages,       int,  1,   0, 1,        "ask for huge pages where they help") \
    X(finalizer_thread, int,  1,   0, 1,        "run finalizers on a thread of their own; 0: only in oak_finalizers_run") \
    X(profile_rate,     size, 0,   0, SIZE_MAX, "heap profile: sample one allocated byte in so many, usually 512K; 1: every object; 0: off") \
    X(stop_signal,      int,  0,   0, 64,       "signal that stops threads; 0: the first free real-time signal")
/* clang-format on */

typedef size_t oak_option_size;
typedef int oak_option_int;

/** The ways to track which pages the program writes: constant, and name in the environment. */
#define OAK_TRACKINGS(X)          \
    X(USERFAULTFD, "userfaultfd") \
    X(FAULTS, "faults")           \
    X(ANY, "any")                 \
    X(NONE, "none")

typedef enum oak_tracking {
#define OAK_TRACKING_VALUE(name, text) OAK_TRACKING_##name,
    OAK_TRACKINGS(OAK_TRACKING_VALUE)
#undef OAK_TRACKING_VALUE
    OAK_TRACKINGS_N
} oak_tracking;

typedef oak_tracking oak_option_tracking;

/** The most tags of words that a program may have. One of halves counts as two. */
#define OAK_POINTER_TAGS 8

/** Flags of oak_pointer_tag. */
enum {
    /* the word is two halves of 32 bits, each of which may be a reference; the fields describe a
     * half */
    OAK_TAG_HALVES = 1,
    /* the pointer is an offset from oak_heap_info.base, and has to express all of heap_reserve */
    OAK_TAG_FROM_HEAP = 2
};

/** How the program hides a pointer in a word, as in a NaN box. If (word & mask) == value, the word
 * refers to the object that contains this address:
 *
 *     offset + ((word & ~(mask | ignore)) >> shift)
 *
 * A negative shift is one to the left. The bits that are neither in mask nor in ignore, nor shifted
 * out, must be one run: the pointer's bits. Without OAK_TAG_FROM_HEAP they have to express every
 * address (47 bits). offset is a multiple of the value of the lowest of these bits. A tag whose
 * fields are all zero is no tag.
 *
 * No word, and no half of it, may fit two tags. Nor may a tag only repeat plain pointers: those
 * always count, and so do their low bits, as they are addresses in the object.
 *
 * A tag that tests no bits (mask is 0) fits every word. For addresses that is allowed, as few words
 * are addresses in the heap. An offset of OAK_TAG_FROM_HEAP must have a value other than 0, or test
 * one of the offset's bits. Otherwise every number below the heap's size would be a reference. The
 * same holds for tags that together fit every word. Halves have no bits to spare: they need no test
 * if they express at least 4 GiB, as OAK_TAG_COMPRESSED does. */
typedef struct oak_pointer_tag {
    uint64_t mask, value;
    uint64_t ignore; /* bits that are not the pointer's, and may have any value */
    int64_t offset;
    int shift; /* -8 to 16 */
    unsigned flags;
} oak_pointer_tag;

#ifdef __cplusplus
#define OAK_TAG(...)    \
    oak_pointer_tag     \
    {                   \
        __VA_ARGS__     \
    }
#else
#define OAK_TAG(...) ((oak_pointer_tag){ __VA_ARGS__ })
#endif

/** Tags for common words. In this one the upper 16 bits are `top`, as in most NaN boxes. */
#define OAK_TAG_UPPER_16(top) OAK_TAG((uint64_t)0xffff << 48, (uint64_t)(top) << 48, 0, 0, 0, 0)
#define OAK_TAG_NAN_FFFC OAK_TAG_UPPER_16(0xfffc)
#define OAK_TAG_NAN_FFFA OAK_TAG_UPPER_16(0xfffa)
#define OAK_TAG_NAN_7FFC OAK_TAG_UPPER_16(0x7ffc)
/** The upper byte may have any value. */
#define OAK_TAG_TOP_BYTE OAK_TAG(0, 0, (uint64_t)0xff << 56, 0, 0, 0)
/** The pointer is shifted left by n (1 to 16), and the bits below it may have any value. */
#define OAK_TAG_SHIFTED(n) OAK_TAG(0, 0, 0, 0, n, 0)
/** Each half is an offset from the heap's base, shifted right by n (0 to 8, usually 4). */
#define OAK_TAG_COMPRESSED(n) OAK_TAG(0, 0, 0, 0, -(n), OAK_TAG_HALVES | OAK_TAG_FROM_HEAP)

/** Options of oak_init. Fill the struct with oak_config_default, then change single fields. */
typedef struct oak_config {
#define OAK_OPTION_FIELD(field, type, def, min, max, help) oak_option_##type field;
    OAK_OPTIONS(OAK_OPTION_FIELD)
#undef OAK_OPTION_FIELD
    /* Tagged words that are references in addition to plain pointers. They count on stacks, in
     * registers, in global data and registered ranges, in objects without a type, and in the words
     * of a type's bitmap. No two tags may fit the same word. Fixed from the start on. In the
     * environment: OAKUM_POINTER_TAGS, a list of nan-fffc (or other upper 16 bits), top-byte,
     * shift-N and compressed-N. */
    oak_pointer_tag pointer_tags[OAK_POINTER_TAGS];
} oak_config;

/** Fill *cfg with the defaults, and then with the environment's values (OAKUM_GC_PERCENT=50 and so
 * on). */
OAK_API void oak_config_default(oak_config *cfg);

/** Start Oakum. Optional: the first use calls oak_init(NULL). NULL stands for the defaults and the
 * environment. Repeated calls with NULL do nothing. Thread-safe.
 *
 * Returns 0, or -1 with errno. EINVAL: a field is out of its range, and nothing is started; a line
 * on stderr says what is wrong with pointer_tags. EBUSY: Oakum runs already, and cfg is not NULL.
 * ENOMEM: no address space could be reserved. */
OAK_API int oak_init(const oak_config *cfg);

/** How Oakum was started. */
typedef enum oak_start {
    OAK_START_NOT,       /* not yet */
    OAK_START_FIRST_USE, /* by itself, at the first use: with the environment's options */
    OAK_START_INIT       /* by a call of oak_init */
} oak_start;

/** The start of Oakum: how, and by which file. */
typedef struct oak_started {
    oak_start how;
    /* for OAK_START_INIT: the file of the program or library that called oak_init, as the loader
     * knows it, cut after 255 bytes; "" if it is no longer loaded */
    char by[256];
} oak_started;

/** Read the configuration in effect: for a library that finds Oakum started. Settings that can
 * change after the start have their present values. heap_reserve is the address space that the heap
 * has got, and stop_signal the signal in use. pointer_tags and tracking are as requested. Before
 * the start, *cfg gets what oak_config_default gives. cfg and by may be NULL. Returns whether Oakum
 * is started; doesn't start it. Any thread, not from a signal handler. */
OAK_API bool oak_config_read(oak_config *cfg, oak_started *by);

/** The version of the library: "0.1.0". */
OAK_API const char *oak_version(void);

/** A handler for misuse and corruption. `message` has no newline and is valid until the handler
 * returns. When the handler returns, the process aborts. The handler may leave by longjmp only if
 * no lock is held, as is the case for the errors of maps. */
typedef void (*oak_fatal_handler)(const char *message);

/** Install a handler for fatal errors. NULL restores the default, which writes the line to stderr.
 * Returns the previous handler. Any thread. */
OAK_API oak_fatal_handler oak_set_fatal_handler(oak_fatal_handler fn);

/** Report misuse: format one line, call the handler, abort. The format may have %s %d %u %ld %lu
 * %zu %p %x %c %%. */
OAK_API OAK_NORETURN void oak_fatal(const char *format, ...) OAK_PRINTF(1, 2);

OAK_END_DECLS

#endif
