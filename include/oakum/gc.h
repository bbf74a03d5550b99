/* gc.h - the collector, and what it has to be told: roots, threads, fibers, finalizers, weak
 * references. */
#ifndef OAKUM_GC_H
#define OAKUM_GC_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** A full collection, its sweep included. Returns when it is done; when another thread's
 * collection is under way, waits for it and then collects again. */
OAK_API void oak_collect(void);

/** Growth in percent over what was live before the next collection; -1 turns automatic collection
 * off (the memory limit still counts). Returns the old value; a value below -1 changes nothing. */
OAK_API int oak_set_gc_percent(int percent);

/** No collection decides what is dead from this call's return to the matching oak_gc_enable, in
 * whichever thread it began; nests. oak_collect does nothing meanwhile. Marking may go on beside
 * the program. Lock-free. Called by a thread that isn't attached it doesn't wait for a collection
 * that is under way in a stop. */
OAK_API void oak_gc_disable(void);
OAK_API void oak_gc_enable(void);

/* ---- stacks ---- */

/** Bytes of stack that any function of Oakum takes at most, a collection included, and making the
 * calling thread known. What they call of the program's comes on top (mark functions,
 * finalizers, notifiers, hash functions), and what is asked for to find leaks takes more; the heap
 * profile counts an object without its stack where less than 8 KiB are left. Of a library that is
 * compiled with optimisation. */
#define OAK_STACK_MIN 6144

/** The least stack that a thread or a fiber needs to allocate: OAK_STACK_MIN, and the frame of the
 * signal that stops threads, which depends on the processor: 3.6 KiB with AVX-512. */
OAK_API size_t oak_stack_min(void);

/* ---- threads ---- */

/** Make the calling thread known: its stack, registers and thread-local storage are roots from
 * here on, and a collection stops it. Automatic on a thread's first allocation. 0, or -1 with
 * ENOMEM. Harmless when repeated. */
OAK_API int oak_thread_attach(void);

/** Undo it. Automatic when the thread exits. The thread may not hold the only pointer to an
 * object after it. */
OAK_API void oak_thread_detach(void);

/** As pthread_create; arg is kept alive until the new thread has attached, which it does before
 * it runs fn. Returns an error number, as pthread_create does. `thread` is a pthread_t *, `attr`
 * a const pthread_attr_t *. */
OAK_API int oak_thread_create(void *thread, const void *attr, void *(*fn)(void *), void *arg);

/** Around a call that may block for long: a collection doesn't wait for the thread or signal it,
 * and scans its stack as it was at oak_blocking_enter, registers included. Between the two the
 * thread may not touch the heap: no reads or writes of objects through pointers made meanwhile,
 * no Oakum calls. They nest.
 * The function that calls oak_blocking_enter must not return before oak_blocking_leave: its frame
 * is where the scan begins, and holds what it has saved of its callers' registers. Once it has
 * returned, calls made in the region write over it, and what only those registers held is lost. So
 * no wrapper that enters and returns: a macro, or oak_blocking_call. */
OAK_API void oak_blocking_enter(void);
OAK_API void oak_blocking_leave(void);

/** The same around fn(arg). When fn doesn't return because the thread is cancelled or calls
 * pthread_exit (or a C++ exception passes), the region is left, too, so that cleanup handlers that
 * were pushed before may use the heap; one that oak_blocking_enter began is not, until all of them
 * have run: push a handler that calls oak_blocking_leave. Not by longjmp. */
OAK_API void *oak_blocking_call(void *(*fn)(void *), void *arg);

/** The same, and says that the thread waits for what others do with `object`: a channel, a queue, a
 * condition, in an object of the heap. A thread that waits for what nothing but waiting threads
 * reaches waits for ever: the leak detector tells of those (detector.h). Not for waits that end by
 * themselves, or by what the system does. The call keeps `object` alive. */
OAK_API void *oak_blocking_wait(void *(*fn)(void *), void *arg, const void *object);

/* ---- roots ---- */

/* The data of all loaded objects is scanned, those of dlopen included. Not that of other link
 * namespaces (dlmopen): the loader tells of the caller's only. oak_root_add it. */

/** Every aligned word of [p, p + n) is a root from here on. 0, or -1 with ENOMEM, or EINVAL when p
 * is NULL, n is 0, or the range wraps or is in the heap. Ranges may overlap; each is removed by a
 * call with the same p and n. What is registered and not excluded must stay readable until then:
 * the next collection is fatal, with a line that names the range, when it was unmapped; one that
 * is under way may end with SIGSEGV. */
OAK_API int oak_root_add(void *p, size_t n);

/** 0, or -1 with ENOENT. */
OAK_API int oak_root_remove(void *p, size_t n);

/** Forbid the collector to look at [p, p + n) in the data of loaded objects and in registered
 * ranges. 0, or -1 with errno. */
OAK_API int oak_root_exclude(void *p, size_t n);

