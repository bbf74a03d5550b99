/* watermark-vs-leak.c - a high-water mark looks like a leak to who looks from outside.
 *
 * What leaks: the map in the global. The map in a local variable, ten times larger, does not: it
 *             is a high-water mark.
 * Why:        after a collection the local map's pages are free, but they are still Oakum's, and
 *             the system counts them as the process's until the scavenger returns them.
 * Seen by:    heap_alloc falls while heap_idle rises: a high-water mark. What survives two full
 *             collections and stays the same after six is held. Never judge by RSS. */
#include "scenario.h"

#define LOCAL_KEYS ((int64_t)1000000)
#define GLOBAL_KEYS ((int64_t)100000)

static const scn_map_policy *policy;
static void *global_map;
static oak_weak *local_weak;

static __attribute__((noinline)) void *fill(int64_t keys)
{
    void *m = policy->new (SCN_INT_INT, 0);

    for (int64_t k = 0; k < keys; k++) scn_put_int(policy, m, k, k);
    return m;
}

static void fill_global(void *arg)
{
    (void)arg;
    global_map = fill(GLOBAL_KEYS);
}

/* The collector is off until the map is full. */
static void fill_local(void *arg)
{
    void *m;

    oak_gc_disable();
    m = fill(LOCAL_KEYS);
    oak_memstats_read(arg);
    local_weak = scn_must(oak_weak_new(m));
    scn_keep(m);
    oak_gc_enable();
}

static void look_for_local(void *there)
{
    *(bool *)there = oak_weak_get(local_weak) != NULL;
}

static void local_map(scn *s, double start)
{
    static oak_memstats peak, after;
    double peak_bytes, first;
    size_t released;
    bool there = true;

    scn_row(s, "local map of 1,000,000 after return and 2 collections");
    scn_on_thread(fill_local, &peak);
    peak_bytes = (double)peak.heap_alloc - start;
    oak_collect();
    oak_memstats_read(&after);
    first = (double)after.heap_alloc - start;
    oak_collect();
    oak_memstats_read(&after);
    scn_retained(s, (double)after.heap_alloc - start, SCN_BYTES);
    scn_go(s, "100");
    scn_figure(s, "peak without a collection (Go: 87,600,000)", peak_bytes, SCN_BYTES);
    scn_figure(s, "retained after collection 1 (Go: 660)", first, SCN_BYTES);
    scn_pointed(s, "not a leak: heap_alloc fell by %s B, heap_idle rose by %s B",
                scn_thousands((double)peak.heap_alloc - (double)after.heap_alloc),
                scn_thousands((double)after.heap_idle - (double)peak.heap_idle));
    scn_expect_none(s, "retained after 2 collections", (double)after.heap_alloc - start);
    scn_on_thread(look_for_local, &there);
    scn_expect_true(s, "no root leads to the map", !there);
    scn_detector_look();
    scn_expect_found(s, OAK_FINDING_WATERMARK, NULL); /* a note */
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "peak, against Go's", peak_bytes, 87600000, 5);
    else
        scn_expect(s, "peak, from the entries to Go's", peak_bytes, 16.0 * LOCAL_KEYS, 87600000);

    scn_row(s, "heap_idle at once, of the peak");
    scn_retained(s, (double)after.heap_idle / peak_bytes * 100, SCN_PERCENT);
    scn_go(s, "RSS 97.0 MB");
    scn_pointed(s, "memstats: heap_idle %s B: free, and still the process's",
                scn_thousands((double)after.heap_idle));
    scn_expect(s, "heap_idle in percent of the peak", (double)after.heap_idle / peak_bytes * 100,
               95, 1e9);

    scn_row(s, "heap_released after oak_scavenge, of heap_idle");
    released = oak_scavenge();
    oak_memstats_read(&after);
    scn_retained(s, (double)after.heap_released / (double)after.heap_idle * 100, SCN_PERCENT);
    scn_go(s, "RSS 10.1 MB, 1 s later");
    scn_pointed(s, "oak_scavenge returned %s B to the system", scn_thousands((double)released));
    scn_expect(s, "heap_released in percent of heap_idle",
               (double)after.heap_released / (double)after.heap_idle * 100, 95, 100);
}

SCN_FIND(find_global_map, global_map)

static void run(scn *s)
{
    double start, twice, six_times;
    scn_map_stats st;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    start = scn_live();
    local_map(s, start);

    scn_row(s, "global map of 100,000 after 6 collections");
    start = scn_live();
    scn_on_thread(fill_global, NULL);
    twice = scn_live() - start;
    scn_live();
    six_times = scn_live() - start;
    scn_retained(s, six_times, SCN_BYTES);
    scn_go(s, "2,781,856");
    scn_figure(s, "retained after 2 collections", twice, SCN_BYTES);
    scn_stats(policy, &global_map, &st);
    scn_pointed(s, "live heap after collections 2 and 6: %s B, %s B; map: count %s",
                scn_thousands(twice), scn_thousands(six_times), scn_thousands((double)st.count));
    scn_expect_ratio(s, "retained after 6, against after 2", six_times, twice, 1);
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "retained, against Go's", six_times, 2781856, 5);
    else
        scn_expect(s, "retained, from the entries to Go's", six_times, 16.0 * GLOBAL_KEYS, 2781856);
    scn_expect_site(s, "fill");
    scn_expect_path(s, find_global_map, OAK_ROOT_GLOBAL, "global_map", NULL);
    scn_expect_quiet(s);
}

const scn_scenario scn_watermark_vs_leak = {
    .id = "watermark-vs-leak",
    .class = 'N',
    .source = "A0 2.5",
    .leak = "a peak that has passed looks like a leak from outside; a global map is one",
    .maps = true,
    .run = run,
};
