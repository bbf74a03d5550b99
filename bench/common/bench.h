/* bench.h - what every benchmark program needs: a clock, a random generator, arguments.
 *
 * Compiles as C and as C++. The generator's Go twin is in common.go, the same bit for bit. */
#ifndef BENCH_COMMON_BENCH_H
#define BENCH_COMMON_BENCH_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* SplitMix64 (Steele, Lea, Flood 2014): the function that a state is sent through, a bijection. */
static inline uint64_t bench_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint64_t bench_random(uint64_t *state)
{
    return bench_mix(*state += 0x9e3779b97f4a7c15u);
}

/* Argument i as a number, or what `otherwise` says. */
static inline uint64_t bench_arg(int argc, char **argv, int i, uint64_t otherwise)
{
    return i < argc ? strtoull(argv[i], NULL, 10) : otherwise;
}

#endif
