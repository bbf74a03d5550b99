/* trace.h - the buffers of a trace, for the one who writes it.
 *
 * Owns: the buffers. A buffer is filled by its thread alone: an event is whole before `n` counts
 *   it, and stays as it is until the next start; so a reader needs no lock but the trace's, which
 *   keeps starts away. Buffers are mapped and never unmapped, as a thread may be in the middle of
 *   an event whenever a trace ends; those of threads that have gone are used again by others. */
#ifndef OAKI_TRACE_BUFFER_H
#define OAKI_TRACE_BUFFER_H

#include "gc/event.h"
#include "runtime/base.h"

#define OAKI_TRACE_NAME 32
#define OAKI_TRACE_KEY 16
#define OAKI_TRACE_VALUE 24
#define OAKI_TRACE_NEST 32     /* open spans of a thread that are kept; deeper ones are dropped */
#define OAKI_TRACE_BUFFERS 4096
#define OAKI_TRACE_CYCLES 8192 /* of a trace at most: more are dropped */

typedef enum oaki_event_kind {
    OAKI_EVENT_SPAN,         /* begin, duration */
    OAKI_EVENT_ASYNC,        /* the same, of no thread */
    OAKI_EVENT_INSTANT,
    OAKI_EVENT_COUNTER,      /* value */
    OAKI_EVENT_ASSIST,       /* a sweep for credit: begin, duration, bytes */
    OAKI_EVENT_RESIZE,       /* of a map begins: map, len, from, to */
    OAKI_EVENT_RESIZE_END    /* map, len */
} oaki_event_kind;

typedef struct oaki_trace_event {
    uint64_t when;
    uint64_t live; /* bytes in the heap then */
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
    AO_t gone;         /* its thread has gone */
    AO_t generation;   /* the start whose events these are */
    AO_t n, cap;       /* events, and how many fit */
    AO_t dropped;
    int tid;
    char thread[16];   /* name */
    /* open spans: `moves` changes before and after each change of them */
    AO_t moves, depth;
    oaki_trace_event open[OAKI_TRACE_NEST];
    size_t room;       /* events mapped behind it */
    oaki_trace_event event[];
} oaki_trace_buffer;

/* What is under way, under the trace's lock. */
typedef struct oaki_trace_view {
    AO_t generation;
    uint64_t begin, begin_wall; /* the clock's, and since 1970 */
    const oaki_trace_buffer *buffers;
    const oaki_cycle *cycles;
    size_t ncycles;
    uint64_t dropped;
} oaki_trace_view;

/* Write all of it to the path, whole or not at all. 0 or -1 with errno. */
int oaki_trace_write_to(const oaki_trace_view *v, const char *path);
int oaki_trace_write_fd(const oaki_trace_view *v, int fd);

/* For who may not end a trace of the program's: begin if none is under way. Its number, or 0 with
 * errno, EBUSY when one is. */
AO_t oaki_trace_begin(size_t events_per_thread);
/* End it, unless the program has begun another meanwhile, which is -1 with ESTALE. It is written
 * to fd first, which is of no name yet, or not at all: -1. */
int oaki_trace_end(AO_t trace, int fd);

#endif
