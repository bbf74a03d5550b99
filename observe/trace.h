/* trace.h - the buffers of a trace, for its writer.
 *
 * Owns: the buffers. A buffer is filled by its thread alone. An event is complete before `n` counts
 * it, and unchanged until the next start. So a reader needs only the trace's lock, which excludes
 * starts. Buffers are mapped and never unmapped, as a thread may be in the middle of an event when
 * a trace ends. The buffers of ended threads are reused. */
#ifndef OAKI_TRACE_BUFFER_H
#define OAKI_TRACE_BUFFER_H

#include "gc/event.h"
#include "runtime/base.h"

#define OAKI_TRACE_NAME 32
#define OAKI_TRACE_KEY 16
#define OAKI_TRACE_VALUE 24
#define OAKI_TRACE_NEST 32     /* most open spans recorded per thread; deeper ones are dropped */
#define OAKI_TRACE_BUFFERS 4096
#define OAKI_TRACE_CYCLES 8192 /* most collections of a trace: more are dropped */

typedef enum oaki_event_kind {
    OAKI_EVENT_SPAN,         /* begin, duration */
    OAKI_EVENT_ASYNC,        /* the same, not bound to a thread */
    OAKI_EVENT_INSTANT,
    OAKI_EVENT_COUNTER,      /* value */
    OAKI_EVENT_ASSIST,       /* a sweep assist: begin, duration, bytes */
    OAKI_EVENT_RESIZE,       /* a map's resize begins: map, len, from, to */
    OAKI_EVENT_RESIZE_END    /* map, len */
} oaki_event_kind;

typedef struct oaki_trace_event {
    uint64_t when;
    uint64_t live; /* bytes in the heap at that time */
    uint8_t kind;  /* oaki_event_kind */
    char name[OAKI_TRACE_NAME - 1];
    union {
        struct {
            uint64_t duration;
            union {
                size_t bytes;
                char key[OAKI_TRACE_KEY];
            };
            char value[OAKI_TRACE_VALUE];
        };
        double number;
        struct {
            const void *map; /* inverted */
            size_t len, from, to;
            bool classic;
        };
    };
} oaki_trace_event;

_Static_assert(sizeof(oaki_trace_event) <= 96, "an event is 96 bytes, as the manual says");

typedef struct oaki_trace_buffer {
    struct oaki_trace_buffer *next; /* set once */
    AO_t gone;         /* its thread has ended */
    AO_t generation;   /* the start that its events belong to */
    AO_t n, cap;       /* events, and the capacity */
    AO_t dropped;
    int tid;
    char thread[16];   /* name */
    /* open spans; `moves` changes before and after each change of them */
    AO_t moves, depth;
    oaki_trace_event open[OAKI_TRACE_NEST];
    size_t room;       /* events mapped after this struct */
    oaki_trace_event event[];
} oaki_trace_buffer;

/* The trace under way; under the trace's lock. */
typedef struct oaki_trace_view {
    AO_t generation;
    uint64_t begin, begin_wall; /* by the trace's clock, and since 1970 */
    const oaki_trace_buffer *buffers;
    const oaki_cycle *cycles;
    size_t ncycles;
    uint64_t dropped;
} oaki_trace_view;

/* Writes the whole trace to the path, or nothing. 0 or -1 with errno. */
int oaki_trace_write_to(const oaki_trace_view *v, const char *path);
/* At most `most` bytes: of each thread the latest events are left out, and counted as dropped. */
int oaki_trace_write_fd(const oaki_trace_view *v, int fd, size_t most);

/* For callers that must not end the program's trace: begins one if none is under way. Returns its
 * number, or 0 with errno; EBUSY if one is. */
AO_t oaki_trace_begin(size_t events_per_thread);
/* Ends the trace, and writes at most `most` bytes of it to fd, a file without a name yet; with fd
 * -1, it is not written. 0, or -1 with errno; ESTALE if the program has begun another trace
 * meanwhile. */
int oaki_trace_end(AO_t trace, int fd, size_t most);

void oaki_trace_close(void); /* the heap has ended: no thread tells its end any more */

#endif
