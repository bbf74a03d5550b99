/* audit-cache-unbounded.c - a middleware that remembers every request.
 *
 * What leaks: a map from remote addresses to copies of 2 KiB bodies, of which none is removed.
 * Why:        as with any cache without a bound, the program holds all of it on purpose. Two cures:
 *             a digest of 64 bytes in a cache of 1,000 entries, or a time to live of 1,000
 *             requests. On the classic map both are written by hand (lru.c), and after everything
 *             has expired its array is still there; <oakum/cache.h> has both, and gives all back.
 * Seen by:    the profile, whose difference between two moments names the middleware; its labels,
 *             which say whose requests they were; live bytes go up in proportion to the requests,
 *             and stand still in the repaired programs. */
#include "lru.h"

#define REQUESTS ((size_t)50000)
#define EARLY ((size_t)10000)
#define LOOKS ((size_t)16)
#define BODY 2048
#define DIGEST 64
#define BOUND ((size_t)1000)
#define TICK ((uint64_t)4 << 20) /* ns of the logical clock a request: some ticks of a wheel */

static const scn_map_policy *policy;

typedef struct body {
    char *data;
    size_t len, cap;
} body;

/* A body that is to be gone after some requests; Go's time is 8 bytes too. */
typedef struct dated_body {
    body body;
    size_t expires;
} dated_body;

static scn_string remote_address(size_t request)
{
    return scn_string_new("10.%08zu:443", request);
}

static char *copy_body(void)
{
    return scn_must(oak_alloc_noscan(BODY));
}

/* Requests from the last one to a given one. */
typedef void serve(size_t request);

static struct run_of_requests {
    serve *fn;
    size_t next, end;
} requests;

static void serve_all(void *arg)
{
    (void)arg;
    for (; requests.next < requests.end; requests.next++) requests.fn(requests.next);
}

static double live_after(serve *fn, size_t end, double start)
{
    if (requests.fn != fn) requests = (struct run_of_requests){ fn, 0, 0 };
    requests.end = end;
    scn_on_thread(serve_all, NULL);
    return scn_live() - start;
}

/* From EARLY to REQUESTS, with looks of the detector in between. */
static double looked_after(serve *fn, double start)
{
    scn_detector_begin(NULL);
    for (size_t i = 1; i < LOOKS; i++)
        live_after(fn, EARLY + (REQUESTS - EARLY) / LOOKS * i, start);
    return live_after(fn, REQUESTS, start);
}

/* ---- the leak ---- */

static void *audit;

static __attribute__((noinline)) void audit_request(size_t request)
{
    scn_string key = remote_address(request);

    if (audit == NULL) audit = policy->new (SCN_STRING_24, 0);
    *(body *)policy->put(audit, &key) = (body){ scn_must(oak_alloc_noscan(BODY)), BODY, BODY };
}

/* As a server does that serves several customers: one in four requests is billing's. */
static void audit_namespace(size_t request)
{
    OAK_WITH_LABEL("namespace", request % 4 == 0 ? "billing" : "shop") audit_request(request);
}

static void *some_body(void)
{
    scn_string key = remote_address(77);

    return ((const body *)policy->get(audit, &key))->data;
}

static void unbounded(scn *s)
{
    double start = scn_live(), early, late;
    scn_map_stats st;

    scn_row(s, "bodies of 10,000 requests in a map");
    early = live_after(audit_namespace, EARLY, start);
    scn_retained(s, early, SCN_BYTES);
    scn_go(s, "21,400,000");
    scn_stats(policy, &audit, &st);
    scn_pointed(s, "map: count %s", scn_thousands((double)st.count));
    scn_expect_bytes(s, "retained, against Go's", early, 21400000, 5);
    scn_profile_mark();

    scn_row(s, "the same, 50,000 requests");
    late = looked_after(audit_namespace, start);
    scn_expect_found(s, OAK_FINDING_MAP_GROWTH, NULL);
    scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "audit_request");
    scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    scn_retained(s, late, SCN_BYTES);
    scn_go(s, "106,692,080");
    scn_stats(policy, &audit, &st);
    scn_pointed(s, "map: count %s; %s B more than after 10,000 requests",
                scn_thousands((double)st.count), scn_thousands(late - early));
    scn_expect_ratio(s, "L(50k) / L(10k)", late / early, 5, 5);
    scn_expect_growth(s, "audit_request", late - early, 5);
    scn_expect_site(s, "audit_request");
    /* the map's arrays are 7 %, and whose insert makes one is chance */
    scn_expect_label(s, "namespace", "billing", 0.2, 0.33);
    scn_expect_label(s, "namespace", "shop", 0.67, 0.8);
    scn_expect_path(s, some_body, OAK_ROOT_GLOBAL, "audit", "10.00000077:443");
    audit = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

/* ---- the first cure: less of each, and no more than a thousand ---- */

static scn_lru digests = { .most = BOUND };
static oak_cache *digest_cache;

static void remember_digest(size_t request)
{
    void *digest = scn_must(oak_alloc_noscan(DIGEST));
    scn_string key = remote_address(request);

    if (policy->leaks_as_go) {
        scn_lru_put(policy, &digests, key, digest);
        return;
    }
    if (digest_cache == NULL)
        digest_cache = scn_must(
            oak_cache_new(&(oak_cache_config){ .keys = &oak_map_slice_ptr, .max_entries = BOUND }));
    if (oak_cache_put(digest_cache, &key, digest) != 0) scn_die("out of memory");
}

