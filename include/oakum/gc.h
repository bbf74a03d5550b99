/* gc.h - the collector: collections, and the roots, threads, fibers, finalizers and weak references
 * that a program declares to it.
 *
 * Any thread may call these functions; most attach the thread. None may be called from a signal
 * handler or a mark function. oak_collect and oak_collect_step collect. Functions that make a
 * fiber, a weak reference, an ephemeron or a thread allocate in the heap, so they may collect. The
 * others don't, unless their description says so. */
#ifndef OAKUM_GC_H
#define OAKUM_GC_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Run a full collection and its sweep, and return when both are done. A collection that is under
 * way ends before: the call waits for one in a pause, and completes a concurrent one in a pause. */
OAK_API void oak_collect(void);

/** Do collection work on the calling thread for about budget_us microseconds: for a main loop that
 * has a little time in each turn. A step starts a cycle if one is due, or nearly is. It marks,
 * sweeps, and removes records of dead objects. Returns true while a cycle, a sweep or the release
 * of page protection is left, also while collections are disabled. With 0 it does no work, and
 * returns the same.
 *
 * Longest call: twice the budget and one pause. Functions of the program come on top, and a wait
 * for another thread's pause or part of a mark. So does a slow call of the system, as on a busy
 * virtual machine. A cycle has two pauses, and short ones before the second; no
 * call has more than one. The call with the last pause also removes all records of dead objects,
 * such as cleared weak references, while other threads run. Where no concurrent mark is possible,
 * or a whole mark fits the budget, the pause is the whole mark. None is possible if
 * oak_config.concurrent is 0, or the system reports no dirty pages.
 *
 * Other threads collect as without steps: once a cycle is due, their allocations start the
 * collector's own thread, or collect in a pause. Any thread; two that step at once take turns.
 * While collections are disabled a cycle is not completed. Finalizers run as after any other
 * collection. */
OAK_API bool oak_collect_step(unsigned budget_us);

/** Set the growth of the heap between two collections, in percent of live bytes and roots. The heap
 * goal is never below oak_config.min_heap x percent / 100, unless the memory limit lowers it. A
 * min_heap of 0 means 512 KiB to 4 MiB, by the cost of collections. -1 turns automatic collection
 * off, except for that limit. A value below -1 changes nothing. Returns the previous value. */
OAK_API int oak_set_gc_percent(int percent);

/** The default of pause_goal_us; and the cost in ns of a first write to a protected page. Above
 * this cost, the default goal is given up for less total time (docs/host.md). */
#define OAK_PAUSE_GOAL_US 10000
#define OAK_DEAR_WRITE_NS 3000

/** The costs of this host, and the decisions that follow from them. Times are in nanoseconds; 0:
 * not known. Pages are the system's; huge pages have 2 MiB. */
typedef struct oak_host {
    size_t write, write_huge;     /* the first write to a protected page */
    size_t protect, protect_huge; /* protecting a page */
    size_t ask, ask_huge;         /* asking whether a page was written */
    size_t fresh, fresh_huge;     /* the first use of a fresh page */
    size_t stop, wake;            /* stopping a thread, waking one */
    double stopped_bytes, concurrent_bytes; /* marked per ms of processor time, recently */
    unsigned processors;          /* that the process may use, within its control groups' limits */
    unsigned workers;             /* that mark together */
    size_t memory_limit;          /* the option, or by a control group's limit; 0: none */
    size_t group_limit;           /* by a control group's limit alone; 0: none */
    unsigned pause_goal_us;
    unsigned resting;             /* full cycles until pages are tracked again, after slow marks */
    bool concurrent;              /* a cycle due now would be concurrent */
    bool dear;                    /* first writes cost more than tracked pages are worth */
    bool tracks;                  /* pages may be protected now */
    bool huge_pages;              /* new memory is to have huge pages */
    const char *why;              /* the reason, as a short text */
    double minor_bytes;           /* as stopped_bytes, by minor cycles */
} oak_host;

