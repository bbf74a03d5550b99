/* collision-rate-monitor.c - how many keys collide, and what a monitor of it must divide by what.
 *
 * What leaks: nothing. It is said that 2.4 to 4.9 % of a million keys collide in 1,024 buckets, and
 *             that keys which are structs do so most.
 * Why not:    with 977 keys a bucket, 99.9 % share theirs: a rate of a few percent can't be. What
 *             tells a bad hash is how evenly buckets fill (all types do alike), and in a live map
 *             the share of entries that are not where their hash says.
 * Seen by:    the share of entries in overflow buckets (outside of their group, in the default map)
 *             and the longest chain: a few percent for a healthy hash at any size, nearly all for
 *             one that is always the same. */
#include "scenario.h"

#include <math.h>

#define KEYS 1000000
#define BUCKETS 1024
#define SEED 1 /* fixed: one in some hundred has a fuller bucket by chance */
#define MOST_LIVE ((int64_t)13000)
#define STEP ((int64_t)1000)
#define ONE_HASH ((int64_t)4000)

static const scn_map_policy *policy;
static void *map;

/* ---- how evenly hashes fall ---- */

typedef struct pair {
    int32_t a, b;
} pair;

typedef enum key_type { KEY_INT, KEY_STRING, KEY_STRUCT } key_type;

/* The hash that a map of this policy gives such a key, before it mixes in anything of its own. */
static uint64_t hash_of(key_type type, int32_t i)
{
    int64_t number = i;
    pair p = { i, i * 7 };
    char text[] = "00000000";
    scn_string string = { text, 8 };

    for (int at = 7, left = i; left != 0; at--, left /= 10) text[at] = (char)('0' + left % 10);
    switch (type) {
    case KEY_INT:
        return policy->leaks_as_go ? oak_classic_int_int.hash(&number, SEED, 8)
                                   : oak_hash_bytes(&number, 8, SEED);
    case KEY_STRING:
        return policy->leaks_as_go ? oak_classic_hash_string(&string, SEED, sizeof(string))
                                   : oak_hash_bytes(text, 8, SEED);
    default:
        return policy->leaks_as_go ? oak_classic_hash_bytes(&p, SEED, sizeof(p))
                                   : oak_hash_bytes(&p, sizeof(p), SEED);
    }
}

/* The classic map takes the low bits, the default one the high. */
static size_t bucket_of(uint64_t hash)
{
    return policy->leaks_as_go ? hash % BUCKETS : hash >> (64 - 10);
}

static void distribution(scn *s, key_type type, const char *what, const char *go)
{
    static unsigned count[BUCKETS];
    double mean = (double)KEYS / BUCKETS, sigma = sqrt(mean), variance = 0;
    unsigned fullest = 0;

    for (int i = 0; i < BUCKETS; i++) count[i] = 0;
    for (int32_t i = 0; i < KEYS; i++) count[bucket_of(hash_of(type, i))]++;
    for (int i = 0; i < BUCKETS; i++) {
        variance += (count[i] - mean) * (count[i] - mean) / BUCKETS;
        if (count[i] > fullest) fullest = count[i];
    }
    scn_row(s, "fullest of 1,024 buckets, 1,000,000 %s", what);
    scn_retained(s, fullest, SCN_COUNT);
    scn_go(s, go);
    scn_figure(s, "variance (a Poisson distribution has 977)", variance, SCN_COUNT);
    scn_pointed(s, "not a leak: %.1f keys a bucket, variance %.0f, fullest %+.1f sigma", mean,
                variance, (fullest - mean) / sigma);
    scn_expect(s, "fullest bucket", fullest, mean - 4.5 * sigma, mean + 4.5 * sigma);
}

/* ---- a live map ---- */

static struct share {
    int64_t next, end;
    double most; /* in overflow buckets, percent, at any size */
    size_t longest;
} share;

static void grow_and_look(void *arg)
{
    scn_map_stats st;

    (void)arg;
    if (map == NULL) map = policy->new (SCN_INT_INT, 0);
    while (share.next < MOST_LIVE) {
        double percent;

        for (int64_t end = share.next + STEP; share.next < end; share.next++)
            scn_put_int(policy, map, share.next, share.next);
        policy->stats(map, &st);
        percent = (double)st.in_overflow / (double)st.count * 100;
        if (percent > share.most) share.most = percent;
        if (st.longest_chain > share.longest) share.longest = st.longest_chain;
    }
}

static void fill_one_hash(void *arg)
{
    (void)arg;
    scn_hash_groups = 1;
    map = policy->new (SCN_GROUPED_INT, 0);
    for (int64_t k = 0; k < ONE_HASH; k++) scn_put_int(policy, map, k, k);
}

static void live_map(scn *s)
{
    scn_map_stats st;
    double percent;

    scn_row(s, "in overflow at 1,000 to 13,000 keys: most");
    scn_detector_begin(NULL);
    scn_on_thread(grow_and_look, NULL);
    scn_detector_look();
    map = NULL;
    scn_expect_quiet(s);
    scn_retained(s, share.most, SCN_PERCENT);
    scn_go(s, "6 to 7 %");
    scn_pointed(s, "not a leak: at most %.1f %% in overflow, longest chain %zu", share.most,
                share.longest);
    scn_expect(s, "in overflow, percent", share.most, 0, 8);

    scn_row(s, "the same with one hash for 4,000 keys");
    scn_on_thread(fill_one_hash, NULL);
    scn_stats(policy, &map, &st);
    scn_detector_begin(NULL);
    scn_live();
    scn_detector_look();
    scn_expect_found(s, OAK_FINDING_MAP_HASH, NULL);
    scn_expect_site(s, "fill_one_hash");
    map = NULL;
    percent = (double)st.in_overflow / (double)st.count * 100;
    scn_retained(s, percent, SCN_PERCENT);
    scn_pointed_too(s, "map: %.1f %% in overflow, longest chain %zu%s", percent, st.longest_chain,
                    st.bad_hash ? ", bad hash" : "");
    scn_expect(s, "in overflow, percent", percent, 80, 100);
}

static void run(scn *s)
{
    policy = scn_policy(s);
    distribution(s, KEY_INT, "int64", "1,073");
    distribution(s, KEY_STRING, "strings of 8 bytes", "1,072");
    distribution(s, KEY_STRUCT, "structs of two int32", "1,072");
    live_map(s);
}

const scn_scenario scn_collision_rate_monitor = {
    .id = "collision-rate-monitor",
    .class = 'N',
    .source = "A3 2.4, 4.3",
    .leak = "keys of all types fall as evenly; a bad hash shows in the share of overflow",
    .maps = true,
    .profile_rate = 512,
    .run = run,
};
