/* hash-collision-chain.c - keys that share one hash.
 *
 * What leaks: nothing. Every operation on such keys takes time in proportion to their number.
 * Why:        keys with one hash are looked for one by one. It is said that milliseconds and keys
 *             with a common prefix collide, that chains delay growth, that entries in them become
 *             unreachable, and that collections take longer with the length of the chains. None
 *             of it is so: such keys hash like random ones, growth counts entries, and a collection
 *             takes as long as the bytes do.
 * Seen by:    longest and mean chain in the map's statistics; the default map says bad_hash. */
#include "scenario.h"

#define FEW ((int64_t)4000)
#define MANY ((int64_t)400000)
#define KEYS ((int64_t)100000)
#define EQUAL ((int64_t)10000)
#define MILLISECONDS INT64_C(1672531200000) /* of 2023-01-01 */
#define LOOKUP_ROUNDS 4
#define BUCKET 144 /* bytes: tags, keys, values, the next; of Go's buckets, and the classic map's */
#define BUCKET_SLOTS 8
#define BUCKET_VALUES 9 /* the first value's word */

static const scn_map_policy *policy;
static void *map;

typedef struct grouped_run {
    const scn_map_policy *policy;
    scn_kind kind;
    int64_t keys, groups; /* groups 0: the map's own hash */
    double lookup_us;     /* a key, the best of some rounds */
} grouped_run;

static void fill(void *arg)
{
    const grouped_run *g = arg;
    const scn_map_policy *p = g->policy;

    if (g->groups != 0) scn_hash_groups = g->groups;
    map = p->new (g->kind, 0);
    for (int64_t k = 0; k < g->keys; k++) {
        if (g->kind == SCN_GROUPED_PTR || g->kind == SCN_INT_PTR)
            *(void **)p->put(map, &k) = &scn_hash_groups;
        else
            scn_put_int(p, map, k, k);
    }
}

static void look_up(void *arg)
{
    grouped_run *g = arg;

    g->lookup_us = 1e9;
    for (int round = 0; round < 3; round++) {
        double start = scn_thread_us(), each;

        for (int64_t k = 0; k < g->keys; k++)
            if (g->policy->get(map, &k) == NULL) scn_die("a key is missing");
        each = (scn_thread_us() - start) / (double)g->keys;
        if (each < g->lookup_us) g->lookup_us = each;
    }
}

static void delete_all(void *arg)
{
    const grouped_run *g = arg;

    for (int64_t k = 0; k < g->keys; k++) g->policy->delete (map, &k);
}

/* ---- 4,000 keys with few hashes ---- */

typedef struct chain_figures {
    double bytes, array, longest, lookup_us, deleted;
    bool bad_hash, found; /* by the map; by the detector */
} chain_figures;

static chain_figures few_keys(int64_t groups)
{
    grouped_run g = { policy, groups != 0 ? SCN_GROUPED_INT : SCN_INT_INT, FEW, groups, 0 };
    double start = scn_live();
    chain_figures f;
    scn_map_stats st;

    scn_detector_begin(NULL);
    scn_on_thread(fill, &g);
    f.bytes = scn_live() - start;
    f.found = groups != 0 ? scn_detector_finds(OAK_FINDING_MAP_HASH, NULL) : false;
    scn_stats(policy, &map, &st);
    scn_on_thread(look_up, &g);
    scn_on_thread(delete_all, &g);
    f.deleted = scn_live() - start;
    map = NULL;
    f.array = (double)st.array_bytes;
    f.longest = (double)st.longest_chain;
    f.bad_hash = st.bad_hash;
    f.lookup_us = g.lookup_us;
    return f;
}