/** Read costs, limits and decisions into *out. Limits of control groups are read anew. If the costs
 * were never measured, or are doubted, the call measures them, which takes about 3 to 9 ms and 4
 * MiB. Without this call, a thread of Oakum's measures them when 8 MiB of objects are live. The
 * variable OAKUM_HOST sets costs and limits in place of a measurement:
 * write_ns=12000,fresh_ns=900,cpus=1,memory=64M. out may be NULL. Any thread. */
OAK_API void oak_host_read(oak_host *out);

/** Disable collections until the matching oak_gc_enable. The calls nest. Between the two, no
 * collection decides which objects are dead, not even one that is under way. oak_collect does
 * nothing. Concurrent marking may go on. Lock-free; an unattached thread returns even while the
 * world is stopped. */
OAK_API void oak_gc_disable(void);

/** Undo one oak_gc_disable, on any thread. Fatal without one. */
OAK_API void oak_gc_enable(void);

/** A function that is called when a collection begins. */
typedef void (*oak_start_fn)(void *ctx);

/** Call fn(ctx) at the start of each collection, full or minor, from now on: in its first pause,
 * before anything is marked. For instance to clear the slots above the top of an operand stack, or
 * to empty a cache. If a concurrent collection is abandoned, the one that replaces it calls fn
 * again.
 *
 * fn runs on the collecting thread, with all other threads stopped, at any instruction of theirs.
 * So a thread raises the top of its stack before it stores above it (examples/operands.c). fn may
 * read and write memory, objects too. A call of Oakum from fn is fatal. fn may not wait for another
 * thread, as malloc and stdio may. It may not be left by longjmp or an exception, which is fatal.
 * ctx keeps no object alive.
 *
 * The same fn with the same ctx is added once. The order of several is that of the calls. Returns
 * 0, or -1 with ENOMEM, or with EINVAL when fn is NULL. Any thread; not from fn. */
OAK_API int oak_gc_at_start(oak_start_fn fn, void *ctx);

/** Remove a function that oak_gc_at_start has added with this ctx. It is not running when the call
 * returns, and is never called again. Returns 0, or -1 with ENOENT. Any thread; not from fn. */
OAK_API int oak_gc_at_start_remove(oak_start_fn fn, void *ctx);

/* ---- stacks ---- */

/** The most stack, in bytes, that a function of Oakum takes in a library compiled with
 * optimisation. A collection and attaching the calling thread are included. Callbacks of the
 * program come on top: mark functions, finalizers, notifiers, hash functions. The functions that
 * find leaks take more. The heap profile counts an object without its stack where less than 8 KiB
 * of stack are left. */
#define OAK_STACK_MIN 6144

/** The least stack, in bytes, that a thread or a fiber needs to allocate. It is OAK_STACK_MIN and
 * the frame of the signal that stops threads. The frame's size depends on the processor: 3.6 KiB
 * with AVX-512. */
OAK_API size_t oak_stack_min(void);

/* ---- threads ---- */

/** Attach the calling thread: from here on its stack, registers and thread-local storage are roots,
 * and a collection stops it. A thread's first allocation attaches it. Repeated calls do nothing.
 * Returns 0, or -1 with ENOMEM. */
OAK_API int oak_thread_attach(void);

/** Detach the calling thread. A thread's exit detaches it, too. Afterwards the thread's stack,
 * registers and thread-local storage keep no object alive. */
OAK_API void oak_thread_detach(void);

/** Create a thread, as pthread_create does, that attaches before it runs fn. arg is kept alive
 * until the new thread has attached. Returns an error number, as pthread_create does. `thread` is a
 * pthread_t *, `attr` a const pthread_attr_t *. */
OAK_API int oak_thread_create(void *thread, const void *attr, void *(*fn)(void *), void *arg);

/** Begin a blocking region: code that may block for long. A collection neither waits for the thread
 * nor signals it. It scans the thread's stack and registers as they are at oak_blocking_enter. In
 * the region the thread may not call Oakum, except for oak_root_add and oak_root_remove, nor access
 * objects through pointers that it makes there. Regions nest.
 *
 * The function that calls oak_blocking_enter must not return before oak_blocking_leave. The scan
 * begins at its frame, which holds the registers that it has saved for its callers. Once the
 * function has returned, later calls overwrite that frame, and objects that only those registers
 * refer to are lost. So a wrapper function can't enter and return: use a macro, or
 * oak_blocking_call. */
