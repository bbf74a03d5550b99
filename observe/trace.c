/* trace.c - records a trace (oakum/trace.h, trace.h): its start and end, and the events.
 *
 * Owns: the list of buffers, each thread's pointer to its own, the cycles' table.
 * Invariants: a recording thread first reads `generation`, which is 0 while no trace is under way.
 * An event empties a buffer of another generation before it enters it. Each start has a number that
 * was never used before.
 * Lock: the trace's turn, for start, end and writing. Recording takes no lock. It calls only the
 * system's clock, and mmap once a thread. The listener fills the table of cycles, in one thread at
 * a time. Readers have stopped the listener, or read only up to ncycles.
 * Bound: recording is O(1). */
#include "trace.h"

#include "cancel.h"
#include "turn.h"
#include "gc/sweep.h"
#include "maps/resizehook.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/restore.h"
#include <errno.h>
#include <oakum/trace.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>

#define EVENTS 8192
#define EVENTS_MAX ((size_t)16 << 20)

static struct {
    AO_t turn;
    AO_t generation; /* of the trace under way; 0: none */
    AO_t starts;
    AO_t buffers; /* oaki_trace_buffer * */
    AO_t nbuffers;
    AO_t homeless; /* events dropped for lack of a buffer */
    AO_t cap;      /* events a thread */
    uint64_t begin, begin_wall;
    oaki_cycle *cycles;
    AO_t ncycles, cycles_dropped;
    AO_t ready; /* the exit key is made */
    pthread_key_t exit_key;
} self;

static __thread oaki_trace_buffer *mine __attribute__((tls_model("initial-exec")));
static __thread AO_t mine_of __attribute__((tls_model("initial-exec"))); /* oaki_restores, then */

static void fork_child(void);

static void take_turn(void)
{
    oaki_turn_take(&self.turn, fork_child);
}

static void give_turn(void)
{
    oaki_turn_give(&self.turn);
}

/* ---- a thread's buffer ---- */

static size_t bytes_for(size_t events)
{
    size_t n = sizeof(oaki_trace_buffer) + events * sizeof(oaki_trace_event);
    return OAKI_ALIGN_UP(n, oaki_os_page_size());
}

/* Finds the buffer of an ended thread whose events were written or are obsolete. */
static oaki_trace_buffer *reuse(AO_t generation)
{
    oaki_trace_buffer *b = (oaki_trace_buffer *)AO_load_acquire(&self.buffers);
    for (; b; b = b->next) {
        if (!AO_load(&b->gone) || AO_load(&b->generation) == generation) continue;
        if (b->room < AO_load(&self.cap)) continue;
        if (AO_compare_and_swap_full(&b->gone, 1, 0)) return b;
    }
    return NULL;
}

static oaki_trace_buffer *map_new(void)
{
    if (AO_fetch_and_add1(&self.nbuffers) >= OAKI_TRACE_BUFFERS) {
        AO_fetch_and_sub1(&self.nbuffers);
        return NULL;
    }
    size_t room = AO_load(&self.cap);
    oaki_trace_buffer *b = oaki_os_map(bytes_for(room));
    if (!b) {
        AO_fetch_and_sub1(&self.nbuffers);
        return NULL;
    }
    b->room = room;
    AO_t head;
    do {
        head = AO_load(&self.buffers);
        b->next = (oaki_trace_buffer *)head;
    } while (!AO_compare_and_swap_full(&self.buffers, head, (AO_t)b));
    return b;
}

/* The generation is 0 meanwhile, as readers select buffers by it. */
static void settle_in(oaki_trace_buffer *b, AO_t generation)
{
    AO_store_release(&b->generation, 0);
    b->tid = oaki_os_tid();
    memset(b->thread, 0, sizeof b->thread);
    prctl(PR_GET_NAME, b->thread);
    AO_store(&b->n, 0);
    AO_store(&b->dropped, 0);
    AO_store(&b->depth, 0);
    AO_store(&b->cap, OAKI_MIN(b->room, AO_load(&self.cap)));
    AO_store_release(&b->generation, generation);
}

/* A buffer of a heap that was shut down is gone. */
static oaki_trace_buffer *my_own(void)
{
    return mine_of == oaki_restores() ? mine : NULL;
}

/* inside: the runtime or a map's write is under way, where nothing may be allocated; glibc calls
 * calloc for the value of a later key. */