static void few_row(scn *s, const char *what, const char *go, const chain_figures *f,
                    const chain_figures *own)
{
    bool equal = f != own;

    scn_row(s, "%s", what);
    scn_retained(s, f->bytes, SCN_BYTES);
    scn_go(s, go);
    scn_figure(s, "lookup, in ns", f->lookup_us * 1e3, SCN_COUNT);
    scn_figure(s, "retained after all were deleted", f->deleted, SCN_BYTES);
    scn_pointed(s, "map: longest chain %.0f; a lookup takes %.0f ns%s", f->longest,
                f->lookup_us * 1e3, f->bad_hash ? "; bad hash" : "");
    if (equal) scn_expect_true(s, "the detector finds map-hash", f->found);
    if (policy->leaks_as_go) {
        scn_expect_bytes(s, "array, as with its own hash", f->array, own->array, 1);
        scn_expect(s, "retained, of that with its own hash", f->bytes / own->bytes, equal ? 1.2 : 1,
                   equal ? 1.5 : 1);
        scn_expect_bytes(s, "retained after all were deleted", f->deleted, f->bytes, 5);
    } else {
        scn_expect_none(s, "retained after all were deleted", f->deleted);
        scn_expect_true(s, "the map knows whether the hash is bad", f->bad_hash == equal);
    }
}

static void few_rows(scn *s)
{
    chain_figures own = few_keys(0), one = few_keys(1), sixteen = few_keys(16);

    few_row(s, "4,000 keys, the map's own hash", "163,936", &own, &own);
    scn_expect(s, "longest chain", own.longest, 1, 4);
    few_row(s, "4,000 keys, one hash for all", "219,616", &one, &own);
    if (policy->leaks_as_go) {
        scn_expect(s, "longest chain", one.longest, 500, 500);
        scn_expect(s, "a lookup, of one with its own hash", one.lookup_us / own.lookup_us, 20, 1e6);
    }
    few_row(s, "4,000 keys, 16 hashes", "219,184", &sixteen, &own);
    if (policy->leaks_as_go) scn_expect(s, "longest chain", sixteen.longest, 30, 64);
}

/* ---- hostile keys ---- */

/* The same keys in a map of each policy, looked up in turn, so that what else the machine does is
 * met by both. The best of all rounds. */
static double lookups_of_classic(void)
{
    static void *maps[2];
    grouped_run run[2] = { { policy, SCN_GROUPED_INT, EQUAL, 1, 0 },
                           { scn_policies[0], SCN_GROUPED_INT, EQUAL, 1, 0 } };
    double best[2] = { 1e9, 1e9 };

    for (int i = 0; i < 2; i++) {
        scn_on_thread(fill, &run[i]);
        maps[i] = map;
    }
    for (int i = 0; i < 2 * LOOKUP_ROUNDS; i++) {
        map = maps[i % 2];
        scn_on_thread(look_up, &run[i % 2]);
        if (run[i % 2].lookup_us < best[i % 2]) best[i % 2] = run[i % 2].lookup_us;
    }
    maps[0] = maps[1] = map = NULL;
    return best[0] / best[1];
}

static void hostile_row(scn *s)
{
    grouped_run ours = { policy, SCN_GROUPED_INT, EQUAL, 1, 0 };
    double start = scn_live(), began = scn_wall_us(), seconds;
    scn_map_stats st;

    scn_row(s, "10,000 keys with one hash");
    scn_on_thread(fill, &ours);
    seconds = (scn_wall_us() - began) / 1e6;
    scn_stats(policy, &map, &st);
    scn_detector_begin(NULL);
    scn_live();
    scn_detector_look();
    scn_expect_found(s, OAK_FINDING_MAP_HASH, NULL);
    scn_expect_site(s, "fill");
    scn_on_thread(look_up, &ours);
    scn_on_thread(delete_all, &ours);
    scn_retained(s, scn_live() - start, SCN_BYTES);
    scn_go(s, "all stay");
    scn_figure(s, "inserted in seconds", seconds, SCN_MEASURE);
    scn_figure(s, "lookup, in ns", ours.lookup_us * 1e3, SCN_COUNT);
    scn_expect(s, "inserted in seconds", seconds, 0, 5);
    if (!policy->leaks_as_go) {
        scn_expect_none(s, "retained after all were deleted", scn_live() - start);
        map = NULL;
        scn_expect(s, "a lookup, of the classic map's", lookups_of_classic(), 0, 1);
    }
    scn_pointed_too(s, "map: longest chain %zu%s; a lookup takes %.0f ns", st.longest_chain,
                    st.bad_hash ? ", bad hash" : "", ours.lookup_us * 1e3);
    map = NULL;
}

/* ---- keys that are said to collide ---- */

static uint64_t random_state = 42;

