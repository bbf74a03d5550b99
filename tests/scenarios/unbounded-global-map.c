/* unbounded-global-map.c - a cache that nobody ever empties.
 *
 * What leaks: a map in a global variable that gets a key for each user and never loses one.
 * Why:        the program holds every entry on purpose; no map and no collector can know better.
 *             The cure is a bound: the same keys through a map that evicts the least recently
 *             used of 10,000.
 * Seen by:    the live heap after each collection grows in proportion to the keys; the map's
 *             count grows with it, and its chains do not: lookups stay fast, so that nothing else
 *             gives it away. */
#include "lru.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEYS ((size_t)1000000)
#define LRU_MOST ((size_t)10000)

/* Requests: more than there are between two same-size growths of the bounded map. */
#define WINDOW ((size_t)200000)
#define WINDOW_SAMPLES 10

static void *global_map;
static const char value_type;

/* ---- the leak ---- */

typedef struct span {
    const scn_map_policy *policy;
    size_t from, to;
} span;

static void insert_users(void *arg)
{
    const span *s = arg;

    if (global_map == NULL) global_map = s->policy->new (SCN_STRING_ANY, 0);
    for (size_t i = s->from; i < s->to; i++) {
        scn_string key = scn_string_new("user:%08zu", i);
        scn_any value = { &value_type, scn_must(oak_alloc_noscan(16)) };

        *(scn_any *)s->policy->put(global_map, &key) = value;
    }
}

static double grow_to(const scn_map_policy *p, size_t from, size_t to)
{
    span s = { p, from, to };

    scn_on_thread(insert_users, &s);
    return scn_live();
}

static void point_at_map(scn *s)
{
    scn_map_stats st;

    scn_stats(scn_policy(s), &global_map, &st);
    scn_pointed(s, "map: count %s, arrays %s B, longest chain %zu, mean %.2f",
                scn_thousands((double)st.count),
                scn_thousands((double)(st.array_bytes + st.old_array_bytes)), st.longest_chain,
                st.mean_chain);
}

/* What the map keeps for one of them. */
static const scn_map_policy *policy;

static void *some_user(void)
{
    scn_string key = scn_string_new("user:%08zu", 77);

    return ((scn_any *)policy->get(global_map, &key))->data;
}

/* As the detector names it. */
static void name_map(void *name)
{
    snprintf(name, 32, "map %p", global_map);
}

static void grow_without_bound(scn *s)
{
    const scn_map_policy *p = scn_policy(s);
    double start = scn_live(), at_100k, at_800k, at_1m, dropped;
    scn_map_stats st;
    char name[32];

    scn_row(s, "global map[string]any, 100,000 users");
    at_100k = grow_to(p, 0, 100000) - start;
    scn_retained(s, at_100k, SCN_BYTES);
    scn_go(s, "8,410,000");
    scn_figure(s, "bytes an entry", at_100k / 100000, SCN_COUNT);
    point_at_map(s);
    if (p->leaks_as_go)
        scn_expect_bytes(s, "retained against Go's 84.1 bytes an entry", at_100k, 84.1 * 100000, 5);
    else
        scn_expect(s, "retained, from key and value to Go's 84.1 bytes an entry", at_100k,
                   32.0 * 100000, 84.1 * 100000);

    scn_row(s, "the same, 800,000 users");
    scn_detector_begin(NULL);
    for (size_t n = 125000; n <= 775000; n += 25000) grow_to(p, n - 25000, n);
    at_800k = grow_to(p, 775000, 800000) - start;
    scn_on_thread(name_map, name);
    scn_expect_found(s, OAK_FINDING_MAP_GROWTH, name);
    memset(name, 0, sizeof(name));
    scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "insert_users");
    scn_retained(s, at_800k, SCN_BYTES);
    scn_go(s, "67,280,000");
    point_at_map(s);
    scn_expect_ratio(s, "L(800k) / L(100k)", at_800k / at_100k, 8.0, 5);

    scn_row(s, "the same, 1,000,000 users");
    at_1m = grow_to(p, 800000, KEYS) - start;
    scn_retained(s, at_1m, SCN_BYTES);
    scn_go(s, "107,755,648");
    point_at_map(s);
    if (p->leaks_as_go)
        scn_expect_ratio(s, "L(1M) / L(800k)", at_1m / at_800k, 1.60, 5);
    else
        scn_expect(s, "L(1M) / L(800k)", at_1m / at_800k, 1.25 * 0.95, 2 * 1.05);
    scn_stats(p, &global_map, &st);
    scn_expect(s, "longest chain: lookups don't become linear", (double)st.longest_chain, 1,
               p->leaks_as_go ? 4 : 8);
    scn_expect_site(s, "insert_users");
    scn_expect_path(s, some_user, OAK_ROOT_GLOBAL, "global_map", "user:00000077");

    scn_row(s, "the same map, dropped");
    global_map = NULL;
    dropped = scn_live() - start;
    scn_retained(s, dropped, SCN_BYTES);
    scn_go(s, "64");
    scn_pointed(s, "memstats: heap_alloc falls by %s B", scn_thousands(at_1m - dropped));
    scn_expect_none(s, "retained after the map is dropped", dropped);
}