/* ---- fibers: stacks that the program switches by itself ---- */

/** A stack of the program's own. A heap object: the stack is scanned while the fiber is reachable
 * or running. */
typedef struct oak_fiber oak_fiber;

/** [stack, stack + size) is the memory; the program owns it, and must call oak_fiber_free or drop
 * the fiber before it unmaps it. data is kept alive with the fiber. NULL with ENOMEM; or EINVAL, as
 * when size is less than oak_stack_min(). */
OAK_API oak_fiber *oak_fiber_new(void *stack, size_t size, void *data);

/** Call immediately before switching the calling thread to `to`; NULL is the thread's own stack.
 * Saves the callee-saved registers and the stack pointer of the stack that is left. */
OAK_API void oak_fiber_switch(oak_fiber *to);

/** The fiber that the calling thread runs on, or NULL. */
OAK_API oak_fiber *oak_fiber_current(void);

/** Its data, as given to oak_fiber_new. */
OAK_API void *oak_fiber_data(const oak_fiber *f);

/** The stack will not be scanned again. Fatal when a thread runs on it. */
OAK_API void oak_fiber_free(oak_fiber *f);

/* ---- finalizers ---- */

typedef void (*oak_finalizer)(void *obj, void *ctx);

enum {
    /* waits while the object is reachable from another finalizable object, or from itself (Go) */
    OAK_FINALIZER_ORDERED = 0,
    OAK_FINALIZER_NO_ORDER = 1,    /* runs as soon as the program can't reach the object */
    OAK_FINALIZER_IGNORE_SELF = 2, /* as ordered, but the object's pointers to itself don't count */
    /* as ordered, and waits as well while the object is reachable from one whose finalizer has no
     * order; ordered ones of a program's own do so too, those of another collector's interface on
     * Oakum don't */
    OAK_FINALIZER_UNREACHABLE = 3
};

/** When obj can no longer be reached, fn(obj, ctx) runs once, outside the collector, on the
 * finalizer thread or in oak_finalizers_run; the object lives until then, and goes in a later
 * collection. ctx is kept alive meanwhile. fn may oak_free obj, which then goes at once. Replaces
 * an earlier one, which never runs (named with OAKUM_DEBUG=guard); fn = NULL removes it. 0, or -1
 * with ENOMEM. Fatal when obj is not the start of a live object. Ordered. */
OAK_API int oak_finalizer_set(void *obj, oak_finalizer fn, void *ctx);

/** The same with flags, and with the finalizer that it replaces in *old and *old_ctx when those
 * are not NULL. */
OAK_API int oak_finalizer_set_ex(void *obj, oak_finalizer fn, void *ctx, int flags,
                                 oak_finalizer *old, void **old_ctx);

/** When obj can no longer be reached, fn(ctx) runs; it doesn't get the object, which is freed at
 * once, cycles included. An object may have many. ctx must not hold obj alive: that is, it must
 * not be obj, nor point to it. 0, or -1 with ENOMEM. */
OAK_API int oak_cleanup_add(void *obj, void (*fn)(void *ctx), void *ctx);

/** Run what is ready, in the calling thread. Returns how many ran. A finalizer may allocate,
 * collect, and set finalizers. */
OAK_API size_t oak_finalizers_run(void);

/** Called, with no lock held and the world running, by the thread whose collection made
 * finalizers ready, when there is no finalizer thread: for a mark beside the program that is the
 * collector's own. It may allocate, collect and fork. NULL removes it. Returns the old one. */
OAK_API void (*oak_finalizer_notify(void (*fn)(void)))(void);

/** Nanoseconds that the running finalizer has been running, to a few milliseconds, or 0 when none
 * runs, is about to, or has just ended with another ready behind it. A stuck one holds up all
 * others. */
OAK_API uint64_t oak_finalizer_running_ns(void);

/* ---- weak references ---- */

/** A heap object that refers to another without keeping it alive. */
typedef struct oak_weak oak_weak;

/** NULL with ENOMEM. p may point into an object. Fatal when p is not ours. */
OAK_API oak_weak *oak_weak_new(void *p);

/** What it refers to, or NULL when that has gone, or w is NULL. Cleared before finalizers run. */
OAK_API void *oak_weak_get(oak_weak *w);

/** A heap object that keeps value alive while both it and key are alive (Hayes 1997). */
typedef struct oak_ephemeron oak_ephemeron;

/** NULL with ENOMEM. key must be an object of ours (fatal otherwise); value may be anything. */
OAK_API oak_ephemeron *oak_ephemeron_new(void *key, void *value);

/** The key, with the value in *value when that is not NULL; NULL once the key has gone. */
OAK_API void *oak_ephemeron_get(oak_ephemeron *e, void **value);

/** A new value; nothing happens when the key has gone. */
OAK_API void oak_ephemeron_set(oak_ephemeron *e, void *value);

OAK_END_DECLS

#endif
