/* leaked-thread-holding-map.c - threads that wait for ever, each with a map on its stack.
 *
 * What leaks: 1,000 threads block on a channel; each has a map of 1,000 entries in a local
 *             variable.
 * Why:        a thread is a root. Nobody will ever send on the channel, but no collector may
 *             assume so for a thread of the system, even if the channel is reachable from that
 *             thread alone. The cure is to release the thread.
 * Seen by:    the count of threads and the bytes of their stacks; the maps are reachable from
 *             those stacks only. The detector sees threads and bytes rise, and tells how many wait
 *             for a channel that nothing but threads like them reaches: all of those with one
 *             each, none with the global one.
 *
 * The third part shows what does not leak: writers that store one constant key each keep ten
 * keys, however often they store. */
#include "scenario.h"

#include <pthread.h>
#include <string.h>

#define THREADS 1000
#define ENTRIES 1000
#define LOOKS 20 /* of the detector, as threads start */
#define WRITERS 10
#define STORES ((size_t)500000) /* a writer: five million in all, about a second */
#define STACK ((size_t)256 << 10)

/* ---- a channel that is only ever closed ---- */

typedef struct channel {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
} channel;

static channel *channel_new(void)
{
    channel *c = scn_must(oak_alloc(sizeof(*c)));

    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    return c;
}

static void *channel_wait(void *arg)
{
    channel *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->closed) pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void channel_close(channel *c)
{
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* ---- threads that hold maps ---- */

static const scn_map_policy *policy;
static channel *global_channel; /* (a): somebody could still send */
static oak_weak *one_map;       /* of some thread */
static size_t blocked;          /* threads that are about to wait */

static __attribute__((noinline)) void *fill_map(void)
{
    void *m = policy->new (SCN_INT_INT, 0);

    for (int64_t k = 0; k < ENTRIES; k++) scn_put_int(policy, m, k, k);
    return m;
}

static __attribute__((noinline)) void fill_into(void **map)
{
    *map = fill_map();
    if (one_map == NULL) one_map = scn_must(oak_weak_new(*map));
}

static void *hold_map(void *arg)
{
    channel *c = arg;
    struct {
        void *map;
    } frame; /* in memory, so that the map is in this function's frame */

    fill_into(&frame.map);
    scn_count_up(&blocked);
    oak_blocking_wait(channel_wait, c, c);
    scn_keep(&frame);
    return NULL;
}

/* One channel for each thread, known to it alone, or the global one for all. */
static void start_threads(pthread_t *threads, bool global)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    for (size_t i = 0; i < THREADS; i++) {
        int error = oak_thread_create(&threads[i], &attr, hold_map,
                                      global ? global_channel : channel_new());

        if (error != 0) scn_die("thread %zu: %s", i, strerror(error));
        if (i % (THREADS / LOOKS) == 0) scn_detector_look();
    }
    pthread_attr_destroy(&attr);
}

static pthread_t threads[THREADS];

static void start_global(void *arg)
{
    (void)arg;
    global_channel = channel_new();
    start_threads(threads, true);
}

static void start_private(void *arg)
{
    (void)arg;
    start_threads(threads, false);
}

/* While they start, and the first of them stand still already. */
static void expect_growth(scn *s, bool stranded)
{
    scn_expect_found(s, OAK_FINDING_THREAD_GROWTH, NULL);
    scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "fill_map");
    scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    scn_expect_found(s, OAK_FINDING_THREADS_BLOCKED, NULL);
    if (stranded) scn_detector_finds(OAK_FINDING_THREADS_STRANDED, NULL);
}

static double start_and_measure(scn *s, void (*start)(void *), size_t want, oak_memstats *st)
{
    scn_detector_begin(NULL);
    scn_on_thread(start, NULL);
    expect_growth(s, start == start_private);
    while (scn_count(&blocked) < want) sched_yield();
    scn_live_stats(st);
    return (double)st->heap_alloc;
}

/* ---- the weight of one map, the mean of sixteen ---- */

static void *sample[16];

static void fill_sample(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 16; i++) sample[i] = fill_map();
}

static double map_bytes(void)
{
    double start = scn_live(), full;

    scn_on_thread(fill_sample, NULL);
    full = scn_live();
    memset(sample, 0, sizeof(sample));
    return (full - start) / 16;
}

static void release_and_measure(scn *s, double start, double held)
{
    static oak_memstats st;

    channel_close(global_channel);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    global_channel = NULL;
    scn_detector_begin(NULL);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_live_stats(&st);
    scn_row(s, "the same threads, released");
    scn_retained(s, (double)st.heap_alloc - start, SCN_BYTES);
    scn_go(s, "440,000");
    scn_pointed(s, "memstats: threads %s", scn_thousands((double)st.threads));
    scn_expect(s, "retained in percent of what was held",
               ((double)st.heap_alloc - start) / held * 100, -5, 5);
    scn_expect_quiet(s);
}

SCN_FIND(find_one_map, oak_weak_get(one_map))

/* They have not moved for some looks. Whether anybody could wake them is told as well: a channel's
 * address that stands on some dead stack by chance would do. */
