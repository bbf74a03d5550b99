/* idle-connection-pool.c - connections that were used once and are never closed.
 *
 * What leaks: a connection for each host that was ever talked to, with its buffers and the two
 *             threads that serve it.
 * Why:        a pool keeps connections for the next request to the same host; if there never is
 *             one, only a limit on idle ones, in time or number, closes them. A bounded cache
 *             with a callback that closes what it evicts is that limit.
 * Seen by:    the profile names the dialing function; the count of threads, and what their stacks
 *             take; the detector sees threads and bytes rise as hosts are added. mspan_inuse goes
 *             up too, in bytes: a consequence of the live objects. */
#include "lru.h"

#include <time.h>

#define HOSTS ((size_t)500)
#define LIMIT ((size_t)10)
#define LOOKS ((size_t)20) /* of the detector, as hosts are added */
#define STACK ((size_t)128 << 10)
#define TIMEOUT_NS ((uint64_t)100000000)

/* What the two threads of a connection wait for. */
typedef struct service {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
} service;

/* 21 KB with its buffers, as Go's: two of 4 KiB, and the state of the encryption. Its threads hold
 * it by its service, in the middle: a word on a stack that is an object's start also keeps the
 * object before it. */
typedef struct conn {
    char *reading, *writing, *session;
    service service;
} conn;

static const scn_map_policy *policy;
static size_t dialed, freed;
static uint64_t other_threads; /* none of the pool's */
static oak_weak *some_conn;
static size_t serving; /* threads, under serving_lock */
static pthread_mutex_t serving_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t serving_changed = PTHREAD_COND_INITIALIZER;

/* ---- connections ---- */

static void add_serving(int n)
{
    pthread_mutex_lock(&serving_lock);
    serving = (size_t)((long)serving + n);
    pthread_cond_broadcast(&serving_changed);
    pthread_mutex_unlock(&serving_lock);
}

static void *await_serving(void *most)
{
    pthread_mutex_lock(&serving_lock);
    while (serving > *(const size_t *)most) pthread_cond_wait(&serving_changed, &serving_lock);
    pthread_mutex_unlock(&serving_lock);
    return NULL;
}

/* Until the threads of no more than so many connections serve. */
static void settle_threads(size_t conns)
{
    size_t most = conns < SIZE_MAX / 2 ? 2 * conns : SIZE_MAX;

    oak_blocking_call(await_serving, &most);
}

