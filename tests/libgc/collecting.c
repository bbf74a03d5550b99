/* collecting.c - asking for collections, forbidding them, callbacks, figures, debugging, memory
 * that runs out. */
#include "api.h"

/* ---- callbacks ---- */

static long started;

static void on_start(void)
{
    started++;
}

static char events[64];
static size_t nevents;

static void on_event(GC_EventType e)
{
    static const char *const letters = "SmMrREpPqQuU";
    if (nevents < sizeof events - 1 && e < 12) events[nevents++] = letters[e];
}

static int stop_now(void)
{
    return 1;
}

static int go_on(void)
{
    return 0;
}

static void churn(size_t bytes)
{
    for (size_t n = 0; n < bytes; n += 1000) *(char *)GC_malloc(1000) = 1;
}

static void warned(char *message, GC_word arg)
{
    (void)message;
    (void)arg;
}

static void count_object(void *obj, size_t bytes, void *ctx)
{
    *(size_t *)ctx += bytes > 0 && GC_base(obj) == obj;
}

static void *enumerate(void *arg)
{
    GC_enumerate_reachable_objects_inner(count_object, arg);
    return arg;
}

void test_collecting(void)
{
    GC_word before = GC_get_gc_no();
    say("initialised", GC_is_init_called());
    say("version 8.2", GC_get_version() >> 8 == (8 << 8 | 2));
    GC_gcollect();
    say("counted", GC_get_gc_no() > before && GC_gc_no == GC_get_gc_no());
    GC_disable();
    GC_disable();
    say("disabled", GC_is_disabled() != 0);
    before = GC_get_gc_no();
    GC_gcollect();
    churn(16 << 20);
    say("none while disabled", GC_get_gc_no() == before);
    say("nor by trying", GC_try_to_collect(go_on));
    GC_enable();
    say("still disabled", GC_is_disabled() != 0);
    GC_enable();
    say("enabled", GC_is_disabled());
    say("try", GC_try_to_collect(go_on));
    say("try and give up", GC_try_to_collect(stop_now));
    GC_set_start_callback(on_start);
    say("start callback", GC_get_start_callback() == on_start);
    GC_gcollect();
    say("called", started > 0);
    GC_set_start_callback(NULL);
    GC_set_on_collection_event(on_event);
    GC_gcollect();
    GC_set_on_collection_event(NULL);
    printf("events: %s\n", events);
    before = GC_get_gc_no();
    churn(64 << 20);
    say("collects by itself", GC_get_gc_no() > before);
    say("a little", GC_collect_a_little() >= 0);
    GC_gcollect_and_unmap();
    GC_warn_proc old = GC_get_warn_proc();
    say("there is a warn function", old != NULL);
    GC_set_warn_proc(warned);
    say("another", GC_get_warn_proc() == warned);
    GC_set_warn_proc(old);
    size_t objects = 0;
    GC_call_with_alloc_lock(enumerate, &objects);
    say("objects", objects > 100);
    GC_stop_world_external();
    GC_start_world_external();
}

/* ---- figures ---- */

void test_figures(void)
{
    struct GC_prof_stats_s s, t;
    GC_word heap, idle, unmapped, since, total, again;
    say("divisor", (long)GC_get_free_space_divisor());
    say("full frequency", GC_get_full_freq());
    say("java finalization", GC_get_java_finalization());
    say("find leak", GC_get_find_leak());
    say("dont expand", GC_get_dont_expand());
    say("no dls", GC_get_no_dls());
    say("retries", (long)GC_get_max_retries());
    say("bytes per finalizer", (long)GC_get_allocd_bytes_per_finalizer());
    say("automatic", GC_get_disable_automatic_collection());
    say("incremental", GC_is_incremental_mode());
    size_t n = GC_get_prof_stats(&s, sizeof s);
    say("all figures", n == sizeof s);
    say("heap", s.heapsize_full - s.unmapped_bytes == GC_get_heap_size());
    say("free", s.free_bytes_full - s.unmapped_bytes <= GC_get_heap_size());
    say("collections", s.gc_no == GC_get_gc_no());
    say("obtained", s.obtained_from_os_bytes >= s.heapsize_full);
    memset(&t, 0, sizeof t);
    say("two of them", GC_get_prof_stats(&t, 2 * sizeof(GC_word)) == 2 * sizeof(GC_word));
    say("no more", t.unmapped_bytes == 0);
    GC_get_heap_usage_safe(&heap, &idle, &unmapped, &since, &total);
    GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, NULL);
    say("heap again", heap == GC_get_heap_size() && idle <= heap);
    GC_disable();
    for (int i = 0; i < 1000; i++) GC_malloc(1000);
    GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, &again);
    long bytes = (long)(again - total);
    say("bytes counted", bytes >= 1000000 && bytes < 1300000);
    say("and since the last", GC_get_bytes_since_gc() >= 1000000);
    GC_enable();
    GC_gcollect();
    say("few since the last", GC_get_bytes_since_gc() < 100000);
    size_t size = GC_get_heap_size();
    say("expand", GC_expand_hp(32 << 20));
    say("expanded", GC_get_heap_size() >= size + (32 << 20));
    GC_free(GC_malloc_uncollectable(1000)); /* libgc doesn't count the first of a size */
    GC_word non_gc = GC_get_non_gc_bytes();
    void *p = GC_malloc_uncollectable(1000);
    say("uncollectable counts", GC_get_non_gc_bytes() - non_gc >= 1000);
    GC_free(p);
    say("and is freed", GC_get_non_gc_bytes() == non_gc);
    say("plausible", (void *)p >= GC_least_plausible_heap_addr &&
                         (void *)p <= GC_greatest_plausible_heap_addr);
    say("memory use", GC_get_memory_use() > 0);
    GC_start_performance_measurement();
    GC_gcollect();
    say("time", GC_get_full_gc_total_time() < 10000);
}

/* ---- objects that are checked ---- */

void test_debug(void)
{
    char *p = GC_debug_malloc(100, "here.c", 1);
    memset(p, 1, 100);
    p = GC_debug_realloc(p, 1000, "here.c", 2);
    say("resized", p[99] == 1);
    say("string", strcmp(GC_debug_strdup("abc", "here.c", 3), "abc") == 0);
    say("string of two", strcmp(GC_debug_strndup("abc", 2, "here.c", 3), "ab") == 0);
    char *q = GC_debug_malloc_uncollectable(100, "here.c", 4);
    memset(q, 2, 100);
    collect();
    say("kept", q[99] == 2);
    GC_debug_free(q);
    GC_debug_free(p);
    GC_debug_free(GC_debug_malloc_atomic(50, "here.c", 5));
    GC_debug_free(NULL);
}

/* ---- memory that runs out ---- */

static long failed;
static char spare[64];

static void *out_of_memory(size_t n)
{
    failed++;
    return n > 64 ? spare : NULL;
}

void test_oom(void)
{
    static void *kept[4096];
    GC_set_max_heap_size(64 << 20);
    GC_INIT();
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_oom_fn(out_of_memory);
    say("function", GC_get_oom_fn() == out_of_memory);
    int n = 0;
    while (n < 4096 && !failed) kept[n++] = GC_malloc(100000);
    say("fails", failed);
    say("after many", n > 300 && n < 700);
    say("and gives what the function gives", kept[n - 1] == spare);
    memset(kept, 0, sizeof kept);
    collect();
    failed = 0;
    for (int i = 0; i < 300; i++) kept[i] = GC_malloc(100000);
    say("fails again", failed);
    say("too large", GC_malloc((size_t)1 << 46) == spare);
}