static void read_digest_count(void *count)
{
    oak_cache_stats st;

    oak_cache_stats_read(digest_cache, &st);
    *(size_t *)count = policy->leaks_as_go ? policy->len(digests.map) : st.entries;
}

static void bounded(scn *s)
{
    double start = scn_live(), early, late;
    size_t count = 0;

    scn_row(s, "repaired: digests of 64 bytes, the last 1,000");
    early = live_after(remember_digest, EARLY, start);
    late = looked_after(remember_digest, start);
    scn_expect_quiet(s);
    scn_on_thread(read_digest_count, &count);
    scn_retained(s, late, SCN_BYTES);
    scn_go(s, "286,528");
    scn_figure(s, "retained after 10,000 requests", early, SCN_BYTES);
    scn_pointed(s, "not a leak: %zu entries after 50,000 requests", count);
    scn_expect_bytes(s, "L(50k), against L(10k)", late, early, 5);
    scn_expect(s, "entries", (double)count, (double)BOUND, (double)BOUND);
    digests = (scn_lru){ 0 };
    digest_cache = NULL;
    scn_expect_none(s, "retained after it is dropped", scn_live() - start);
}

/* ---- the second: bodies that expire ---- */

static void *dated;
static oak_cache *dated_cache;
static size_t most_entries;
static uint64_t now;

static uint64_t logical_clock(void *ctx)
{
    (void)ctx;
    return now;
}

/* On the classic map: what is a thousand requests old is looked for, and deleted. */
static void expire_at(size_t request)
{
    scn_string key;
    dated_body *b;

    if (request < BOUND) return;
    key = remote_address(request - BOUND);
    b = policy->get(dated, &key);
    if (b != NULL && b->expires <= request) policy->delete (dated, &key);
}

static void remember_for_a_while(size_t request)
{
    scn_string key = remote_address(request);
    size_t n;

    now = request * TICK;
    if (policy->leaks_as_go) {
        if (dated == NULL) dated = policy->new (SCN_STRING_32, 0);
        expire_at(request);
        *(dated_body *)policy->put(dated, &key) =
            (dated_body){ { copy_body(), BODY, BODY }, request + BOUND };
        n = policy->len(dated);
    } else {
        oak_cache_stats st;

        if (dated_cache == NULL)
            dated_cache = scn_must(oak_cache_new(&(oak_cache_config){
                .keys = &oak_map_slice_ptr, .ttl = BOUND * TICK, .clock = logical_clock }));
        if (oak_cache_put(dated_cache, &key, copy_body()) != 0) scn_die("out of memory");
        oak_cache_stats_read(dated_cache, &st);
        n = st.entries;
    }
    if (n > most_entries) most_entries = n;
}

/* Requests go on until a same-size growth is over, as overflow buckets come between two of them and
 * go with the next. */
static size_t end_same_size_growth(void)
{
    size_t request = REQUESTS;
    scn_map_stats st;
    uint64_t before;

    policy->stats(dated, &st);
    before = st.same_size_growths;
    do {
        remember_for_a_while(request++);
        policy->stats(dated, &st);
    } while (st.same_size_growths == before || st.growing);
    return request;
}

/* A thousand requests later, of which none was remembered. */
static void expire_all(void *arg)
{
    (void)arg;
    if (policy->leaks_as_go) {
        size_t request = end_same_size_growth();

        for (size_t i = 0; i < BOUND; i++) expire_at(request + i);
        return;
    }
    now += BOUND * TICK;
    while (oak_cache_purge_expired(dated_cache, BOUND)) continue;
}

static void dated_array(void *st)
{
    policy->stats(dated, st);
}

static void expiring(scn *s)
{
    double start = scn_live(), early, late, expired;
    scn_map_stats st;

    scn_row(s, "repaired: bodies for 1,000 requests each");
    early = live_after(remember_for_a_while, EARLY, start);
    late = looked_after(remember_for_a_while, start);
    scn_expect_quiet(s);
    scn_retained(s, late, SCN_BYTES);
    scn_go(s, "2,272,912");
    scn_pointed(s, "not a leak: never more than %zu entries", most_entries);
    scn_expect_bytes(s, "L(50k), against L(10k)", late, early, 5);
    scn_expect(s, "entries at any time", (double)most_entries, (double)BOUND,
               policy->leaks_as_go ? (double)BOUND : (double)BOUND * 1.125);

    scn_row(s, "the same, all expired, the map kept");
    scn_on_thread(expire_all, NULL);
    expired = scn_live() - start;
    scn_retained(s, expired, SCN_BYTES);
    scn_go(s, "114,720");
    if (policy->leaks_as_go) {
        scn_on_thread(dated_array, &st);
        scn_pointed(s, "map: count %zu, array %s B", st.count,
                    scn_thousands((double)st.array_bytes));
        scn_expect_bytes(s, "retained, against one empty array of 108,800 bytes", expired, 108800,
                         5);
        scn_expect(s, "entries", (double)st.count, 0, 0);
    } else {
        scn_pointed(s, "cache: nothing left");
        scn_expect_none(s, "retained", expired);
    }
    dated = NULL;
    dated_cache = NULL;
}

static void run(scn *s)
{
    policy = scn_policy(s);
    unbounded(s);
    bounded(s);
    expiring(s);
}

const scn_scenario scn_audit_cache_unbounded = {
    .id = "audit-cache-unbounded",
    .class = 'U',
    .source = "A1 5",
    .leak = "a middleware keeps the body of every request",
    .maps = true,
    .run = run,
};
