/* pool-misuse.c - an object pool used wrongly: no reset, no limit.
 *
 * What leaks: what a pooled object still refers to, when nobody resets it; and 64 MiB, when a
 *             buffer that one request made grow serves small requests for ever.
 * Why:        a pool drops what is not used for two collections, and only that. An object that is
 *             taken and put back all the time stays, with whatever it has become. The cures are
 *             the pool's own: a reset at each put, and a limit on the size of what it takes back.
 * Seen by:    the pool's statistics: objects, bytes, the largest; and, in debug mode, how many were
 *             put back different from a new one. */
#include "scenario.h"

#include <string.h>

#define LARGE ((size_t)64 << 20)
#define SMALL ((size_t)512)
#define LIMIT ((size_t)64 << 10)
#define REQUESTS 100000
#define REQUESTS_PER_COLLECTION 10000
#define BUFFERS 20 /* in use at once */
#define GROWN ((size_t)1 << 20)
#define PUTS 64
#define PUT_BYTES ((size_t)1 << 20)
#define LOOKS 12 /* of the detector, before what is large comes */

/* What requests write their answers to: a buffer that grows. */
typedef struct buffer {
    char *data;
    size_t len, cap;
} buffer;

static oak_pool *pool;
static oak_weak *large; /* what a buffer has grown to */

static void *buffer_new(void *ctx)
{
    buffer *b = scn_must(oak_alloc(sizeof(*b)));

    (void)ctx;
    b->data = scn_must(oak_alloc_noscan(SMALL));
    b->cap = SMALL;
    return b;
}

static void buffer_reset(void *obj, void *ctx)
{
    buffer *b = obj;

    (void)ctx;
    memset(b->data, 0, b->len < SMALL ? b->len : SMALL);
    b->len = 0;
}

static size_t buffer_size(const void *obj, void *ctx)
{
    (void)ctx;
    return ((const buffer *)obj)->cap;
}

static __attribute__((noinline)) void buffer_write(buffer *b, size_t n)
{
    if (b->cap < n) {
        b->data = scn_must(oak_alloc_noscan(n));
        b->cap = n;
        large = scn_must(oak_weak_new(b->data));
    }
    memset(b->data, 'x', n < SMALL ? n : SMALL);
    b->len = n;
}

/* ---- no reset ---- */

static bool found_stale;

static void write_and_look(void *arg)
{
    buffer *b = oak_pool_get(pool);

    (void)arg;
    buffer_write(b, SMALL);
    oak_pool_put(pool, b);
    b = oak_pool_get(pool);
    found_stale = b->len != 0;
    oak_pool_put(pool, b);
}

static void stale_row(scn *s, bool reset)
{
    oak_pool_stats st;

    scn_row(s, reset ? "repaired: reset by the pool"
                     : "a used buffer put back and taken again: puts of stale ones");
    pool = scn_must(oak_pool_new(buffer_new, reset ? buffer_reset : NULL, NULL));
    scn_on_thread(write_and_look, NULL);
    oak_pool_stats_read(pool, &st);
    scn_retained(s, (double)st.stale, SCN_COUNT);
    scn_go(s, reset ? "0" : "stale data seen");
    scn_pointed(s, "pool, in debug mode: %llu of %llu puts were not as new",
                (unsigned long long)st.stale, (unsigned long long)st.puts);
    scn_expect_true(s, reset ? "no old data" : "old data seen", found_stale != reset);
    scn_expect(s, "puts that debug mode found stale", (double)st.stale, reset ? 0 : 2,
               reset ? 0 : 2);
    pool = NULL;
}

/* ---- put, and left alone ---- */

static void put_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < PUTS; i++) oak_pool_put(pool, scn_must(oak_alloc_noscan(PUT_BYTES)));
}

/* A dead word on the stack that is a buffer's address would keep the one before it too. */
static double live_after_collection(void)
{
    static oak_memstats st;

    scn_clear_stack();
    oak_collect();
    oak_memstats_read(&st);
    return (double)st.heap_alloc;
}

static void idle_row(scn *s)
{
    static oak_memstats st;
    double start = scn_live(), held, first, second;
    oak_pool_stats pst;

    scn_row(s, "64 objects of 1 MiB put, then two collections");
    pool = scn_must(oak_pool_new(NULL, NULL, NULL));
    oak_gc_disable();
    scn_on_thread(put_many, NULL);
    oak_memstats_read(&st);
    held = (double)st.heap_alloc - start;
    oak_pool_stats_read(pool, &pst);
    oak_gc_enable();
    first = live_after_collection() - start;
    second = live_after_collection() - start;
    scn_retained(s, second, SCN_BYTES);
    scn_go(s, "~0");
    scn_figure(s, "held after the puts (Go: 67,100,000)", held, SCN_BYTES);
    scn_figure(s, "after collection 1 (Go: 67,100,000)", first, SCN_BYTES);
    scn_pointed(s, "pool: %zu objects, %s B, before; %s B after collection 1, %s after 2",
                pst.objects, scn_thousands((double)pst.bytes), scn_thousands(first),
                scn_thousands(second));
    scn_expect(s, "objects, by the pool's statistics", (double)pst.objects, PUTS, PUTS);
    scn_expect_ratio(s, "bytes, by the pool's statistics", (double)pst.bytes,
                     (double)PUTS * PUT_BYTES, 1);
    scn_expect_bytes(s, "held after the puts", held, (double)PUTS * PUT_BYTES, 5);
    scn_expect_none(s, "after collection 2", second);
    pool = NULL;
}

