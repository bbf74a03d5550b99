/* abi.h - the names, types and values of the interface of libgc 8.2, as in its documentation: all
 * that a program built for libgc.so.1 may import.
 *
 * The file is written for this library; Boehm's headers are neither included nor copied. Their
 * comments are the reference for the meaning of each call. docs/libgc.md lists the differences.
 *
 * Invariant: the sizes of types and variables are part of the ABI. A program that is not
 * position-independent has a copy of each variable, so variables are accessed through the global
 * offset table. */
#ifndef LIBGC_ABI_H
#define LIBGC_ABI_H

#include <dlfcn.h>
#include <oakum/base.h>
#include <pthread.h>
#include <signal.h>

typedef unsigned long GC_word;

#define GC_SUCCESS 0
#define GC_DUPLICATE 1
#define GC_NO_MEMORY 2
#define GC_UNIMPLEMENTED 3
#define GC_NOT_FOUND 4
#define GC_TIME_UNLIMITED 999999

/* ---- types of callbacks ---- */

typedef void *(*GC_fn_type)(void *);
typedef void *(*GC_oom_func)(size_t);
typedef void (*GC_warn_proc)(char *, GC_word);
typedef void (*GC_abort_func)(const char *);
typedef int (*GC_stop_func)(void);
typedef void (*GC_finalization_proc)(void *, void *);
typedef void (*GC_finalizer_notifier_proc)(void);
typedef void (*GC_start_callback_proc)(void);
typedef void (*GC_push_other_roots_proc)(void);
typedef void (*GC_on_heap_resize_proc)(GC_word);
typedef int (*GC_has_static_roots_func)(const char *, void *, size_t);
typedef void (*GC_reachable_object_proc)(void *, size_t, void *);
typedef void (*GC_describe_type_fn)(void *, char *);

typedef enum GC_EventType {
    GC_EVENT_START,
    GC_EVENT_MARK_START,
    GC_EVENT_MARK_END,
    GC_EVENT_RECLAIM_START,
    GC_EVENT_RECLAIM_END,
    GC_EVENT_END,
    GC_EVENT_PRE_STOP_WORLD,
    GC_EVENT_POST_STOP_WORLD,
    GC_EVENT_PRE_START_WORLD,
    GC_EVENT_POST_START_WORLD,
    GC_EVENT_THREAD_SUSPENDED,
    GC_EVENT_THREAD_UNSUSPENDED
} GC_EventType;
typedef void (*GC_on_collection_event_proc)(GC_EventType);
typedef void (*GC_on_thread_event_proc)(GC_EventType, void *);

typedef enum GC_ToggleRefStatus {
    GC_TOGGLE_REF_DROP,
    GC_TOGGLE_REF_STRONG,
    GC_TOGGLE_REF_WEAK
} GC_ToggleRefStatus;
typedef GC_ToggleRefStatus (*GC_toggleref_func)(void *);

typedef void (*GC_await_finalize_proc)(void *);
typedef int (*GC_disclaim_proc)(void *);
typedef int (*GC_has_static_roots_func)(const char *, void *, size_t);

struct GC_finalizer_closure {
    GC_finalization_proc proc;
    void *cd;
};

struct GC_stack_base {
    void *mem_base;
};
typedef void *(*GC_stack_base_func)(struct GC_stack_base *, void *);

struct GC_timeval_s {
    unsigned long tv_ms;
    unsigned long tv_nsec;
};

struct GC_prof_stats_s {
    GC_word heapsize_full;
    GC_word free_bytes_full;
    GC_word unmapped_bytes;
    GC_word bytes_allocd_since_gc;
    GC_word allocd_bytes_before_gc;
    GC_word non_gc_bytes;
    GC_word gc_no;
    GC_word markers_m1;
    GC_word bytes_reclaimed_since_gc;
    GC_word reclaimed_bytes_before_gc;
    GC_word expl_freed_bytes_since_gc;
    GC_word obtained_from_os_bytes;
};

/* ---- descriptors, kinds, mark procedures ---- */

