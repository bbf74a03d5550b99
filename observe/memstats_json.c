/* memstats_json.c - heap statistics as JSON (memstats_json.h).
 *
 * Names and order are those of Go 1.19's runtime.MemStats as its encoding/json writes them. Oakum's
 * own fields follow.
 *
 * Owns: nothing. Any thread. */
#include "memstats_json.h"

#include <string.h>

#define GO_FIELDS(X)                                                                              \
    X(u64, "Alloc", alloc) X(u64, "TotalAlloc", total_alloc) X(u64, "Sys", sys)                   \
    X(u64, "Lookups", lookups) X(u64, "Mallocs", mallocs) X(u64, "Frees", frees)                  \
    X(u64, "HeapAlloc", heap_alloc) X(u64, "HeapSys", heap_sys) X(u64, "HeapIdle", heap_idle)     \
    X(u64, "HeapInuse", heap_inuse) X(u64, "HeapReleased", heap_released)                         \
    X(u64, "HeapObjects", heap_objects) X(u64, "StackInuse", stack_inuse)                         \
    X(u64, "StackSys", stack_sys) X(u64, "MSpanInuse", mspan_inuse) X(u64, "MSpanSys", mspan_sys) \
    X(u64, "MCacheInuse", mcache_inuse) X(u64, "MCacheSys", mcache_sys)                           \
    X(u64, "BuckHashSys", buck_hash_sys) X(u64, "GCSys", gc_sys) X(u64, "OtherSys", other_sys)    \
    X(u64, "NextGC", next_gc) X(u64, "LastGC", last_gc) X(u64, "PauseTotalNs", pause_total_ns)
#define GO_LATER_FIELDS(X)                                                                        \
    X(u64, "NumGC", num_gc) X(u64, "NumForcedGC", num_forced_gc)                                  \
    X(double, "GCCPUFraction", gc_cpu_fraction) X(bool, "EnableGC", enable_gc)                    \
    X(bool, "DebugGC", debug_gc)
#define OWN_FIELDS(X)                                                                             \
    X(u64, "MetaSys", meta_sys) X(u64, "HeapReserved", heap_reserved) X(u64, "Threads", threads)  \
    X(u64, "Finalizers", finalizers) X(u64, "FinalizersReady", finalizers_ready)                  \
    X(u64, "FinalizerCycles", finalizer_cycles)                                                   \
    X(u64, "FinalizerCycleBytes", finalizer_cycle_bytes) X(u64, "WeakRefs", weak_refs)            \
    X(u64, "WeakRefsCleared", weak_refs_cleared) X(u64, "Zones", zones)                           \
    X(u64, "ZonesInuse", zones_inuse) X(u64, "NumConcurrentGC", num_concurrent_gc)                \
    X(u64, "NumMinorGC", num_minor_gc) X(u64, "MarkedBytes", marked_bytes)                        \
    X(u64, "RescannedBytes", rescanned_bytes) X(u64, "PagesAsked", pages_asked)                   \
    X(u64, "PagesDirty", pages_dirty) X(u64, "TrackingFaults", tracking_faults)                   \
    X(u64, "PauseMaxNs", pause_max_ns)                                     \
    X(u64, "HeapRetained", heap_retained) X(u64, "External", external)

static void put_ring(oaki_json *j, const char *key, const uint64_t *ring, size_t n)
{
    oaki_json_key(j, key);
    oaki_json_array(j);
    for (size_t i = 0; i < n; i++) oaki_json_u64(j, ring[i]);
    oaki_json_array_end(j);
}

static void put_sizes(oaki_json *j, const oak_memstats *s)
{
    oaki_json_key(j, "BySize");
    oaki_json_array(j);
    for (size_t i = 0; i < sizeof s->by_size / sizeof s->by_size[0] && s->by_size[i].size; i++) {
        oaki_json_object(j);
        oaki_json_put_u64(j, "Size", s->by_size[i].size);
        oaki_json_put_u64(j, "Mallocs", s->by_size[i].mallocs);
        oaki_json_put_u64(j, "Frees", s->by_size[i].frees);
        oaki_json_object_end(j);
    }
    oaki_json_array_end(j);
}

void oaki_memstats_json(oaki_json *j, const oak_memstats *s)
{
#define PUT(type, name, field) oaki_json_put_##type(j, name, s->field);
    oaki_json_object(j);
    GO_FIELDS(PUT)
    put_ring(j, "PauseNs", s->pause_ns, sizeof s->pause_ns / sizeof s->pause_ns[0]);
    put_ring(j, "PauseEnd", s->pause_end, sizeof s->pause_end / sizeof s->pause_end[0]);
    GO_LATER_FIELDS(PUT)
    put_sizes(j, s);
    OWN_FIELDS(PUT)
    oaki_json_object_end(j);
#undef PUT
}

/* ---- into a buffer ---- */

typedef struct counted {
    char *buf;
    size_t size, len;
} counted;

static bool put_counted(void *ctx, const char *p, size_t n)
{
    counted *c = ctx;
    if (c->len < c->size) memcpy(c->buf + c->len, p, n < c->size - c->len ? n : c->size - c->len);
    c->len += n;
    return true;
}

size_t oak_memstats_json(const oak_memstats *s, char *buf, size_t n)
{
    counted c = { buf, buf ? n : 0, 0 };
    if (c.size > 0) buf[0] = '\0';
    if (!s) return 0;
    oaki_json j;
    oaki_json_init(&j, put_counted, &c);
    oaki_memstats_json(&j, s);
    (void)oaki_json_finish(&j);
    c.len--; /* the newline */
    if (c.size > 0) buf[c.len < c.size ? c.len : c.size - 1] = '\0';
    return c.len;
}
