/* detector.h - the leak detector: looks at what collections leave alive, and says what grows that
 * should not, what is held for nothing, and what is only a high-water mark.
 *
 * It looks once a collection, at most once an interval: at live bytes of the whole heap, of each
 * type, of each site of the heap profile; at every map's length and arrays; at threads; at
 * finalizers and weak references. A leak is a series of such looks that rises all the time, by a
 * robust test (docs/detector.md); what stays where it is, however large, is none.
 *
 * All functions: any thread, not in a finalizer's or mark function's way of being called from
 * inside Oakum; not from a signal handler. */
#ifndef OAKUM_DETECTOR_H
#define OAKUM_DETECTOR_H

#include <oakum/heap.h>

OAK_BEGIN_DECLS

typedef enum oak_severity {
    OAK_SEVERITY_NOTE,    /* worth knowing; not a fault: steps, high-water marks */
    OAK_SEVERITY_WARNING, /* memory or time is wasted, but does not grow */
    OAK_SEVERITY_LEAK     /* grows without end, as far as can be seen */
} oak_severity;

typedef enum oak_finding_kind {
    OAK_FINDING_HEAP_GROWTH,      /* leak: live bytes of the heap rise */
    OAK_FINDING_SITE_GROWTH,      /* leak: those of a site of the heap profile */
    OAK_FINDING_TYPE_GROWTH,      /* leak: those of a type */
    OAK_FINDING_MAP_GROWTH,       /* leak: a map's entries */
    OAK_FINDING_THREAD_GROWTH,    /* leak: attached threads */
    OAK_FINDING_FIBER_GROWTH,     /* leak: parked fibers */
    OAK_FINDING_MAP_SPARSE,       /* warning: a map's array is much larger than its entries */
    OAK_FINDING_MAP_STUCK,        /* warning: old buckets are held by a growth that stands still */
    OAK_FINDING_MAP_HASH,         /* warning: keys collide far beyond chance */
    OAK_FINDING_THREADS_BLOCKED,  /* warning: many threads have stood still for long */
    OAK_FINDING_THREADS_STRANDED, /* warning: threads in oak_blocking_wait that nobody can wake */
    OAK_FINDING_FINALIZER_CYCLE,  /* warning: objects whose finalizers never run */
    OAK_FINDING_FINALIZER_STUCK,  /* warning: a finalizer runs for long, others wait */
    OAK_FINDING_WEAK_DEAD,        /* warning: weak references are kept whose objects have gone */
    OAK_FINDING_THRASH,           /* warning: collections take much time and free little */
    OAK_FINDING_FRAGMENTED,       /* warning: a few objects keep many spans */
    OAK_FINDING_STEP,             /* note: live bytes are above mean + 3 sigma */
    OAK_FINDING_WATERMARK,        /* note: the heap was much larger, what is idle is not a leak */
    OAK_FINDING_STACKS_HOLD,      /* note: the stack of one that stands still alone holds much */
    OAK_FINDING_KINDS
} oak_finding_kind;

/** "heap-growth", "map-sparse", ... */
OAK_API const char *oak_finding_name(oak_finding_kind kind);

typedef struct oak_finding {
    oak_finding_kind kind;
    oak_severity severity;
    bool active;         /* true at the last look; false: it was, and is over */
    uint64_t id;         /* the same for the same subject as long as the detector runs */
    const void *object;  /* the map, or NULL; whoever keeps it keeps the map alive */
    const oak_type *type;/* or NULL */
    int64_t site;        /* of the heap profile, -1 when it is none */
    uint64_t before, now;/* bytes, entries or threads: at the window's beginning, and now */
    double slope;        /* of those, a look */
    unsigned looks;      /* that the window has */
    uint64_t first_seen, last_seen; /* nanoseconds since 1970 */
    uint64_t first_cycle, last_cycle;
    char subject[160];   /* what it is about: "site fill (cache.c:12) < serve", "map 0x7f..." */
    char evidence[240];  /* the figures, in words */
} oak_finding;

/** Called for what is found anew, and for what is found again after it was over, with no lock held,
 * by the thread that looked. It may call everything; but on the detector's own thread
 * oak_detector_start and _prepare fail with EDEADLK, and oak_detector_stop doesn't wait. */
typedef void (*oak_finding_fn)(const oak_finding *f, void *ctx);