static int64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(random_state ^ random_state >> 33);
}

static void fill_kind(void *arg)
{
    int which = *(const int *)arg;

    map = policy->new (which == 1 ? SCN_STRING_INT : SCN_INT_INT, 0);
    for (int64_t i = 0; i < KEYS; i++) {
        if (which == 1) {
            scn_string key = scn_string_new("a-prefix-of-thirty-two-bytes----%08zu", (size_t)i);

            *(int64_t *)policy->put(map, &key) = i;
        } else {
            scn_put_int(policy, map, which == 0 ? MILLISECONDS + i : next_random(), i);
        }
    }
}

static void harmless_row(scn *s)
{
    static const char *const names[] = { "milliseconds", "a common prefix", "random" };
    double mean[3];
    scn_map_stats st[3];

    scn_row(s, "mean chain of 100,000 milliseconds");
    scn_live();
    scn_detector_begin(NULL);
    for (int i = 0; i < 3; i++) {
        scn_on_thread(fill_kind, &i);
        scn_stats(policy, &map, &st[i]);
        scn_detector_look();
        scn_detector_look();
        map = NULL;
        mean[i] = st[i].mean_chain;
        scn_figure(s, names[i], mean[i], SCN_MEASURE);
    }
    scn_retained(s, mean[0], SCN_MEASURE);
    scn_go(s, "1.16");
    scn_pointed(s,
                "not a leak: mean chain %.2f; of strings with one prefix %.2f, of random keys "
                "%.2f; longest %zu, %zu, %zu",
                mean[0], mean[1], mean[2], st[0].longest_chain, st[1].longest_chain,
                st[2].longest_chain);
    for (int i = 0; i < 3; i++) {
        scn_expect_ratio(s, names[i], mean[i], mean[2], 3);
        if (policy->leaks_as_go) scn_expect(s, "longest chain", (double)st[i].longest_chain, 1, 4);
        scn_expect_true(s, "no bad hash", !st[i].bad_hash);
    }
    scn_expect_quiet(s);
}

/* ---- how long a collection takes ---- */

/* As the bytes do: a byte's time is compared with that of a heap without chains. Go's bound on the
 * maps' ratio, 2, is on 1.45 times the bytes. Of the default map, whose entries are all in its
 * array, the one with its own hash is such a heap. Of the classic map it is one of as many bytes in
 * the same places: with its own hash, and objects of a bucket's size in a table. Against the array
 * alone it is the machine that decides, as objects here and there cost one three times as much as
 * another, of what an array costs. */
#define AS_THE_BYTES (2 / 1.45)

typedef struct mark_figures {
    double bytes, mean;
    bool found; /* by the detector */
    scn_twin twin;
} mark_figures;

static void **spread;

static mark_figures mark_with(int64_t groups)
{
    grouped_run g = { policy, groups != 0 ? SCN_GROUPED_PTR : SCN_INT_PTR, MANY, groups, 0 };
    double start = scn_live();
    mark_figures f;
    scn_map_stats st;

    scn_detector_begin(NULL);
    scn_on_thread(fill, &g);
    f.bytes = scn_live() - start;
    f.found = groups != 0 ? scn_detector_finds(OAK_FINDING_MAP_HASH, NULL) : false;
    scn_stats(policy, &map, &st);
    f.mean = st.mean_chain;
    scn_twin_begin(&f.twin);
    map = NULL;
    scn_live();
    return f;
}

typedef struct spread_run {
    size_t n, groups;
} spread_run;

/* As buckets of chains, of which one after the other gets its next, and which the map's array has
 * in no order. */
static void fill_spread(void *arg)
{
    const spread_run *r = arg;

    spread = scn_must(oak_alloc((r->n + 1) * sizeof(*spread)));
    for (size_t i = 0; i < r->n; i++) {
        size_t other = i - (uint64_t)next_random() % (i % r->groups + 1);
        void **bucket = scn_must(oak_alloc(BUCKET));

        for (size_t w = BUCKET_VALUES; w < BUCKET_VALUES + BUCKET_SLOTS; w++)
            bucket[w] = &scn_hash_groups;
        spread[i] = spread[other];
        spread[other] = bucket;
    }
}

