/* keys.h - the keys of the map benchmarks, the same for every peer and every run.
 *
 * Key i is a function of i, so that no table of keys lies in the caches beside the map: programs
 * make a batch of them, outside of what is timed. Integers are SplitMix64's, and so all different.
 * Strings (-DSTRINGS) are 8 to 64 printable bytes and a 0, each length as often; that they differ
 * is checked by the maps' lengths. keys.go is the twin.
 *
 * Entries are integers or strings to integers, all of 8 bytes. For course.c: with -DU32 integers of
 * 4 bytes to such, with -DWIDE of 8 to 56 bytes, with -DTEXTS pointers to the program's texts of 16
 * bytes to 8 bytes; and -DSAME_HASH, which has all peers hash by key_hash. Compiles as C and as
 * C++. */
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

/* ---- values and sums ---- */

#if defined(U32)
typedef uint32_t map_value;
#elif defined(WIDE)
typedef struct map_value {
    uint64_t word[7];
} map_value;
#else
typedef uint64_t map_value;
#endif

static inline map_value value_of(uint64_t number)
{
#ifdef WIDE
    map_value v = { { number, number, number, number, number, number, number } };
    return v;
#else
    return (map_value)number;
#endif
}

/* What a key adds to the sum of a map's entries: a text nothing. */
#if defined(STRINGS) || defined(TEXTS)
#define KEY_SUM(key) 0u
#else
#define KEY_SUM(key) (key)
#endif

static inline uint64_t value_number(const map_value *v)
{
#ifdef WIDE
    return v->word[0];
#else
    return *v;
#endif
}

/* ---- keys ---- */

/* Six bits of each byte of a random word, moved to where they print: '0' to 'o'. */
static inline uint64_t key_letters(uint64_t *state)
{
    return (bench_random(state) & 0x3f3f3f3f3f3f3f3fu) + 0x3030303030303030u;
}

#ifdef STRINGS

enum { BATCH = 256 };
typedef key_text map_key;
typedef struct batch {
    map_key key[BATCH];
    uint64_t text[BATCH * (KEY_MOST / 8 + 1)];
} batch;

static inline void batch_fill(batch *b, const uint64_t *index, unsigned count)
{
    uint64_t *to = b->text;
    for (unsigned j = 0; j < count; j++) {
        uint64_t state = key_number(index[j]);
        size_t len = KEY_LEAST + state % (KEY_MOST - KEY_LEAST + 1);
        b->key[j].data = (const char *)to;
        b->key[j].len = len;
        for (size_t at = 0; at < len; at += 8) *to++ = key_letters(&state);
        char *end = (char *)(b->key[j].data + len);
        if (len % 8 == 0) to++;
        *end = '\0';
    }
}

#else

enum { BATCH = 1024 };
#if defined(U32)
typedef uint32_t map_key;
#elif defined(TEXTS)
typedef const char *map_key;
enum { KEY_TEXT = 16 };
static char *key_texts; /* of the keys of the map, and behind them as many others */
static uint64_t key_count;
#else
typedef uint64_t map_key;
#endif
typedef struct batch {
    map_key key[BATCH];
} batch;

static inline map_key key_at(uint64_t index)
{
    uint64_t missing = index >= KEY_MISSING;
#if defined(U32)
    /* MurmurHash3's last steps, a bijection, too. */
    uint32_t k = (uint32_t)(index | missing << 31);
    k = (k ^ k >> 16) * 0x85ebca6bu;
    k = (k ^ k >> 13) * 0xc2b2ae35u;
    return k ^ k >> 16;
#elif defined(TEXTS)
    return key_texts + (missing ? key_count + index - KEY_MISSING : index) * KEY_TEXT;
#else
    (void)missing;
    return key_number(index);
#endif
}

static inline void batch_fill(batch *b, const uint64_t *index, unsigned count)
{
    for (unsigned j = 0; j < count; j++) b->key[j] = key_at(index[j]);
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

/* ---- what course.c has beside ---- */

#ifdef SAME_HASH

/* Before the first of n keys is made. */
static inline void keys_begin(uint64_t n)
{
#ifdef TEXTS
    key_count = n;
    key_texts = (char *)malloc(2 * n * KEY_TEXT);
    if (!key_texts) keys_die("out of memory");
    for (uint64_t i = 0; i < 2 * n; i++) {
        uint64_t state = key_number(i), text[2];
        for (unsigned j = 0; j < 2; j++) text[j] = key_letters(&state);
        memcpy(key_texts + i * KEY_TEXT, text, KEY_TEXT);
        key_texts[i * KEY_TEXT + KEY_TEXT - 1] = '\0';
    }
#else
    (void)n;
#endif
}

/* SplitMix64's function; of texts, on their FNV-1a. All bits of it are as good. Of the maps only
 * Oakum's has a seed. */
static inline uint64_t key_hash_with(map_key k, uint64_t seed)
{
#ifdef TEXTS
    uint64_t hash = 0xcbf29ce484222325u ^ seed;
    for (; *k; k++) hash = (hash ^ (unsigned char)*k) * 0x100000001b3u;
    return bench_mix(hash);
#else
    return bench_mix(k ^ seed);
#endif
}

static inline uint64_t key_hash(map_key k)
{
    return key_hash_with(k, 0);
}

static inline bool key_equal(map_key a, map_key b)
{
#ifdef TEXTS
    return strcmp(a, b) == 0;
#else
    return a == b;
#endif
}

#endif

#endif
