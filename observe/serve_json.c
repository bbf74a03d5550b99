/* serve_json.c - readings as JSON (serve_json.h).
 *
 * Owns: nothing; runs on the light worker. Names and labels may be any bytes: the writer escapes
 * them. Bound: MAPS_MAX maps, OAKI_READING_CYCLES collections, all threads of the census. */
#include "serve_json.h"
#include "gclog.h"
#include "json.h"
#include "memstats_json.h"
#include "reading.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAPS_USUAL 100
#define MAPS_OF_STATE 20

void oaki_serve_json_begin(oaki_request *r, oaki_json *j)
{
    r->type = "application/json; charset=utf-8";
    oaki_json_init(j, oaki_body_sink, &r->body);
}

void oaki_serve_json_end(oaki_request *r, oaki_json *j)
{
    if (!oaki_json_finish(j)) r->body.failed = true;
}

static const oaki_reading *begin(oaki_request *r, oaki_json *j)
{
    const oaki_reading *reading = oaki_reading_get();
    if (!reading) {
        oaki_request_refuse(r, 503, "no memory for a reading");
        return NULL;
    }
    oaki_serve_json_begin(r, j);
    return reading;
}

/* ---- collections ---- */

static void put_cycles(oaki_json *j, uint64_t since, void (*put)(oaki_json *, const oaki_cycle *))
{
    oaki_cycle *c = malloc(OAKI_READING_CYCLES * sizeof *c);
    size_t n = c ? oaki_reading_cycles(since, c, OAKI_READING_CYCLES) : 0;
    oaki_json_array(j);
    for (size_t i = 0; i < n; i++) put(j, &c[i]);
    oaki_json_array_end(j);
    free(c);
}

static void put_whole_cycle(oaki_json *j, const oaki_cycle *c)
{
    oaki_gclog_cycle(j, c, c->lost);
}

void oaki_serve_gc(oaki_request *r)
{
    oaki_json j;
    oaki_serve_json_begin(r, &j);
    oaki_json_object(&j);
    oaki_json_key(&j, "cycles");
    put_cycles(&j, r->since, put_whole_cycle);
    oaki_json_object_end(&j);
    oaki_serve_json_end(r, &j);
}

/* ---- memory ---- */

void oaki_serve_memstats(oaki_request *r)
{
    oaki_json j;
    const oaki_reading *reading = begin(r, &j);
    if (!reading) return;
    oaki_memstats_json(&j, &reading->census.stats);
    oaki_serve_json_end(r, &j);
}

/* ---- maps ---- */

static size_t bytes_of(const oaki_census_map *m)
{
    return m->view.array_bytes + m->view.old_array_bytes;
}

static int larger_first(const void *a, const void *b)
{
    const oaki_census_map *x = *(const oaki_census_map *const *)a;
    const oaki_census_map *y = *(const oaki_census_map *const *)b;
    if (bytes_of(x) != bytes_of(y)) return bytes_of(x) < bytes_of(y) ? 1 : -1;
    return x->hidden < y->hidden ? -1 : x->hidden > y->hidden;
}

static void put_map(oaki_json *j, const oaki_census_map *m)
{
    const oaki_map_view *v = &m->view;
    oaki_json_object(j);
    oaki_json_put_address(j, "address", oaki_unhide(m->hidden));
    oaki_json_put_string(j, "kind", v->kind == OAKI_MAP_CLASSIC ? "classic" : "default");
    oaki_json_put_string(j, "type", v->name);
    oaki_json_put_u64(j, "entries", v->len);
    oaki_json_put_u64(j, "slots", v->capacity);
    oaki_json_put_double(j, "load", v->capacity ? (double)v->len / (double)v->capacity : 0);
    oaki_json_put_u64(j, "array_bytes", v->array_bytes);
    oaki_json_put_u64(j, "old_array_bytes", v->old_array_bytes);
    oaki_json_put_bool(j, "growing", v->growing);
    oaki_json_put_bool(j, "same_size", v->same_size);
    oaki_json_put_double(j, "moved", v->moved);
    oaki_json_put_u64(j, "growths", v->growths);
    oaki_json_key(j, "crowded");
    if (v->crowded < 0) oaki_json_null(j);
    else oaki_json_double(j, v->crowded);
    oaki_json_put_bool(j, "bad_hash", v->bad_hash);
    oaki_json_object_end(j);
}