static OAKI_COLD oaki_trace_buffer *new_buffer(AO_t generation, bool inside)
{
    oaki_trace_buffer *b = my_own();
    if (!b && inside && self.exit_key >= OAKI_FREE_KEYS) {
        AO_fetch_and_add1(&self.homeless);
        return NULL;
    }
    if (!b && !(b = reuse(generation)) && !(b = map_new())) {
        AO_fetch_and_add1(&self.homeless);
        return NULL;
    }
    if (!my_own() && pthread_setspecific(self.exit_key, b) != 0) {
        AO_store(&b->gone, 1);
        AO_fetch_and_add1(&self.homeless);
        return NULL;
    }
    mine = b;
    mine_of = oaki_restores();
    settle_in(b, generation);
    return b;
}

/* The calling thread's buffer for the trace under way; NULL if there is no trace, or no room for a
 * buffer. */
static oaki_trace_buffer *buffer(bool inside)
{
    AO_t generation = AO_load_acquire(&self.generation);
    if (OAKI_LIKELY(generation == 0)) return NULL;
    oaki_trace_buffer *b = my_own();
    if (OAKI_LIKELY(b && AO_load(&b->generation) == generation)) return b;
    return new_buffer(generation, inside);
}

static void on_thread_exit(void *p)
{
    oaki_trace_buffer *b = p;
    mine = NULL;
    AO_store_release(&b->gone, 1);
}

/* ---- events ---- */

static oaki_trace_event *place(oaki_trace_buffer *b)
{
    AO_t n = AO_load(&b->n);
    if (n < AO_load(&b->cap)) return &b->event[n];
    AO_store(&b->dropped, AO_load(&b->dropped) + 1);
    return NULL;
}

static void publish(oaki_trace_buffer *b)
{
    AO_store_release(&b->n, AO_load(&b->n) + 1);
}

static void copy_text(char *to, const char *from, size_t room)
{
    size_t n = from ? strnlen(from, room - 1) : 0;
    memcpy(to, from ? from : "", n);
    memset(to + n, 0, room - n);
}

static void fill(oaki_trace_event *e, oaki_event_kind kind, const char *name, uint64_t when)
{
    memset(e, 0, sizeof *e);
    e->kind = (uint8_t)kind;
    e->when = when;
    e->live = AO_load(&oaki_the_heap.live);
    copy_text(e->name, name, sizeof e->name);
}

/* A new event in the calling thread's buffer; the caller completes and publishes it. NULL: none. */
static oaki_trace_event *add(oaki_trace_buffer *b, oaki_event_kind kind, const char *name,
                             uint64_t when)
{
    oaki_trace_event *e = b ? place(b) : NULL;
    if (e) fill(e, kind, name, when);
    return e;
}

static void begin_change(oaki_trace_buffer *b)
{
    AO_store(&b->moves, AO_load(&b->moves) + 1);
    AO_nop_full();
}

static void end_change(oaki_trace_buffer *b)
{
    AO_store_release(&b->moves, AO_load(&b->moves) + 1);
}

void oak_span_begin_arg(const char *name, const char *key, const char *value)
{
    oaki_trace_buffer *b = buffer(false);
    if (OAKI_LIKELY(!b)) return;
    AO_t depth = AO_load(&b->depth);
    begin_change(b);
    if (depth < OAKI_TRACE_NEST) {
        oaki_trace_event *e = &b->open[depth];
        fill(e, OAKI_EVENT_SPAN, name, oaki_os_now_ns());
        copy_text(e->key, key, sizeof e->key);
        copy_text(e->value, value, sizeof e->value);
    }
    AO_store(&b->depth, depth + 1);
    end_change(b);
}

void oak_span_begin(const char *name)
{
    oak_span_begin_arg(name, NULL, NULL);
}

void oak_span_end(void)
{
    oaki_trace_buffer *b = buffer(false);
    if (OAKI_LIKELY(!b) || AO_load(&b->depth) == 0) return;
    AO_t depth = AO_load(&b->depth) - 1;
    oaki_trace_event *e = place(b);
    if (e && depth < OAKI_TRACE_NEST) {
        *e = b->open[depth];
        e->duration = oaki_os_now_ns() - e->when;
        publish(b);
    } else if (e) {
        AO_store(&b->dropped, AO_load(&b->dropped) + 1);
    }
    begin_change(b);
    AO_store(&b->depth, depth);
    end_change(b);
}

