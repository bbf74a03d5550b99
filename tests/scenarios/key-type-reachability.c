/* key-type-reachability.c - what kind of key keeps what alive.
 *
 * What leaks: with pointer, string and interface keys, each key's object, for as long as the key
 *             is in the map. With integer keys, nothing.
 * Why:        an array of integers is one object that is never scanned; pointers in keys are
 *             pointers like any other. Deleting a key lets its object go.
 * Seen by:    the count of objects, and what a collection costs: nothing for a million integers. */
#include "scenario.h"

#define KEYS ((size_t)1000000)
#define FINALIZED 1000

/* Objects of a map itself, besides its keys. Go's array is one. The default map's lies in 128
 * segments of 1,024 groups each, beside a header, a directory and tags. */
#define OWN_CLASSIC 10
#define SEGMENTS 128
#define OWN_DEFAULT (SEGMENTS + 8)

typedef struct item {
    int64_t id;
    int64_t more[3];
} item;

static const scn_map_policy *policy;
static void *map;
static const char int_type;

/* ---- a million keys of each kind ---- */

static void put_key(scn_kind kind, size_t i)
{
    int64_t number = (int64_t)i;
    int64_t *box;
    scn_string text;
    item *it;
    scn_any any;

    switch (kind) {
    case SCN_INT_NONE:
        policy->put(map, &number);
        break;
    case SCN_STRING_NONE:
        text = scn_string_new("key:%012zu", i);
        policy->put(map, &text);
        break;
    case SCN_PTR_NONE:
        it = scn_must(oak_alloc_noscan(sizeof(*it)));
        it->id = number;
        policy->put(map, &it);
        break;
    default:
        box = scn_must(oak_alloc_noscan(sizeof(*box)));
        *box = number;
        any = (scn_any){ &int_type, box };
        policy->put(map, &any);
        break;
    }
}

static void fill(void *arg)
{
    scn_kind kind = *(const scn_kind *)arg;

    map = policy->new (kind, 0);
    for (size_t i = 0; i < KEYS; i++) put_key(kind, i);
}

static scn_twin empty; /* a heap without a map */

typedef struct full_map {
    double bytes, objects;
    double times; /* a collection's, of an empty heap's */
    double scanned, noscan; /* live bytes, by the log of collections */
} full_map;

static full_map fill_and_measure(scn *s, scn_kind kind)
{
    static oak_memstats before, after;
    scn_twin twin, *both[] = { &empty, &twin };
    full_map f;

    scn_live_stats(&before);
    scn_on_thread(fill, &kind);
    scn_live_stats(&after);
    f.bytes = (double)after.heap_alloc - (double)before.heap_alloc;
    f.objects = (double)after.heap_objects - (double)before.heap_objects;
    scn_twin_begin(&twin);
    scn_twins_time(both, 2);
    scn_twin_end(&twin);
    f.times = twin.ms / empty.ms;
    scn_retained(s, f.bytes, SCN_BYTES);
    scn_figure(s, "objects", f.objects, SCN_COUNT);
    scn_figure(s, "collection, of an empty heap's", f.times, SCN_RATIO);
    scn_pointed(s, "memstats: %s objects; collection %.2f ms (empty heap %.2f)",
                scn_thousands(f.objects), twin.ms, empty.ms);
    scn_expect_site(s, "put_key");
    scn_log_collection();
    f.scanned = scn_log_figure("scan") + scn_log_figure("typed");
    f.noscan = scn_log_figure("noscan");
    scn_pointed_too(s, "log: %s B scanned, %s B not", scn_thousands(f.scanned),
                    scn_thousands(f.noscan));
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - (double)before.heap_alloc);
    return f;
}

static void expect_objects(scn *s, const full_map *f, double of_keys)
{
    scn_expect(s, "objects", f->objects, of_keys + (policy->leaks_as_go ? 0 : SEGMENTS),
               of_keys + (policy->leaks_as_go ? OWN_CLASSIC : OWN_DEFAULT));
}

static void expect_map(scn *s, const full_map *f, double go_bytes, double of_keys)
{
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "retained, against Go's", f->bytes, go_bytes, 5);
    else
        scn_expect(s, "retained, from the keys to Go's", f->bytes, 8.0 * KEYS, go_bytes * 1.05);
    expect_objects(s, f, of_keys);
}

