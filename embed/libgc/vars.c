/* vars.c - libgc's variables, and the setters and getters of settings.
 *
 * Programs write the variables directly, before or after the start. So each variable is read when
 * it is needed, and never copied. The exception is GC_all_interior_pointers: as in libgc's
 * documentation, only its value at the start and its setter have an effect. Lock: none, as in
 * libgc. */
#include "libgc.h"

static void *out_of_memory(size_t n)
{
    (void)n;
    return NULL;
}

/* The default of GC_push_other_roots does nothing: stacks are scanned anyway. It isn't NULL, as
 * programs call the previous function from theirs. */
static void push_nothing(void)
{
}

static int never_stop(void)
{
    return 0;
}

static void warn_on_log(char *message, GC_word arg)
{
    lgc_warn(message, arg);
}

static void print_abort(const char *message)
{
    if (message) lgc_err("%s\n", message);
}

static void same_obj_failed(void *p, void *q)
{
    oak_fatal("oakum: GC_same_obj: %p and %p are not in the same object", p, q);
}

static void displacement_failed(void *p)
{
    oak_fatal("oakum: GC_is_valid_displacement: %p is no valid pointer into an object", p);
}

static void visible_failed(void *p)
{
    oak_fatal("oakum: GC_is_visible: %p is not scanned by the collector", p);
}

GC_word GC_gc_no, GC_non_gc_bytes, GC_max_retries;
GC_word GC_free_space_divisor = 3;
int GC_parallel, GC_find_leak, GC_finalize_on_demand, GC_dont_gc, GC_dont_expand,
    GC_use_entire_heap, GC_no_dls, GC_dont_precollect;
int GC_all_interior_pointers = 1, GC_java_finalization = 1, GC_full_freq = 19;
unsigned long GC_time_limit = GC_TIME_UNLIMITED;
char *GC_stackbottom;
void *GC_least_plausible_heap_addr = (void *)UINTPTR_MAX, *GC_greatest_plausible_heap_addr;
GC_oom_func GC_oom_fn = out_of_memory;
GC_on_heap_resize_proc GC_on_heap_resize;
GC_finalizer_notifier_proc GC_finalizer_notifier;
GC_push_other_roots_proc GC_push_other_roots = push_nothing;
void (*GC_same_obj_print_proc)(void *, void *) = same_obj_failed;
void (*GC_is_valid_displacement_print_proc)(void *) = displacement_failed;
void (*GC_is_visible_print_proc)(void *) = visible_failed;
int GC_gcj_kind, GC_gcj_debug_kind;
GC_abort_func GC_on_abort = print_abort;
const size_t GC_debug_header_size = 0;

lgc_state lgc = {
    .allocd_bytes_per_finalizer = 10000,
    .min_bytes_allocd = 1,
    .rate = 10,
    .max_prior_attempts = 1,
    .stop_func = never_stop,
    .warn_proc = warn_on_log,
    .suspend_signal = SIGPWR,
    .restart_signal = SIGXCPU,
    .log_fd = -1,
    .all_fd = -1,
};

#define DEFINE(name, type, where)    \
    void GC_set_##name(type value)   \
    {                                \
        where = value;               \
    }                                \
    type GC_get_##name(void)         \
    {                                \
        return where;                \
    }
LIBGC_SETTINGS(DEFINE)
#undef DEFINE

int GC_get_all_interior_pointers(void)
{
    return GC_all_interior_pointers;
}

void GC_set_time_limit_tv(struct GC_timeval_s value)
{
    GC_time_limit = value.tv_ms;
    lgc.time_limit_ns = value.tv_nsec;
}

struct GC_timeval_s GC_get_time_limit_tv(void)
{
    return (struct GC_timeval_s){ .tv_ms = GC_time_limit, .tv_nsec = lgc.time_limit_ns };
}

GC_word GC_get_gc_no(void)
{
    return GC_gc_no;
}

int GC_get_parallel(void)
{
    return GC_parallel;
}

void GC_set_markers_count(unsigned markers)
{
    lgc.markers = markers;
}

/* Does nothing: the heap's pages are never executable. GC_get_pages_executable says so. */
void GC_set_pages_executable(int value)
{
    (void)value;
}

int GC_get_pages_executable(void)
{
    return 0;
}

unsigned GC_get_version(void)
{
    return 8 << 16 | 2 << 8 | 2;
}
