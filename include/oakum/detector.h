/* detector.h - the leak detector: finds memory that grows without end, memory that is held for
 * nothing, and high-water marks that are no leak.
 *
 * The detector takes a look after a collection, at most once an interval. A look reads the live
 * bytes of the heap, of each type, and of each site of the heap profile. It also reads the length
 * and the arrays of each map, the threads, the finalizers and the weak references. A leak is a
 * series of looks whose figures keep rising, by a robust test (docs/detector.md). Memory that is
 * large and doesn't grow is no leak.
 *
 * All functions may be called from any thread, but not from a mark function or a signal handler.
 * Only oak_detector_scan collects. */
#ifndef OAKUM_DETECTOR_H
#define OAKUM_DETECTOR_H

#include <oakum/heap.h>

OAK_BEGIN_DECLS

typedef enum oak_severity {
    OAK_SEVERITY_NOTE,    /* worth knowing, but no fault: steps, high-water marks */
    OAK_SEVERITY_WARNING, /* memory or time is wasted, but the waste doesn't grow */
    OAK_SEVERITY_LEAK     /* memory or a count grows, with no end in sight */
} oak_severity;

typedef enum oak_finding_kind {
    OAK_FINDING_HEAP_GROWTH,      /* leak: live bytes of the heap rise */
    OAK_FINDING_SITE_GROWTH,      /* leak: live bytes of a site of the heap profile rise */
    OAK_FINDING_TYPE_GROWTH,      /* leak: live bytes of a type rise */
    OAK_FINDING_MAP_GROWTH,       /* leak: a map's entries rise */
    OAK_FINDING_THREAD_GROWTH,    /* leak: the number of attached threads rises */
    OAK_FINDING_FIBER_GROWTH,     /* leak: the number of parked fibers rises */
    OAK_FINDING_MAP_SPARSE,       /* warning: a map's array is much larger than its entries */
    OAK_FINDING_MAP_STUCK,        /* warning: a resize makes no progress, and holds old buckets */
    OAK_FINDING_MAP_HASH,         /* warning: keys collide far beyond chance */
    OAK_FINDING_THREADS_BLOCKED,  /* warning: many threads have made no progress for long */
    OAK_FINDING_THREADS_STRANDED, /* warning: no thread can end some oak_blocking_wait */
    OAK_FINDING_FINALIZER_CYCLE,  /* warning: objects whose finalizers never run */
    OAK_FINDING_FINALIZER_STUCK,  /* warning: a finalizer runs for long, and others wait */
    OAK_FINDING_WEAK_DEAD,        /* warning: many weak references to dead objects are held */
    OAK_FINDING_THRASH,           /* warning: collections take much time and free little */
    OAK_FINDING_FRAGMENTED,       /* warning: a few objects keep many spans */
    OAK_FINDING_STEP,             /* note: live bytes are above mean + 3 sigma */
    OAK_FINDING_WATERMARK,        /* note: the heap was much larger; idle memory is no leak */
    OAK_FINDING_STACKS_HOLD,      /* note: the stack of an idle thread or fiber alone holds much */
    OAK_FINDING_KINDS
} oak_finding_kind;

/** The name of a kind: "heap-growth", "map-sparse", ... */
OAK_API const char *oak_finding_name(oak_finding_kind kind);

/** A finding: one kind of suspicion about one subject. */
typedef struct oak_finding {
    oak_finding_kind kind;
    oak_severity severity;
    bool active;         /* the last look saw it; false: it is over */
    uint64_t id;         /* the same for the same kind and subject as long as the detector runs */
    const void *object;  /* the map, or NULL; a stored pointer keeps the map alive */
    const oak_type *type;/* or NULL */
    int64_t site;        /* id of a site of the heap profile, or -1 */
    uint64_t before, now;/* bytes, entries or threads: at the window's beginning, and now */
    double slope;        /* rise of these per look */
    unsigned looks;      /* number of looks in the window */
    uint64_t first_seen, last_seen;   /* nanoseconds since 1970 */
    uint64_t first_cycle, last_cycle; /* numbers of collections */
    char subject[160];   /* the suspect: "site fill (cache.c:12) < serve", "map 0x7f..." */
    char evidence[240];  /* the figures, in words */
} oak_finding;

/** A function that gets each new finding, and each finding that is active again after it was over.
 * The thread that took the look calls it, with no lock held. It may call any function of Oakum. On
 * the detector's own thread, oak_detector_start and oak_detector_prepare fail with EDEADLK, and
 * oak_detector_stop doesn't wait. */
typedef void (*oak_finding_fn)(const oak_finding *f, void *ctx);

