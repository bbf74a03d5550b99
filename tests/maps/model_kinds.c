/* model_kinds.c - the types of map that the model runs on: their keys, hashes and values. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = OAK_MAP_SCAN_KEY, VALUE = OAK_MAP_SCAN_VALUE };

static uint64_t pattern_hash(const void *key, uint64_t seed, size_t size);
static uint64_t hash_as_it_is(const void *key, uint64_t seed, size_t size);
static bool word_equal(const void *a, const void *b, size_t size);

#define HASHED_BY(which, pattern, bits, function) \
    { which, MODEL_HASHED, pattern, false, \
      { .key = OAK_KEY_CUSTOM, .flags = bits, .key_size = 8, .value_size = 8, \
        .hash = function, .equal = word_equal, .name = which } }
#define HASHED(which, pattern, update) HASHED_BY(which, pattern, update, pattern_hash)
#define AS_IT_IS(which, pattern, update) \
    HASHED_BY(which, pattern, OAK_MAP_AVALANCHING | (update), hash_as_it_is)

const model_kind model_kinds[] = {
    { "u64_u64", MODEL_WORD, 0, false, { .key = OAK_KEY_U64, .key_size = 8, .value_size = 8 } },
    { "dense_box", MODEL_DENSE, 0, true,
      { .key = OAK_KEY_U64, .flags = VALUE, .key_size = 8, .value_size = 8 } },
    { "u32_u32", MODEL_WORD, 0, false, { .key = OAK_KEY_U32, .value_size = 4 } },
    { "u32_128", MODEL_WORD, 0, false, { .key = OAK_KEY_U32, .value_size = 128 } },
    { "pointer_box", MODEL_WORD, 0, true,
      { .key = OAK_KEY_POINTER, .flags = VALUE, .value_size = 8 } },
    { "u64_set", MODEL_WORD, 0, false, { .key = OAK_KEY_U64 } },
    { "double_u64", MODEL_REAL, 0, false,
      { .key = OAK_KEY_DOUBLE, .key_size = 8, .value_size = 8 } },
    { "float_box16", MODEL_REAL, 0, true,
      { .key = OAK_KEY_DOUBLE, .flags = VALUE, .key_size = 4, .value_size = 16 } },
    { "text_u64", MODEL_TEXT, 0, false, { .key = OAK_KEY_CSTRING, .flags = KEY, .value_size = 8 } },
    { "text_update_box", MODEL_TEXT, 0, true,
      { .key = OAK_KEY_CSTRING, .flags = KEY | VALUE | OAK_MAP_KEY_UPDATE, .value_size = 24 } },
    { "slice_box", MODEL_SLICE, 0, true,
      { .key = OAK_KEY_SLICE, .flags = KEY | VALUE, .value_size = 8 } },
    { "bytes3_3", MODEL_WORD, 0, false, { .key = OAK_KEY_BYTES, .key_size = 3, .value_size = 3 } },
    { "bytes12_1", MODEL_WORD, 0, false,
      { .key = OAK_KEY_BYTES, .key_size = 12, .value_size = 1 } },
    { "bytes16_16", MODEL_WORD, 0, false,
      { .key = OAK_KEY_BYTES, .key_size = 16, .value_size = 16 } },
    { "bytes128_box128", MODEL_WORD, 0, true,
      { .key = OAK_KEY_BYTES, .flags = VALUE, .key_size = 128, .value_size = 128 } },
    { "bytes129_129", MODEL_WORD, 0, false,
      { .key = OAK_KEY_BYTES, .key_size = 129, .value_size = 129 } },
    { "bytes200_box136", MODEL_WORD, 0, true,
      { .key = OAK_KEY_BYTES, .flags = VALUE, .key_size = 200, .value_size = 136 } },
    { "u64_1000", MODEL_WORD, 0, false, { .key = OAK_KEY_U64, .value_size = 1000 } },
    HASHED("random", MODEL_RANDOM, 0),
    HASHED("constant", MODEL_FEW1, 0),
    HASHED("two_hashes", MODEL_FEW2, 0),
    HASHED("sixteen_hashes", MODEL_FEW16, 0),
    HASHED("top", MODEL_TOP, 0),
    HASHED("first_positions", MODEL_FIRST, 0),
    HASHED("last_positions", MODEL_LAST, 0),
    HASHED("one_tag", MODEL_TAG, 0),
    HASHED("updated_top", MODEL_TOP, OAK_MAP_KEY_UPDATE),
    AS_IT_IS("avalanching", MODEL_RANDOM, 0),
    AS_IT_IS("avalanching_constant", MODEL_FEW1, 0),
    AS_IT_IS("avalanching_first", MODEL_FIRST, 0),
    AS_IT_IS("avalanching_last", MODEL_LAST, 0),
    AS_IT_IS("avalanching_updated_top", MODEL_TOP, OAK_MAP_KEY_UPDATE),
};
const unsigned model_nkinds = sizeof model_kinds / sizeof model_kinds[0];

size_t model_key_size(const model_kind *kind)
{
    if (kind->type.key_size > 0) return kind->type.key_size;
    return kind->form == MODEL_SLICE ? sizeof(oak_slice) : kind->type.key == OAK_KEY_U32 ? 4 : 8;
}

static uint64_t scramble(uint64_t x)
{
    x = (x ^ x >> 31) * UINT64_C(0x7fb5d329728ea185);
    x = (x ^ x >> 27) * UINT64_C(0x81dadef4bc2dd44d);
    return x ^ x >> 33;
}

/* ---- hashes ---- */

