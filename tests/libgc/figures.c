/* figures.c - sizes, counts and times. */
#include "api.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* By hand, while nothing is collected. */
static void freed(void)
{
    GC_disable();
    size_t all = GC_get_total_bytes();
    for (int i = 0; i < 5000; i++) GC_free(GC_malloc(200));
    say("and counted when it is used again", GC_get_total_bytes() - all >= 900000);
    long bytes = (long)GC_get_expl_freed_bytes_since_gc();
    struct GC_prof_stats_s s;
    GC_get_prof_stats(&s, sizeof s);
    say("freed by hand", bytes >= 1000000 && bytes < 1300000);
    say("and among all figures", (long)s.expl_freed_bytes_since_gc == bytes);
    GC_enable();
    GC_gcollect();
    say("since the last collection", GC_get_expl_freed_bytes_since_gc() < 100000);
}

static void *unsafe_stats(void *s)
{
    GC_get_prof_stats_unsafe(s, sizeof(struct GC_prof_stats_s));
    return s;
}

/* By collections: this one's, and then the earlier ones'. */
static void reclaimed(void)
{
    struct GC_prof_stats_s before, s;
    collect();
    GC_call_with_alloc_lock(unsafe_stats, &before);
    GC_disable();
    for (int i = 0; i < 5000; i++) memset(GC_malloc(1000), 1, 1000);
    GC_enable();
    GC_gcollect();
    for (int i = 0; i < 5000; i++) memset(GC_malloc(1000), 1, 1000); /* libgc sweeps by and by */
    GC_call_with_alloc_lock(unsafe_stats, &s);
    GC_word old = before.bytes_reclaimed_since_gc + before.reclaimed_bytes_before_gc;
    say("reclaimed", s.bytes_reclaimed_since_gc + s.reclaimed_bytes_before_gc >= old + 4000000);
    collect();
    GC_call_with_alloc_lock(unsafe_stats, &s);
    say("reclaimed before the last", s.reclaimed_bytes_before_gc >= old + 4000000);
    say("total", GC_get_total_bytes() == s.allocd_bytes_before_gc + s.bytes_allocd_since_gc);
    say("free", GC_get_free_bytes() == s.free_bytes_full - s.unmapped_bytes);
    say("unmapped", GC_get_unmapped_bytes() == s.unmapped_bytes);
    say("obtained", GC_get_obtained_from_os_bytes() >= GC_get_heap_size());
}

static void timed(void)
{
    static void *kept;
    for (int i = 0; i < 100000; i++) {
        void **p = GC_malloc(40);
        *p = kept;
        kept = p;
    }
    GC_start_performance_measurement();
    for (int i = 0; i < 2000 && GC_get_full_gc_total_time() == 0; i++) GC_gcollect();
    unsigned long ms = GC_get_full_gc_total_time();
    say("time", ms > 0 && ms < 10000);
    kept = NULL;
}

/* ---- beside threads that allocate ---- */

static atomic_bool quit;
static atomic_int allocating;

static void *allocates(void *unused)
{
    for (size_t i = 0; !atomic_load(&quit); i++) {
        memset(GC_malloc(16 + i % 500), 1, 16);
        if (i == 0) allocating++;
    }
    return unused;
}

static void *reads(void *of)
{
    struct GC_prof_stats_s s;
    GC_word heap, idle, unmapped, since, all;
    size_t before = GC_get_total_bytes();
    long back = 0, wild = 0;
    for (int i = 0; i < 100000; i++) {
        GC_get_heap_usage_safe(&heap, &idle, &unmapped, &since, &all);
        back += all < before;
        GC_get_prof_stats(&s, sizeof s);
        wild += all >> 40 || since > all || GC_get_bytes_since_gc() >> 40 ||
                s.allocd_bytes_before_gc >> 40 || s.bytes_allocd_since_gc >> 40;
        before = all;
    }
    printf("%s: backwards %ld, wild %ld\n", (const char *)of, back, wild);
    return of;
}

/* By who marks, of which some are not the program's threads. */
static atomic_long asked;

static struct GC_ms_entry *asks(GC_word *p, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                GC_word env)
{
    (void)env;
    asked += GC_get_total_bytes() > 0 && GC_get_bytes_since_gc() < (size_t)1 << 40;
    return GC_mark_and_push((void *)p[0], top, limit, (void **)p);
}

static void asked_in_a_mark(void)
{
    static void **list[64];
    int kind = (int)GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(asks), 0), 0, 1);
    for (int i = 0; i < 64 * 2000; i++) {
        void **p = GC_generic_malloc(32, kind);
        p[0] = list[i % 64];
        list[i % 64] = p;
    }
    for (int i = 0; i < 5; i++) GC_gcollect();
    say("asked by who marks", asked >= 64L * 2000);
    memset(list, 0, sizeof list);
}

static void busy(void)
{
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) GC_pthread_create(&thread[i], NULL, allocates, NULL);
    while (allocating < 2) usleep(1000);
    reads("beside threads");
    GC_do_blocking(reads, "in a region");
    atomic_store(&quit, true);
    for (int i = 0; i < 2; i++) GC_pthread_join(thread[i], NULL);
}

/* As seen by events before the mark and behind it. */
static GC_word all_reclaimed[2];

static void on_event(GC_EventType e)
{
    struct GC_prof_stats_s s;
    if (e != GC_EVENT_MARK_START && e != GC_EVENT_MARK_END) return;
    GC_get_prof_stats_unsafe(&s, sizeof s);
    GC_word all = s.bytes_reclaimed_since_gc + s.reclaimed_bytes_before_gc;
    all_reclaimed[e == GC_EVENT_MARK_END] = all;
}

static void reclaimed_once(void)
{
    for (int i = 0; i < 10000; i++) (void)GC_malloc(100);
    GC_gcollect();
    GC_set_on_collection_event(on_event);
    GC_gcollect();
    GC_set_on_collection_event(NULL);
    say("reclaimed bytes", all_reclaimed[0] > 0);
    say("count once in a collection", all_reclaimed[1] == all_reclaimed[0]);
}

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
    GC_debug_free(GC_debug_malloc_uncollectable(1000, "figures.c", 1));
    non_gc = GC_get_non_gc_bytes();
    p = GC_debug_malloc_uncollectable(1000, "figures.c", 2);
    say("so does one for debugging", GC_get_non_gc_bytes() - non_gc >= 1000);
    GC_debug_free(p);
    say("and is freed, too", GC_get_non_gc_bytes() == non_gc);
    say("plausible", (void *)p >= GC_least_plausible_heap_addr &&
                         (void *)p <= GC_greatest_plausible_heap_addr);
    say("memory use", GC_get_memory_use() > 0);
    freed();
    reclaimed();
    timed();
    asked_in_a_mark();
    busy();
    reclaimed_once();
}