struct GC_ms_entry; /* an entry of the mark stack; opaque to clients */
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *, struct GC_ms_entry *, struct GC_ms_entry *,
                                            GC_word);

#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS 3
#define GC_DS_LENGTH 0     /* the word is a length in bytes */
#define GC_DS_BITMAP 1     /* 62 bits; the highest one is that of the first word */
#define GC_DS_PROC 2       /* the number of a procedure, and in higher bits its environment */
#define GC_DS_PER_OBJECT 3 /* the descriptor is in the object, or where its first word points */
#define GC_LOG_MAX_MARK_PROCS 6
#define GC_MAX_MARK_PROCS (1 << GC_LOG_MAX_MARK_PROCS)
#define GC_RESERVED_MARK_PROCS 8
#define GC_INDIR_PER_OBJ_BIAS 0x10
#define GC_DESCR_IN_TYPE(offset) ((GC_word)(offset) + GC_INDIR_PER_OBJ_BIAS)
#define GC_MAKE_PROC(index, env) \
    (((((GC_word)(env)) << GC_LOG_MAX_MARK_PROCS | (GC_word)(index)) << GC_DS_TAG_BITS) | \
     GC_DS_PROC)

/* Numbers of kinds, which are constants in clients' code. */
#define GC_KIND_ATOMIC 0
#define GC_KIND_NORMAL 1
#define GC_KIND_UNCOLLECTABLE 2
#define GC_KIND_ATOMIC_UNCOLLECTABLE 3
#define GC_KINDS_MAX 64

#define GC_GRANULE_BYTES 16
#define GC_TYPE_DESCR_LEN 40

/* ---- variables (vars.c) ---- */

OAK_API extern GC_word GC_gc_no, GC_non_gc_bytes, GC_free_space_divisor, GC_max_retries;
OAK_API extern int GC_parallel, GC_find_leak, GC_all_interior_pointers, GC_finalize_on_demand,
    GC_java_finalization, GC_dont_gc, GC_dont_expand, GC_use_entire_heap, GC_full_freq, GC_no_dls,
    GC_dont_precollect;
OAK_API extern unsigned long GC_time_limit;
OAK_API extern char *GC_stackbottom;
OAK_API extern void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;
OAK_API extern GC_oom_func GC_oom_fn;
OAK_API extern GC_on_heap_resize_proc GC_on_heap_resize;
OAK_API extern GC_finalizer_notifier_proc GC_finalizer_notifier;
OAK_API extern GC_push_other_roots_proc GC_push_other_roots;
OAK_API extern void (*GC_same_obj_print_proc)(void *, void *);
OAK_API extern void (*GC_is_valid_displacement_print_proc)(void *);
OAK_API extern void (*GC_is_visible_print_proc)(void *);
OAK_API extern const size_t GC_debug_header_size;
OAK_API extern int GC_gcj_kind, GC_gcj_debug_kind;
OAK_API extern GC_abort_func GC_on_abort;

/* ---- variables that no public header declares (insides.c) ---- */

#define GC_ARRAYS_BYTES 0x2c9f0

struct GC_arrays {
    GC_word heapsize, requested_heapsize;
    char *last_heap_addr;
    GC_word large_free_bytes, large_allocd_bytes, max_large_allocd_bytes, bytes_allocd_before_gc,
        our_mem_bytes, bytes_allocd, bytes_dropped, bytes_finalized, bytes_freed,
        finalizer_bytes_freed;
    char others[GC_ARRAYS_BYTES - 13 * sizeof(GC_word)];
};
_Static_assert(sizeof(struct GC_arrays) == GC_ARRAYS_BYTES, "as in libgc 8.2.2 of Debian 12");

OAK_API extern struct GC_arrays GC_arrays;
OAK_API extern void **const GC_aobjfreelist_ptr, **const GC_objfreelist_ptr,
    **const GC_uobjfreelist_ptr, **const GC_auobjfreelist_ptr;

/* ---- setters and getters (vars.c) ---- */

