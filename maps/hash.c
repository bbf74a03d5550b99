/* hash.c - byte, string and float hashing, seeds.
 *
 * Owns:       the secret and the counter from which oaki_hash_random makes its numbers; the number
 *             that lasts. A number may become public, as in a NaN's payload. Other numbers, such as
 *             a map's seed, can't be computed from it.
 * Invariants: both words of the secret are 0 only until the first number is made; in the child of a
 *             fork, until the child's first.
 * Lock:       none; atomic words. */
#include "hash.h"
#include "runtime/xxh.h"
#include <pthread.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static AO_t secret[2], counter, lasting;

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
    return d != d ? oaki_hash_random() : oaki_hash_u64(oaki_double_bits(d), seed);
}

/* The kernel's random numbers, if it has them. Otherwise time, process and load address: maps of
 * different processes then differ, but an attacker can guess. */
static OAKI_COLD void make_secret(void)
{
    uint64_t made[2];
    if (syscall(SYS_getrandom, made, sizeof made, GRND_NONBLOCK) != (long)sizeof made) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        made[0] = oaki_hash_u64((uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30),
                                (uintptr_t)&now ^ ((uint64_t)getpid() << 48));
        made[1] = oaki_hash_u64(made[0], (uintptr_t)make_secret);
    }
    for (int i = 0; i < 2; i++) (void)AO_compare_and_swap_full(&secret[i], 0, (AO_t)made[i] | 1);
}

/* The child's maps must not have the seeds that its parent's maps will have. */
static void after_fork(void)
{
    AO_store(&secret[0], 0);
    AO_store(&secret[1], 0);
}

static __attribute__((constructor)) void register_after_fork(void)
{
    (void)pthread_atfork(NULL, NULL, after_fork);
}

OAKI_INLINE uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

OAKI_INLINE void sip_rounds(uint64_t v[4], int n)
{
    for (; n > 0; n--) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t oaki_hash_secret(uint64_t x, const uint64_t key[2])
{
    uint64_t v[4] = {
        key[0] ^ UINT64_C(0x736f6d6570736575),
        key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261),
        key[1] ^ UINT64_C(0x7465646279746573),
    };
    const uint64_t words[2] = { x, UINT64_C(8) << 56 };
    for (int i = 0; i < 2; i++) {
        v[3] ^= words[i];
        sip_rounds(v, 2);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t oaki_hash_random(void)
{
    if (OAKI_UNLIKELY(AO_load(&secret[0]) == 0 || AO_load(&secret[1]) == 0)) make_secret();
    const uint64_t key[2] = { AO_load(&secret[0]), AO_load(&secret[1]) };
    OAKI_ASSERT(key[0] && key[1]);
    return oaki_hash_secret(AO_fetch_and_add1(&counter), key);
}

uint64_t oaki_hash_lasting(void)
{
    if (OAKI_UNLIKELY(AO_load(&lasting) == 0))
        (void)AO_compare_and_swap_full(&lasting, 0, (AO_t)oaki_hash_random() | 1);
    return AO_load(&lasting);
}