OAK_API void oak_blocking_enter(void);

/** End the blocking region that the last oak_blocking_enter has begun. */
OAK_API void oak_blocking_leave(void);

/** Call fn(arg) in a blocking region, and return its result. The region also ends when the thread
 * is cancelled in fn or calls pthread_exit, and when a C++ exception leaves fn. So cleanup handlers
 * that were pushed before the call may use the heap. A region of oak_blocking_enter goes on until
 * all cleanup handlers have run: push a handler that calls oak_blocking_leave. fn must not be left
 * by longjmp. */
OAK_API void *oak_blocking_call(void *(*fn)(void *), void *arg);

/** As oak_blocking_call, and declare that the thread waits for `object`: a channel, a queue or a
 * condition in an object of the heap. Only another thread that has a pointer to `object` can end
 * the wait. If only waiting threads reach `object`, the wait never ends, and the leak detector
 * reports the threads (detector.h). Not for waits that the system or a timeout ends. The call keeps
 * `object` alive. */
OAK_API void *oak_blocking_wait(void *(*fn)(void *), void *arg, const void *object);

/* ---- roots ---- */

/* The data of the program and of all its libraries is a root, those of dlopen included. Libraries
 * of other link namespaces (dlmopen) are not, as the loader doesn't list them: their data needs
 * oak_root_add. */

/** Make every aligned word of [p, p + n) a root. Ranges may overlap. A range is removed by
 * oak_root_remove with the same p and n.
 *
 * Until then the range must stay readable, except for the parts that oak_root_exclude names. If it
 * is unmapped, the next collection is fatal, with a line that names the range. A collection that is
 * under way at that moment may raise SIGSEGV.
 *
 * Returns 0, or -1 with errno. ENOMEM: no memory. EINVAL: p is NULL, n is 0, or the range wraps or
 * is in the heap. */
OAK_API int oak_root_add(void *p, size_t n);

/** Remove a range that oak_root_add has added. Returns 0, or -1 with ENOENT: there is no such
 * range. */
OAK_API int oak_root_remove(void *p, size_t n);

/** Exclude [p, p + n) from the roots. The collector reads it neither as data of the program and its
 * libraries nor as part of an added range. Returns 0, or -1 with errno. ENOMEM: no memory. EINVAL:
 * p is NULL, n is 0, or the range wraps. */
OAK_API int oak_root_exclude(void *p, size_t n);

/* ---- fibers: stacks that the program itself switches ---- */

/** A stack that belongs to the program. A fiber is a heap object: its stack is scanned while the
 * fiber is reachable or running. */
typedef struct oak_fiber oak_fiber;

/** Make a fiber of the stack [stack, stack + size). The program owns this memory. Before it is
 * unmapped, the program must call oak_fiber_free or drop the fiber. The fiber keeps data alive.
 * Returns NULL with ENOMEM; or with EINVAL if stack is NULL, or size is below oak_stack_min(). */
OAK_API oak_fiber *oak_fiber_new(void *stack, size_t size, void *data);

/** Announce a switch of the calling thread to the fiber `to`; NULL is the thread's own stack. Call
 * it immediately before the switch: it saves the stack pointer and the callee-saved registers of
 * the current stack. */
OAK_API void oak_fiber_switch(oak_fiber *to);

/** The fiber that the calling thread runs on, or NULL. */
OAK_API oak_fiber *oak_fiber_current(void);

/** The data that was given to oak_fiber_new. */
OAK_API void *oak_fiber_data(const oak_fiber *f);

/** End a fiber: its stack is not scanned again. Fatal when a thread runs on it. NULL is allowed. */
OAK_API void oak_fiber_free(oak_fiber *f);

/* ---- finalizers ---- */

typedef void (*oak_finalizer)(void *obj, void *ctx);

/** The order of a finalizer: when it is ready to run. */
enum {
    /* once neither another finalizable object nor the object itself reaches the object (as Go) */
    OAK_FINALIZER_ORDERED = 0,
    OAK_FINALIZER_NO_ORDER = 1,    /* once the program can't reach the object */
    OAK_FINALIZER_IGNORE_SELF = 2, /* as ordered, but the object's pointers to itself don't count */
    /* as ordered, and once no object with an unordered finalizer reaches the object. With
     * libgc.so.1, ordered finalizers don't wait for those of this order */
    OAK_FINALIZER_UNREACHABLE = 3
};

