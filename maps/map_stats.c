/* map_stats.c - a map's statistics, and their expected values for random hashes.
 *
 * Owns: nothing. Lock: none, as for a lookup; a concurrent write is checked for at each group.
 * Bound: O(entries) hashes, and the distribution of overflow at the map's load. */
#include "map.h"
#include <string.h>

/* ---- expected values ---- */

#define CARRY_MAX 64  /* entries that go past a group: more are practically impossible */
#define ARRIVALS 64   /* entries of one home */
#define ROUNDS 60     /* groups until the distribution of carried entries is stationary */

typedef struct expected {
    double overflowed; /* part of the entries that are outside of their home */
    double probe;      /* groups read to find an entry, on average */
} expected;

static double exp_minus(double x)
{
    double e = 1, term = 1; /* e^-x by its series, x halved until it is small */
    int halvings = 0;
    for (; x > 0.5; x /= 2) halvings++;
    for (int k = 1; k < 20; k++) {
        term *= -x / k;
        e += term;
    }
    while (halvings-- > 0) e *= e;
    return e;
}

/* Each group is the home of Poisson(mean) entries. The number that is carried past a group is then
 * a random walk that doesn't fall below 0. An entry that is carried past a group costs one more
 * probe; overflowed entries are those in their first carry. */
static expected expect(double mean)
{
    double arrive[ARRIVALS], carry[CARRY_MAX] = { 1 }, next[CARRY_MAX];
    expected e = { 0, 1 };
    if (mean <= 0) return e;
    arrive[0] = exp_minus(mean);
    for (int k = 1; k < ARRIVALS; k++) arrive[k] = arrive[k - 1] * mean / k;
    for (int round = 0; round < ROUNDS; round++) {
        memset(next, 0, sizeof next);
        for (int c = 0; c < CARRY_MAX; c++)
            for (int k = 0; carry[c] > 1e-12 && k < ARRIVALS; k++) {
                int out = c + k - OAK_MAP_SLOTS_;
                next[out < 0 ? 0 : out >= CARRY_MAX ? CARRY_MAX - 1 : out] += carry[c] * arrive[k];
            }
        memcpy(carry, next, sizeof carry);
    }
    double past = 0, first = 0;
    for (int c = 0; c < CARRY_MAX; c++)
        for (int k = 0; carry[c] > 1e-12 && k < ARRIVALS; k++) {
            int out = c + k - OAK_MAP_SLOTS_;
            double p = carry[c] * arrive[k];
            if (out <= 0) continue;
            past += p * out;
            first += p * (out < k ? out : k);
        }
    e.overflowed = first / mean;
    e.probe = 1 + past / mean;
    return e;
}

/* ---- actual values ---- */

typedef struct tally {
    size_t entries, overflowed, probes, longest, same, unfindable;
    uint64_t counted; /* the hash whose entries were last counted */
    uint64_t moves;   /* of the map, when the walk began */
} tally;

static uint64_t hash_of(const oak_map *m, const char *e)
{
    return oak_map_hash_of_(m, m->type, oak_map_stored_key_(m->type, e));
}

size_t oaki_map_same_hash(const oak_map *m, const struct oak_map_array_ *a, size_t g,
                          uint64_t hash)
{
    size_t n = 0;
    for (;; g++) {
        const char *tags = (char *)oaki_map_tags(a, g);
        for (unsigned hit = oak_map_match_(tags, oak_map_tags_of_(hash)); hit; hit &= hit - 1)
            n += hash_of(m, oaki_map_entry(m, a, g, oaki_ctz(hit))) == hash;
        if (!oak_map_went_past_(tags, oak_map_tag_(hash))) return n;
    }
}

static void count_entry(const oak_map *m, const struct oak_map_array_ *a, size_t g, const char *e,
                        tally *sum)
{
    uint64_t hash = hash_of(m, e);
    size_t past = g - oaki_map_home(a, oak_map_position_(hash));
    OAKI_ASSERT(oaki_map_home(a, oak_map_position_(hash)) <= g || !oaki_map_hash_is_own(m->type));
    sum->entries++;
    sum->overflowed += past > 0;
    sum->probes += past + 1;
    sum->longest = OAKI_MAX(sum->longest, past + 1);
    const void *key = oak_map_stored_key_(m->type, e);
    sum->unfindable += !oak_map_equal_(m->type, key, key);
    if (m->moves != sum->moves) oak_map_misuse_(m, OAK_MAP_READ_);
    if (hash == sum->counted && sum->entries > 1) return;
    const char *tags = (char *)oaki_map_tags(a, g);
    unsigned hit = oak_map_match_(tags, oak_map_tags_of_(hash));
    if (sum->same > 0 && (hit & (hit - 1)) == 0 && !oak_map_went_past_(tags, oak_map_tag_(hash)))
        return; /* its tag is alone */
    sum->counted = hash;
    sum->same = OAKI_MAX(sum->same, oaki_map_same_hash(m, a, g, hash));
}

static void count_array(const oak_map *m, unsigned i, tally *sum)
{
    const struct oak_map_array_ *a = &m->array[i];
    size_t n = oaki_map_array_groups(m, i);
    for (size_t g = 0; g < n; g++) {
        if (m->busy || m->moves != sum->moves) oak_map_misuse_(m, OAK_MAP_READ_);
        if (!a->dir[g >> a->gbits]) continue;
        for (unsigned used = oaki_map_used(oaki_map_tags(a, g)); used; used &= used - 1)
            count_entry(m, a, g, oaki_map_entry(m, a, g, oaki_ctz(used)), sum);
    }
}

void oak_map_stats_read(const oak_map *m, oak_map_stats *out)
{
    tally sum = { 0 };
    if (!out) return;
    memset(out, 0, sizeof *out);
    if (!m) return;
    sum.moves = m->moves;
    count_array(m, 0, &sum);
    count_array(m, 1, &sum);
    OAKI_ASSERT(sum.entries == m->len);
    out->len = m->len;
    out->groups = (size_t)1 << m->bits;
    size_t slots = m->bits ? out->groups * OAK_MAP_SLOTS_ : oaki_popcount(m->array[0].slots);
    out->load = (double)m->len / (double)slots;
    out->array_bytes = oaki_map_array_bytes(m, 0);
    out->resizing = m->resizing;
    if (m->resizing) {
        out->old_array_bytes = oaki_map_array_bytes(m, 1);
        out->evacuated = (double)(m->last + 1) / (double)OAKI_MAP_HALF;
    }
    out->overflowed = sum.overflowed;
    out->longest_probe = sum.longest;
    out->mean_probe = sum.entries ? (double)sum.probes / (double)sum.entries : 0;
    expected e = expect(m->bits ? (double)m->len / (double)out->groups : 0);
    out->expected_overflowed = e.overflowed * (double)m->len;
    out->expected_probe = sum.entries ? e.probe : 0;
    out->same_hash = sum.same;
    out->unfindable = sum.unfindable;
    out->bad_hash = sum.same >= OAKI_MAP_COLLISIONS;
    if (!m->more) return;
    out->growths = m->more->growths;
    out->shrinks = m->more->shrinks;
    out->reseeds = m->more->reseeds;
    out->bad_hash |= m->more->bad_hash;
}
