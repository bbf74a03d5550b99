/* trace_write.c - a trace as JSON in Chrome's trace-event format (Google, "Trace Event Format").
 *
 * Times are microseconds since the trace began, with three decimals. otherData gives that moment on
 * the monotonic clock and since 1970. Threads are tracks; so are the collector, with its pauses and
 * their parts, and the sweep. The heap's size is a counter, from the size in every event. Resizes
 * of maps are asynchronous events by the map's address.
 *
 * A file of limited size has as much of each thread as fits into its share, and tells what is left
 * out. Collections and tracks are always in it.
 *
 * Owns: nothing that outlives the call. Under the trace's lock. Threads may append events during
 * the write; those are left out. Uses the host's malloc: outside of oaki_enter.
 * Bound: O(n log n) in the events. */
#include "json.h"
#include "output.h"
#include "trace.h"

#include "runtime/os.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLLECTOR INT32_MAX       /* numbers of tracks; no thread has them */
#define SWEEP (INT32_MAX - 1)
#define CHUNK ((size_t)64 << 10)  /* bytes written at a time */
#define SPARE ((size_t)8 << 10)   /* bytes that an event, and what ends the file, fit into */
#define FINEST 20000              /* least nanoseconds between two values of the heap counter ... */
#define COARSE ((size_t)64 << 10) /* ... that differ by less */

typedef struct writer {
    const oaki_trace_view *v;
    oaki_json j;
    int pid, fd;
    uintptr_t ids; /* the last one given to an asynchronous span */
    char *chunk;
    size_t filled;
    size_t written, most; /* bytes */
    uint64_t left_out;    /* events, for lack of room */
} writer;

/* ---- bytes ---- */

static bool flush(writer *w)
{
    bool done = oaki_write_all(w->fd, w->chunk, w->filled) == 0;
    w->filled = 0;
    return done;
}

static bool put(void *ctx, const char *p, size_t n)
{
    writer *w = ctx;
    if (n > CHUNK - w->filled && !flush(w)) return false;
    memcpy(w->chunk + w->filled, p, n);
    w->filled += n;
    w->written += n;
    return true;
}

/* Whether one more event surely fits. */
static bool has_room(const writer *w)
{
    return w->most >= SPARE && w->written <= w->most - SPARE;
}

/* ---- one event ---- */

static void put_time(writer *w, const char *key, uint64_t ns)
{
    oaki_json_key(&w->j, key);
    oaki_json_decimal(&w->j, ns, 3);
}

/* Begins an event, and leaves it open for args. */
static void begin(writer *w, const char *name, const char *category, const char *phase, int64_t tid,
                  uint64_t when)
{
    oaki_json_object(&w->j);
    oaki_json_put_string(&w->j, "name", name);
    oaki_json_put_string(&w->j, "cat", category);
    oaki_json_put_string(&w->j, "ph", phase);
    oaki_json_put_i64(&w->j, "pid", w->pid);
    oaki_json_put_i64(&w->j, "tid", tid);
    put_time(w, "ts", when > w->v->begin ? when - w->v->begin : 0);
}

static void args(writer *w)
{
    oaki_json_key(&w->j, "args");
    oaki_json_object(&w->j);
}

static void end_args(writer *w)
{
    oaki_json_object_end(&w->j);
    oaki_json_object_end(&w->j);
}

static void span(writer *w, const char *name, const char *category, int64_t tid, uint64_t when,
                 uint64_t duration)
{
    begin(w, name, category, "X", tid, when);
    put_time(w, "dur", duration);
}

static void counter(writer *w, const char *name, uint64_t when, const char *key, uint64_t value)
{
    begin(w, name, "memory", "C", 0, when);
    args(w);
    oaki_json_put_u64(&w->j, key, value);
    end_args(w);
}

static void track(writer *w, int64_t tid, const char *name, int order)
{
    begin(w, "thread_name", "__metadata", "M", tid, 0);
    args(w);
    oaki_json_put_string(&w->j, "name", name);
    end_args(w);
    begin(w, "thread_sort_index", "__metadata", "M", tid, 0);
    args(w);
    oaki_json_put_i64(&w->j, "sort_index", order);
    end_args(w);
}

/* ---- cycles ---- */

static void put_parts(writer *w, const oaki_cycle *c)
{
    static const char *const names[OAKI_PARTS] = { "stop the world", "prepare",     "roots",
                                                    "mark",           "finish mark", "pace",
                                                    "start the world" };
    uint64_t at = c->begin;
    for (unsigned p = 0; p < OAKI_PARTS; p++) {
        span(w, names[p], "gc", COLLECTOR, at, c->part[p]);
        oaki_json_object_end(&w->j);
        at += c->part[p] + (p == OAKI_PART_FINISH ? c->verify : 0);
    }
}

