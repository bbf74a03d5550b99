/* metrics.c - the server's reading in Prometheus' text format 0.0.4.
 *
 * Names end in their unit, and counters in _total. Labels have few fixed values, so no act of the
 * program adds series. Times are in seconds, sizes in bytes. Runs on the light worker. */
#include "reading.h"
#include "runtime/heap.h"
#include "runtime/print.h"
#include "serve_json.h"
#include <stdio.h>
#include <string.h>

static void head(oaki_body *b, const char *name, const char *type, const char *help)
{
    oaki_body_format(b, "# HELP oakum_%s %s\n# TYPE oakum_%s %s\n", name, help, name, type);
}

/* Writes seconds with all nine decimals, and with a point in any locale. */
static void put_seconds(oaki_body *b, uint64_t ns)
{
    oaki_body_format(b, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000),
                     (unsigned long long)(ns % 1000000000));
}

static void put_u64(oaki_body *b, uint64_t v)
{
    oaki_body_format(b, "%llu\n", (unsigned long long)v);
}

static void one(oaki_body *b, const char *name, const char *type, const char *help, uint64_t v)
{
    head(b, name, type, help);
    oaki_body_format(b, "oakum_%s ", name);
    put_u64(b, v);
}

static void one_seconds(oaki_body *b, const char *name, const char *type, const char *help,
                        uint64_t ns)
{
    head(b, name, type, help);
    oaki_body_format(b, "oakum_%s ", name);
    put_seconds(b, ns);
}

static void labelled(oaki_body *b, const char *name, const char *label, const char *value,
                     uint64_t v)
{
    oaki_body_format(b, "oakum_%s{%s=\"%s\"} ", name, label, value);
    put_u64(b, v);
}

/* ---- parts ---- */

/* Writes a label's value, with backslashes, quotes and newlines escaped. */
static void put_escaped(oaki_body *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == '"') oaki_body_put(b, "\\", 1);
        if (*s == '\n') oaki_body_text(b, "\\n");
        else oaki_body_put(b, s, 1);
    }
}

static void put_info(oaki_body *b)
{
    oak_heap_info info;
    oak_heap_info_read(&info);
    head(b, "info", "gauge", "Constant 1; what runs is in the labels.");
    oaki_body_text(b, "oakum_info{version=\"");
    put_escaped(b, oak_version());
    oaki_body_text(b, "\",metadata=\"");
    put_escaped(b, info.metadata);
    oaki_body_text(b, "\"} 1\n");
}

static void put_heap(oaki_body *b, const oak_memstats *s)
{
    one(b, "heap_alloc_bytes", "gauge", "Bytes in objects that are live or not yet swept.",
        s->heap_alloc);
    one(b, "heap_objects", "gauge", "Objects that are live or not yet swept.", s->heap_objects);
    one(b, "heap_inuse_bytes", "gauge", "Bytes in spans that hold objects.", s->heap_inuse);
    one(b, "heap_idle_bytes", "gauge", "Bytes in free pages.", s->heap_idle);
    one(b, "heap_released_bytes", "gauge", "Bytes of free pages that were returned to the system.",
        s->heap_released);
    one(b, "heap_retained_bytes", "gauge", "Bytes of free pages that the system still backs.",
        s->heap_retained);
    one(b, "heap_next_gc_bytes", "gauge", "Heap size at which the next collection starts.",
        s->next_gc);
    one(b, "stacks_inuse_bytes", "gauge", "Bytes in use of the stacks of attached threads.",
        s->stack_inuse);
    head(b, "sys_bytes", "gauge", "Bytes that Oakum got from the system, by use.");
    labelled(b, "sys_bytes", "use", "heap", s->heap_sys);
    labelled(b, "sys_bytes", "use", "mspan", s->mspan_sys);
    labelled(b, "sys_bytes", "use", "mcache", s->mcache_sys);
    labelled(b, "sys_bytes", "use", "profile", s->buck_hash_sys);
    labelled(b, "sys_bytes", "use", "gc", s->gc_sys);
    labelled(b, "sys_bytes", "use", "other", s->other_sys);
    one(b, "alloc_bytes_total", "counter", "Bytes allocated.", s->total_alloc);
    one(b, "mallocs_total", "counter", "Objects allocated.", s->mallocs);
    one(b, "frees_total", "counter", "Objects freed.", s->frees);
    one(b, "finalizers", "gauge", "Finalizers that are registered.", s->finalizers);
    one(b, "finalizers_ready", "gauge", "Finalizers that are due and have not run.",
        s->finalizers_ready);
    one(b, "weak_references", "gauge", "Weak references whose object is there.", s->weak_refs);
    one(b, "zones", "gauge", "Zones that there are, without the default one.", s->zones);
    one(b, "zones_inuse_bytes", "gauge", "Bytes in spans of zones, discarded ones included.",
        s->zones_inuse);
}

/* Writes the limits that there are. */
static void put_limits(oaki_body *b)
{
    size_t limit = oaki_heap_soft_limit(), max = AO_load(&oaki_the_heap.heap_max);
    if (limit)
        one(b, "memory_limit_bytes", "gauge",
            "The soft memory limit: the program's or its control group's, whichever is less.",
            limit);
    if (max) one(b, "heap_max_bytes", "gauge", "The most that the heap may have.", max);
}

