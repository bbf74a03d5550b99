/* weak-reference-pool.c - a pool of weak references keeps an entry for each object that has gone.
 *
 * What leaks: the entries of a map from keys to weak references. The objects go, their keys and
 *             references stay.
 * Why:        nobody tells the map that a reference was cleared. A cleanup on each object can
 *             remove its entry; Go's map then keeps the empty array. A map with weak values
 *             (<oakum/weakmap.h>) removes dead entries itself, and shrinks.
 * Seen by:    the count of entries against that of references which still find something. */
#include "scenario.h"

#define OBJECTS ((size_t)50000)
#define OBJECT_BYTES 1024

static const scn_map_policy *policy;
static void *pool;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t cleaned;

/* Runs on the finalizer thread. */
static void remove_entry(void *key)
{
    int64_t k = (int64_t)(intptr_t)key;

    scn_lock(&pool_lock);
    policy->delete (pool, &k);
    pthread_mutex_unlock(&pool_lock);
    scn_count_up(&cleaned);
}

static __attribute__((noinline)) void add_object(int64_t key, bool with_cleanup)
{
    void *obj = scn_must(oak_alloc_noscan(OBJECT_BYTES));
    oak_weak *weak = scn_must(oak_weak_new(obj));

    if (with_cleanup && oak_cleanup_add(obj, remove_entry, (void *)(intptr_t)key) != 0)
        scn_die("no room for a cleanup");
    scn_lock(&pool_lock);
    *(oak_weak **)policy->put(pool, &key) = weak;
    pthread_mutex_unlock(&pool_lock);
}

/* The collector is off: all objects are there at once, and are dropped at once. */
static void fill(void *with_cleanup)
{
    oak_gc_disable();
    pool = policy->new (SCN_INT_PTR, 0);
    for (size_t i = 0; i < OBJECTS; i++) add_object((int64_t)i, with_cleanup != NULL);
    oak_gc_enable();
}

static void *some_reference(void)
{
    int64_t key = 77;

    return *(oak_weak **)policy->get(pool, &key);
}

typedef struct census {
    size_t entries, alive;
} census;

static void take_census(void *arg)
{
    census *c = arg;
    scn_iter it;

    *c = (census){ policy->len(pool), 0 };
    policy->iter_init(&it, pool);
    while (policy->iter_next(&it)) c->alive += oak_weak_get(*(oak_weak **)it.value) != NULL;
}

static void without_cleanup(scn *s)
{
    double start = scn_live(), kept;
    census c;
    static oak_memstats st;

    scn_row(s, "50,000 weak references, their objects dropped");
    scn_on_thread(fill, NULL);
    scn_live_stats(&st);
    kept = (double)st.heap_alloc - start;
    scn_on_thread(take_census, &c);
    scn_retained(s, kept, SCN_BYTES);
    scn_go(s, "1,982,688 (Go 1.27)");
    scn_figure(s, "an entry", kept / OBJECTS, SCN_BYTES);
    scn_figure(s, "objects alive", (double)c.alive, SCN_COUNT);
    scn_pointed(s,
                "map: %s entries, of which %s still find an object; memstats: %s weak references "
                "whose object is there, %s whose has gone",
                scn_thousands((double)c.entries), scn_thousands((double)c.alive),
                scn_thousands((double)st.weak_refs), scn_thousands((double)st.weak_refs_cleared));
    scn_expect(s, "objects alive", (double)c.alive, 0, 5);
    scn_expect(s, "dead entries", (double)(c.entries - c.alive), OBJECTS - 5, OBJECTS);
    scn_expect(s, "weak references whose object has gone", (double)st.weak_refs_cleared,
               OBJECTS - 5, OBJECTS);
    scn_expect(s, "weak references whose object is there", (double)st.weak_refs, 0, 8);
    scn_expect_site(s, "add_object");
    scn_detector_begin(NULL);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_expect_found(s, OAK_FINDING_WEAK_DEAD, NULL);
    scn_expect_path(s, some_reference, OAK_ROOT_GLOBAL, "pool", "key 77");
    pool = NULL;
    scn_expect_none(s, "retained after the pool is dropped", scn_live() - start);
}

static void with_cleanup(scn *s)
{
    double start = scn_live(), kept;
    scn_map_stats st;

    scn_detector_begin(NULL);
    scn_row(s, "repaired: a cleanup on each object removes its entry");
    scn_on_thread(fill, &cleaned);
    scn_live();
    scn_settle(&cleaned, OBJECTS);
    kept = scn_live() - start;
    scn_stats(policy, &pool, &st);
    scn_retained(s, kept, SCN_BYTES);
    scn_go(s, "1,182,656 (Go 1.27)");
    scn_pointed(s, "map: count %zu, array %s B; %s cleanups ran", st.count,
                scn_thousands((double)st.array_bytes), scn_thousands((double)scn_count(&cleaned)));
    scn_expect(s, "entries", (double)st.count, 0, 5);
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "kept, against array and overflow buckets", kept,
                         (double)(st.array_bytes + st.overflow_bytes), 5);
    else
        scn_expect_none(s, "kept", kept);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_expect_quiet(s);
    pool = NULL;
    scn_expect_none(s, "retained after the pool is dropped", scn_live() - start);
}

/* ---- a map that knows ---- */

static oak_weakvalue *weak_values;

static __attribute__((noinline)) void add_weak_value(int64_t key)
{
    void *obj = scn_must(oak_alloc_noscan(OBJECT_BYTES));

    if (oak_weakvalue_put(weak_values, &key, obj) != 0) scn_die("out of memory");
}

static void fill_weak_values(void *arg)
{
    (void)arg;
    weak_values = scn_must(oak_weakvalue_new(&oak_map_u64_ptr, 0, 0));
    oak_gc_disable();
    for (size_t i = 0; i < OBJECTS; i++) add_weak_value((int64_t)i);
    oak_gc_enable();
}

/* Any use does it, eight entries at a time. */
static void use_weak_values(void *len)
{
    int64_t absent = -1;

    for (size_t i = 0; i < OBJECTS / 4; i++) oak_weakvalue_get(weak_values, &absent);
    *(size_t *)len = oak_weakvalue_len(weak_values);
}

static void weak_map(scn *s)
{
    double start = scn_live(), kept;
    size_t len = 0;

    scn_row(s, "repaired: a map with weak values, and 12,500 lookups");
    scn_on_thread(fill_weak_values, NULL);
    scn_live();
    scn_on_thread(use_weak_values, &len);
    kept = scn_live() - start;
    scn_retained(s, kept, SCN_BYTES);
    scn_pointed(s, "map: %zu entries", len);
    scn_expect(s, "entries", (double)len, 0, 5);
    scn_expect_none(s, "kept", kept);
    scn_detector_begin(NULL);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_expect_quiet(s);
    weak_values = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

static void run(scn *s)
{
    policy = scn_policy(s);
    without_cleanup(s);
    with_cleanup(s);
    if (!policy->leaks_as_go) weak_map(s);
}

const scn_scenario scn_weak_reference_pool = {
    .id = "weak-reference-pool",
    .class = 'M',
    .source = "A1 4.3",
    .leak = "a pool of weak references keeps an entry for each object that has gone",
    .maps = true,
    .run = run,
};
