/* settings.c - what setters set and getters get: the defaults, each in turn, and the variables that
 * programs write directly. */
#include "api.h"

/* What a pointer-valued getter says at first. */
#define TELL(what, is) say("default of " what, (long)(is))

static void defaults(void)
{
    struct GC_timeval_s tv = GC_get_time_limit_tv();
    TELL("find_leak", GC_get_find_leak());
    TELL("finalize_on_demand", GC_get_finalize_on_demand());
    TELL("java_finalization", GC_get_java_finalization());
    TELL("finalizer_notifier", GC_get_finalizer_notifier() != 0);
    TELL("dont_expand", GC_get_dont_expand());
    TELL("full_freq", GC_get_full_freq());
    TELL("no_dls", GC_get_no_dls());
    TELL("free_space_divisor", GC_get_free_space_divisor());
    TELL("max_retries", GC_get_max_retries());
    TELL("dont_precollect", GC_get_dont_precollect());
    TELL("time_limit", GC_get_time_limit());
    TELL("time_limit_tv", tv.tv_ms);
    TELL("time_limit_tv, nanoseconds", tv.tv_nsec);
    TELL("oom_fn", GC_get_oom_fn() != 0);
    TELL("on_heap_resize", GC_get_on_heap_resize() != 0);
    TELL("push_other_roots", GC_get_push_other_roots() != 0);
    TELL("allocd_bytes_per_finalizer", GC_get_allocd_bytes_per_finalizer());
    TELL("min_bytes_allocd", GC_get_min_bytes_allocd());
    TELL("rate", GC_get_rate());
    TELL("max_prior_attempts", GC_get_max_prior_attempts());
    TELL("disable_automatic_collection", GC_get_disable_automatic_collection());
    TELL("manual_vdb_allowed", GC_get_manual_vdb_allowed());
    TELL("force_unmap_on_gcollect", GC_get_force_unmap_on_gcollect());
    TELL("stop_func", GC_get_stop_func() != 0);
    TELL("warn_proc", GC_get_warn_proc() != 0);
    TELL("abort_func", GC_get_abort_func() != 0);
    TELL("start_callback", GC_get_start_callback() != 0);
    TELL("on_collection_event", GC_get_on_collection_event() != 0);
    TELL("on_thread_event", GC_get_on_thread_event() != 0);
    TELL("toggleref_func", GC_get_toggleref_func() != 0);
    TELL("pages_executable", GC_get_pages_executable());
    TELL("all_interior_pointers", GC_get_all_interior_pointers());
}

/* Set to another value, got, and set to what it was. */
#define ROUND(name, type, value)                                            \
    do {                                                                    \
        type was = GC_get_##name();                                         \
        GC_set_##name(value);                                               \
        say("set and got: " #name, GC_get_##name() == (value));             \
        GC_set_##name(was);                                                 \
        say("  and back", GC_get_##name() == was);                          \
    } while (0)

static void nothing(void)
{
}

static void resized(GC_word size)
{
    (void)size;
}

static void *no_memory(size_t n)
{
    (void)n;
    return NULL;
}

static int go_on(void)
{
    return 0;
}

static void warned(char *message, GC_word arg)
{
    (void)message;
    (void)arg;
}

static void aborts(const char *message)
{
    (void)message;
}

static void event(GC_EventType e)
{
    (void)e;
}

static void thread_event(GC_EventType e, void *thread)
{
    (void)e;
    (void)thread;
}

static GC_ToggleRefStatus keep(void *obj)
{
    (void)obj;
    return GC_TOGGLE_REF_STRONG;
}

static void rounds(void)
{
    ROUND(find_leak, int, 1);
    ROUND(finalize_on_demand, int, 1);
    ROUND(java_finalization, int, 0);
    ROUND(finalizer_notifier, GC_finalizer_notifier_proc, nothing);
    ROUND(dont_expand, int, 1);
    ROUND(full_freq, int, 7);
    ROUND(non_gc_bytes, GC_word, 4096);
    ROUND(no_dls, int, 1);
    ROUND(free_space_divisor, GC_word, 5);
    ROUND(max_retries, GC_word, 4);
    ROUND(dont_precollect, int, 1);
    ROUND(time_limit, unsigned long, 50);
    ROUND(oom_fn, GC_oom_func, no_memory);
    ROUND(on_heap_resize, GC_on_heap_resize_proc, resized);
    ROUND(push_other_roots, GC_push_other_roots_proc, nothing);
    ROUND(allocd_bytes_per_finalizer, GC_word, 20000);
    ROUND(min_bytes_allocd, size_t, 100);
    ROUND(rate, int, 20);
    ROUND(max_prior_attempts, int, 9);
    ROUND(disable_automatic_collection, int, 1);
    ROUND(manual_vdb_allowed, int, 1);
    ROUND(force_unmap_on_gcollect, int, 1);
    ROUND(stop_func, GC_stop_func, go_on);
    ROUND(warn_proc, GC_warn_proc, warned);
    ROUND(abort_func, GC_abort_func, aborts);
    ROUND(start_callback, GC_start_callback_proc, nothing);
    ROUND(on_collection_event, GC_on_collection_event_proc, event);
    ROUND(on_thread_event, GC_on_thread_event_proc, thread_event);
    ROUND(toggleref_func, GC_toggleref_func, keep);
}

static void limit(void)
{
    struct GC_timeval_s was = GC_get_time_limit_tv(), tv = { 20, 500000 };
    GC_set_time_limit_tv(tv);
    tv = GC_get_time_limit_tv();
    say("set and got: time_limit_tv", tv.tv_ms == 20 && tv.tv_nsec == 500000);
    say("  its milliseconds", (long)GC_get_time_limit());
    GC_set_time_limit_tv(was);
}

/* A variable that the program writes is what its getter gets. */
#define WRITE(name, value)                                                  \
    do {                                                                    \
        __typeof__(GC_##name) was = GC_##name;                              \
        GC_##name = (value);                                                \
        say("written: " #name, GC_get_##name() == (value));                 \
        GC_##name = was;                                                    \
    } while (0)

static void variables(void)
{
    WRITE(find_leak, 1);
    WRITE(finalize_on_demand, 1);
    WRITE(java_finalization, 0);
    WRITE(finalizer_notifier, nothing);
    WRITE(dont_expand, 1);
    WRITE(full_freq, 7);
    WRITE(non_gc_bytes, 4096);
    WRITE(no_dls, 1);
    WRITE(free_space_divisor, 5);
    WRITE(max_retries, 4);
    WRITE(dont_precollect, 1);
    WRITE(time_limit, 50);
    WRITE(oom_fn, no_memory);
    WRITE(on_heap_resize, resized);
    WRITE(push_other_roots, nothing);
    say("parallel", GC_parallel == GC_get_parallel());
    say("entire heap", GC_use_entire_heap);
    say("interior", GC_all_interior_pointers);
    say("the size of debugging headers", GC_debug_header_size == GC_get_debug_header_size());
}

void test_settings(void)
{
    defaults();
    rounds();
    limit();
    variables();
}
