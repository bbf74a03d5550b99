/* overflow-buckets-vs-free.c - a window that slides over a map for a long time.
 *
 * What leaks: overflow buckets, up to about the weight of the array, and, after the mass delete,
 *             all of it.
 * Why:        Go's map gets an overflow bucket wherever a bucket is full at the moment, and never
 *             gives one back; when there are as many as buckets, it grows to the same size, which
 *             drops them. So they are bounded, though not few; but a map that is only deleted from
 *             keeps them all. The default map has no overflow buckets, and shrinks.
 * Seen by:    the map's statistics: overflow buckets, growths by kind. */
#include "scenario.h"

#define ROUNDS ((int64_t)20000000)
#define LIVE ((int64_t)23961) /* 90 % of the limit at B = 12 */
#define ARRAY_12 626688.0     /* A(12) */
#define STEP ((int64_t)10000) /* rounds between two looks at the statistics */
#define SAMPLES 40            /* of the live heap */

static const scn_map_policy *policy;
static void *map;

static struct slide {
    int64_t next, end;
    size_t most_overflow; /* of all looks */
    scn_map_stats st;
} slide;

static void slide_on(void *arg)
{
    (void)arg;
    if (map == NULL) {
        map = policy->new (SCN_INT_INT, 0);
        for (; slide.next < LIVE; slide.next++) scn_put_int(policy, map, slide.next, slide.next);
    }
    while (slide.next < slide.end) {
        for (int64_t i = 0; i < STEP; i++, slide.next++) {
            int64_t oldest = slide.next - LIVE;

            scn_put_int(policy, map, slide.next, slide.next);
            policy->delete (map, &oldest);
        }
        policy->stats(map, &slide.st);
        if (slide.st.overflow > slide.most_overflow) slide.most_overflow = slide.st.overflow;
    }
}

static void delete_all_but_one(void *arg)
{
    (void)arg;
    for (int64_t k = slide.next - LIVE; k < slide.next - 1; k++) policy->delete (map, &k);
}

SCN_FIND(find_map, map)

static void run(scn *s)
{
    double start = scn_live(), most = 0, last = 0, deleted;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "insert one, delete the oldest, 20 million times: most live");
    for (int i = 1; i <= SAMPLES; i++) {
        slide.end = ROUNDS / SAMPLES * i;
        scn_on_thread(slide_on, NULL);
        last = scn_live() - start;
        if (last > most) most = last;
    }
    scn_retained(s, most, SCN_BYTES);
    scn_go(s, "0.70 to 1.21 MB");
    scn_figure(s, "live at the end", last, SCN_BYTES);
    scn_figure(s, "same-size growths (Go: 69 to 70)", (double)slide.st.same_size_growths,
               SCN_COUNT);
    scn_figure(s, "most overflow buckets (Go: 4,068 to 4,093)", (double)slide.most_overflow,
               SCN_COUNT);
    scn_pointed(s, "map: at most %s overflow buckets, %s same-size growths, %s others",
                scn_thousands((double)slide.most_overflow),
                scn_thousands((double)slide.st.same_size_growths),
                scn_thousands((double)slide.st.growths));
    if (policy->leaks_as_go) {
        scn_expect(s, "overflow buckets", (double)slide.most_overflow, 1, 4096);
        scn_expect(s, "most live", most, 0, 3 * ARRAY_12);
        scn_expect(s, "same-size growths", (double)slide.st.same_size_growths, 50, 1e6);
        scn_expect(s, "doublings, all as it was filled", (double)slide.st.growths, 10, 12);
    } else {
        scn_expect(s, "most live", most, 0, 1.5 * ARRAY_12);
    }

    scn_expect_site(s, "slide_on");
    scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);

    scn_row(s, "all but one deleted");
    scn_on_thread(delete_all_but_one, NULL);
    deleted = scn_live() - start;
    scn_stats(policy, &map, &slide.st);
    scn_retained(s, deleted, SCN_BYTES);
    scn_go(s, "as before");
    scn_pointed(s, "map: count %zu, array %s B, %s overflow buckets", slide.st.count,
                scn_thousands((double)slide.st.array_bytes),
                scn_thousands((double)slide.st.overflow));
    scn_expect(s, "entries", (double)slide.st.count, 1, 1);
    if (policy->leaks_as_go)
        scn_expect(s, "released in percent", (last - deleted) / last * 100, -1, 1);
    else
        scn_expect_none(s, "kept", deleted);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_overflow_buckets_vs_free = {
    .id = "overflow-buckets-vs-free",
    .class = 'M',
    .source = "A3 3.2",
    .leak = "overflow buckets stay while the map lives and nothing is inserted",
    .maps = true,
    .run = run,
};