/** Set the finalizer of an object. When obj is no longer reachable, fn(obj, ctx) runs once: on the
 * finalizer thread, or in oak_finalizers_run, never inside the collector. Until then obj and ctx
 * are kept alive. A later collection frees obj; or fn may free it at once with oak_free. The order
 * is OAK_FINALIZER_ORDERED.
 *
 * An earlier finalizer of obj is replaced and never runs (OAKUM_DEBUG=guard reports it). fn = NULL
 * removes it. Returns 0, or -1 with ENOMEM. Fatal when obj is not the start of a live object. */
OAK_API int oak_finalizer_set(void *obj, oak_finalizer fn, void *ctx);

/** As oak_finalizer_set, with one of the orders above in `flags`. The replaced finalizer is stored
 * in *old and *old_ctx, unless those are NULL. Returns -1 with EINVAL for any other flags. */
OAK_API int oak_finalizer_set_ex(void *obj, oak_finalizer fn, void *ctx, int flags,
                                 oak_finalizer *old, void **old_ctx);

/** Add a cleanup to an object: fn(ctx) runs when obj is no longer reachable. fn doesn't get the
 * object, so the collection that finds it frees it at once, even in a cycle. An object may have
 * many cleanups. ctx must not keep obj alive: it must neither be obj nor point to it. Returns 0, or
 * -1 with ENOMEM, or with EINVAL when fn is NULL. Fatal when obj is not the start of a live object,
 * or ctx points into it. */
OAK_API int oak_cleanup_add(void *obj, void (*fn)(void *ctx), void *ctx);

/** Run all finalizers and cleanups that are ready, on the calling thread. They may allocate,
 * collect, and set finalizers. Returns how many ran. */
OAK_API size_t oak_finalizers_run(void);

/** Run the finalizers and cleanups of all objects, also of objects that the program still reaches:
 * before the program ends, for instance. The calling thread runs them, in rounds. A round runs the
 * finalizers that would be ready if the program reached no object. An ordered finalizer waits for
 * the finalizers of all objects that reach its object. A cleanup waits for those and for its own
 * object's finalizer. Finalizers that are set during the call are run, too. The call waits for a
 * finalizer that is running on another thread, as long as one ends within 10 seconds.
 *
 * Objects stay as they are, and so do weak references. An object must be usable after its
 * finalizer.
 *
 * Returns 0 when none is left. Otherwise returns -1 with errno, and *left is how many are left,
 * unless left is NULL. EAGAIN: those left are in cycles (OAK_FINALIZER_ORDERED), or one doesn't
 * end. It is also returned when finalizers set new ones, so that 16 rounds in a row left as many as
 * before. EDEADLK: called from a finalizer. ENOMEM: no memory. Any thread. Stops other threads once
 * for each round. */
OAK_API int oak_finalize_all(size_t *left);

/** End the heap: end Oakum's threads, and give all its memory, descriptors, signals and keys back
 * to the system. All objects are gone, with zones, maps, types and whatever else Oakum has
 * returned. No finalizer runs: call oak_finalize_all before, if they are to. The debug server, the
 * detector, a trace and a log end. After that the library can be unloaded, as when a plugin is. The
 * next use, or oak_init, starts a new heap. Of settings, a fatal handler, a notifier and calls of
 * oak_gc_disable stay that were there before the start, and still are.
 *
 * All other threads have detached (oak_thread_detach) or ended, those of oak_thread_create have
 * ended, and none calls Oakum meanwhile. Call it from the program's own code: not below a function
 * that Oakum has called, nor in a thread of oak_thread_create. A program whose malloc is this heap
 * can't end it.
 *
 * Returns 0, also when there is no heap. Otherwise returns -1 with errno, and the heap goes on. A
 * plugin then stays loaded while Oakum has functions of it, such as finalizers. EBUSY: another
 * thread is attached, or a finalizer has not returned within 10 seconds. EDEADLK: called from a
 * finalizer, a callback or a listener, on a fiber, in a blocking region, or in a signal handler
 * that interrupted Oakum. ENOTSUP: metadata is jemalloc's.
 *
 * Two things keep the library loaded, though the heap is gone. One is libraries that Oakum has
 * loaded (libmicrohttpd, libdw). The other is a handler of SIGSEGV that the program has put on top
 * of Oakum's. With the static library the heap can't be started again: oak_init and allocations
 * fail with ENOTSUP. */
