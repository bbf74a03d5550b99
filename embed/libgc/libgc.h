/* libgc.h - declarations that the files of the libgc.so.1 replacement share.
 *
 * The interface (abi.h) is built on the heap's internal interface. Its kinds are span kinds and
 * types, its mark stack is a marker, and its allocation lock is gc_lock.
 *
 * Owns: `lgc`, all state that is not an exported variable. It is written at start-up, or by the
 * setters, which as in libgc are not synchronized. The tables name their locks. Names: functions
 * with lgc_ are internal. Only the functions of libgc.sym are exported. */
#ifndef LIBGC_H
#define LIBGC_H

#include "abi.h"
#include "gc/event.h"
#include "gc/host.h"
#include "runtime/heap.h"
#include "runtime/type.h"

/* The layout of objects of a kind, or with an explicit descriptor: it says how they are marked.
 * `data` of an oak_type points to it. Never freed. */
typedef struct lgc_layout {
    GC_word descr;
    size_t element;  /* of an array: bytes of an element; the descriptor is that of each; or 0 */
    bool adjust;     /* the object's size is added to the descriptor */
    bool plain;      /* each word may be a pointer, as in an object of kind 1 */
    int kind;        /* the kind's number, for the program */
    GC_disclaim_proc disclaim; /* or NULL */
    AO_t type;       /* const oak_type *, made when it is first needed */
    struct lgc_layout *next; /* in the bucket (typed.c) */
} lgc_layout;

typedef struct lgc_state {
    AO_t started;
    size_t extra; /* bytes added to each request: 1 if pointers into objects count, else 0 */
    bool interior; /* the effective value of GC_all_interior_pointers */

    /* settings without an exported variable: LIBGC_SETTINGS */
    GC_word allocd_bytes_per_finalizer;
    size_t min_bytes_allocd;
    int rate, max_prior_attempts, no_automatic, manual_vdb, force_unmap;
    GC_stop_func stop_func;
    GC_warn_proc warn_proc;
    GC_start_callback_proc start_callback;
    GC_on_collection_event_proc on_event;
    GC_on_thread_event_proc on_thread_event;
    GC_toggleref_func toggleref;
    GC_await_finalize_proc await_finalize;
    unsigned long time_limit_ns;
    unsigned markers;
    int suspend_signal, restart_signal;
    size_t max_heap;
    int log_fd, all_fd; /* or -1 */
    int print_stats; /* 1, or 2 for more */
    bool dump_regularly, loop_on_abort, abort_on_leak, conservative_gcj;

    AO_t disclaiming[2]; /* of kinds 0 and 1: the type that has a function, or 0 (disclaim.c) */
    AO_t unfinished; /* finalizers run now, or wait for the next allocation */
    bool roots_cleared;
    oak_marker *marker; /* worker 0's, while roots are pushed */
    size_t expanded;    /* bytes to which GC_expand_hp has expanded the heap */
    size_t least;       /* the least bytes that are allocated between two collections */
} lgc_state;

extern OAKI_HIDDEN lgc_state lgc;

/* ---- start.c ---- */

#define LGC_HEAP_LEAST ((size_t)64 << 10) /* the initial size of libgc's heap */

OAKI_COLD void lgc_start(void);
_Noreturn void lgc_start_fails(const char *why);

/* The first call of each exported function that needs the heap. */
OAKI_INLINE void lgc_ready(void)
{
    if (OAKI_UNLIKELY(!AO_load_acquire(&lgc.started))) lgc_start();
}

/* Enter the runtime, unless the caller is inside already: under the allocation lock, or in a
 * callback of a collection. Returns NULL in that case, and if there is no memory to attach the
 * thread. */
OAKI_INLINE oaki_thread *lgc_enter(void)
{
    oaki_thread *t = oaki_tls_thread;
    return t && t->in_runtime ? NULL : oaki_enter();
}

OAKI_INLINE void lgc_leave(oaki_thread *t)
{
    if (t) oaki_leave(t);
}

/* Whether the calling thread is in a region of GC_do_blocking. libgc's functions work there, too;
 * here they leave the region for the call. */
OAKI_INLINE bool lgc_is_blocked(void)
{
    const oaki_thread *t = oaki_tls_thread;
    return OAKI_UNLIKELY(t && t->in_runtime == OAKI_IN_BLOCKING);
}

OAKI_INLINE _Noreturn void lgc_region_lost(void)
{
    oak_fatal("oakum: GC_unregister_my_thread was called in a region of GC_do_blocking");
}

/* Return to a region. One that was begun meanwhile and left by longjmp ends. */
OAKI_INLINE void lgc_region_resume(const oaki_region *r)
{
    oaki_thread *t = oaki_thread_self();
    oaki_region inner;
    if (!t) lgc_region_lost();
    if (lgc_is_blocked()) oaki_blocking_suspend(t, &inner);
    oaki_blocking_resume(t, r);
}

/* Define fn_outside, for a function that begins with lgc_is_blocked. It leaves all regions of the
 * thread, calls fn, and returns to the regions; the scan of the stack then begins where it did
 * before. The saved regions need a frame of their own: in that of fn they would be uninitialised
 * words in all other calls. If fn is left by longjmp, the thread stays outside until the region
 * ends (GC_do_blocking). */