/* The table of all thresholds: field, type (size, int), default, min, max, help. */
/* clang-format off */
#define OAK_DETECTOR_OPTIONS(X)                                                                          \
    X(interval_ms,      int,  1000,    0, 86400000, "least time between two looks after collections") \
    X(pace_ms,          int,  1000,    0, 86400000, "least time between two looks that count: a sign at n looks has to last n - 1 times this; looks on demand count as at least this far apart") \
    X(looks_min,        int,  9,       4, 30,       "least looks before growth is judged") \
    X(looks_max,        int,  30,      8, 64,       "looks in the sliding window") \
    X(growth_bytes,     size, 1048576, 0, SIZE_MAX, "less growth over the window is ignored") \
    X(growth_percent,   int,  10,      0, 1000,     "less growth of a site, type or map is ignored; for the heap, a tenth of this") \
    X(sigmas,           int,  3,       1, 100,      "a step is so many standard deviations above the mean") \
    X(sparse_bytes,     size, 1572864, 0, SIZE_MAX, "smaller arrays of maps are never called sparse") \
    X(sparse_part,      int,  8,       2, 1000,     "an array is sparse if its entries would fit into one part of so many") \
    X(stuck_bytes,      size, 65536,   0, SIZE_MAX, "smaller old arrays are never called stuck; for empty maps, an eighth of this") \
    X(stuck_looks,      int,  3,       1, 1000,     "looks without progress until a resize is stuck") \
    X(threads,          int,  16,      1, 1000000,  "less growth of the number of threads is ignored; for fibers, ten times this") \
    X(blocked_threads,  int,  256,     1, 1000000,  "fewer blocked threads are never reported") \
    X(blocked_looks,    int,  3,       1, 1000,     "looks without progress until a thread counts as blocked") \
    X(held_bytes,       size, 16777216,0, SIZE_MAX, "fewer bytes that only the stack of an idle thread or fiber keeps are not reported") \
    X(finalizer_ms,     int,  1000,    1, 86400000, "a finalizer that runs for longer is stuck") \
    X(finalizer_cycles, int,  16,      1, 1000000,  "fewer objects in finalizer cycles are not reported") \
    X(weak_dead,        size, 1024,    1, SIZE_MAX, "fewer dead weak references are not reported") \
    X(thrash_share,     int,  25,      1, 100,      "processor time in the last three collections, least percent") \
    X(thrash_freed,     int,  10,      1, 100,      "heap freed by each of them, most percent") \
    X(fragmented_bytes, size, 16777216,0, SIZE_MAX, "smaller heaps are never called fragmented") \
    X(fragmented_ratio, int,  8,       2, 10000,    "least bytes in spans for each live byte") \
    X(watermark_bytes,  size, 16777216,0, SIZE_MAX, "less idle memory is no high-water mark") \
    X(sites,            int,  1,       0, 1,        "turn the heap profile on, at its usual rate, when it is off") \
    X(log,              int,  0,       0, 1,        "write a line to stderr for each finding")
/* clang-format on */

/** Options of the detector. Fill the struct with oak_detector_config_default, then change single
 * fields. */
typedef struct oak_detector_config {
#define OAK_DETECTOR_FIELD(field, type, def, min, max, help) oak_option_##type field;
    OAK_DETECTOR_OPTIONS(OAK_DETECTOR_FIELD)
#undef OAK_DETECTOR_FIELD
    oak_finding_fn found; /* or NULL */
    void *ctx;            /* argument of found; keeps no object alive */
} oak_detector_config;

/** Fill *cfg with the defaults. */
OAK_API void oak_detector_config_default(oak_detector_config *cfg);

/** Start the detector: it looks after collections, on a thread of its own. NULL stands for the
 * defaults. Looks and findings of an earlier run are dropped. Returns 0, or -1 with ENOMEM, or with
 * EINVAL when a field is out of its range. With EINVAL, an earlier run goes on.
 *
 * The variable OAKUM_DETECTOR starts it together with Oakum, with log on. Its value is 1, or
 * options as in interval_ms=100,growth_bytes=4M. */
OAK_API int oak_detector_start(const oak_detector_config *cfg);

/** As oak_detector_start, without the thread: all looks are calls of oak_detector_scan. */
OAK_API int oak_detector_prepare(const oak_detector_config *cfg);

/** Collect, look now regardless of the interval, and judge. A detector that isn't started is
 * prepared with the defaults first. Returns the number of active findings of severity WARNING or
 * LEAK; or -1 with ENOMEM. */
OAK_API int oak_detector_scan(void);

/** Stop looking, and wait for a look that is under way. The findings can still be read. */
OAK_API void oak_detector_stop(void);

/** Copy up to n findings to out: active ones first, and of these the worst first. Returns the
 * number of all findings. */
OAK_API size_t oak_detector_findings(oak_finding *out, size_t n);

/** Counts of the detector, for metrics. */
typedef struct oak_detector_stats {
    uint64_t looks;                    /* taken so far */
    uint64_t raised[OAK_FINDING_KINDS];/* findings so far, by kind */
    uint64_t active[OAK_FINDING_KINDS];/* findings at the last look, by kind */
    uint64_t dropped;                  /* findings for which there was no room */
    uint64_t look_ns, stop_ns;         /* duration of the last look, and of its pause */
} oak_detector_stats;

/** Read the counts into *out. */
OAK_API void oak_detector_stats_read(oak_detector_stats *out);

OAK_END_DECLS

#endif
