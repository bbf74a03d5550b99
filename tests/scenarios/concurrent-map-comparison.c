/* concurrent-map-comparison.c - five ways to share a map between threads.
 *
 * What leaks: nothing: what is written again and again replaces what was there. It costs
 *             allocations, and so collections, in some of the ways.
 * Why:        a lock around a map allocates nothing; Go 1.19's sync.Map allocates for each store; a
 *             map that was made as large as it will be never grows.
 * Seen by:    the count of allocations, and of growths.
 *
 * The rates depend on the machine and are shown, not judged; but for the concurrent map's, which
 * must not be a fraction of the sharded one's. */
#include "readdirty.h"

#define THREADS 8
#define OPERATIONS 1000000 /* of all threads */
#define KEYS ((size_t)65536)
#define SHARDS 64
#define ROUNDS 2

static const scn_map_policy *policy;
static scn_string *keys;
static int64_t values[KEYS];

/* ---- the maps ---- */

typedef enum way { MUTEX, RWLOCK, SYNC, SHARDED, PREALLOCATED, WAYS } way;

static const char *const way_names[WAYS] = { "map and mutex", "map and rwlock", "concurrent map",
                                             "64 shards", "64 shards, preallocated" };

/* Of the classic policy; the default has oak_shardmap. */
typedef struct shard {
    pthread_mutex_t lock;
    void *map;
} shard;

static struct shared {
    way way;
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    void *map;
    scn_syncmap sync;
    shard shards[SHARDS];
    oak_shardmap *sharded;
} shared = { .mutex = PTHREAD_MUTEX_INITIALIZER, .rwlock = PTHREAD_RWLOCK_INITIALIZER };

static void make_shards(size_t hint)
{
    if (!policy->leaks_as_go) {
        shared.sharded = scn_must(oak_shardmap_new(&oak_map_slice_u64, SHARDS, hint));
        return;
    }
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&shared.shards[i].lock, NULL);
        shared.shards[i].map = policy->new (SCN_STRING_INT, hint / SHARDS);
    }
}

/* FNV-1a (Fowler, Noll and Vo), of which the articles' sharded map makes its choice. */
static shard *shard_of(const scn_string *key)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < key->len; i++) h = (h ^ (uint8_t)key->data[i]) * 16777619u;
    return &shared.shards[h % SHARDS];
}

static void *rdlock(void *lock)
{
    pthread_rwlock_rdlock(lock);
    return NULL;
}

static void *wrlock(void *lock)
{
    pthread_rwlock_wrlock(lock);
    return NULL;
}

static void lock_rw(bool write)
{
    if ((write ? pthread_rwlock_trywrlock(&shared.rwlock)
               : pthread_rwlock_tryrdlock(&shared.rwlock)) != 0)
        oak_blocking_call(write ? wrlock : rdlock, &shared.rwlock);
}

static void write_key(size_t i)
{
    const scn_string *key = &keys[i];
    shard *part;

    switch (shared.way) {
    case MUTEX:
        scn_lock(&shared.mutex);
        *(int64_t *)policy->put(shared.map, key) = values[i];
        pthread_mutex_unlock(&shared.mutex);
        return;
    case RWLOCK:
        lock_rw(true);
        *(int64_t *)policy->put(shared.map, key) = values[i];
        pthread_rwlock_unlock(&shared.rwlock);
        return;
    case SYNC:
        scn_syncmap_store(&shared.sync, key, &values[i]);
        return;
    default:
        if (!policy->leaks_as_go) {
            if (oak_shardmap_put(shared.sharded, key, &values[i]) != 0) scn_die("out of memory");
            return;
        }
        part = shard_of(key);
        scn_lock(&part->lock);
        *(int64_t *)policy->put(part->map, key) = values[i];
        pthread_mutex_unlock(&part->lock);
    }
}

/* Whether the key is there. */
static bool read_key(size_t i)
{
    const scn_string *key = &keys[i];
    bool there;
    shard *part;
    int64_t value;

    switch (shared.way) {
    case MUTEX:
        scn_lock(&shared.mutex);
        there = policy->get(shared.map, key) != NULL;
        pthread_mutex_unlock(&shared.mutex);
        return there;
    case RWLOCK:
        lock_rw(false);
        there = policy->get(shared.map, key) != NULL;
        pthread_rwlock_unlock(&shared.rwlock);
        return there;
    case SYNC:
        return scn_syncmap_load(&shared.sync, key) != NULL;
    default:
        if (!policy->leaks_as_go) return oak_shardmap_get(shared.sharded, key, &value);
        part = shard_of(key);
        scn_lock(&part->lock);
        there = policy->get(part->map, key) != NULL;
        pthread_mutex_unlock(&part->lock);
        return there;
    }
}

static uint64_t growths(void)
{
    scn_map_stats st;
    uint64_t n = 0;

    if (shared.way == SHARDED || shared.way == PREALLOCATED) {
        if (!policy->leaks_as_go) {
            oak_shardmap_stats all;

            oak_shardmap_stats_read(shared.sharded, &all);
            return all.growths;
        }
        for (int i = 0; i < SHARDS; i++) {
            policy->stats(shared.shards[i].map, &st);
            n += st.growths + st.same_size_growths;
        }
    } else if (shared.way != SYNC) {
        policy->stats(shared.map, &st);
        n = st.growths + st.same_size_growths;
    }
    return n;
}