/* Every threshold, once: field, type (size, int), default, least, most, what it is. */
/* clang-format off */
#define OAK_DETECTOR_OPTIONS(X)                                                                          \
    X(interval_ms,      int,  1000,    0, 86400000, "at most one look in so many milliseconds") \
    X(pace_ms,          int,  1000,    0, 86400000, "what must show at n looks must last n - 1 times as long; a look on demand is at least so long after the one before") \
    X(looks_min,        int,  9,       4, 30,       "looks before a growth is judged") \
    X(looks_max,        int,  30,      8, 64,       "looks that the sliding window has") \
    X(growth_bytes,     size, 1048576, 0, SIZE_MAX, "growth over the window below this is none") \
    X(growth_percent,   int,  10,      0, 1000,     "growth of a site, type or map by less is none; of the heap, a tenth of this") \
    X(sigmas,           int,  3,       1, 100,      "a step is so many standard deviations above the mean") \
    X(sparse_bytes,     size, 1572864, 0, SIZE_MAX, "smaller arrays of maps are never called sparse") \
    X(sparse_part,      int,  8,       2, 1000,     "an array is sparse when its entries would fit into one of so many parts") \
    X(stuck_bytes,      size, 65536,   0, SIZE_MAX, "smaller old arrays are never called stuck; those of empty maps from an eighth on") \
    X(stuck_looks,      int,  3,       1, 1000,     "looks without progress until a growth is stuck") \
    X(threads,          int,  16,      1, 1000000,  "growth of threads by less is none; of fibers, ten times this") \
    X(blocked_threads,  int,  256,     1, 1000000,  "fewer blocked threads are never reported") \
    X(blocked_looks,    int,  3,       1, 1000,     "looks at which a thread has not moved") \
    X(held_bytes,       size, 16777216,0, SIZE_MAX, "what stacks hold alone that stand still: less is not reported") \
    X(finalizer_ms,     int,  1000,    1, 86400000, "a finalizer that runs for longer is stuck") \
    X(finalizer_cycles, int,  16,      1, 1000000,  "fewer objects in finalizer cycles are not reported") \
    X(weak_dead,        size, 1024,    1, SIZE_MAX, "fewer dead weak references are not reported") \
    X(thrash_share,     int,  25,      1, 100,      "percent of the processor time in collections, at least, over the last three") \
    X(thrash_freed,     int,  10,      1, 100,      "and percent of the heap freed by each, at most") \
    X(fragmented_bytes, size, 16777216,0, SIZE_MAX, "smaller heaps are never called fragmented") \
    X(fragmented_ratio, int,  8,       2, 10000,    "bytes in spans for a live byte") \
    X(watermark_bytes,  size, 16777216,0, SIZE_MAX, "less idle memory is no high-water mark") \
    X(sites,            int,  1,       0, 1,        "turn the heap profile on, at its usual rate, when it is off") \
    X(log,              int,  0,       0, 1,        "write a line to stderr for each finding")
/* clang-format on */

typedef struct oak_detector_config {
#define OAK_DETECTOR_FIELD(field, type, def, min, max, help) oak_option_##type field;
    OAK_DETECTOR_OPTIONS(OAK_DETECTOR_FIELD)
#undef OAK_DETECTOR_FIELD
    oak_finding_fn found; /* or NULL */
    void *ctx;            /* of the host: not a root */
} oak_detector_config;

OAK_API void oak_detector_config_default(oak_detector_config *cfg);

/** Look after each collection, on a thread of the detector's own. NULL: the defaults. What an
 * earlier run has found and seen is forgotten. The variable OAKUM_DETECTOR does this when Oakum
 * starts, with log on: 1, or options as interval_ms=100,growth_bytes=4M. 0, or -1 with EINVAL when
 * a field is out of its range, or ENOMEM. */
OAK_API int oak_detector_start(const oak_detector_config *cfg);

/** The same without the thread: it looks only in oak_detector_scan. */
OAK_API int oak_detector_prepare(const oak_detector_config *cfg);

/** Collect, look now, whatever the interval, and judge. Starts with oak_detector_prepare(NULL) if
 * need be. How many findings of at least WARNING are active; -1 with ENOMEM. */
OAK_API int oak_detector_scan(void);

/** No more looks; findings stay to be read. Waits for a look that is under way. */
OAK_API void oak_detector_stop(void);

/** Copy up to n findings, active ones first, the worst first. Returns how many there are. */
OAK_API size_t oak_detector_findings(oak_finding *out, size_t n);

typedef struct oak_detector_stats {
    uint64_t looks;                    /* taken */
    uint64_t raised[OAK_FINDING_KINDS];/* findings so far */
    uint64_t active[OAK_FINDING_KINDS];/* at the last look */
    uint64_t dropped;                  /* findings for which there was no room */
    uint64_t look_ns, stop_ns;         /* the last look took, and how long the world stood for it */
} oak_detector_stats;

/** Counts, for metrics. */
OAK_API void oak_detector_stats_read(oak_detector_stats *out);

OAK_END_DECLS

#endif
