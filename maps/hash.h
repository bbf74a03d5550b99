/* hash.h - the hashes that maps use, and the randomness behind their seeds.
 *
 * Owns:       a secret and a counter, from which random numbers are made.
 * Invariants: every bit of a hash depends on every bit of key and seed. So a map may take its
 *             bucket from the low bits and its tag from the high ones.
 * Lock:       none; the counter is advanced by an atomic add.
 * Bound:      integers O(1), inlined; bytes and strings O(length). */
#ifndef OAKI_HASH_H
#define OAKI_HASH_H

#include "runtime/base.h"
#include <string.h>

/* Two rounds of multiply and fold: the finalizer of MurmurHash3 with the shifts and constants of
 * Stafford's Mix13. It is a bijection of x for each seed, so integer keys never collide in full. */
OAKI_INLINE uint64_t oaki_hash_u64(uint64_t x, uint64_t seed)
{
    x ^= seed * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* XXH3 with a seed; integers of 8 and 4 bytes take the mixer above. */
uint64_t oaki_hash_bytes(const void *p, size_t n, uint64_t seed);

/* -0 becomes +0. By the bits: denormals are not zero, even where the processor reads them so. */
OAKI_INLINE uint64_t oaki_double_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits << 1 ? bits : 0;
}

/* +0 and -0 have one hash; a NaN has another each time. */
uint64_t oaki_hash_double(double d, uint64_t seed);

/* SipHash-2-4 of the eight bytes of x (Aumasson and Bernstein, 2012). Without the key, no number of
 * results tells anything about others. */
uint64_t oaki_hash_secret(uint64_t x, const uint64_t key[2]);

/* 64 random bits. They differ in each process, a fork's child included, but not in a child of
 * _Fork(), which calls no handlers. Any thread. */
uint64_t oaki_hash_random(void);

/* One such number that stays the same, in a fork's child too. Any thread. */
uint64_t oaki_hash_lasting(void);

#endif