static void expect_blocked(scn *s, bool stranded)
{
    scn_detector_begin(NULL);
    for (int i = 0; i < 6; i++) scn_detector_look();
    scn_expect_found(s, OAK_FINDING_THREADS_BLOCKED, NULL);
    scn_expect(s, "threads that nobody can wake", scn_detector_counts(OAK_FINDING_THREADS_STRANDED),
               stranded ? THREADS - 5 : 0, stranded ? THREADS : 0);
    if (stranded) scn_expect_found(s, OAK_FINDING_THREADS_STRANDED, NULL);
}

static void blocked_threads(scn *s)
{
    static oak_memstats before, after;
    double each, start, held;

    scn_row(s, "1,000 blocked threads with a map each, channel in a global");
    each = map_bytes();
    scn_live_stats(&before);
    start = (double)before.heap_alloc;
    held = start_and_measure(s, start_global, THREADS, &after) - start;
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "41,630,000");
    scn_pointed_too(s, "memstats: %s threads more, stack_inuse +%s B",
                    scn_thousands((double)(after.threads - before.threads)),
                    scn_thousands((double)after.stack_inuse - (double)before.stack_inuse));
    scn_figure(s, "bytes of one such map", each, SCN_BYTES);
    scn_expect_bytes(s, "held, against 1,000 maps", held, each * THREADS, 5);
    if (policy->leaks_as_go)
        scn_expect_ratio(s, "one map, against Go's 41,627 bytes", each, 41627, 5);
    else
        scn_expect(s, "one map, from its entries to Go's 41,627 bytes", each, 16 * ENTRIES, 41627);
    scn_expect(s, "threads", (double)(after.threads - before.threads), THREADS, THREADS);
    scn_expect_site(s, "fill_map");
    expect_blocked(s, false);
    scn_expect_path(s, find_one_map, OAK_ROOT_STACK, "hold_map", NULL);
    release_and_measure(s, start, held);

    scn_row(s, "the same, each channel known to its blocked thread only");
    scn_live_stats(&before);
    start = (double)before.heap_alloc;
    held = start_and_measure(s, start_private, 2 * THREADS, &after) - start;
    for (int i = 0; i < 3; i++) oak_collect();
    held = scn_live() - start;
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "41,730,000");
    scn_pointed_too(s, "memstats: %s threads that never end",
                    scn_thousands((double)(after.threads - before.threads)));
    scn_expect_bytes(s, "held after five collections, against 1,000 maps", held, each * THREADS, 5);
    scn_expect(s, "threads", (double)(after.threads - before.threads), THREADS, THREADS);
    expect_blocked(s, true);
}

/* ---- what doesn't leak ---- */

static struct {
    pthread_mutex_t lock;
    void *map;
} shared = { PTHREAD_MUTEX_INITIALIZER, NULL };

typedef struct writer {
    int64_t key;
    size_t stores;
} writer;

static void *lock_shared(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&shared.lock);
    return NULL;
}

static void *store_constantly(void *arg)
{
    const writer *w = arg;

    for (size_t i = 0; i < w->stores; i++) {
        if (pthread_mutex_trylock(&shared.lock) != 0) oak_blocking_call(lock_shared, NULL);
        scn_put_int(policy, shared.map, w->key, (int64_t)i);
        pthread_mutex_unlock(&shared.lock);
    }
    return NULL;
}

static void write_together(void *arg)
{
    static writer writers[WRITERS];
    pthread_t ids[WRITERS];
    size_t stores = *(size_t *)arg;

    if (shared.map == NULL) shared.map = policy->new (SCN_INT_INT, 0);
    for (int64_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){ i, stores };
        if (oak_thread_create(&ids[i], NULL, store_constantly, &writers[i]) != 0)
            scn_die("no thread for a writer");
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(ids[i], NULL);
}

static void constant_keys(scn *s)
{
    size_t few = STORES / 100, many = STORES;
    scn_map_stats st;
    double start, early, late;

    scn_row(s, "10 writers, one constant key each, 5 million stores");
    start = scn_live();
    scn_on_thread(write_together, &few);
    early = scn_live() - start;
    scn_on_thread(write_together, &many);
    late = scn_live() - start;
    scn_stats(policy, &shared.map, &st);
    scn_retained(s, late, SCN_BYTES);
    scn_go(s, "10 keys, flat");
    scn_pointed(s,
                "not a leak: %zu keys; %+.0f B between the first 1 %% of the stores and the last",
                st.count, late - early);
    scn_expect(s, "keys", (double)st.count, WRITERS, WRITERS);
    scn_expect_none(s, "growth after the first 1 % of the stores", late - early);
}

static void run(scn *s)
{
    policy = scn_policy(s);
    blocked_threads(s);
    constant_keys(s);
}

const scn_scenario scn_leaked_thread_holding_map = {
    .id = "leaked-thread-holding-map",
    .class = 'U',
    .source = "A0 4.2, A4 intro",
    .leak = "threads that wait for ever keep the maps on their stacks",
    .maps = true,
    .run = run,
};
