/* trace.h - a trace of events over time, on one clock.
 *
 * Events are collections with their phases, sweeping by allocating threads, resizes of maps, the
 * size of the heap, and the program's own spans.
 *
 * A trace is written as JSON in Chrome's trace-event format, which https://ui.perfetto.dev and
 * chrome://tracing open. Each thread has a buffer for its events. When it is full, further events
 * are dropped and counted, so no thread waits; the trace has the count. While no trace is under
 * way, a span costs a load and a branch.
 *
 * Any thread may call these functions, but not a signal handler or a mark function. No function
 * collects. Starts, writes and stops take turns. */
#ifndef OAKUM_TRACE_H
#define OAKUM_TRACE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Start a trace. Each thread's buffer has room for so many events; 0: 8192. An event takes 96
 * bytes once it is recorded. Unwritten events of an earlier trace are dropped. Returns 0, or -1
 * with errno: ENOMEM; EINVAL if there are too many. */
OAK_API int oak_trace_start(size_t events_per_thread);

/** Write all events so far to the file at `path`; the trace goes on. Returns 0; or -1 with errno,
 * and the file is as it was. ENOENT: no trace is under way. Threads that record events don't
 * wait. */
OAK_API int oak_trace_write(const char *path);

/** End the trace. Unless path is NULL, it is written first, as by oak_trace_write. If writing
 * fails, the trace ends nevertheless. Returns 0, or -1 with errno, as oak_trace_write; without a
 * trace, 0 if path is NULL. */
OAK_API int oak_trace_stop(const char *path);

/** Whether a trace is under way. */
OAK_API bool oak_trace_running(void);

/** The number of events that all threads have dropped since the start of the trace. */
OAK_API uint64_t oak_trace_dropped(void);

/* ---- the program's own events; the thread need not be attached ---- */

/** Begin a span of the calling thread; the matching oak_span_end ends it. Spans nest, to a depth of
 * 32. At most 30 bytes of name are copied. A span belongs to the thread, whichever fiber the thread
 * runs on. */
OAK_API void oak_span_begin(const char *name);

/** As oak_span_begin, with an argument that viewers show: at most 15 bytes of key and 23 of value.
 */
OAK_API void oak_span_begin_arg(const char *name, const char *key, const char *value);

/** End the innermost span of the calling thread. Does nothing if there is none. */
OAK_API void oak_span_end(void);

/** Add a span from begin to end, both of oak_trace_now. For work that begins on one thread and ends
 * on another: viewers show the span as asynchronous, outside of the threads. */
OAK_API void oak_span_add(const char *name, uint64_t begin, uint64_t end);

/** Add an event without a duration. */
OAK_API void oak_trace_instant(const char *name);

/** Add a value of the counter `name`, which viewers show as a curve over time. */
OAK_API void oak_trace_counter(const char *name, double value);

/** The clock of the trace: monotonic, in nanoseconds. */
OAK_API uint64_t oak_trace_now(void);

OAK_END_DECLS

#endif