OAK_API int oak_shutdown(void);

/** Let finalizers run on a thread of their own, or only in oak_finalizers_run and
 * oak_finalize_all: as oak_config.finalizer_thread, at any time. A finalizer that is running goes
 * on. When turned on, the thread runs what is ready. Returns the setting before. Any thread, also
 * a finalizer. */
OAK_API bool oak_set_finalizer_thread(bool on);

/** Set a function that is called when finalizers become ready and there is no finalizer thread. The
 * thread that ends the collection calls it: usually the collector's own; a mutator if it ended the
 * cycle. Other threads run, and no lock is held: fn may allocate, collect and fork. If a map's hash
 * or equal function or oak_map_retain's keep allocates, fn may run within it. There a write to that
 * map is fatal, also by a finalizer that fn runs. NULL removes the function. Returns the previous
 * one. */
OAK_API void (*oak_finalizer_notify(void (*fn)(void)))(void);

/** How long the longest-running finalizer has run, in nanoseconds, exact to a few milliseconds; 0
 * when none runs. Finalizers that follow each other at once count as one. For watching: a stuck
 * finalizer holds up all others. */
OAK_API uint64_t oak_finalizer_running_ns(void);

/* ---- external bytes ---- */

/** Add bytes of memory outside the heap to the object that p points to or into; a negative number
 * takes them away. Such memory is pixels, buffers, another library's structures. They count towards
 * the next collection, as live bytes for the goal after it, and in the limit of the object's zone.
 * The heap profile counts added bytes under the caller's site. A call that adds may collect.
 *
 * The bytes end with the object: when a collection finds it dead (after its finalizers have run),
 * when it is freed, and when its zone ends. They also end when oak_realloc moves the object. The
 * memory limit and heap_max are those of Oakum's own memory. Only the pacing under a memory limit
 * counts external bytes, too.
 *
 * Returns 0; or -1 with errno, and nothing has changed. EINVAL: the object has fewer bytes than are
 * taken away. EOVERFLOW: all external bytes would be more than a quarter of SIZE_MAX. ENOMEM: the
 * object's zone has no room for them even after a collection, or there is no memory for the record.
 * Fatal when p is in no object of Oakum's. */
OAK_API int oak_external_add(void *p, ptrdiff_t bytes);

/** The external bytes of the object that p points to or into; 0 when it has none. */
OAK_API size_t oak_external_bytes(const void *p);

/* ---- weak references ---- */

/** A heap object that refers to another without keeping it alive. */
typedef struct oak_weak oak_weak;

/** Make a weak reference to the object that p points to or into. Returns NULL with ENOMEM. Fatal
 * when p is in no object of Oakum's. */
OAK_API oak_weak *oak_weak_new(void *p);

/** The pointer that was given to oak_weak_new. NULL once its object is dead, when w is NULL, and
 * when the calling thread can't be attached. A weak reference is cleared before the object's
 * finalizer runs. */
OAK_API void *oak_weak_get(oak_weak *w);

/** A heap object with a key and a value. The value is kept alive while both the ephemeron and the
 * key are alive (Hayes 1997). */
typedef struct oak_ephemeron oak_ephemeron;

/** Make an ephemeron. value may be anything. Returns NULL with ENOMEM. Fatal when key is no object
 * of Oakum's. */
OAK_API oak_ephemeron *oak_ephemeron_new(void *key, void *value);

/** The key, or NULL once it is dead. The value is stored in *value, unless `value` is NULL. */
OAK_API void *oak_ephemeron_get(oak_ephemeron *e, void **value);

/** Replace the value. Does nothing once the key is dead. */
OAK_API void oak_ephemeron_set(oak_ephemeron *e, void *value);

OAK_END_DECLS

#endif