#define LGC_OUTSIDE(type, fn, parameters, arguments)                            \
    static OAKI_NOINLINE OAKI_COLD type fn##_outside parameters                 \
    {                                                                           \
        oaki_region region __attribute__((cleanup(lgc_region_resume)));         \
        oaki_blocking_suspend(oaki_thread_self(), &region);                     \
        return fn arguments;                                                    \
    }

/* ---- env.c ---- */

/* Read the environment, before the start. Ignored in a set-user-ID program and its kin. */
void lgc_env_read(void);
void lgc_env_warn(void); /* warns of invalid values; after the start */

/* ---- alloc.c ---- */

/* Hold a new object of n bytes: it lives until it is freed, and counts in GC_non_gc_bytes. Returns
 * p; or the result of GC_oom_fn if p is NULL, or there is no memory to hold it. */
void *lgc_hold(void *p, size_t n);

/* Allocate n + lgc.extra bytes, zeroed. NULL when out of memory. */
void *lgc_try(size_t n, oaki_kind kind, uint32_t type);
/* As lgc_try, but the result of GC_oom_fn when out of memory. */
void *lgc_alloc(size_t n, oaki_kind kind, uint32_t type);
void *lgc_out_of_memory(size_t n);

/* ---- object.c ---- */

/* The span of the object that begins at p, or NULL. */
oaki_span *lgc_span_of(const void *p);

/* ---- kinds.c ---- */

/* The layout of a kind from 4 on; NULL if there is no such kind. */
lgc_layout *lgc_kind(int kind);
/* The id of a layout's type, which is made if need be; 0 without memory. Outside of oaki_enter. */
uint32_t lgc_layout_type(lgc_layout *l);
void lgc_mark_by(oak_marker *m, char *obj, size_t size, GC_word descr);
/* As lgc_try and lgc_alloc, of a layout's type. */
void *lgc_try_layout(size_t n, lgc_layout *l);
void *lgc_alloc_layout(size_t n, lgc_layout *l);
/* The program's description of an object of this kind (GC_register_describe_type_fn), or "". */
void lgc_describe(void *obj, int kind, char out[GC_TYPE_DESCR_LEN + 1]);
/* Set the mark procedure with this number. */
void lgc_set_proc(unsigned index, GC_mark_proc proc);

/* ---- typed.c ---- */

/* The procedure of bitmaps that are too long for a word; the environment is the bitmap's number. */
#define LGC_PROC_LONG 1
void lgc_mark_long(oak_marker *m, char *obj, size_t size, GC_word env);

/* ---- push.c ---- */

void lgc_push_init(void);

/* ---- collect.c ---- */

void lgc_collect_init(void);
void lgc_apply_pace(void);
void lgc_tell_growth(void);
bool lgc_asks(void); /* Is the calling thread in the program's stop function? */

/* Called when the heap may have grown, outside of the runtime. */
OAKI_INLINE void lgc_grown(void)
{
    if (OAKI_UNLIKELY(GC_on_heap_resize != NULL)) lgc_tell_growth();
}

/* ---- threads.c, stacks.c ---- */

void lgc_threads_init(void);
void lgc_stacks_init(void);

/* ---- final.c ---- */

void lgc_final_init(void);
/* Go on with finalizers if lgc.unfinished is set; where finalizers may run. */
void lgc_final_resume(void);

/* ---- toggle.c; at the start of a cycle, among the roots, after the mark ---- */

void lgc_toggle_start(void);
void lgc_toggle_mark(oak_marker *m);
void lgc_toggle_marked(void);

/* ---- tags.c: the tag of mask and shift, all zero for none; its fault ---- */

void lgc_tags_get(oak_pointer_tag *out);
const char *lgc_tags_wrong(void); /* or NULL */
void lgc_tags_judge(void);        /* as a cycle starts: fatal if they are wrong */

/* ---- roots.c ---- */

void lgc_roots_init(void);
void lgc_roots_mark(oak_marker *m); /* in a root phase: scans ranges that are in the heap */
void lgc_roots_apply(void); /* applies the current value of GC_no_dls */
bool lgc_is_displacement(size_t d);

/* ---- stats.c ---- */

void lgc_stats_marked(void);             /* in the pause */
void lgc_stats_cycle(uint64_t pause_ns); /* after the pause */
void lgc_stats_freed(size_t bytes);      /* by GC_free */
void lgc_stats_reused(size_t bytes);     /* one that GC_free has got is handed out again */

/* ---- insides.c ---- */

void lgc_insides_marked(void); /* in the pause, after the mark */
/* After the pause; bytes that were allocated before it, and since. */
void lgc_insides_cycle(size_t before, size_t since);

/* ---- help.c ---- */

void lgc_help_judge(const oaki_cycle *c); /* after each cycle */

/* ---- debug.c, leak.c ---- */

void lgc_debug_check(void); /* report smashed objects */
void lgc_leak_marked(void);
void lgc_leak_report(void);
/* The code that allocated an object, from the arguments of GC_debug_malloc. */
bool lgc_debug_where(const void *obj, const char **file, int *line, size_t *size);

/* ---- log.c ---- */

void lgc_print(const char *format, ...) OAK_PRINTF(1, 2);     /* output of GC_dump and its kin */
void lgc_log(const char *format, ...) OAK_PRINTF(1, 2);       /* the log */
void lgc_err(const char *format, ...) OAK_PRINTF(1, 2);       /* errors, leaks */
void lgc_warn(const char *format, GC_word arg);
void lgc_log_open(const char *path);

#endif