static void put_totals(oaki_json *j, const oaki_census *c)
{
    size_t entries = 0, slots = 0, array = 0, old = 0, growing = 0, bad = 0;
    for (size_t i = 0; i < c->nmaps; i++) {
        const oaki_map_view *v = &c->maps[i].view;
        entries += v->len;
        slots += v->capacity;
        array += v->array_bytes;
        old += v->old_array_bytes;
        growing += v->growing;
        bad += v->bad_hash;
    }
    oaki_json_put_u64(j, "count", c->maps_seen);
    oaki_json_put_u64(j, "shown", c->nmaps);
    oaki_json_put_u64(j, "entries", entries);
    oaki_json_put_u64(j, "slots", slots);
    oaki_json_put_u64(j, "array_bytes", array);
    oaki_json_put_u64(j, "old_array_bytes", old);
    oaki_json_put_u64(j, "growing", growing);
    oaki_json_put_u64(j, "bad_hash", bad);
    oaki_json_put_bool(j, "sampled", c->sampled);
}

/* Sorts pointers, as the census's table is shared and must not change. */
static void put_maps(oaki_json *j, const oaki_census *c, size_t top)
{
    const oaki_census_map **order = malloc((c->nmaps + 1) * sizeof *order);
    size_t n = order ? c->nmaps : 0;
    for (size_t i = 0; i < n; i++) order[i] = &c->maps[i];
    if (n > 0) qsort(order, n, sizeof *order, larger_first);
    oaki_json_object(j);
    put_totals(j, c);
    oaki_json_key(j, "largest");
    oaki_json_array(j);
    for (size_t i = 0; i < OAKI_MIN(n, top); i++) put_map(j, order[i]);
    oaki_json_array_end(j);
    oaki_json_object_end(j);
    free(order);
}

void oaki_serve_maps(oaki_request *r)
{
    oaki_json j;
    const oaki_reading *reading = begin(r, &j);
    if (!reading) return;
    put_maps(&j, &reading->census, r->has_top ? r->top : MAPS_USUAL);
    oaki_serve_json_end(r, &j);
}

/* ---- threads ---- */

/* The kernel's name of a thread; a thread that has ended has none. */
static size_t read_name(int tid, char *out, size_t n)
{
    char path[64];
    oaki_format(path, sizeof path, "/proc/self/task/%d/comm", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out, n) : -1;
    if (fd >= 0) close(fd);
    if (got > 0 && out[got - 1] == '\n') got--;
    return got > 0 ? (size_t)got : 0;
}

static void put_thread(oaki_json *j, const oaki_census_thread *t)
{
    char name[32];
    oaki_json_object(j);
    if (t->place == OAKI_PLACE_THREAD) {
        oaki_json_put_i64(j, "id", t->tid);
        oaki_json_key(j, "name");
        oaki_json_bytes(j, name, read_name(t->tid, name, sizeof name));
    } else {
        oaki_json_put_address(j, "fiber", oaki_unhide(t->hidden));
    }
    oaki_json_put_u64(j, "stack_bytes", t->stack_bytes);
    oaki_json_put_bool(j, "blocked", t->blocked);
    oaki_json_put_bool(j, "asks", t->self);
    oaki_json_object_end(j);
}

