/* trace.h - a trace of what happens when: collections with their phases, sweeping that allocating
 * threads do, resizes of maps, the size of the heap, and the program's own spans, on one clock.
 *
 * What is written is JSON in Chrome's trace-event format, which https://ui.perfetto.dev and
 * chrome://tracing open. Events go to a buffer of the thread that makes them; a full one takes no
 * more, and nobody waits: what was dropped is counted, and the trace says so. While no trace is
 * under way a span costs a load and a branch. */
#ifndef OAKUM_TRACE_H
#define OAKUM_TRACE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Begin, with room for so many events a thread (96 bytes each, used as they come); 0: 8192. What
 * an earlier trace has gathered and not written goes. 0, or -1 with ENOMEM or EINVAL. Any
 * thread. */
OAK_API int oak_trace_start(size_t events_per_thread);

/** Write what there is so far to the file at `path`, whole or not at all; the trace goes on. 0, or
 * -1 with errno: ENOENT when none is under way, and nothing is left under that name but what was
 * there. Any thread; the program's threads don't wait. */
OAK_API int oak_trace_write(const char *path);

/** The end. Writes the trace first unless path is NULL; ends it even when that fails, with -1. */
OAK_API int oak_trace_stop(const char *path);

/** Is a trace under way? */
OAK_API bool oak_trace_running(void);

/** Events dropped since the start, of all threads. */
OAK_API uint64_t oak_trace_dropped(void);

/* ---- the program's own events; any thread, attached or not; not in a signal handler ---- */

/** What the calling thread does from here to the matching oak_span_end. They nest, to a depth of
 * 32. `name` is copied, up to 30 bytes. A span belongs to the thread, whichever fiber it runs
 * on. */
OAK_API void oak_span_begin(const char *name);

/** The same with an argument that is shown with it; key up to 15 bytes, value up to 23. */
OAK_API void oak_span_begin_arg(const char *name, const char *key, const char *value);

/** The end of the innermost span of this thread; nothing when there is none. */
OAK_API void oak_span_end(void);

/** A span with times of oak_trace_now: for what begins on one thread and ends on another. It is
 * shown beside the threads, as an asynchronous one. */
OAK_API void oak_span_add(const char *name, uint64_t begin, uint64_t end);

/** A moment. */
OAK_API void oak_trace_instant(const char *name);

/** A value that is shown over time, by name. */
OAK_API void oak_trace_counter(const char *name, double value);

/** The clock of the trace: monotonic, nanoseconds. */
OAK_API uint64_t oak_trace_now(void);

OAK_END_DECLS

#endif
