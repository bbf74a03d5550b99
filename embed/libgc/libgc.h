/* libgc.h - what the files of the libgc.so.1 drop-in share.
 *
 * The interface (abi.h) lies on the heap's private side: kinds are span kinds and types, the mark
 * stack is a marker, the allocation lock is gc_lock.
 *
 * Owns: `lgc`, all state that is not an exported variable. Written at start-up, or by the setters,
 *   which as in libgc are not synchronized; tables name their lock.
 * Names: lgc_ is shared inside this library. Nothing but what libgc.sym lists is exported. */
#ifndef LIBGC_H
#define LIBGC_H

#include "abi.h"
#include "gc/event.h"
#include "gc/host.h"
#include "runtime/heap.h"
#include "runtime/type.h"

/* Of a kind, or of objects with an explicit descriptor: how its objects are marked. What `data` of
 * an oak_type points to. Never freed. */
typedef struct lgc_layout {
    GC_word descr;
    size_t element;  /* of an array: bytes of an element, each of which has the descriptor; or 0 */
    bool adjust;     /* the object's size is added to the descriptor */
    bool plain;      /* every word is looked at, as in an object of kind 1 */
    int kind;        /* the number that is told of it */
    AO_t type;       /* const oak_type *, made when it is first needed */
    struct lgc_layout *next; /* in its bucket (typed.c) */
} lgc_layout;

typedef struct lgc_state {
    AO_t started;
    size_t extra; /* bytes that are added to each request: one when interior pointers count */
    bool interior; /* GC_all_interior_pointers as it is heeded */

    /* settings that are no variables; LIBGC_SETTINGS */
    GC_word allocd_bytes_per_finalizer;
    size_t min_bytes_allocd;
    int rate, max_prior_attempts, no_automatic, manual_vdb, force_unmap;
    GC_stop_func stop_func;
    GC_warn_proc warn_proc;
    GC_abort_func abort_func;
    GC_start_callback_proc start_callback;
    GC_on_collection_event_proc on_event;
    GC_on_thread_event_proc on_thread_event;
    GC_toggleref_func toggleref;
    unsigned long time_limit_ns;
    unsigned markers;
    int suspend_signal, restart_signal;
    size_t max_heap;
    int log_fd, all_fd; /* or -1 */
    int print_stats; /* 1, or 2 for more */
    bool dump_regularly, loop_on_abort, abort_on_leak, conservative_gcj;

    AO_t unfinished; /* finalizers are being run, or wait for the next allocation */
    bool roots_cleared;
    oak_marker *marker; /* while roots are pushed: worker 0's */
    size_t expanded;    /* bytes that GC_expand_hp promised the heap to have */
    size_t least;       /* bytes before a collection, at least */
} lgc_state;

extern OAKI_HIDDEN lgc_state lgc;

/* ---- start.c ---- */

#define LGC_HEAP_LEAST ((size_t)64 << 10) /* what libgc begins with */

OAKI_COLD void lgc_start(void);
_Noreturn void lgc_start_fails(const char *why);

/* For every entry that needs the heap. */
OAKI_INLINE void lgc_ready(void)
{
    if (OAKI_UNLIKELY(!AO_load_acquire(&lgc.started))) lgc_start();
}

/* Inside the runtime, whether the caller is there already (under the allocation lock, in a
 * callback of a collection) or not. NULL: it was, or there is no memory to attach the thread. */
OAKI_INLINE oaki_thread *lgc_enter(void)
{
    oaki_thread *t = oaki_tls_thread;
    return t && t->in_runtime ? NULL : oaki_enter();
}

OAKI_INLINE void lgc_leave(oaki_thread *t)
{
    if (t) oaki_leave(t);
}

/* The calling thread is in a region of GC_do_blocking, where libgc does what it is asked for, too:
 * then it is done outside of the region. */
OAKI_INLINE bool lgc_is_blocked(void)
{
    const oaki_thread *t = oaki_tls_thread;
    return OAKI_UNLIKELY(t && t->in_runtime == OAKI_IN_BLOCKING);
}

OAKI_INLINE _Noreturn void lgc_region_lost(void)
{
    oak_fatal("oakum: GC_unregister_my_thread was called in a region of GC_do_blocking");
}

/* A region that was begun meanwhile and left by longjmp is over. */
OAKI_INLINE void lgc_region_resume(const oaki_region *r)
{
    oaki_thread *t = oaki_thread_self();
    oaki_region inner;
    if (!t) lgc_region_lost();
    if (lgc_is_blocked()) oaki_blocking_suspend(t, &inner);
    oaki_blocking_resume(t, r);
}