/* The concurrent mark, and the pause before it; parts before the trace's begin are left out. */
static void put_concurrent(writer *w, const oaki_cycle *c)
{
    uint64_t from = OAKI_MAX(c->first_begin, w->v->begin);
    uint64_t begun = OAKI_MAX(c->first_begin + c->first - c->between, from);
    if (begun > from) {
        span(w, "first GC pause", "gc", COLLECTOR, from, begun - from);
        args(w);
        oaki_json_put_u64(&w->j, "gc", c->line.cycle);
        end_args(w);
    }
    span(w, "concurrent mark", "gc", COLLECTOR, begun, c->begin - begun);
    args(w);
    oaki_json_put_u64(&w->j, "gc", c->line.cycle);
    oaki_json_put_u64(&w->j, "cpu_ns", c->concurrent_cpu);
    oaki_json_put_u64(&w->j, "stops_ns", c->between);
    end_args(w);
}

static void put_cycle(writer *w, const oaki_cycle *c, const oaki_cycle *next)
{
    static const char *const why[] = { "due", "needed", "asked" };
    if (c->first_begin) put_concurrent(w, c);
    span(w, "GC pause", "gc", COLLECTOR, c->begin, c->end - c->begin);
    args(w);
    oaki_json_put_u64(&w->j, "gc", c->line.cycle);
    oaki_json_put_string(&w->j, "why", why[c->why]);
    oaki_json_put_bool(&w->j, "minor", c->minor);
    oaki_json_put_u64(&w->j, "heap_start", c->line.heap_start);
    oaki_json_put_u64(&w->j, "heap_live", c->line.heap_live);
    oaki_json_put_u64(&w->j, "freed", c->freed);
    oaki_json_put_u64(&w->j, "goal", c->line.goal);
    oaki_json_put_u64(&w->j, "threads", c->threads);
    oaki_json_put_i64(&w->j, "by_thread", c->tid);
    end_args(w);
    put_parts(w, c);
    counter(w, "heap goal", c->end, "bytes", c->trigger);
    uint64_t swept = next ? next->sweep_end : 0;
    if (swept <= c->end) return;
    span(w, "sweep", "gc", SWEEP, c->end, swept - c->end);
    oaki_json_object_end(&w->j);
}

/* ---- threads' events ---- */

static void put_span(writer *w, const oaki_trace_buffer *b, const oaki_trace_event *e,
                     uint64_t duration, bool open)
{
    span(w, e->name, "span", b->tid, e->when, duration);
    if (e->key[0] || open) {
        args(w);
        if (e->key[0]) oaki_json_put_string(&w->j, e->key, e->value);
        if (open) oaki_json_put_bool(&w->j, "open", true);
        oaki_json_object_end(&w->j);
    }
    oaki_json_object_end(&w->j);
}

static void put_async(writer *w, const oaki_trace_buffer *b, const oaki_trace_event *e)
{
    w->ids++;
    for (unsigned end = 0; end < 2; end++) {
        begin(w, e->name, "span", end ? "e" : "b", b->tid, e->when + (end ? e->duration : 0));
        oaki_json_put_address(&w->j, "id", (const void *)w->ids);
        oaki_json_object_end(&w->j);
    }
}

static void put_event(writer *w, const oaki_trace_buffer *b, const oaki_trace_event *e)
{
    switch ((oaki_event_kind)e->kind) {
    case OAKI_EVENT_SPAN:
        put_span(w, b, e, e->duration, false);
        break;
    case OAKI_EVENT_ASYNC:
        put_async(w, b, e);
        break;
    case OAKI_EVENT_INSTANT:
        begin(w, e->name, "span", "i", b->tid, e->when);
        oaki_json_put_string(&w->j, "s", "t");
        oaki_json_object_end(&w->j);
        break;
    case OAKI_EVENT_COUNTER:
        begin(w, e->name, "counter", "C", 0, e->when);
        args(w);
        oaki_json_put_double(&w->j, "value", e->number);
        end_args(w);
        break;
    case OAKI_EVENT_ASSIST:
        span(w, e->name, "gc", b->tid, e->when, e->duration);
        args(w);
        oaki_json_put_u64(&w->j, "swept", e->bytes);
        end_args(w);
        break;
    case OAKI_EVENT_RESIZE:
    case OAKI_EVENT_RESIZE_END:
        break; /* written later, in pairs */
    }
}

