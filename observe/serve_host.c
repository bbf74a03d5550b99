/* serve_host.c - the answer of /debug/host: what the host costs, and what Oakum decided by it.
 *
 * Owns: nothing; runs on the light worker. Bound: a measurement that no cycle has needed yet takes
 * about 3 ms (oak_host_read). */
#include "serve_json.h"
#include <oakum/gc.h>
#include <oakum/heap.h>

static void put_tracking(oaki_json *j)
{
    oak_writes_told told = { 0 };
    (void)oak_heap_tells_writes(&told);
    oaki_json_key(j, "tracking");
    oaki_json_object(j);
    oaki_json_put_string(j, "by", told.by);
    oaki_json_put_string(j, "refused", told.refused);
    oaki_json_put_u64(j, "errno", (uint64_t)told.error);
    oaki_json_object_end(j);
}

static void put_costs(oaki_json *j, const oak_host *h)
{
    oaki_json_key(j, "costs_ns");
    oaki_json_object(j);
    oaki_json_put_u64(j, "write", h->write);
    oaki_json_put_u64(j, "write_huge", h->write_huge);
    oaki_json_put_u64(j, "protect", h->protect);
    oaki_json_put_u64(j, "protect_huge", h->protect_huge);
    oaki_json_put_u64(j, "ask", h->ask);
    oaki_json_put_u64(j, "ask_huge", h->ask_huge);
    oaki_json_put_u64(j, "fresh", h->fresh);
    oaki_json_put_u64(j, "fresh_huge", h->fresh_huge);
    oaki_json_put_u64(j, "stop", h->stop);
    oaki_json_put_u64(j, "wake", h->wake);
    oaki_json_object_end(j);
}

void oaki_serve_host(oaki_request *r)
{
    oaki_json j;
    oak_host h;
    oak_host_read(&h);
    oaki_serve_json_begin(r, &j);
    oaki_json_object(&j);
    put_tracking(&j);
    put_costs(&j, &h);
    oaki_json_put_u64(&j, "processors", h.processors);
    oaki_json_put_u64(&j, "workers", h.workers);
    oaki_json_put_u64(&j, "memory_limit", h.memory_limit);
    oaki_json_put_u64(&j, "group_limit", h.group_limit);
    oaki_json_put_u64(&j, "pause_goal_us", h.pause_goal_us);
    oaki_json_put_double(&j, "stopped_bytes_per_ms", h.stopped_bytes);
    oaki_json_put_double(&j, "concurrent_bytes_per_ms", h.concurrent_bytes);
    oaki_json_put_double(&j, "minor_bytes_per_ms", h.minor_bytes);
    oaki_json_put_u64(&j, "resting", h.resting);
    oaki_json_put_bool(&j, "concurrent", h.concurrent);
    oaki_json_put_string(&j, "why", h.why);
    oaki_json_put_bool(&j, "dear", h.dear);
    oaki_json_put_bool(&j, "tracks", h.tracks);
    oaki_json_put_bool(&j, "huge_pages", h.huge_pages);
    oaki_json_object_end(&j);
    oaki_serve_json_end(r, &j);
}
