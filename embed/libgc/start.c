/* start.c - GC_init: the heap's options from libgc's settings and environment, and the order in
 * which the parts come to life.
 *
 * Any entry starts the library, and GC_init is one more. A program may call it from several threads
 * or from a constructor. Lock: `once`. */
#include "libgc.h"

#include "runtime/guard.h"
#include "runtime/observer.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include <oakum/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Nothing is collected while less than this was allocated since the last time. */
#define LEAST ((size_t)1 << 20)

/* Profiles, the debug server and what they need stay out of the library: a program that is run on
 * it for its collector is not to be larger for them. */
void oaki_observe_start(const oak_config *config)
{
    (void)config;
}

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;

/* What Oakum's own variables say stays. */
static void configure(oak_config *cfg)
{
    oak_config_default(cfg);
    cfg->finalizer_thread = 0;
    cfg->touch_ahead = 0;
    cfg->thrift = 0; /* its room follows what collections cost by a rule of its own (collect.c) */
    lgc.least = secure_getenv("OAKUM_MIN_HEAP") ? cfg->min_heap : LEAST;
    if (!secure_getenv("OAKUM_STOP_SIGNAL")) cfg->stop_signal = lgc.suspend_signal;
    else if (cfg->stop_signal) lgc.suspend_signal = cfg->stop_signal;
    if (lgc.max_heap) cfg->heap_max = lgc.max_heap;
    cfg->gc_threads = (int)OAKI_MIN(OAKI_MAX(lgc.markers, 1u), 64u);
}

/* libgc's abort function is told what Oakum has to say before it aborts. */
static void on_fatal(const char *message)
{
    lgc.abort_func(message);
    while (lgc.loop_on_abort) oaki_os_sleep_ns(100000000);
}

static void find_leaks_at_exit(void)
{
    GC_gcollect();
}

/* What a run without a collection has to tell, too. Those of other threads are told of first. */
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

/* As libgc does: a line, and no signal. */
_Noreturn void lgc_start_fails(const char *why)
{
    lgc_err("Can't start up: %s\n", why);
    exit(1);
}

/* To what the environment asks for. */
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
    if (oak_init(&cfg) != 0) lgc_start_fails("not enough memory or address space for the heap");
    if (oaki_guard.on) { /* its paths hand out whole slots */
        oaki_guard.on = false;
        oaki_log("oakum: libgc: OAKUM_DEBUG=guard is for Oakum's own functions: ignored\n");
    }
    (void)oak_set_fatal_handler(on_fatal);
    oaki_the_heap.dirty_noscan = true; /* GC_malloc_atomic promises nothing */
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
    /* libgc collects here, and so did we: nothing */
    if (!GC_dont_precollect && !GC_dont_gc) GC_gc_no = 1;
    AO_store_release(&lgc.started, 1);
    lgc_env_warn();
    expand();
    if (lgc.print_stats) tell_at_start();
    if (GC_find_leak) (void)atexit(find_leaks_at_exit);
    if (lgc.dump_regularly) GC_dump();
}

void lgc_start(void)
{
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

/* The heap stays: threads that run on at exit may use it. */
void GC_deinit(void)
{
}