static mark_figures mark_unchained(const mark_figures *own, const mark_figures *chained,
                                   size_t groups)
{
    grouped_run g = { policy, SCN_INT_PTR, MANY, 0, 0 };
    double start = scn_live(), more = chained->bytes - own->bytes;
    spread_run r = { more > 0 ? (size_t)(more / (BUCKET + sizeof(*spread))) : 0, groups };
    mark_figures f = { 0 };

    scn_on_thread(fill, &g);
    scn_on_thread(fill_spread, &r);
    f.bytes = scn_live() - start;
    scn_twin_begin(&f.twin);
    map = NULL;
    spread = NULL;
    scn_live();
    return f;
}

static double byte_time(const mark_figures *f, const mark_figures *of)
{
    return f->twin.ms / f->bytes / (of->twin.ms / of->bytes);
}

/* Of the default map only the marks: what its lookups cost is asserted above, and filling a map of
 * such keys takes long. */
static void marks_row(scn *s)
{
    bool classic = policy->leaks_as_go;
    mark_figures own = mark_with(0), bad = mark_with(8333), worse = mark_with(3571);
    mark_figures as_bad = classic ? mark_unchained(&own, &bad, 8333) : own;
    mark_figures as_worse = classic ? mark_unchained(&own, &worse, 3571) : own;
    scn_twin *all[] = { &own.twin, &bad.twin, &worse.twin, &as_bad.twin, &as_worse.twin };
    size_t twins = classic ? 5 : 3;

    scn_twins_time(all, twins);
    for (size_t i = 0; i < twins; i++) scn_twin_end(all[i]);
    if (!classic) as_bad = as_worse = own;
    scn_row(s, "400,000 keys, 3,571 hashes: a collection, of own hash's");
    scn_retained(s, worse.twin.ms / own.twin.ms, SCN_RATIO);
    scn_go(s, "1.2 to 1.5 x");
    scn_figure(s, "8,333 hashes", bad.twin.ms / own.twin.ms, SCN_RATIO);
    scn_figure(s, "bytes, of own hash's", worse.bytes / own.bytes, SCN_RATIO);
    scn_pointed(s, "mean chain %.2f, %.2f, %.2f; a collection %.1f, %.1f, %.1f ms; live %s, %s, %s",
                own.mean, bad.mean, worse.mean, own.twin.ms, bad.twin.ms, worse.twin.ms,
                scn_thousands(own.bytes), scn_thousands(bad.bytes), scn_thousands(worse.bytes));
    if (classic) {
        scn_expect(s, "bytes with 8,333 hashes, of own's", bad.bytes / own.bytes, 1.2, 1.5);
        scn_expect(s, "bytes with 3,571 hashes, of own's", worse.bytes / own.bytes, 1.2, 1.5);
        scn_expect_ratio(s, "bytes, as with 8,333 hashes", as_bad.bytes, bad.bytes, 5);
        scn_expect_ratio(s, "bytes, as with 3,571 hashes", as_worse.bytes, worse.bytes, 5);
        scn_pointed_too(s, "%.1f, %.1f ms for as many bytes without chains", as_bad.twin.ms,
                        as_worse.twin.ms);
    }
    scn_expect_true(s, "the detector finds map-hash, 8,333 hashes", bad.found);
    scn_expect_true(s, "the detector finds map-hash, 3,571 hashes", worse.found);
    scn_expect(s, "a collection's time a byte with 8,333 hashes, of unchained",
               byte_time(&bad, &as_bad), 0, AS_THE_BYTES);
    scn_expect(s, "a collection's time a byte with 3,571 hashes, of unchained",
               byte_time(&worse, &as_worse), 0, AS_THE_BYTES);
}

static void run(scn *s)
{
    policy = scn_policy(s);
    few_rows(s);
    hostile_row(s);
    harmless_row(s);
    marks_row(s);
}

const scn_scenario scn_hash_collision_chain = {
    .id = "hash-collision-chain",
    .class = 'N',
    .source = "A3 intro, 1-2, 3.1",
    .leak = "keys with one hash cost time, not memory",
    .maps = true,
    .alone = true,
    .environment = "OAKUM_GC_THREADS=1",
    .run = run,
};
