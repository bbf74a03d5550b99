/* ops.c - rounds of one operation on a typed map, for counting instructions (bench/map/count).
 *
 * usage: ops KIND PATTERN ENTRIES ROUNDS. KIND: u32 (to u32), u64 (to 56 bytes). Each round does
 * the operation ENTRIES times: grow (a new map's inserts, resizes included), fill (into room that
 * was reserved), churn (a delete and an insert at constant size), replace, hit, miss, walk. */
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct wide_value {
    uint64_t word[7];
} wide_value;

OAK_MAP_DEFINE(narrow, uint32_t, uint32_t);
OAK_MAP_DEFINE(wide, uint64_t, wide_value);

static uint64_t sum;

/* Distinct keys without an order. */
static uint32_t key(uint32_t i)
{
    return i * UINT32_C(2654435769);
}

/* clang-format off */
#define OPERATIONS(name, K, V) \
    static __attribute__((noinline)) void name##_fill(name *m, uint32_t n) \
    { \
        for (uint32_t i = 0; i < n; i++) *(uint32_t *)name##_put(m, (K)key(i)) = i; \
    } \
    static __attribute__((noinline)) void name##_churn(name *m, uint32_t from, uint32_t n) \
    { \
        for (uint32_t i = from; i < from + n; i++) { \
            sum += name##_delete(m, (K)key(i)); \
            *(uint32_t *)name##_put(m, (K)key(i + n)) = i; \
        } \
    } \
    static __attribute__((noinline)) void name##_look(name *m, uint32_t from, uint32_t n) \
    { \
        for (uint32_t i = from; i < from + n; i++) { \
            const V *v = name##_get(m, (K)key(i)); \
            if (v) sum += *(const uint32_t *)v; \
        } \
    } \
    static __attribute__((noinline)) void name##_walk(name *m) \
    { \
        name##_iter it; \
        for (name##_iter_init(&it, m); name##_iter_next(&it);) sum += *(const uint32_t *)it.value; \
    } \
    static void name##_run(const char *what, uint32_t n, uint32_t rounds) \
    { \
        name *m = name##_new(0); \
        oak_map_set_seed(name##_map(m), 1); \
        if (strcmp(what, "grow") && strcmp(what, "fill")) name##_fill(m, n); \
        for (uint32_t r = 0; r < rounds; r++) { \
            if (strcmp(what, "grow") == 0) { \
                name##_fill(m, n); \
                name##_clear(m); \
            } else if (strcmp(what, "fill") == 0) { \
                name##_reserve(m, n); \
                name##_fill(m, n); \
                name##_clear(m); \
            } else if (strcmp(what, "churn") == 0) { \
                name##_churn(m, r * n, n); \
            } else if (strcmp(what, "replace") == 0) { \
                name##_fill(m, n); \
            } else if (strcmp(what, "hit") == 0) { \
                name##_look(m, 0, n); \
            } else if (strcmp(what, "miss") == 0) { \
                name##_look(m, n, n); \
            } else { \
                name##_walk(m); \
            } \
        } \
    }
/* clang-format on */

OPERATIONS(narrow, uint32_t, uint32_t)
OPERATIONS(wide, uint64_t, wide_value)

int main(int argc, char **argv)
{
    if (argc < 5) return 2;
    uint32_t n = (uint32_t)strtoul(argv[3], NULL, 10);
    uint32_t rounds = (uint32_t)strtoul(argv[4], NULL, 10);
    if (strcmp(argv[1], "u32") == 0)
        narrow_run(argv[2], n, rounds);
    else
        wide_run(argv[2], n, rounds);
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