/* ---- the cure: a bounded map ---- */

static scn_lru lru = { .most = LRU_MOST };

/* Requests from..to, and on to a moment when the map is not growing: a growth under way holds two
 * arrays. */
static void request_users(void *arg)
{
    span *s = arg;
    scn_map_stats st;

    for (;; s->to += 64) {
        for (; s->from < s->to; s->from++)
            scn_lru_put(s->policy, &lru, scn_string_new("user:%08zu", s->from),
                        scn_must(oak_alloc_noscan(16)));
        s->policy->stats(lru.map, &st);
        if (!st.growing) return;
    }
}

/* The most that is live at any of the samples of a window of requests. A single sample would tell
 * where the overflow buckets stand between two same-size growths. */
static double lru_most(const scn_map_policy *p, size_t *next, size_t from, double start)
{
    double most = 0;

    for (unsigned i = 0; i < WINDOW_SAMPLES; i++) {
        span s = { p, *next, from + (i + 1) * WINDOW / WINDOW_SAMPLES };
        double live;

        scn_on_thread(request_users, &s);
        *next = s.from;
        live = scn_live() - start;
        if (live > most) most = live;
    }
    return most;
}

static void grow_bounded(scn *s)
{
    const scn_map_policy *p = scn_policy(s);
    double start = scn_live(), first, last;
    scn_map_stats st;
    size_t next = 0;

    scn_row(s, "the same users through an LRU of 10,000");
    first = lru_most(p, &next, 100000 - WINDOW / WINDOW_SAMPLES, start);
    scn_detector_begin(NULL);
    last = lru_most(p, &next, KEYS - 2 * WINDOW, start);
    last = fmax(last, lru_most(p, &next, KEYS - WINDOW, start));
    scn_expect_quiet(s);
    scn_stats(p, &lru.map, &st);
    scn_retained(s, last, SCN_BYTES);
    scn_go(s, "1.4 to 1.6 MB");
    scn_pointed(s, "map: count %s after %s users; live heap %.2f of that after 100,000",
                scn_thousands((double)st.count), scn_thousands((double)next), last / first);
    scn_figure(s, "retained after 100,000 users", first, SCN_BYTES);
    scn_expect(s, "L(1M) / L(100k) of the bounded map", last / first, 0, 1.1);
    scn_expect(s, "entries", (double)st.count, (double)LRU_MOST, (double)LRU_MOST);
    lru = (scn_lru){ 0 };
}

static void run(scn *s)
{
    policy = scn_policy(s);
    grow_without_bound(s);
    grow_bounded(s);
}

const scn_scenario scn_unbounded_global_map = {
    .id = "unbounded-global-map",
    .class = 'U',
    .source = "A0 4.1",
    .leak = "a global map gets a key for every user and never loses one",
    .maps = true,
    .run = run,
};