void oak_span_add(const char *name, uint64_t begin, uint64_t end)
{
    oaki_trace_buffer *b = buffer(false);
    oaki_trace_event *e = add(b, OAKI_EVENT_ASYNC, name, begin);
    if (!e) return;
    e->duration = end > begin ? end - begin : 0;
    publish(b);
}

void oak_trace_instant(const char *name)
{
    oaki_trace_buffer *b = buffer(false);
    if (add(b, OAKI_EVENT_INSTANT, name, oaki_os_now_ns())) publish(b);
}

void oak_trace_counter(const char *name, double value)
{
    oaki_trace_buffer *b = buffer(false);
    oaki_trace_event *e = add(b, OAKI_EVENT_COUNTER, name, oaki_os_now_ns());
    if (!e) return;
    e->number = value;
    publish(b);
}

uint64_t oak_trace_now(void)
{
    return oaki_os_now_ns();
}

static void on_assist(uint64_t begin, size_t bytes)
{
    oaki_trace_buffer *b = buffer(true);
    oaki_trace_event *e = add(b, OAKI_EVENT_ASSIST, "sweep assist", begin);
    if (!e) return;
    e->duration = oaki_os_now_ns() - begin;
    e->bytes = bytes;
    publish(b);
}

static void on_resize(const oaki_resize *r)
{
    oaki_trace_buffer *b = buffer(true);
    oaki_event_kind kind = r->begins ? OAKI_EVENT_RESIZE : OAKI_EVENT_RESIZE_END;
    oaki_trace_event *e = add(b, kind, "map resize", oaki_os_now_ns());
    if (!e) return;
    e->map = (const void *)~(uintptr_t)r->map;
    e->classic = r->classic;
    e->len = r->len;
    e->from = r->from;
    e->to = r->to;
    publish(b);
}

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    AO_t n = AO_load(&self.ncycles);
    AO_store(&self.cycles_dropped, AO_load(&self.cycles_dropped) + c->lost);
    if (c->begin < self.begin) return; /* it was waiting when the trace began */
    if (n == OAKI_TRACE_CYCLES) {
        AO_store(&self.cycles_dropped, AO_load(&self.cycles_dropped) + 1);
        return;
    }
    self.cycles[n] = *c;
    AO_store_release(&self.ncycles, n + 1);
}

/* ---- start and end; the turn is held ---- */

static void off(void)
{
    AO_store_full(&self.generation, 0);
    oaki_sweep_on_assist(NULL);
    oaki_maps_on_resize(NULL);
    oaki_gc_off_cycle(on_cycle, NULL);
}

/* The heap is closed: buffers go with its memory. */
void oaki_trace_close(void)
{
    if (AO_load(&self.ready)) (void)pthread_key_delete(self.exit_key);
    AO_store(&self.ready, 0);
}

/* A child records nothing: its buffers would contain the parent's events. */
static void fork_child(void)
{
    AO_store(&self.turn, 0);
    AO_store(&self.generation, 0);
    oaki_sweep_on_assist(NULL);
    oaki_maps_on_resize(NULL);
    oaki_gc_off_cycle(on_cycle, NULL);
}

static int prepare(void)
{
    if (!oaki_heap_ready()) return -1;
    oaki_fork_register(fork_child);
    if (!AO_load(&self.ready)) {
        if (pthread_key_create(&self.exit_key, on_thread_exit) != 0) {
            errno = ENOMEM;
            return -1;
        }
        AO_store(&self.ready, 1);
    }
    if (!self.cycles) {
        size_t n = OAKI_TRACE_CYCLES * sizeof *self.cycles;
        self.cycles = oaki_os_map(OAKI_ALIGN_UP(n, oaki_os_page_size()));
    }
    if (!self.cycles) errno = ENOMEM;
    return self.cycles ? 0 : -1;
}

static int start(size_t events)
{
    if (prepare() != 0) return -1;
    off();
    AO_store(&self.cap, events);
    AO_store(&self.ncycles, 0);
    AO_store(&self.cycles_dropped, 0);
    AO_store(&self.homeless, 0);
    self.begin = oaki_os_now_ns();
    self.begin_wall = oaki_os_wall_ns();
    AO_store_full(&self.generation, AO_fetch_and_add1(&self.starts) + 1);
    oaki_sweep_on_assist(on_assist);
    oaki_maps_on_resize(on_resize);
    if (oaki_gc_on_cycle(on_cycle, NULL) == 0) return 0;
    off();
    errno = ENOMEM;
    return -1;
}

