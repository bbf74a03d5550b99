/* span-pinned-by-one-object.c - one small object keeps the pages it lies on.
 *
 * What leaks: no object; the memory around the few that are left.
 * Why:        objects don't move, so that a span of 8 KiB is free only when nothing on it lives. Of
 *             four million objects every 1,024th is kept: about every second span has one.
 * Seen by:    heap_inuse against heap_alloc, a hundred times and more; how full the spans of the
 *             class are. */
#include "scenario.h"

#define OBJECTS ((size_t)4 << 20)
#define KEEP_EVERY 1024
#define OBJECT_BYTES 8

static void **kept;

static void allocate(void *keep)
{
    size_t room = keep != NULL ? OBJECTS / KEEP_EVERY : 1;

    oak_gc_disable(); /* so that they lie side by side */
    kept = scn_must(oak_alloc(room * sizeof(*kept)));
    for (size_t i = 0; i < OBJECTS; i++) {
        void *p = scn_must(oak_alloc_noscan(OBJECT_BYTES));

        if (keep != NULL && i % KEEP_EVERY == 0) kept[i / KEEP_EVERY] = p;
    }
    oak_gc_enable();
}

SCN_FIND(find_kept, kept[77])

/* Nearly all of it is in spans that are less than a tenth full. */
static void expect_histogram(scn *s, double in_use)
{
    double sparse;

    if (!scn_metrics_read()) return; /* without libmicrohttpd */
    sparse = scn_metric("oakum_span_bytes{full=\"0\"}");
    scn_pointed_too(s, "metrics: %s B in spans less than 10 %% full", scn_thousands(sparse));
    scn_expect(s, "in spans less than 10 % full, of heap_inuse", sparse / in_use, 0.95, 1.05);
}

static void pinned_row(scn *s, bool keep)
{
    static char yes;
    static oak_memstats before, after;
    double live, in_use;

    scn_row(s, keep ? "4 million objects of 8 bytes, 1 in 1,024 kept: heap_inuse"
                    : "the same, none kept");
    scn_live_stats(&before);
    scn_on_thread(allocate, keep ? &yes : NULL);
    scn_live_stats(&after);
    live = (double)after.heap_alloc - (double)before.heap_alloc;
    in_use = (double)after.heap_inuse - (double)before.heap_inuse;
    scn_retained(s, in_use, SCN_BYTES);
    scn_go(s, keep ? "32,030,720" : "0");
    scn_figure(s, "heap_alloc (Go: 103,488)", live, SCN_BYTES);
    scn_figure(s, "mspan_inuse", (double)after.mspan_inuse - (double)before.mspan_inuse, SCN_BYTES);
    scn_pointed(s, "memstats: heap_inuse %s B, heap_alloc %s B%s%s", scn_thousands(in_use),
                scn_thousands(live), keep ? ": times " : "",
                keep ? scn_thousands(in_use / live) : "");
    if (keep) {
        scn_expect(s, "heap_inuse, of heap_alloc", in_use / live, 100, 1e6);
        expect_histogram(s, in_use);
        scn_detector_begin(NULL);
        for (int i = 0; i < 4; i++) scn_detector_look();
        scn_expect_found(s, OAK_FINDING_FRAGMENTED, NULL);
        scn_expect_site(s, "allocate");
        scn_expect_path(s, find_kept, OAK_ROOT_GLOBAL, "kept", NULL);
    } else
        scn_expect_none(s, "heap_inuse", in_use);
    kept = NULL;
    scn_expect_none(s, "retained when dropped", scn_live() - (double)before.heap_alloc);
}

static void run(scn *s)
{
    pinned_row(s, true);
    scn_detector_begin(NULL);
    pinned_row(s, false);
    scn_expect_found(s, OAK_FINDING_WATERMARK, NULL);
    scn_expect_quiet(s);
}

const scn_scenario scn_span_pinned_by_one_object = {
    .id = "span-pinned-by-one-object",
    .class = 'G',
    .source = "A2 2.1",
    .leak = "few small objects keep the pages on which they lie",
    .maps = false,
    .run = run,
};