/* ---- a run ---- */

static void make_keys(void *arg)
{
    (void)arg;
    keys = scn_must(oak_alloc(KEYS * sizeof(*keys)));
    for (size_t i = 0; i < KEYS; i++) keys[i] = scn_string_new("key-%011zu", i);
}

static void fill(void *arg)
{
    shared.way = *(const way *)arg;
    if (shared.way == MUTEX || shared.way == RWLOCK) shared.map = policy->new (SCN_STRING_INT, 0);
    if (shared.way == SYNC) scn_syncmap_init(&shared.sync, policy);
    if (shared.way == SHARDED) make_shards(0);
    if (shared.way == PREALLOCATED) make_shards(KEYS);
    for (size_t i = 0; i < KEYS; i++) write_key(i);
    if (shared.sync.rd != NULL) /* as many misses as promote */
        for (size_t i = 0; i < KEYS; i++)
            scn_syncmap_load(&shared.sync, &(scn_string){ "absent", 6 });
}

static void drop(void)
{
    shared.map = NULL;
    shared.sync = (scn_syncmap){ NULL, NULL };
    shared.sharded = NULL;
    for (int i = 0; i < SHARDS; i++) shared.shards[i].map = NULL;
}

static scn_gate start_line = SCN_GATE;
static unsigned writes_percent;

static void *operate(void *arg)
{
    uint64_t random = (uintptr_t)arg * 2 + 1;

    scn_gate_wait(&start_line);
    for (int i = 0; i < OPERATIONS / THREADS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        if ((random >> 33) % 100 < writes_percent)
            write_key((random >> 40) % KEYS);
        else if (!read_key((random >> 40) % KEYS))
            scn_die("a key is missing");
    }
    return NULL;
}

static double million_operations_us(void)
{
    pthread_t threads[THREADS];
    double began;

    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = scn_thread_start(operate, (void *)(i + 1), 0);
    scn_gate_await(&start_line, THREADS);
    began = scn_wall_us();
    scn_gate_open(&start_line);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    began = scn_wall_us() - began;
    scn_gate_close(&start_line);
    return began;
}

typedef struct rate {
    double mops;                     /* millions of operations a second, the best round */
    double allocations, collections; /* of the first round */
    double live_change;              /* in the last round */
    uint64_t growths;
} rate;

static rate measure(way which)
{
    static oak_memstats before, after;
    rate r = { 0 };

    scn_on_thread(fill, &which);
    scn_live_stats(&before);
    for (int i = 0; i < ROUNDS; i++) {
        double live = (double)before.heap_alloc, mops;

        mops = OPERATIONS / million_operations_us();
        oak_memstats_read(&after);
        if (i == 0) {
            r.allocations = (double)(after.mallocs - before.mallocs);
            r.collections = (double)(after.num_gc - before.num_gc);
        }
        if (mops > r.mops) r.mops = mops;
        scn_live_stats(&before);
        r.live_change = (double)before.heap_alloc - live;
    }
    r.growths = growths();
    drop();
    scn_live();
    return r;
}

static void rows(scn *s, unsigned percent, const char *const go[WAYS])
{
    static rate rates[WAYS];

    writes_percent = percent;
    for (way w = 0; w < WAYS; w++) {
        scn_row(s, "%s, %u %% writes: million operations a second", way_names[w], percent);
        rates[w] = measure(w);
        scn_retained(s, rates[w].mops, SCN_MEASURE);
        scn_go(s, go[w]);
        scn_figure(s, "allocations", rates[w].allocations, SCN_COUNT);
        scn_figure(s, "collections", rates[w].collections, SCN_COUNT);
        scn_pointed(s, "not a leak: %s allocations, %.0f collections, %llu growths",
                    scn_thousands(rates[w].allocations), rates[w].collections,
                    (unsigned long long)rates[w].growths);
        scn_expect_none(s, "growth of the live heap in the second million", rates[w].live_change);
        if (w == SHARDED)
            scn_expect(s, "the concurrent map, of the sharded one",
                       rates[SYNC].mops / rates[w].mops, 0.25, 1e6);
        if (w != PREALLOCATED) continue;
        scn_expect(s, "growths since it was made", (double)rates[w].growths, 0, 0);
        scn_expect(s, "allocations in a million operations", rates[w].allocations, 0, 100);
    }
}

static void run(scn *s)
{
    static const char *const few[WAYS] = { "12.3 to 17.9", "16.2 to 21.2", "5.0 to 7.1",
                                           "15.5 to 21.7", "17.8 to 25.8" };
    static const char *const many[WAYS] = { "10.6 to 17.2", "15.2 to 17.0", "5.4 to 8.6",
                                            "13.8 to 17.3", "16.8 to 20.8" };

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_on_thread(make_keys, NULL);
    rows(s, 10, few);
    rows(s, 50, many);
    scn_expect_quiet(s);
}

const scn_scenario scn_concurrent_map_comparison = {
    .id = "concurrent-map-comparison",
    .class = 'N',
    .source = "A3 4.4",
    .leak = "ways to share a map differ in allocations and growths, and hold the same",
    .maps = true,
    .alone = true,
    .run = run,
};