/* Releases the memory of written events. A thread in the middle of an event then writes to
 * zeroes. */
static void give_back(void)
{
    oaki_trace_buffer *b = (oaki_trace_buffer *)AO_load_acquire(&self.buffers);
    for (; b; b = b->next) {
        char *from = (char *)OAKI_ALIGN_UP((uintptr_t)b->event, oaki_os_page_size());
        char *to = (char *)b + bytes_for(b->room);
        if (from < to) oaki_os_purge(from, (size_t)(to - from));
    }
    size_t n = OAKI_TRACE_CYCLES * sizeof *self.cycles;
    oaki_os_purge(self.cycles, OAKI_ALIGN_UP(n, oaki_os_page_size()));
}

static uint64_t dropped(AO_t generation)
{
    uint64_t n = AO_load(&self.homeless) + AO_load(&self.cycles_dropped);
    const oaki_trace_buffer *b = (const oaki_trace_buffer *)AO_load_acquire(&self.buffers);
    for (; b; b = b->next)
        if (AO_load(&b->generation) == generation) n += AO_load(&b->dropped);
    return n;
}

static oaki_trace_view view(AO_t generation)
{
    return (oaki_trace_view){ .generation = generation,
                              .begin = self.begin,
                              .begin_wall = self.begin_wall,
                              .buffers = (const oaki_trace_buffer *)AO_load_acquire(&self.buffers),
                              .cycles = self.cycles,
                              .ncycles = AO_load_acquire(&self.ncycles),
                              .dropped = dropped(generation) };
}

static int write_now(AO_t generation, const char *path)
{
    oaki_trace_view v = view(generation);
    return oaki_trace_write_to(&v, path);
}

/* Ends recording, and writes the trace to the path or the descriptor, if one is given. */
static int finish(AO_t generation, const char *path, int fd, size_t most)
{
    int r = 0;
    oaki_gc_flush_events();
    off();
    oaki_trace_view v = view(generation);
    if (path) r = oaki_trace_write_to(&v, path);
    if (fd >= 0) r = oaki_trace_write_fd(&v, fd, most);
    int saved = errno;
    give_back();
    errno = saved;
    return r;
}

int oak_trace_start(size_t events_per_thread)
{
    OAKI_NO_CANCEL;
    if (events_per_thread > EVENTS_MAX) {
        errno = EINVAL;
        return -1;
    }
    take_turn();
    int r = start(events_per_thread ? events_per_thread : EVENTS);
    give_turn();
    return r;
}

int oak_trace_write(const char *path)
{
    OAKI_NO_CANCEL;
    if (!path) return errno = EINVAL, -1;
    take_turn();
    AO_t generation = AO_load(&self.generation);
    int r = -1;
    if (generation) {
        oaki_gc_flush_events();
        r = write_now(generation, path);
    } else {
        errno = ENOENT;
    }
    give_turn();
    return r;
}

int oak_trace_stop(const char *path)
{
    OAKI_NO_CANCEL;
    take_turn();
    AO_t generation = AO_load(&self.generation);
    int r = 0;
    if (generation) {
        r = finish(generation, path, -1, SIZE_MAX);
    } else if (path) {
        errno = ENOENT;
        r = -1;
    }
    give_turn();
    return r;
}

AO_t oaki_trace_begin(size_t events_per_thread)
{
    OAKI_NO_CANCEL;
    AO_t trace = 0;
    take_turn();
    if (AO_load(&self.generation) != 0)
        errno = EBUSY;
    else if (start(events_per_thread) == 0)
        trace = AO_load(&self.generation);
    give_turn();
    return trace;
}

int oaki_trace_end(AO_t trace, int fd, size_t most)
{
    OAKI_NO_CANCEL;
    int r = -1;
    take_turn();
    if (AO_load(&self.generation) == trace)
        r = finish(trace, NULL, fd, most);
    else
        errno = ESTALE;
    give_turn();
    return r;
}

bool oak_trace_running(void)
{
    return AO_load(&self.generation) != 0;
}

uint64_t oak_trace_dropped(void)
{
    AO_t generation = AO_load(&self.generation);
    return generation ? dropped(generation) : 0;
}