static struct {
    model_pattern pattern;
    uint64_t mult;
} hashing;

void model_hash_for(const model_kind *kind, const oak_map *m)
{
    hashing.pattern = kind->pattern;
    hashing.mult = m->mult;
}

/* Of an odd number, modulo 2^64; each round doubles the bits that are right, the first has 3. */
static uint64_t inverse(uint64_t x)
{
    uint64_t y = x;
    for (int i = 0; i < 5; i++) y *= 2 - x * y;
    return y;
}

uint64_t model_unmix(uint64_t hash, uint64_t seed, uint64_t mult)
{
    uint64_t x = hash * inverse(UINT64_C(0xbf58476d1ce4e5b9));
    x ^= x >> 29 ^ x >> 58;
    x *= inverse(UINT64_C(0x9e3779b97f4a7c15));
    x ^= x >> 32;
    return x * inverse(mult) ^ seed;
}

static uint64_t wanted_hash(uint64_t k)
{
    uint64_t h = scramble(k);
    switch (hashing.pattern) {
    case MODEL_FEW1:
        return scramble(12345);
    case MODEL_FEW2:
        return scramble(k % 2);
    case MODEL_FEW16:
        return scramble(k % 16);
    case MODEL_TOP:
        return h | UINT64_C(0xfff) << 52;
    case MODEL_FIRST:
        return h & UINT64_MAX << (48 + k % 12);
    case MODEL_LAST:
        return h | UINT64_MAX >> (4 + k % 12);
    case MODEL_TAG:
        return h & UINT64_C(0xffffff0000000000);
    default:
        return h;
    }
}

/* A function of key and seed alone, so that it stays one when the map seeds itself anew. */
static uint64_t pattern_hash(const void *key, uint64_t seed, size_t size)
{
    uint64_t k;
    memcpy(&k, key, size);
    return model_unmix(wanted_hash(k), seed, hashing.mult);
}

/* Avalanching if it is random; the other patterns are as bad under each seed. */
static uint64_t hash_as_it_is(const void *key, uint64_t seed, size_t size)
{
    uint64_t k;
    memcpy(&k, key, size);
    return wanted_hash(hashing.pattern == MODEL_RANDOM ? k ^ seed : k);
}