/* The thread may open and close spans meanwhile: spans that changed during the copy are left out.
 * An open span lasts at least until now, and until the end of the last event inside it. */
static void put_open_spans(writer *w, const oaki_trace_buffer *b)
{
    oaki_trace_event open[OAKI_TRACE_NEST];
    if (AO_load(&b->gone)) return;
    AO_t moves = AO_load_acquire(&b->moves), depth = OAKI_MIN(AO_load(&b->depth), OAKI_TRACE_NEST);
    memcpy(open, b->open, depth * sizeof open[0]);
    AO_nop_full();
    if (moves % 2 != 0 || AO_load(&b->moves) != moves) return;
    uint64_t now = oaki_os_now_ns();
    for (AO_t i = 0; i < depth; i++)
        put_span(w, b, &open[i], now > open[i].when ? now - open[i].when : 0, true);
}

/* ---- events in the order of time ---- */

typedef struct moment {
    uint64_t when, live;
    const oaki_trace_event *resize; /* or NULL */
    int tid;
} moment;

static int by_time(const void *a, const void *b)
{
    const moment *x = a, *y = b;
    return x->when < y->when ? -1 : x->when > y->when;
}

/* Writes the heap counter: a large change at once, any other change after FINEST ns. */
static void put_heap(writer *w, const moment *m, size_t n)
{
    uint64_t last = 0, when = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t change = m[i].live > last ? m[i].live - last : last - m[i].live;
        bool soon = m[i].when - when < FINEST;
        if (i > 0 && (change == 0 || (soon && change < COARSE))) continue;
        if (has_room(w)) counter(w, "heap", m[i].when, "bytes", m[i].live);
        else w->left_out++;
        last = m[i].live;
        when = m[i].when;
    }
}

static void put_resize(writer *w, const moment *m, const char *phase)
{
    const oaki_trace_event *e = m->resize;
    if (!has_room(w)) {
        w->left_out++;
        return;
    }
    begin(w, e->classic ? "classic map resize" : "map resize", "map", phase, m->tid, m->when);
    oaki_json_put_address(&w->j, "id", (const void *)~(uintptr_t)e->map);
    args(w);
    oaki_json_put_u64(&w->j, "len", e->len);
    if (e->to) {
        oaki_json_put_u64(&w->j, "from_slots", e->from);
        oaki_json_put_u64(&w->j, "to_slots", e->to);
    }
    end_args(w);
}