/* clang-format off */
#define LIBGC_SETTINGS(X) /* name, type, variable: plain setters and getters, for any time */ \
    X(find_leak, int, GC_find_leak)                                       \
    X(finalize_on_demand, int, GC_finalize_on_demand)                     \
    X(java_finalization, int, GC_java_finalization)                       \
    X(finalizer_notifier, GC_finalizer_notifier_proc, GC_finalizer_notifier) \
    X(dont_expand, int, GC_dont_expand)                                   \
    X(full_freq, int, GC_full_freq)                                       \
    X(non_gc_bytes, GC_word, GC_non_gc_bytes)                             \
    X(no_dls, int, GC_no_dls)                                             \
    X(free_space_divisor, GC_word, GC_free_space_divisor)                 \
    X(max_retries, GC_word, GC_max_retries)                               \
    X(dont_precollect, int, GC_dont_precollect)                           \
    X(time_limit, unsigned long, GC_time_limit)                           \
    X(oom_fn, GC_oom_func, GC_oom_fn)                                     \
    X(on_heap_resize, GC_on_heap_resize_proc, GC_on_heap_resize)          \
    X(push_other_roots, GC_push_other_roots_proc, GC_push_other_roots)    \
    X(allocd_bytes_per_finalizer, GC_word, lgc.allocd_bytes_per_finalizer) \
    X(min_bytes_allocd, size_t, lgc.min_bytes_allocd)                     \
    X(rate, int, lgc.rate)                                                \
    X(max_prior_attempts, int, lgc.max_prior_attempts)                    \
    X(disable_automatic_collection, int, lgc.no_automatic)                \
    X(manual_vdb_allowed, int, lgc.manual_vdb)                            \
    X(force_unmap_on_gcollect, int, lgc.force_unmap)                      \
    X(stop_func, GC_stop_func, lgc.stop_func)                             \
    X(warn_proc, GC_warn_proc, lgc.warn_proc)                             \
    X(abort_func, GC_abort_func, GC_on_abort)                             \
    X(start_callback, GC_start_callback_proc, lgc.start_callback)         \
    X(on_collection_event, GC_on_collection_event_proc, lgc.on_event)     \
    X(on_thread_event, GC_on_thread_event_proc, lgc.on_thread_event)      \
    X(toggleref_func, GC_toggleref_func, lgc.toggleref)
/* clang-format on */
#define LIBGC_DECLARE(name, type, where)  \
    OAK_API void GC_set_##name(type value); \
    OAK_API type GC_get_##name(void);
LIBGC_SETTINGS(LIBGC_DECLARE)
#undef LIBGC_DECLARE
OAK_API void GC_set_all_interior_pointers(int value);
OAK_API int GC_get_all_interior_pointers(void);
OAK_API void GC_set_time_limit_tv(struct GC_timeval_s value);
OAK_API struct GC_timeval_s GC_get_time_limit_tv(void);
OAK_API GC_word GC_get_gc_no(void);
OAK_API int GC_get_parallel(void);
OAK_API void GC_set_markers_count(unsigned markers);
OAK_API void GC_set_pages_executable(int value);
OAK_API int GC_get_pages_executable(void);
OAK_API unsigned GC_get_version(void);

/* ---- of releases after 8.2: how a word holds a pointer (tags.c) ---- */

OAK_API void GC_set_pointer_mask(GC_word mask);
OAK_API GC_word GC_get_pointer_mask(void);
OAK_API void GC_set_pointer_shift(unsigned shift);
OAK_API unsigned GC_get_pointer_shift(void);

/* ---- start (start.c) ---- */

OAK_API void GC_init(void);
OAK_API int GC_is_init_called(void);
OAK_API void GC_deinit(void);

/* ---- allocating (alloc.c) ---- */