/* ---- one large request, then small ones ---- */

static __attribute__((noinline)) void serve(size_t bytes)
{
    buffer *b = oak_pool_get(pool);

    if (b == NULL) scn_die("out of memory");
    buffer_write(b, bytes);
    oak_pool_put(pool, b);
}

typedef struct service {
    double live;
    oak_pool_stats st;
} service;

static void serve_all(void *arg)
{
    service *v = arg;

    serve(LARGE);
    scn_detector_look();
    for (int i = 1; i <= REQUESTS; i++) {
        serve(SMALL);
        if (i % REQUESTS_PER_COLLECTION == 0) v->live = live_after_collection();
    }
    oak_pool_stats_read(pool, &v->st);
}

SCN_FIND(find_large, oak_weak_get(large))

static void service_row(scn *s, bool limited)
{
    double start = scn_live();
    static service v;

    scn_row(s, limited ? "repaired: the same with a limit of 64 KiB"
                       : "one request of 64 MiB, then 100,000 of 512 bytes");
    pool = scn_must(oak_pool_new(buffer_new, buffer_reset, NULL));
    oak_pool_limit(pool, limited ? LIMIT : 0, buffer_size);
    for (int i = 0; i < LOOKS; i++) scn_detector_look();
    scn_on_thread(serve_all, &v);
    scn_retained(s, v.live - start, SCN_BYTES);
    scn_go(s, limited ? "~0" : "67,109,160");
    scn_pointed(s, "pool: %zu objects, the largest of %s B; %llu puts dropped", v.st.objects,
                scn_thousands((double)v.st.largest), (unsigned long long)v.st.dropped);
    scn_expect(s, "largest, by the pool's statistics", (double)v.st.largest,
               limited ? SMALL : LARGE, limited ? LIMIT : LARGE);
    scn_expect(s, "puts dropped", (double)v.st.dropped, limited, limited);
    if (limited)
        scn_expect_none(s, "held under steady use", v.live - start);
    else {
        scn_expect_bytes(s, "held under steady use", v.live - start, (double)LARGE, 5);
        scn_expect_found(s, OAK_FINDING_STEP, NULL);
        scn_expect_site(s, "buffer_write");
        scn_expect_path(s, find_large, OAK_ROOT_GLOBAL, "pool", NULL);
    }
    pool = NULL;
    scn_live();
    scn_expect_none(s, "retained after the pool is dropped", scn_live() - start);
}

/* ---- every now and then a larger request ---- */

static int large_requests;

/* All buffers are in use at once, and one more of them has met a large request. */
static __attribute__((noinline)) void serve_side_by_side(void *arg)
{
    buffer *b[BUFFERS];

    (void)arg;
    for (size_t i = 0; i < BUFFERS; i++) b[i] = scn_must(oak_pool_get(pool));
    for (size_t i = 0; i < BUFFERS; i++) {
        bool large_one = b[i]->cap < GROWN && large_requests > 0;

        if (large_one) large_requests--;
        buffer_write(b[i], large_one ? GROWN : SMALL);
    }
    for (size_t i = 0; i < BUFFERS; i++) oak_pool_put(pool, b[i]);
}

static void ratchet_row(scn *s, bool limited)
{
    static oak_memstats st;
    double start = scn_live(), held;

    scn_row(s, limited ? "repaired: the same with a limit of 64 KiB"
                       : "20 buffers, one more each time meets a request of 1 MiB");
    pool = scn_must(oak_pool_new(buffer_new, buffer_reset, NULL));
    oak_pool_limit(pool, limited ? LIMIT : 0, buffer_size);
    scn_detector_begin(NULL);
    for (int i = 0; i < BUFFERS; i++) {
        large_requests = 1;
        scn_on_thread(serve_side_by_side, NULL);
        scn_detector_look();
    }
    oak_memstats_read(&st); /* another collection, and the pool lets go of all */
    held = (double)st.heap_alloc - start;
    scn_retained(s, held, SCN_BYTES);
    if (limited) {
        scn_expect_none(s, "held", held);
        scn_expect_quiet(s);
    } else {
        scn_expect_bytes(s, "held", held, (double)(BUFFERS * GROWN), 5);
        scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "buffer_write");
        scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    }
    pool = NULL;
    scn_live();
    scn_expect_none(s, "retained after the pool is dropped", scn_live() - start);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    stale_row(s, false);
    stale_row(s, true);
    idle_row(s);
    service_row(s, false);
    service_row(s, true);
    scn_expect_quiet(s);
    ratchet_row(s, false);
    ratchet_row(s, true);
}

const scn_scenario scn_pool_misuse = {
    .id = "pool-misuse",
    .class = 'U',
    .source = "A2 2.3",
    .leak = "a pool keeps what its objects have become, for as long as they are in use",
    .maps = false,
    .environment = "OAKUM_DEBUG=poison=1",
    .run = run,
};
