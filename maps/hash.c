/* hash.c - byte, string and float hashing, seeds.
 *
 * Owns:       `random_counter`, from which oaki_hash_random makes its numbers (Steele, Lea and
 *             Flood's SplitMix: a counter with an odd stride, mixed).
 * Invariants: the counter is 0 only until the first random number is asked for.
 * Lock:       none; atomic adds. */
#include "hash.h"
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static AO_t random_counter;

uint64_t oaki_hash_bytes(const void *p, size_t n, uint64_t seed)
{
    if (n == 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        return oaki_hash_u64(x, seed);
    }
    if (n == 4) {
        uint32_t x;
        memcpy(&x, p, 4);
        return oaki_hash_u64(x, seed);
    }
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t oaki_hash_double(double d, uint64_t seed)
{
    uint64_t bits;
    if (d != d) return oaki_hash_random();
    if (d == 0) d = 0; /* -0 equals +0 */
    memcpy(&bits, &d, sizeof bits);
    return oaki_hash_u64(bits, seed);
}

/* The kernel's random numbers where it has them; otherwise the time, the process and where the
 * loader put us, which keeps maps of different processes apart but surprises no attacker. */
static OAKI_COLD void seed_counter(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = oaki_hash_u64((uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30),
                             (uintptr_t)&now ^ ((uint64_t)getpid() << 48));
    }
    (void)AO_compare_and_swap_full(&random_counter, 0, (AO_t)seed | 1);
}

uint64_t oaki_hash_random(void)
{
    if (OAKI_UNLIKELY(AO_load(&random_counter) == 0)) seed_counter();
    return oaki_hash_u64(AO_fetch_and_add(&random_counter, (AO_t)UINT64_C(0x9e3779b97f4a7c15)), 1);
}