OAK_API void *GC_malloc(size_t n);
OAK_API void *GC_malloc_atomic(size_t n);
OAK_API void *GC_malloc_uncollectable(size_t n);
OAK_API void *GC_malloc_atomic_uncollectable(size_t n);
OAK_API void *GC_malloc_ignore_off_page(size_t n);
OAK_API void *GC_malloc_atomic_ignore_off_page(size_t n);
OAK_API void *GC_malloc_stubborn(size_t n);
OAK_API void *GC_memalign(size_t align, size_t n);
OAK_API int GC_posix_memalign(void **out, size_t align, size_t n);
OAK_API char *GC_strdup(const char *s);
OAK_API char *GC_strndup(const char *s, size_t n);
OAK_API void *GC_realloc(void *p, size_t n);
OAK_API void GC_free(void *p);
OAK_API void *GC_malloc_many(size_t n);
OAK_API void GC_generic_malloc_many(size_t n, int kind, void **result);
OAK_API void *GC_malloc_kind(size_t n, int kind);
OAK_API void *GC_malloc_kind_global(size_t n, int kind);
OAK_API void *GC_generic_malloc(size_t n, int kind);
OAK_API void *GC_generic_malloc_ignore_off_page(size_t n, int kind);
OAK_API void *GC_generic_malloc_uncollectable(size_t n, int kind);
OAK_API void *GC_generic_or_special_malloc(size_t n, int kind);

/* ---- properties of objects (object.c) ---- */

OAK_API void *GC_base(void *p);
OAK_API int GC_is_heap_ptr(const void *p);
OAK_API size_t GC_size(const void *p);
OAK_API int GC_get_kind_and_size(const void *p, size_t *size);
OAK_API size_t GC_get_size_map_at(int i);
OAK_API void *GC_same_obj(void *p, void *q);
OAK_API void *GC_pre_incr(void **p, ptrdiff_t how_much);
OAK_API void *GC_post_incr(void **p, ptrdiff_t how_much);
OAK_API void *GC_is_visible(void *p);
OAK_API void *GC_is_valid_displacement(void *p);
OAK_API void GC_change_stubborn(const void *p);
OAK_API void GC_end_stubborn_change(const void *p);
OAK_API void GC_ptr_store_and_dirty(void *p, const void *q);
OAK_API void *GC_clear_stack(void *p);
OAK_API void GC_noop1(GC_word x);

/* ---- kinds and mark procedures (kinds.c, push.c) ---- */

OAK_API void **GC_new_free_list(void);
OAK_API void **GC_new_free_list_inner(void);
OAK_API unsigned GC_new_kind(void **free_list, GC_word descr, int adjust, int clear);
OAK_API unsigned GC_new_kind_inner(void **free_list, GC_word descr, int adjust, int clear);
OAK_API unsigned GC_new_proc(GC_mark_proc proc);
OAK_API unsigned GC_new_proc_inner(GC_mark_proc proc);
OAK_API void GC_register_describe_type_fn(int kind, GC_describe_type_fn fn);
OAK_API struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top,
                                             struct GC_ms_entry *limit, void **src);
OAK_API void GC_push_all(void *bottom, void *top);
OAK_API void GC_push_all_eager(void *bottom, void *top);
OAK_API void GC_push_conditional(void *bottom, void *top, int all);
OAK_API void GC_push_finalizer_structures(void);
OAK_API int GC_is_marked(const void *p);
OAK_API void GC_set_mark_bit(const void *p);
OAK_API void GC_clear_mark_bit(const void *p);

/* ---- functions that are called before objects are reclaimed (disclaim.c) ---- */

OAK_API void GC_register_disclaim_proc(int kind, GC_disclaim_proc fn, int protects);
OAK_API void GC_init_finalized_malloc(void);
OAK_API void *GC_finalized_malloc(size_t n, const struct GC_finalizer_closure *closure);

/* ---- typed (typed.c) ---- */

OAK_API GC_word GC_make_descriptor(const GC_word *bitmap, size_t bits);
OAK_API void *GC_malloc_explicitly_typed(size_t n, GC_word descr);
OAK_API void *GC_malloc_explicitly_typed_ignore_off_page(size_t n, GC_word descr);
OAK_API void *GC_calloc_explicitly_typed(size_t count, size_t size, GC_word descr);
OAK_API void GC_init_gcj_malloc(int index, void *proc);
OAK_API void *GC_gcj_malloc(size_t n, void *vtable);
OAK_API void *GC_gcj_malloc_ignore_off_page(size_t n, void *vtable);