static void million_keys(scn *s)
{
    full_map f;

    scn_live();
    scn_twin_begin(&empty);

    scn_row(s, "map of 1,000,000 int64 keys");
    f = fill_and_measure(s, SCN_INT_NONE);
    scn_go(s, "22,323,392");
    expect_map(s, &f, 22323392, 0);
    scn_expect(s, "collection, of an empty heap's", f.times, 0, 2);
    scn_expect(s, "scanned bytes, of what the map holds", f.scanned / f.bytes, 0, 0.02);
    scn_expect(s, "noscan bytes, of what the map holds", f.noscan / f.bytes, 0.98, 1.02);

    scn_row(s, "map of 1,000,000 strings of 16 bytes");
    f = fill_and_measure(s, SCN_STRING_NONE);
    scn_go(s, "56,108,104");
    expect_map(s, &f, 56108104, KEYS);
    scn_expect(s, "scanned bytes, at least the keys' headers", f.scanned, 16.0 * KEYS, f.bytes);

    scn_row(s, "map of 1,000,000 pointers to 32 bytes");
    f = fill_and_measure(s, SCN_PTR_NONE);
    scn_go(s, "54,282,504");
    expect_map(s, &f, 54282504, KEYS);
    scn_expect(s, "scanned bytes, at least the keys", f.scanned, 8.0 * KEYS, f.bytes);
    scn_expect(s, "noscan bytes, at least what they point to", f.noscan, 32.0 * KEYS, f.bytes);

    scn_row(s, "map of 1,000,000 ints in an interface");
    f = fill_and_measure(s, SCN_ANY_NONE);
    scn_go(s, "48,106,088");
    expect_objects(s, &f, KEYS); /* Go packs two to an object: half as many, 8 MB less */
    scn_twin_end(&empty);
}

/* ---- deleted keys go ---- */

static size_t finalized;

static void on_finalize(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    scn_count_up(&finalized);
}

static void fill_finalized(void *arg)
{
    (void)arg;
    map = policy->new (SCN_PTR_NONE, 0);
    for (int64_t i = 0; i < FINALIZED; i++) {
        item *it = scn_must(oak_alloc_noscan(sizeof(*it)));

        it->id = i;
        if (oak_finalizer_set(it, on_finalize, NULL) != 0) scn_die("no room for a finalizer");
        policy->put(map, &it);
    }
}

/* Every second key, through the iterator: nothing else holds the pointers. */
static void delete_half(void *arg)
{
    static item *doomed[FINALIZED / 2];
    size_t n = 0;
    scn_iter it;

    (void)arg;
    policy->iter_init(&it, map);
    while (policy->iter_next(&it)) {
        item *key = *(item *const *)it.key;

        if (key->id % 2 == 0 && n < FINALIZED / 2) doomed[n++] = key;
    }
    for (size_t i = 0; i < n; i++) {
        policy->delete (map, &doomed[i]);
        doomed[i] = NULL;
    }
}

static void deleted_keys(scn *s)
{
    scn_map_stats st;

    scn_row(s, "1,000 pointer keys with finalizers, 500 deleted: kept");
    scn_on_thread(fill_finalized, NULL);
    scn_on_thread(delete_half, NULL);
    scn_live();
    scn_settle(&finalized, FINALIZED / 2);
    scn_stats(policy, &map, &st);
    scn_retained(s, FINALIZED / 2 - (double)scn_count(&finalized), SCN_COUNT);
    scn_go(s, "0 of 500");
    scn_pointed(s, "%zu finalized, map: count %zu", scn_count(&finalized), st.count);
    scn_expect(s, "finalized", (double)scn_count(&finalized), FINALIZED / 2 - 5, FINALIZED / 2);
    scn_expect(s, "keys left", (double)st.count, FINALIZED / 2, FINALIZED / 2);
    map = NULL;
}

/* ---- the article's own loop ---- */

static void insert_equal_strings(void *arg)
{
    (void)arg;
    map = policy->new (SCN_STRING_NONE, 0);
    for (int i = 0; i < 1000; i++) {
        scn_string key = { scn_must(oak_alloc_noscan(100)), 100 }; /* zero bytes */

        policy->put(map, &key);
    }
}

static void equal_strings(scn *s)
{
    scn_map_stats st;

    scn_row(s, "1,000 inserts of one string of 100 zero bytes: keys");
    scn_on_thread(insert_equal_strings, NULL);
    scn_stats(policy, &map, &st);
    scn_retained(s, (double)st.count, SCN_COUNT);
    scn_go(s, "1");
    scn_pointed(s, "not a leak: map: count %zu", st.count);
    scn_expect(s, "keys", (double)st.count, 1, 1);
    map = NULL;
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    policy = scn_policy(s);
    million_keys(s);
    deleted_keys(s);
    equal_strings(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_key_type_reachability = {
    .id = "key-type-reachability",
    .class = 'N',
    .source = "A0 3.3",
    .leak = "keys that hold pointers keep their objects while they are in the map",
    .maps = true,
    .alone = true,
    .environment = "OAKUM_GC_THREADS=1",
    .run = run,
};