static bool word_equal(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

/* ---- keys ---- */

size_t model_text_size(const model_kind *kind, unsigned k)
{
    if (kind->form == MODEL_SLICE) return k == 0 ? 0 : 4 + k % 61;
    return kind->form == MODEL_TEXT ? 12 + k % 53 : 0;
}

static void make_text(unsigned k, size_t size, char *text)
{
    memset(text, 'a' + (int)(k % 26), size);
    snprintf(text, 12, "%010u", k);
    text[10] = '-';
    text[size - 1] = '\0';
}

static void make_bytes(unsigned k, size_t size, char *bytes)
{
    for (size_t i = 4; i < size; i++) bytes[i] = (char)(scramble(k) >> (i % 8 * 8));
    memcpy(bytes, &k, size < 4 ? size : 4);
}

void model_make_key(const model_kind *kind, unsigned k, bool negative, char *text,
                    model_room *out)
{
    size_t size = model_text_size(kind, k);
    switch (kind->form) {
    case MODEL_DENSE:
    case MODEL_HASHED:
        out->word = k;
        break;
    case MODEL_REAL: {
        double d = k == 0 && negative ? -0.0 : k * 0.5;
        if (kind->type.key_size == sizeof(float)) out->f = (float)d;
        else out->d = d;
        break;
    }
    case MODEL_TEXT:
        make_text(k, size, text);
        out->text = text;
        break;
    case MODEL_SLICE:
        if (size > 0) make_bytes(k, size, text);
        out->slice = (oak_slice){ size > 0 ? text : NULL, size };
        break;
    default:
        make_bytes(k, model_key_size(kind), out->bytes);
    }
}

static double real_of(const model_kind *kind, const void *key)
{
    model_room r;
    memcpy(&r, key, kind->type.key_size);
    return kind->type.key_size == sizeof(float) ? (double)r.f : r.d;
}

bool model_key_is_nan(const model_kind *kind, const void *key)
{
    return kind->form == MODEL_REAL && isnan(real_of(kind, key));
}

static unsigned number_in(const void *bytes, size_t size)
{
    unsigned k = 0;
    memcpy(&k, bytes, size < 4 ? size : 4);
    return k;
}

static bool same_text(const char *stored, size_t len, const char *made, size_t size)
{
    return len == size && (size == 0 || memcmp(stored, made, size) == 0);
}

long model_key_number(const model_kind *kind, const void *key)
{
    model_room r, made;
    char text[80];
    unsigned k;
    memcpy(&r, key, model_key_size(kind));
    switch (kind->form) {
    case MODEL_REAL: {
        double d = real_of(kind, key) * 2;
        return d >= 0 && d < 4e9 && d == floor(d) ? (long)d : -1;
    }
    case MODEL_TEXT:
        k = (unsigned)strtoul(r.text, NULL, 10);
        model_make_key(kind, k, false, text, &made);
        return strcmp(r.text, text) == 0 ? (long)k : -1;
    case MODEL_SLICE:
        k = r.slice.len > 0 ? number_in(r.slice.data, r.slice.len) : 0;
        model_make_key(kind, k, false, text, &made);
        return same_text(r.slice.data, r.slice.len, made.slice.data, made.slice.len) ? (long)k : -1;
    default:
        k = number_in(&r, model_key_size(kind));
        model_make_key(kind, k, false, text, &made);
        return memcmp(&r, &made, model_key_size(kind)) == 0 ? (long)k : -1;
    }
}

/* ---- values ---- */

typedef struct box {
    uint64_t word, check;
} box;

void *model_make_box(uint64_t word)
{
    box *b = oak_alloc_noscan(sizeof(box) + word % 5 * 16);
    if (b) *b = (box){ word, scramble(word) };
    return b;
}

static void make_value(const model_kind *kind, uint64_t word, char *out)
{
    size_t size = kind->type.value_size;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t x = i == 0 ? word : scramble(word + i);
        memcpy(out + i, &x, size - i < 8 ? size - i : 8);
    }
}

void model_write_value(const model_kind *kind, void *slot, uint64_t word, void *b)
{
    char value[MODEL_VALUE_MAX];
    size_t size = kind->type.value_size;
    make_value(kind, word, value);
    if (kind->boxed) memcpy(value + size - sizeof b, &b, sizeof b);
    if (size > 0) memcpy(slot, value, size);
}

bool model_value_is(const model_kind *kind, const void *slot, uint64_t word)
{
    char value[MODEL_VALUE_MAX];
    size_t size = kind->type.value_size;
    make_value(kind, word, value);
    if (!kind->boxed) return memcmp(slot, value, size) == 0;
    size -= sizeof(box *);
    box *b;
    memcpy(&b, (const char *)slot + size, sizeof b);
    return memcmp(slot, value, size) == 0 && oak_base(b) == b && b->word == word &&
           b->check == scramble(word);
}