/* The slot of a map in a hash table of resizes. */
static size_t slot_of(const moment *const *open, size_t nslots, const void *map)
{
    size_t i = ((uintptr_t)map * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (nslots - 1);
    while (open[i] && open[i]->resize->map != map) i = (i + 1) & (nslots - 1);
    return i;
}

/* Leaves out ends whose begin was dropped or precedes the trace. If a map begins again, its end was
 * dropped or another map had its address: the new begin ends the old resize. */
static bool put_resizes(writer *w, const moment *m, size_t n)
{
    size_t resizes = 0, nslots = 16;
    for (size_t i = 0; i < n; i++) resizes += m[i].resize != NULL;
    while (nslots < 2 * resizes) nslots *= 2;
    const moment **open = calloc(nslots, sizeof *open);
    bool *under_way = calloc(nslots, sizeof *under_way);
    for (size_t i = 0; open && under_way && i < n; i++) {
        const oaki_trace_event *e = m[i].resize;
        if (!e) continue;
        size_t at = slot_of(open, nslots, e->map);
        bool begins = e->kind == OAKI_EVENT_RESIZE;
        if (under_way[at]) put_resize(w, &m[i], "e");
        if (begins) put_resize(w, &m[i], "b");
        open[at] = &m[i];
        under_way[at] = begins;
    }
    bool done = open && under_way;
    free(open);
    free(under_way);
    return done;
}

static size_t add_moments(const writer *w, moment *m)
{
    size_t k = 0;
    for (size_t i = 0; i < w->v->ncycles; i++) {
        const oaki_cycle *c = &w->v->cycles[i];
        if (c->first_begin >= w->v->begin)
            m[k++] = (moment){ c->first_begin, c->line.heap_start, NULL, 0 };
        m[k++] = (moment){ c->begin, c->line.heap_end, NULL, 0 };
        m[k++] = (moment){ c->end, c->line.heap_live, NULL, 0 };
    }
    return k;
}

/* ---- the whole trace ---- */

static bool is_of(const writer *w, const oaki_trace_buffer *b)
{
    return AO_load_acquire(&b->generation) == w->v->generation;
}

static bool put_in_order(writer *w, size_t room)
{
    moment *m = malloc((room ? room : 1) * sizeof *m);
    if (!m) return false;
    size_t k = add_moments(w, m);
    for (const oaki_trace_buffer *b = w->v->buffers; b; b = b->next) {
        size_t n = is_of(w, b) ? AO_load_acquire(&b->n) : 0;
        for (size_t i = 0; i < n && k < room; i++) {
            const oaki_trace_event *e = &b->event[i];
            bool resize = e->kind == OAKI_EVENT_RESIZE || e->kind == OAKI_EVENT_RESIZE_END;
            /* a span recorded the heap's size when it began */
            m[k++] = (moment){ e->when, e->live, resize ? e : NULL, b->tid };
        }
    }
    qsort(m, k, sizeof *m, by_time);
    put_heap(w, m, k);
    bool done = put_resizes(w, m, k);
    free(m);
    return done;
}

/* The thread's track tells where events are missing. */
static void put_gap(writer *w, const oaki_trace_buffer *b, uint64_t when, size_t n)
{
    w->left_out += n;
    begin(w, "events left out", "trace", "i", b->tid, when);
    oaki_json_put_string(&w->j, "s", "t");
    args(w);
    oaki_json_put_u64(&w->j, "events", n);
    end_args(w);
}

/* Its events, until the file has `bytes`: the last may exceed that. */
static void put_thread(writer *w, const oaki_trace_buffer *b, size_t bytes)
{
    size_t n = AO_load_acquire(&b->n), i = 0;
    track(w, b->tid, b->thread, 0);
    for (; i < n && w->written < bytes && has_room(w); i++) put_event(w, b, &b->event[i]);
    if (i < n) put_gap(w, b, b->event[i].when, n - i);
    else put_open_spans(w, b);
}

static bool put_events(writer *w)
{
    const oaki_trace_view *v = w->v;
    size_t room = 3 * v->ncycles, threads = 0;
    size_t end = w->most - w->most / 4; /* the rest is for counters and resizes */
    track(w, COLLECTOR, "collector", -2);
    track(w, SWEEP, "sweep", -1);
    for (size_t i = 0; i < v->ncycles; i++)
        put_cycle(w, &v->cycles[i], i + 1 < v->ncycles ? &v->cycles[i + 1] : NULL);
    for (const oaki_trace_buffer *b = v->buffers; b; b = b->next) threads += is_of(w, b);
    for (const oaki_trace_buffer *b = v->buffers; b; b = b->next) {
        if (!is_of(w, b)) continue;
        size_t left = end > w->written ? end - w->written : 0;
        put_thread(w, b, w->written + left / OAKI_MAX(threads, (size_t)1));
        if (threads > 0) threads--;
        room += AO_load(&b->n);
    }
    return put_in_order(w, room);
}

static bool put_all(writer *w)
{
    const oaki_trace_view *v = w->v;
    oaki_json_init(&w->j, put, w);
    oaki_json_object(&w->j);
    oaki_json_put_string(&w->j, "displayTimeUnit", "ns");
    oaki_json_key(&w->j, "traceEvents");
    oaki_json_array(&w->j);
    bool whole = put_events(w);
    oaki_json_array_end(&w->j);
    oaki_json_key(&w->j, "otherData");
    oaki_json_object(&w->j);
    oaki_json_put_string(&w->j, "producer", "oakum");
    oaki_json_put_u64(&w->j, "begin_monotonic_ns", v->begin);
    oaki_json_put_u64(&w->j, "begin_unix_ns", v->begin_wall);
    oaki_json_put_u64(&w->j, "dropped_events", v->dropped + w->left_out);
    oaki_json_object_end(&w->j);
    oaki_json_object_end(&w->j);
    if (!whole) {
        errno = ENOMEM;
        return false;
    }
    return oaki_json_finish(&w->j) && flush(w);
}

int oaki_trace_write_fd(const oaki_trace_view *v, int fd, size_t most)
{
    writer w = { .v = v, .pid = oaki_os_pid(), .fd = fd, .chunk = malloc(CHUNK), .most = most };
    if (!w.chunk) return -1;
    int r = put_all(&w) ? 0 : -1;
    int saved = errno;
    free(w.chunk);
    errno = saved;
    return r;
}

int oaki_trace_write_to(const oaki_trace_view *v, const char *path)
{
    oaki_output out;
    if (oaki_output_open(&out, path) != 0) return -1;
    return oaki_output_close(&out, oaki_trace_write_fd(v, out.fd, SIZE_MAX));
}