static void *await_close(void *arg)
{
    service *v = arg;

    pthread_mutex_lock(&v->lock);
    while (!v->closed) pthread_cond_wait(&v->changed, &v->lock);
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static void *serve_conn(void *arg)
{
    oak_blocking_call(await_close, arg);
    scn_keep(arg);
    add_serving(-1);
    return NULL;
}

static void note_freed(void *ctx)
{
    (void)ctx;
    scn_count_up(&freed);
}

static __attribute__((noinline)) conn *dial(void)
{
    conn *c = scn_must(oak_alloc(sizeof(*c)));

    pthread_mutex_init(&c->service.lock, NULL);
    pthread_cond_init(&c->service.changed, NULL);
    c->reading = scn_must(oak_alloc_noscan(4096));
    c->writing = scn_must(oak_alloc_noscan(4096));
    c->session = scn_must(oak_alloc_noscan(12288));
    if (oak_cleanup_add(c, note_freed, NULL) != 0) scn_die("no room for a cleanup");
    if (some_conn == NULL) some_conn = scn_must(oak_weak_new(c));
    dialed++;
    add_serving(2);
    for (int i = 0; i < 2; i++) pthread_detach(scn_thread_start(serve_conn, &c->service, STACK));
    return c;
}

static void close_conn(void *value)
{
    service *v = &((conn *)value)->service;

    pthread_mutex_lock(&v->lock);
    v->closed = true;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

/* ---- a pool of them, by host ---- */

static scn_lru idle = { .evicted = close_conn };
static oak_cache *idle_cache;
static uint64_t now;

static uint64_t logical_clock(void *ctx)
{
    (void)ctx;
    return now;
}

static void close_evicted(oak_cache *c, const void *key, void *value, oak_cache_reason why,
                          void *ctx)
{
    (void)c;
    (void)key;
    (void)why;
    (void)ctx;
    close_conn(value);
}

typedef struct limits {
    size_t most;
    uint64_t timeout; /* 0: none */
} limits;

static void talk_to_all(void *arg)
{
    const limits *l = arg;

    idle.most = l->most;
    if (!policy->leaks_as_go)
        idle_cache = scn_must(oak_cache_new(&(oak_cache_config){ .keys = &oak_map_slice_ptr,
                                                                 .max_entries = l->most,
                                                                 .ttl = l->timeout,
                                                                 .clock = logical_clock,
                                                                 .evicted = close_evicted }));
    for (size_t i = 0; i < HOSTS; i++) {
        scn_string host = scn_string_new("host-%zu.example", i);

        /* until a timeout has passed, nothing tells this one from the leak, nor while threads
         * that have been told to end have had no processor to do so */
        if (l->timeout == 0 && i % (HOSTS / LOOKS) == 0) {
            settle_threads(l->most);
            scn_detector_look();
        }
        if (policy->leaks_as_go)
            scn_lru_put(policy, &idle, host, dial());
        else if (oak_cache_put(idle_cache, &host, dial()) != 0)
            scn_die("out of memory");
    }
}

static void close_idle(void *arg)
{
    void *c;

    (void)arg;
    if (!policy->leaks_as_go) {
        oak_cache_clear(idle_cache);
        return;
    }
    while ((c = scn_lru_pop_oldest(policy, &idle)) != NULL) close_conn(c);
}

/* The timeout passes; somebody looks, as Go's timers do. */
static void time_out(void *arg)
{
    if (policy->leaks_as_go) {
        close_idle(arg);
        return;
    }
    now += 2 * TIMEOUT_NS;
    while (oak_cache_purge_expired(idle_cache, HOSTS)) continue;
}

static double open_conns(void)
{
    return (double)dialed - (double)scn_count(&freed);
}

static void point(scn *s, const oak_memstats *before, const oak_memstats *after)
{
    scn_pointed_too(s, "memstats: %s threads more, stack_inuse %+.0f B, mspan_inuse %+.0f B",
                    scn_thousands((double)after->threads - (double)before->threads),
                    (double)after->stack_inuse - (double)before->stack_inuse,
                    (double)after->mspan_inuse - (double)before->mspan_inuse);
}

/* Live bytes when so many connections are left: the others' threads have ended, and their cleanups
 * run. */
static double settled(oak_memstats *after, const oak_memstats *before, size_t left)
{
    settle_threads(left);
    for (int i = 0; i < 2000; i++) { /* ms: threads attach and detach a moment later */
        oak_memstats_read(after);
        if (after->threads == other_threads + 2 * left) break;
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
    scn_live();
    scn_settle(&freed, dialed - left);
    scn_live_stats(after);
    return (double)after->heap_alloc - (double)before->heap_alloc;
}

static void drop_pool(void)
{
    static oak_memstats before, after;

    oak_memstats_read(&before);
    scn_on_thread(close_idle, NULL);
    idle = (scn_lru){ .evicted = close_conn };
    idle_cache = NULL;
    settled(&after, &before, 0);
    dialed = freed = 0;
}

SCN_FIND(find_some_conn, oak_weak_get(some_conn))

static void no_limit(scn *s)
{
    static oak_memstats before, after;
    limits none = { SIZE_MAX, 0 };
    double held, closed;

    scn_row(s, "500 hosts, one request each, no limit");
    scn_detector_begin(NULL);
    scn_live_stats(&before);
    scn_on_thread(talk_to_all, &none);
    scn_expect_found(s, OAK_FINDING_THREAD_GROWTH, NULL);
    scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "dial");
    scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    held = settled(&after, &before, HOSTS);
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "10,543,432");
    scn_figure(s, "a connection (Go: 21,086)", held / HOSTS, SCN_BYTES);
    point(s, &before, &after);
    scn_expect(s, "open connections", open_conns(), HOSTS, HOSTS);
    scn_expect(s, "threads", (double)(after.threads - before.threads), 2 * HOSTS, 2 * HOSTS);
    scn_expect(s, "mspan_inuse, bytes more", (double)after.mspan_inuse - (double)before.mspan_inuse,
               HOSTS, 1e9);
    scn_detector_begin(NULL);
    for (int i = 0; i < 5; i++) scn_detector_look();
    scn_expect_found(s, OAK_FINDING_THREADS_BLOCKED, NULL);
    scn_expect_site(s, "dial");
    scn_expect_path(s, find_some_conn, OAK_ROOT_STACK, "", NULL);

    scn_row(s, "repaired: idle ones closed");
    scn_on_thread(close_idle, NULL);
    settled(&after, &before, 0);
    scn_detector_begin(NULL);
    for (int i = 0; i < 4; i++) scn_detector_look();
    closed = settled(&after, &before, 0);
    scn_expect_quiet(s);
    scn_retained(s, closed, SCN_BYTES);
    scn_go(s, "678,064");
    point(s, &before, &after);
    scn_expect(s, "open connections", open_conns(), 0, 0);
    if (policy->leaks_as_go)
        scn_expect(s, "kept in percent", closed / held * 100, -1, 10);
    else
        scn_expect_none(s, "kept, the map included", closed);
    drop_pool();
}

static void with_timeout(scn *s)
{
    static oak_memstats before, after;
    limits timeout = { SIZE_MAX, TIMEOUT_NS };
    double closed;

    scn_row(s, "repaired: a timeout of 100 ms, which has passed");
    scn_live_stats(&before);
    scn_on_thread(talk_to_all, &timeout);
    scn_on_thread(time_out, NULL);
    closed = settled(&after, &before, 0);
    scn_retained(s, closed, SCN_BYTES);
    scn_go(s, "119,088");
    point(s, &before, &after);
    scn_expect(s, "open connections", open_conns(), 0, 0);
    if (policy->leaks_as_go)
        scn_expect(s, "kept, in percent of Go's 10,543,432", closed / 10543432 * 100, -1, 10);
    else
        scn_expect_none(s, "kept, the map included", closed);
    drop_pool();
}

static void with_limit(scn *s)
{
    static oak_memstats before, after;
    limits ten = { LIMIT, 0 };
    double held;

    scn_row(s, "repaired: at most 10 idle ones");
    scn_detector_begin(NULL);
    scn_live_stats(&before);
    scn_on_thread(talk_to_all, &ten);
    held = settled(&after, &before, LIMIT);
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "197,504");
    point(s, &before, &after);
    scn_expect(s, "open connections", open_conns(), 1, LIMIT);
    scn_expect(s, "threads", (double)(after.threads - before.threads), 1, 2 * LIMIT);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_expect_quiet(s);
    drop_pool();
}

/* The thread that runs cleanups is none of the pool's. */
static void start_finalizer_thread(void *arg)
{
    (void)arg;
    if (oak_cleanup_add(scn_must(oak_alloc(16)), note_freed, NULL) != 0)
        scn_die("no room for a cleanup");
}

static void run(scn *s)
{
    static oak_memstats st;

    policy = scn_policy(s);
    scn_on_thread(start_finalizer_thread, NULL);
    scn_live();
    scn_settle(&freed, 1);
    freed = 0;
    oak_memstats_read(&st);
    other_threads = st.threads;
    no_limit(s);
    with_timeout(s);
    with_limit(s);
}

const scn_scenario scn_idle_connection_pool = {
    .id = "idle-connection-pool",
    .class = 'U',
    .source = "A2 4.4",
    .leak = "a pool keeps a connection, and its threads, for every host ever talked to",
    .maps = true,
    .run = run,
};
