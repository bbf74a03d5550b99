/* sample.c - drawing sampled bytes, and cutting runs in front of them (sample.h).
 *
 * Owns: oaki_mcache's sample_left, sample_due and random, which are the thread's own, as the cache
 * is.
 * Bound: O(1), with two exceptions. oaki_sample_draw_all is O(span classes). oaki_sample_set_rate
 * stops the world and flushes every cache. */
#include "sample.h"
#include "collector.h"
#include "heap.h"

#define GOLDEN 0x9e3779b97f4a7c15u

/* Marsaglia's xorshift (2003), followed by a multiplication. */
static uint64_t next_random(oaki_mcache *mc)
{
    uint64_t x = mc->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    mc->random = x;
    return x * 0x2545f4914f6cdd1du;
}

/* -ln(u) for u in (0, 1], without libm: its table would have left the processor's cache by the next
 * sample. u = m 2^e with m within a factor of sqrt(2) of 1. ln(m) = 2 atanh(s), where s = (m - 1) /
 * (m + 1) is below 0.172. Eight terms of the series are good to 14 digits. */
static double minus_log(double u)
{
    union {
        double d;
        uint64_t bits;
    } x = { u };
    int e = (int)(x.bits >> 52) - 1023;
    x.bits = (x.bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    if (x.d > 1.4142135623730951) {
        x.d /= 2;
        e++;
    }
    double s = (x.d - 1) / (x.d + 1), q = s * s, sum = 0;
    for (int k = 15; k > 0; k -= 2) sum = sum * q + 1.0 / k;
    return -(2 * s * sum + e * 0.6931471805599453);
}

/* Byte number floor(x) is the next sampled one, where x has the exponential distribution. So an
 * object of s bytes from here contains it with probability exactly 1 - exp(-s / rate). */
static size_t distance(oaki_mcache *mc, size_t rate)
{
    if (rate <= 1) return rate ? 0 : OAKI_SAMPLE_NEVER;
    double u = ((double)(next_random(mc) >> 11) + 1) * 0x1p-53; /* (0, 1] */
    double x = minus_log(u) * (double)rate;
    return x < 0x1p62 ? (size_t)x : (size_t)1 << 62;
}

void oaki_sample_draw(oaki_mcache *mc, unsigned sc)
{
    mc->sample_left[sc] = distance(mc, AO_load(&oaki_the_heap.sampler.rate));
}

void oaki_sample_draw_all(oaki_mcache *mc)
{
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) oaki_sample_draw(mc, sc);
}

/* Seeds come from splitmix64 (Steele, Lea and Flood 2014). */
void oaki_sample_seed(oaki_mcache *mc)
{
    uint64_t x = AO_fetch_and_add(&oaki_the_heap.sampler.random, GOLDEN) + GOLDEN;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    mc->random = (x ^ x >> 31) | 1;
}

void oaki_sample_met(oaki_mcache *mc, unsigned sc)
{
    OAKI_REQUIRES_INSIDE();
    mc->sample_due = AO_load(&oaki_the_heap.sampler.rate);
    oaki_sample_draw(mc, sc);
}

size_t oaki_sample_before(oaki_mcache *mc, unsigned sc, size_t size)
{
    size_t before = mc->sample_left[sc] / size * size;
    mc->sample_left[sc] -= before;
    return before;
}

size_t oaki_sample_large(oaki_mcache *mc, size_t bytes)
{
    OAKI_REQUIRES_SELF(mc->thread);
    OAKI_REQUIRES_INSIDE();
    unsigned sc = OAKI_SPANCLASS(OAKI_SCAN, OAKI_CLASS_LARGE); /* for every kind */
    if (OAKI_LIKELY(bytes <= mc->sample_left[sc])) {
        mc->sample_left[sc] -= bytes;
        return 0;
    }
    oaki_sample_met(mc, sc);
    return oaki_sample_take_due(mc);
}

int oaki_sample_set_rate(size_t rate, const oaki_sample_hooks *on, uint64_t seed)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_OUTSIDE();
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return -1;
    h->sampler.on = *on;
    AO_store(&h->sampler.rate, rate);
    if (seed) AO_store(&h->sampler.random, seed);
    oaki_gc_flush_caches();
    for (oaki_mcache *mc = h->mcaches; mc; mc = mc->next) {
        if (seed) oaki_sample_seed(mc);
        oaki_sample_draw_all(mc);
    }
    oaki_gc_stop_end(t);
    return 0;
}