/* fn_outside, for a fn that begins with that question: out of all regions that the thread is in,
 * and back into the same, where the scan of its stack begins again where it began. A frame of its
 * own, as what is kept of the region would be words in fn's that nobody wrote. Left by longjmp, the
 * thread stays outside until the region's end (GC_do_blocking). */
#define LGC_OUTSIDE(type, fn, parameters, arguments)                            \
    static OAKI_NOINLINE OAKI_COLD type fn##_outside parameters                 \
    {                                                                           \
        oaki_region region __attribute__((cleanup(lgc_region_resume)));         \
        oaki_blocking_suspend(oaki_thread_self(), &region);                     \
        return fn arguments;                                                    \
    }

/* ---- env.c ---- */

/* Before the start, from the environment; nothing of it where the program runs with privileges
 * of its file. */
void lgc_env_read(void);
void lgc_env_warn(void); /* of bad values; after the start */

/* ---- alloc.c ---- */

/* p, an object that stays until it is freed, and counts in GC_non_gc_bytes; NULL stays NULL. */
void *lgc_hold(void *p, size_t n);

/* n bytes and what is added to them, zeroed; NULL when out of memory. */
void *lgc_try(size_t n, oaki_kind kind, uint32_t type);
/* The same, and what GC_oom_fn makes of it when out of memory. */
void *lgc_alloc(size_t n, oaki_kind kind, uint32_t type);
void *lgc_out_of_memory(size_t n);

/* ---- object.c ---- */

/* The span of the object that begins at p, or NULL. */
oaki_span *lgc_span_of(const void *p);

/* ---- kinds.c ---- */

/* The layout of kind 4 or more; NULL when there is no such kind. */
lgc_layout *lgc_kind(int kind);
/* The id of its type, which is made if need be; 0 without memory. Not inside oaki_enter. */
uint32_t lgc_layout_type(lgc_layout *l);
void lgc_mark_by(oak_marker *m, char *obj, size_t size, GC_word descr);
void *lgc_alloc_layout(size_t n, lgc_layout *l);
/* What the program says of an object of this kind (GC_register_describe_type_fn), or "". */
void lgc_describe(void *obj, int kind, char out[GC_TYPE_DESCR_LEN + 1]);
/* Mark by the procedure with this number. */
void lgc_set_proc(unsigned index, GC_mark_proc proc);

/* ---- typed.c ---- */

/* Procedure number of descriptors that are too long for a word; its env is their number. */
#define LGC_PROC_LONG 1
void lgc_mark_long(oak_marker *m, char *obj, size_t size, GC_word env);

/* ---- push.c ---- */

void lgc_push_init(void);

/* ---- collect.c ---- */

void lgc_collect_init(void);
void lgc_apply_pace(void);
void lgc_tell_growth(void);

/* Where the heap may have grown, outside of the runtime. */
OAKI_INLINE void lgc_grown(void)
{
    if (OAKI_UNLIKELY(GC_on_heap_resize != NULL)) lgc_tell_growth();
}

/* ---- threads.c, stacks.c ---- */

void lgc_threads_init(void);
void lgc_stacks_init(void);

/* ---- final.c ---- */

void lgc_final_init(void);
/* While lgc.unfinished, where finalizers may be run. */
void lgc_final_resume(void);

/* ---- toggle.c; at the start of a cycle, among the roots, after the mark ---- */

void lgc_toggle_start(void);
void lgc_toggle_mark(oak_marker *m);
void lgc_toggle_marked(void);

/* ---- roots.c ---- */

void lgc_roots_init(void);
void lgc_roots_mark(oak_marker *m); /* among the roots: ranges that lie in the heap */
void lgc_roots_apply(void); /* what GC_no_dls says now */
bool lgc_is_displacement(size_t d);

/* ---- stats.c ---- */

void lgc_stats_marked(void);             /* in the stop */
void lgc_stats_cycle(uint64_t pause_ns); /* after it */
void lgc_stats_freed(size_t bytes);      /* by hand */

/* ---- help.c ---- */

void lgc_help_judge(const oaki_cycle *c); /* after each */

/* ---- debug.c, leak.c ---- */

void lgc_debug_check(void); /* report smashed objects */
void lgc_leak_marked(void);
void lgc_leak_report(void);
/* Where the object was allocated, as far as GC_debug_malloc was told. */
bool lgc_debug_where(const void *obj, const char **file, int *line, size_t *size);

/* ---- log.c ---- */

void lgc_print(const char *format, ...) OAK_PRINTF(1, 2);     /* what GC_dump and others show */
void lgc_log(const char *format, ...) OAK_PRINTF(1, 2);       /* the log */
void lgc_err(const char *format, ...) OAK_PRINTF(1, 2);       /* errors, leaks */
void lgc_warn(const char *format, GC_word arg);
void lgc_log_open(const char *path);

#endif
