/* keys.h - the keys of the map benchmarks, the same for every peer and every run.
 *
 * Key i is a function of i, so that no table of keys lies in the caches beside the map: programs
 * make a batch of them, outside of what is timed. Integers are SplitMix64's, and so all different.
 * Strings (-DSTRINGS) are 8 to 64 printable bytes and a 0, each length as often; that they differ
 * is checked by the maps' lengths. keys.go is the twin. Compiles as C and as C++. */
#ifndef BENCH_MAP_KEYS_H
#define BENCH_MAP_KEYS_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/bench.h"

/* Indexes from here on are of keys that no map holds. */
#define KEY_MISSING ((uint64_t)1 << 40)

static inline uint64_t key_number(uint64_t i)
{
    return bench_mix((i + 1) * 0x9e3779b97f4a7c15u);
}

enum { KEY_LEAST = 8, KEY_MOST = 64 };

typedef struct key_text {
    const char *data;
    size_t len;
} key_text;

#ifdef STRINGS

enum { BATCH = 256 };
typedef key_text map_key;
typedef struct batch {
    map_key key[BATCH];
    uint64_t text[BATCH * (KEY_MOST / 8 + 1)];
} batch;

/* Six bits of each byte of a random word, moved to where they print: '0' to 'o'. */
static inline void batch_fill(batch *b, const uint64_t *index, unsigned count)
{
    uint64_t *to = b->text;
    for (unsigned j = 0; j < count; j++) {
        uint64_t state = key_number(index[j]);
        size_t len = KEY_LEAST + state % (KEY_MOST - KEY_LEAST + 1);
        b->key[j].data = (const char *)to;
        b->key[j].len = len;
        for (size_t at = 0; at < len; at += 8)
            *to++ = (bench_random(&state) & 0x3f3f3f3f3f3f3f3fu) + 0x3030303030303030u;
        char *end = (char *)(b->key[j].data + len);
        if (len % 8 == 0) to++;
        *end = '\0';
    }
}

#else

enum { BATCH = 1024 };
typedef uint64_t map_key;
typedef struct batch {
    map_key key[BATCH];
} batch;

static inline void batch_fill(batch *b, const uint64_t *index, unsigned count)
{
    for (unsigned j = 0; j < count; j++) b->key[j] = key_number(index[j]);
}

#endif

/* Fisher and Yates. The same order in every peer, as they draw from the same generator. */
static inline void keys_shuffle(uint32_t *v, uint64_t n, uint64_t *state)
{
    for (uint64_t i = n; i > 1; i--) {
        uint64_t j = bench_random(state) % i;
        uint32_t t = v[i - 1];
        v[i - 1] = v[j];
        v[j] = t;
    }
}

static inline void keys_die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline uint32_t *keys_array(uint64_t n)
{
    uint32_t *v = (uint32_t *)malloc(n * sizeof *v);
    if (!v) keys_die("out of memory");
    for (uint64_t i = 0; i < n; i++) v[i] = (uint32_t)i;
    return v;
}

#endif