/* ---- finalizers (final.c), links (links.c), toggle references (toggle.c) ---- */

#define LIBGC_FINALIZER(name)                                                       \
    OAK_API void name(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, \
                      void **ocd)
LIBGC_FINALIZER(GC_register_finalizer);
LIBGC_FINALIZER(GC_register_finalizer_ignore_self);
LIBGC_FINALIZER(GC_register_finalizer_no_order);
LIBGC_FINALIZER(GC_register_finalizer_unreachable);
OAK_API int GC_should_invoke_finalizers(void);
OAK_API int GC_invoke_finalizers(void);
OAK_API void GC_finalize_all(void);
OAK_API void GC_set_await_finalize_proc(GC_await_finalize_proc fn);
OAK_API GC_await_finalize_proc GC_get_await_finalize_proc(void);
OAK_API int GC_register_disappearing_link(void **link);
OAK_API int GC_general_register_disappearing_link(void **link, const void *obj);
OAK_API int GC_move_disappearing_link(void **from, void **to);
OAK_API int GC_unregister_disappearing_link(void **link);
OAK_API int GC_register_long_link(void **link, const void *obj);
OAK_API int GC_move_long_link(void **from, void **to);
OAK_API int GC_unregister_long_link(void **link);
OAK_API int GC_toggleref_add(void *obj, int is_strong);

/* ---- roots (roots.c) ---- */

OAK_API void GC_add_roots(void *lo, void *hi);
OAK_API void GC_remove_roots(void *lo, void *hi);
OAK_API void GC_clear_roots(void);
OAK_API void GC_exclude_static_roots(void *lo, void *hi);
OAK_API void GC_clear_exclusion_table(void);
OAK_API void GC_register_has_static_roots_callback(GC_has_static_roots_func fn);
OAK_API int GC_is_tmp_root(void *p);
OAK_API void GC_register_displacement(size_t n);
OAK_API void *GC_dlopen(const char *path, int mode);

/* ---- threads (threads.c, stacks.c, suspend.c) ---- */

OAK_API void GC_suspend_thread(void *id);
OAK_API void GC_resume_thread(void *id);
OAK_API int GC_is_thread_suspended(void *id);

OAK_API int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                              void *arg);
OAK_API int GC_pthread_join(pthread_t thread, void **result);
OAK_API int GC_pthread_detach(pthread_t thread);
OAK_API int GC_pthread_cancel(pthread_t thread);
OAK_API void GC_pthread_exit(void *result) OAK_NORETURN;
OAK_API int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
OAK_API void GC_allow_register_threads(void);
OAK_API int GC_register_my_thread(const struct GC_stack_base *base);
OAK_API int GC_unregister_my_thread(void);
OAK_API int GC_thread_is_registered(void);
OAK_API void GC_register_altstack(void *stack, GC_word size, void *altstack, GC_word altsize);
OAK_API void GC_start_mark_threads(void);
OAK_API int GC_get_stack_base(struct GC_stack_base *base);
OAK_API void *GC_get_my_stackbottom(struct GC_stack_base *base);
OAK_API void GC_set_stackbottom(void *thread, const struct GC_stack_base *base);
OAK_API void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg);
OAK_API void *GC_do_blocking(GC_fn_type fn, void *arg);
OAK_API void *GC_call_with_gc_active(GC_fn_type fn, void *arg);
OAK_API void GC_set_suspend_signal(int sig);
OAK_API void GC_set_thr_restart_signal(int sig);
OAK_API int GC_get_suspend_signal(void);
OAK_API int GC_get_thr_restart_signal(void);
OAK_API void GC_set_handle_fork(int value);
OAK_API void GC_atfork_prepare(void);
OAK_API void GC_atfork_parent(void);
OAK_API void GC_atfork_child(void);

/* ---- collecting (collect.c) ---- */