void oaki_serve_threads(oaki_request *r)
{
    oaki_json j;
    const oaki_reading *reading = begin(r, &j);
    if (!reading) return;
    const oaki_census *c = &reading->census;
    oaki_json_object(&j);
    oaki_json_put_u64(&j, "count", c->threads_seen - c->fibers);
    oaki_json_put_u64(&j, "fibers", c->fibers);
    oaki_json_key(&j, "stacks");
    oaki_json_array(&j);
    for (size_t i = 0; i < c->nthreads; i++) put_thread(&j, &c->threads[i]);
    oaki_json_array_end(&j);
    oaki_json_object_end(&j);
    oaki_serve_json_end(r, &j);
}

/* ---- all data of the dashboard and `oakum top` in one answer ---- */

static void put_memory(oaki_json *j, const oaki_census *c)
{
    const oak_memstats *s = &c->stats;
    oaki_json_object(j);
    oaki_json_put_u64(j, "heap_alloc", s->heap_alloc);
    oaki_json_put_u64(j, "heap_inuse", s->heap_inuse);
    oaki_json_put_u64(j, "heap_idle", s->heap_idle);
    oaki_json_put_u64(j, "heap_released", s->heap_released);
    oaki_json_put_u64(j, "heap_sys", s->heap_sys);
    oaki_json_put_u64(j, "sys", s->sys);
    oaki_json_put_u64(j, "next_gc", s->next_gc);
    oaki_json_put_u64(j, "heap_objects", s->heap_objects);
    oaki_json_put_u64(j, "total_alloc", s->total_alloc);
    oaki_json_put_u64(j, "mallocs", s->mallocs);
    oaki_json_put_u64(j, "stack_inuse", s->stack_inuse);
    oaki_json_put_u64(j, "num_gc", s->num_gc);
    oaki_json_put_u64(j, "pause_total_ns", s->pause_total_ns);
    oaki_json_put_double(j, "gc_cpu_fraction", s->gc_cpu_fraction);
    oaki_json_put_u64(j, "threads", s->threads);
    oaki_json_put_u64(j, "finalizers_ready", s->finalizers_ready);
    oaki_json_key(j, "span_bytes_by_tenths"); /* by the share of used slots: 0, 1, ... all */
    oaki_json_array(j);
    for (unsigned i = 0; i < OAKI_CENSUS_FILLS; i++) oaki_json_u64(j, c->fill_bytes[i]);
    oaki_json_array_end(j);
    oaki_json_object_end(j);
}

static void put_short_cycle(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_object(j);
    oaki_json_put_u64(j, "gc", c->line.cycle);
    oaki_json_put_u64(j, "end_unix_ns", c->wall);
    oaki_json_put_u64(j, "pause_ns", c->first + oaki_cycle_pause(c));
    oaki_json_put_u64(j, "live", c->line.heap_live);
    oaki_json_put_bool(j, "forced", c->line.forced);
    oaki_json_put_bool(j, "minor", c->minor);
    oaki_json_object_end(j);
}

void oaki_serve_state(oaki_request *r)
{
    oaki_json j;
    const oaki_reading *reading = begin(r, &j);
    if (!reading) return;
    const oaki_census *c = &reading->census;
    oaki_json_object(&j);
    oaki_json_put_string(&j, "version", oak_version());
    oaki_json_put_i64(&j, "pid", oaki_os_pid());
    oaki_json_put_string(&j, "program", program_invocation_short_name);
    oaki_json_put_u64(&j, "unix_ns", reading->wall);
    oaki_json_put_u64(&j, "stop_ns", c->stop);
    oaki_json_put_u64(&j, "profile_rate", oak_profile_rate());
    oaki_json_key(&j, "memory");
    put_memory(&j, c);
    oaki_json_key(&j, "cycles");
    put_cycles(&j, r->since, put_short_cycle);
    oaki_json_key(&j, "maps");
    put_maps(&j, c, r->has_top ? r->top : MAPS_OF_STATE);
    oaki_json_key(&j, "leaks");
    oaki_serve_put_leaks(&j);
    oaki_json_object_end(&j);
    oaki_serve_json_end(r, &j);
}
