/* start.c - GC_init: sets the heap's options from libgc's settings and environment, and starts all
 * parts in order.
 *
 * The first call of any function starts the library. The program may call GC_init from several
 * threads or from a constructor. Lock: `once`. */
#include "libgc.h"

#include "runtime/contain.h"
#include "runtime/guard.h"
#include "runtime/observer.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include <oakum/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The least bytes that are allocated between two collections. */
#define LEAST ((size_t)1 << 20)

/* Replaces the hook that starts profiles and the debug server. So they are not linked into this
 * library, which stays small. */
void oaki_observe_start(const oak_config *config)
{
    (void)config;
}

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;

/* Set the options, except for those that Oakum's own environment variables set. */
static void configure(oak_config *cfg)
{
    oak_config_default(cfg);
    cfg->finalizer_thread = 0;
    cfg->touch_ahead = 0;
    cfg->thrift = 0; /* collect.c has its own rule for the heap's size */
    lgc.least = cfg->min_heap > 0 ? cfg->min_heap : LEAST;
    if (!oaki_options_variable("OAKUM_STOP_SIGNAL")) cfg->stop_signal = lgc.suspend_signal;
    else if (cfg->stop_signal) lgc.suspend_signal = cfg->stop_signal;
    if (lgc.max_heap) cfg->heap_max = lgc.max_heap;
    lgc_tags_get(&cfg->pointer_tags[0]);
    cfg->gc_threads = (int)OAKI_MIN(OAKI_MAX(lgc.markers, 1u), 64u);
}

/* Pass the message of a fatal error to libgc's abort function. */
static void on_fatal(const char *message)
{
    GC_on_abort(message);
    while (lgc.loop_on_abort) oaki_os_sleep_ns(100000000);
}

static void find_leaks_at_exit(void)
{
    GC_gcollect();
}

/* Log the totals at exit, even of a run without a collection. Events of other threads' collections
 * are delivered first. */
static void tell_at_exit(void)
{
    oaki_gc_flush_events();
    lgc_log("At exit: %lu collections, %lu KiB allocated, heap %lu KiB\n",
            (unsigned long)GC_get_gc_no(), (unsigned long)(GC_get_total_bytes() >> 10),
            (unsigned long)(GC_get_heap_size() >> 10));
}

static void tell_at_start(void)
{
    lgc_log("Number of processors: %u\nHeap %lu KiB after 0 bytes allocated\n", oaki_os_cpus(),
            (unsigned long)(GC_get_heap_size() >> 10));
    (void)atexit(tell_at_exit);
}

static AO_t failed; /* and the process exits, with `once` held */

/* Exit with a line, as libgc does, without a signal. */
_Noreturn void lgc_start_fails(const char *why)
{
    lgc_err("Can't start up: %s\n", why);
    AO_store_release(&failed, 1);
    exit(1);
}

/* Expand the heap to the initial size of the environment. */
static void expand(void)
{
    size_t initial = lgc.expanded;
    lgc.expanded = 0;
    size_t now = GC_get_heap_size();
    bool fits = lgc.max_heap == 0 || lgc.max_heap >= LGC_HEAP_LEAST;
    if (fits && (initial <= now || GC_expand_hp(initial - now))) return;
    lgc_start_fails("not enough memory");
}

static void start(void)
{
    oak_config cfg;
    lgc_env_read();
    configure(&cfg);
    if (lgc_tags_wrong()) lgc_start_fails(lgc_tags_wrong());
    if (oak_init(&cfg) != 0) lgc_start_fails("not enough memory or address space for the heap");
    if (oaki_guard.on) { /* the guard's allocation returns whole slots */
        oaki_guard.on = false;
        oaki_log("oakum: libgc: OAKUM_DEBUG=guard is for Oakum's own functions: ignored\n");
    }
    (void)oak_set_fatal_handler(on_fatal);
    oaki_the_heap.dirty_kinds = 1 << OAKI_NOSCAN; /* GC_malloc_atomic need not return zeroes */
    lgc_roots_init();
    lgc_final_init();
    lgc_push_init();
    lgc_collect_init();
    lgc_threads_init();
    lgc_apply_pace();
    GC_least_plausible_heap_addr = (void *)oaki_the_heap.base;
    GC_greatest_plausible_heap_addr = (void *)(oaki_the_heap.base + oaki_the_heap.reserved);
    if (oak_thread_attach() != 0) lgc_start_fails("not enough memory for the first thread");
    lgc_stacks_init();
    /* libgc collects here, so the count is 1; there is nothing to collect yet */
    if (!GC_dont_precollect && !GC_dont_gc) GC_gc_no = 1;
    AO_store_release(&lgc.started, 1);
    lgc_env_warn();
    expand();
    if (lgc.print_stats) tell_at_start();
    if (GC_find_leak) (void)atexit(find_leaks_at_exit);
    if (lgc.dump_regularly) GC_dump();
}

/* After a failed start, a handler of atexit that needs the heap ends the process. */
void lgc_start(void)
{
    if (AO_load_acquire(&failed)) {
        OAKI_NO_CANCEL;
        (void)fflush(NULL);
        _exit(1);
    }
    pthread_mutex_lock(&once);
    if (!AO_load(&lgc.started)) start();
    pthread_mutex_unlock(&once);
}

void GC_init(void)
{
    lgc_ready();
}

int GC_is_init_called(void)
{
    return AO_load_acquire(&lgc.started) != 0;
}

/* Does nothing: other threads may use the heap during exit. */
void GC_deinit(void)
{
}
