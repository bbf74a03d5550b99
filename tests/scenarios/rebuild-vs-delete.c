/* rebuild-vs-delete.c - is it better to delete most of a map, or to make a new one of the rest?
 *
 * What leaks: the array of a map of a million of which 70 % were deleted; see
 *             delete-does-not-release.
 * Why:        Go's map doesn't shrink, so a new one is the cure, and not a slow one. The article
 *             marks entries as deleted and rebuilds later, which is slower than both. The default
 *             map gives back in place what a rebuild would.
 * Seen by:    bytes of the array for each live key. */
#include "scenario.h"

#include <string.h>

#define KEYS ((int64_t)1000000)
#define LEFT ((double)KEYS * 3 / 10)
#define PAYLOAD 128

static const scn_map_policy *policy;
static void *map;
static double took_ms;

static bool to_go(int64_t key)
{
    return key % 10 < 7;
}

static void fill(void *arg)
{
    (void)arg;
    map = policy->new (SCN_INT_PTR, 0);
    for (int64_t k = 0; k < KEYS; k++)
        *(void **)policy->put(map, &k) = scn_must(oak_alloc_noscan(PAYLOAD));
}

/* One that stays. */
static void *some_payload(void)
{
    static const int64_t key = 77;

    return *(void **)policy->get(map, &key);
}

static void delete_in_place(void *arg)
{
    double began = scn_thread_us();

    (void)arg;
    for (int64_t k = 0; k < KEYS; k++)
        if (to_go(k)) policy->delete (map, &k);
    took_ms = (scn_thread_us() - began) / 1e3;
}

static void rebuild(void *arg)
{
    double began = scn_thread_us();
    void *rest = policy->new (SCN_INT_PTR, (size_t)LEFT);
    scn_iter it;

    (void)arg;
    policy->iter_init(&it, map);
    while (policy->iter_next(&it)) {
        int64_t key = *(const int64_t *)it.key;

        if (!to_go(key)) *(void **)policy->put(rest, &key) = *(void *const *)it.value;
    }
    map = rest;
    took_ms = (scn_thread_us() - began) / 1e3;
}

/* As the article: note what is deleted in a second map; rebuild without those. */
static void bury_and_rebuild(void *arg)
{
    double began = scn_thread_us();
    void *dead = policy->new (SCN_INT_NONE, 0), *rest;
    scn_iter it;

    (void)arg;
    for (int64_t k = 0; k < KEYS; k++)
        if (to_go(k)) policy->put(dead, &k);
    rest = policy->new (SCN_INT_PTR, 0);
    policy->iter_init(&it, map);
    while (policy->iter_next(&it))
        if (policy->get(dead, it.key) == NULL)
            *(void **)policy->put(rest, it.key) = *(void *const *)it.value;
    map = rest;
    took_ms = (scn_thread_us() - began) / 1e3;
}

static double row(scn *s, const char *what, void (*how)(void *), const char *go, double start)
{
    double live;
    scn_map_stats st;

    scn_row(s, "%s", what);
    if (map == NULL) scn_on_thread(fill, NULL);
    if (how != NULL) scn_on_thread(how, NULL);
    live = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, live, SCN_BYTES);
    scn_go(s, go);
    if (how != NULL) scn_figure(s, "milliseconds of processor time", took_ms, SCN_MEASURE);
    scn_pointed(s, "map: %.0f B of array a live key%s%s%s",
                (double)(st.array_bytes + st.overflow_bytes) / (double)st.count,
                how != NULL ? "; took " : "", how != NULL ? scn_thousands(took_ms) : "",
                how != NULL ? " ms" : "");
    if (how != NULL) scn_expect(s, "entries", (double)st.count, LEFT, LEFT);
    return live;
}

static void run(scn *s)
{
    double start = scn_live(), full, in_place, rebuilt, buried;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    full = row(s, "1,000,000 pointers to 128 bytes", NULL, "168,100,000", start);
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "retained, against Go's", full, 168100000, 5);
    else
        scn_expect(s, "retained, from the payload to Go's", full, (double)KEYS * PAYLOAD,
                   168100000);
    in_place = row(s, "70 % deleted in place", delete_in_place, "78,500,000", start);
    if (policy->leaks_as_go) scn_expect_bytes(s, "kept, against Go's", in_place, 78500000, 5);
    scn_expect_site(s, "fill");
    scn_expect_path(s, some_payload, OAK_ROOT_GLOBAL, "map", "key 77");
    rebuilt = row(s, "the rest in a new map", rebuild, "48,400,000", start);
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "rebuilt, against Go's", rebuilt, 48400000, 5);
    else
        scn_expect(s, "deleted in place, of rebuilt", in_place / rebuilt, 0, 1.2);
    map = NULL;
    buried =
        row(s, "buried, then rebuilt, as the article does", bury_and_rebuild, "48,400,000", start);
    scn_expect(s, "retained, of rebuilt", buried / rebuilt, 0.8, 1.25);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_rebuild_vs_delete = {
    .id = "rebuild-vs-delete",
    .class = 'N',
    .source = "A1 4.1",
    .leak = "what most of a map's deletion leaves, and what a rebuild does",
    .maps = true,
    .run = run,
};