OAK_API void GC_gcollect(void);
OAK_API void GC_gcollect_and_unmap(void);
OAK_API int GC_try_to_collect(GC_stop_func stop);
OAK_API int GC_collect_a_little(void);
OAK_API void GC_disable(void);
OAK_API void GC_enable(void);
OAK_API int GC_is_disabled(void);
OAK_API void GC_enable_incremental(void);
OAK_API int GC_is_incremental_mode(void);
OAK_API int GC_incremental_protection_needs(void);
OAK_API void GC_start_incremental_collection(void);
OAK_API void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg);
OAK_API void GC_alloc_lock(void);
OAK_API void GC_alloc_unlock(void);
OAK_API void GC_stop_world_external(void);
OAK_API void GC_start_world_external(void);
OAK_API int GC_expand_hp(size_t n);
OAK_API void GC_set_max_heap_size(GC_word n);

/* ---- statistics (stats.c), output (dump.c, log.c) ---- */

OAK_API size_t GC_get_heap_size(void);
OAK_API size_t GC_get_free_bytes(void);
OAK_API size_t GC_get_unmapped_bytes(void);
OAK_API size_t GC_get_bytes_since_gc(void);
OAK_API size_t GC_get_expl_freed_bytes_since_gc(void);
OAK_API size_t GC_get_total_bytes(void);
OAK_API void GC_incr_bytes_allocd(size_t n);
OAK_API void GC_incr_bytes_freed(size_t n);
OAK_API size_t GC_get_obtained_from_os_bytes(void);
OAK_API size_t GC_get_memory_use(void);
OAK_API void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_bytes, GC_word *unmapped,
                                    GC_word *since_gc, GC_word *total);
OAK_API size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t size);
OAK_API size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t size);
OAK_API void GC_start_performance_measurement(void);
OAK_API unsigned long GC_get_full_gc_total_time(void);
OAK_API void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc fn, void *ctx);
OAK_API void GC_dump(void);
OAK_API void GC_dump_named(const char *name);
OAK_API void GC_dump_regions(void);
OAK_API void GC_dump_finalization(void);
OAK_API void GC_print_free_list(int kind, size_t granules);
OAK_API void GC_printf(const char *format, ...) OAK_PRINTF(1, 2);
OAK_API void GC_err_printf(const char *format, ...) OAK_PRINTF(1, 2);
OAK_API void GC_log_printf(const char *format, ...) OAK_PRINTF(1, 2);
OAK_API void GC_set_log_fd(int fd);
OAK_API void GC_ignore_warn_proc(char *message, GC_word arg);
OAK_API void GC_abort_on_oom(void);

/* ---- checked objects (debug.c) ---- */

#define LIBGC_WHERE const char *file, int line
OAK_API size_t GC_get_debug_header_size(void);
OAK_API void *GC_debug_malloc(size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_malloc_atomic(size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_gcj_malloc(size_t n, void *vtable, LIBGC_WHERE); /* typed.c */
OAK_API void *GC_debug_malloc_uncollectable(size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_malloc_atomic_uncollectable(size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_malloc_stubborn(size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_malloc_ignore_off_page(size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_malloc_atomic_ignore_off_page(size_t n, LIBGC_WHERE);
OAK_API char *GC_debug_strdup(const char *s, LIBGC_WHERE);
OAK_API char *GC_debug_strndup(const char *s, size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_realloc(void *p, size_t n, LIBGC_WHERE);
OAK_API void *GC_debug_malloc_replacement(size_t n);
OAK_API void *GC_debug_realloc_replacement(void *p, size_t n);
OAK_API void *GC_debug_generic_or_special_malloc(size_t n, int kind, LIBGC_WHERE);
OAK_API void GC_debug_free(void *p);
OAK_API void GC_debug_change_stubborn(const void *p);
OAK_API void GC_debug_end_stubborn_change(const void *p);
OAK_API void GC_debug_ptr_store_and_dirty(void *p, const void *q);
OAK_API void GC_debug_register_displacement(size_t n);
LIBGC_FINALIZER(GC_debug_register_finalizer);
LIBGC_FINALIZER(GC_debug_register_finalizer_ignore_self);
LIBGC_FINALIZER(GC_debug_register_finalizer_no_order);
LIBGC_FINALIZER(GC_debug_register_finalizer_unreachable);

#endif