/* Writes the bytes of spans of small objects, by the least percentage of slots in use. */
static void put_spans(oaki_body *b, const oaki_census *c)
{
    char percent[8];
    head(b, "span_bytes", "gauge",
         "Bytes of spans that hold small objects, by how full they are: this percentage at least.");
    for (unsigned i = 0; i < OAKI_CENSUS_FILLS; i++) {
        oaki_format(percent, sizeof percent, "%u", 10 * i);
        labelled(b, "span_bytes", "full", percent, c->fill_bytes[i]);
    }
}

static void put_live(oaki_body *b, const oaki_census *c)
{
    static const char *const names[OAKI_KINDS] = { [OAKI_SCAN] = "conservative",
                                                   [OAKI_NOSCAN] = "noscan",
                                                   [OAKI_TYPED] = "typed",
                                                   [OAKI_PINNED] = "pinned" };
    head(b, "live_bytes", "gauge",
         "Bytes in objects that the last collection found alive, and in newer ones, by kind.");
    for (unsigned k = 0; k < OAKI_KINDS; k++)
        labelled(b, "live_bytes", "kind", names[k], c->kind_bytes[k]);
}

static void put_gc(oaki_body *b, const oak_memstats *s)
{
    char fraction[32];
    uint64_t ppm = (uint64_t)(s->gc_cpu_fraction * 1e6);
    oaki_format(fraction, sizeof fraction, "%llu.%06llu", (unsigned long long)(ppm / 1000000),
                (unsigned long long)(ppm % 1000000));
    one(b, "gc_cycles_total", "counter", "Collections.", s->num_gc);
    one(b, "gc_forced_cycles_total", "counter", "Collections that the program asked for.",
        s->num_forced_gc);
    head(b, "gc_cpu_fraction", "gauge", "Part of the CPU time since the start spent collecting.");
    oaki_body_format(b, "oakum_gc_cpu_fraction %s\n", fraction);
    one_seconds(b, "gc_last_timestamp_seconds", "gauge", "End of the last collection, since 1970.",
                s->last_gc);
    one_seconds(b, "gc_stopped_seconds_total", "counter", "Time that the world stood for it.",
                s->pause_total_ns);
}

static void put_pauses(oaki_body *b)
{
    oaki_pauses p;
    uint64_t below = 0;
    oaki_reading_pauses(&p);
    head(b, "gc_pause_seconds", "histogram", "Pauses for collections since the server started.");
    for (size_t i = 0; i < OAKI_READING_BUCKETS; i++) {
        uint64_t bound = oaki_reading_bounds[i] / 1000; /* in microseconds */
        char le[24];
        below += p.bucket[i];
        size_t n = oaki_format(le, sizeof le, "%llu.%06llu", (unsigned long long)(bound / 1000000),
                               (unsigned long long)(bound % 1000000));
        while (le[n - 1] == '0' && le[n - 2] != '.') le[--n] = '\0';
        labelled(b, "gc_pause_seconds_bucket", "le", le, below);
    }
    labelled(b, "gc_pause_seconds_bucket", "le", "+Inf", p.count);
    oaki_body_text(b, "oakum_gc_pause_seconds_sum ");
    put_seconds(b, p.sum_ns);
    oaki_body_text(b, "oakum_gc_pause_seconds_count ");
    put_u64(b, p.count);
}

typedef struct map_sums {
    uint64_t count, entries, array, old, growing;
} map_sums;

static void put_map_series(oaki_body *b, const char *name, const char *help, uint64_t classic,
                           uint64_t usual)
{
    head(b, name, "gauge", help);
    labelled(b, name, "kind", "default", usual);
    labelled(b, name, "kind", "classic", classic);
}

static void put_maps(oaki_body *b, const oaki_census *c)
{
    map_sums s[2] = { { 0 } };
    for (size_t i = 0; i < c->nmaps; i++) {
        const oaki_map_view *v = &c->maps[i].view;
        map_sums *to = &s[v->kind == OAKI_MAP_CLASSIC];
        to->count++;
        to->entries += v->len;
        to->array += v->array_bytes;
        to->old += v->old_array_bytes;
        to->growing += v->growing;
    }
    put_map_series(b, "maps", "Live maps: all, or the largest where there are thousands.",
                   s[1].count, s[0].count);
    put_map_series(b, "map_entries", "Entries of these maps.", s[1].entries, s[0].entries);
    put_map_series(b, "map_array_bytes", "Bytes of their arrays.", s[1].array, s[0].array);
    put_map_series(b, "map_old_array_bytes", "Bytes of arrays that are being left.", s[1].old,
                   s[0].old);
    put_map_series(b, "maps_growing", "Maps in the middle of a resize.", s[1].growing,
                   s[0].growing);
}

static void put_threads(oaki_body *b, const oaki_census *c)
{
    one(b, "threads", "gauge", "Threads that are attached, the server's two among them.",
        c->threads_seen - c->fibers);
    one(b, "fibers", "gauge", "Fibers that no thread runs on.", c->fibers);
}

void oaki_serve_metrics(oaki_request *r)
{
    const oaki_reading *reading = oaki_reading_get();
    if (!reading) {
        oaki_request_refuse(r, 503, "no memory for a reading");
        return;
    }
    const oaki_census *c = &reading->census;
    oaki_body *b = &r->body;
    r->type = "text/plain; version=0.0.4; charset=utf-8";
    put_info(b);
    put_heap(b, &c->stats);
    put_limits(b);
    put_live(b, c);
    put_spans(b, c);
    put_gc(b, &c->stats);
    put_pauses(b);
    put_maps(b, c);
    put_threads(b, c);
    oaki_serve_leak_metrics(b);
    one_seconds(b, "reading_stop_seconds", "gauge", "Time that the world stood for this reading.",
                c->stop);
}
