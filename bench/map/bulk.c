/* bulk.c - what does a call on many entries cost, beside the loop that it replaces?
 *
 * usage: bulk ENTRIES ROUNDS lookups|all|OPERATION. Oakum's map of integers, typed, and through
 * the untyped calls.
 *
 * Loop and call alternate, so that what else the machine does meets both. ns an entry, and the
 * call's as a part of the loop's, of the least round of each.
 * get: all keys in another order than they were put; and as many that are absent. retain: half of
 * the entries go, chosen by their values; the loop is an iterator that deletes. copy: the loop
 * puts all into a map with a hint. reserve: a map gets room for twice as many; the loop puts all
 * into one that has it. */
#include "peer_oakum.h"

#include "common/counts.h"

enum { LOOKUP_OPS = 3, OPS = 7, KEYS = 1024 };

typedef struct op {
    const char *name;
    uint64_t (*loop)(uint64_t n), (*call)(uint64_t n); /* the ns that it took */
    uint64_t least[2];
} op;

static map *full, *scratch; /* reachable by a collector from here */
static const uint32_t *table;
static uint64_t missing; /* what is added to an index: 0, or KEY_MISSING */

static map *filled(uint64_t n)
{
    map *m = map_new(0);
    for (uint64_t i = 0; i < n; i++) *map_put(m, key_number(i)) = i + 1;
    return m;
}

static void expect(bool right)
{
    if (!right) keys_die("the map gave a wrong answer");
}

/* ---- lookups ---- */

static uint64_t keys[KEYS], *values[KEYS];

static unsigned make_keys(uint64_t at, uint64_t n)
{
    unsigned count = n - at < KEYS ? (unsigned)(n - at) : (unsigned)KEYS;
    for (unsigned i = 0; i < count; i++) keys[i] = key_number(table[at + i] + missing);
    return count;
}

#define LOOKUPS(name, all)                                                          \
    static uint64_t name(uint64_t n)                                                \
    {                                                                               \
        uint64_t ns = 0, sum = 0;                                                   \
        for (uint64_t at = 0; at < n; at += KEYS) {                                 \
            unsigned count = make_keys(at, n);                                      \
            uint64_t start = bench_now_ns();                                        \
            all;                                                                    \
            for (unsigned i = 0; i < count; i++) sum += values[i] ? *values[i] : 0; \
            ns += bench_now_ns() - start;                                           \
        }                                                                           \
        expect(sum == (missing ? 0 : n * (n + 1) / 2));                             \
        return ns;                                                                  \
    }

LOOKUPS(get_typed_loop, for (unsigned i = 0; i < count; i++) values[i] = map_get(full, keys[i]))
LOOKUPS(get_typed_call, map_get_many(full, keys, count, values))
LOOKUPS(get_loop, for (unsigned i = 0; i < count; i++)
                      values[i] = (uint64_t *)oak_map_get(map_map(full), &keys[i]))
LOOKUPS(get_call, oak_map_get_many(map_map(full), keys, count, (void **)values))

static uint64_t miss_loop(uint64_t n)
{
    missing = KEY_MISSING;
    uint64_t ns = get_typed_loop(n);
    missing = 0;
    return ns;
}

static uint64_t miss_call(uint64_t n)
{
    missing = KEY_MISSING;
    uint64_t ns = get_typed_call(n);
    missing = 0;
    return ns;
}

/* ---- deletes by a predicate ---- */

static bool keep(const uint64_t *key, uint64_t *value, void *arg)
{
    (void)key;
    (void)arg;
    return *value & 1;
}

static bool keep_untyped(const void *key, void *value, void *arg)
{
    return keep((const uint64_t *)key, (uint64_t *)value, arg);
}

static uint64_t retain_loop(uint64_t n)
{
    map_iter it;
    scratch = filled(n);
    uint64_t start = bench_now_ns();
    map_iter_init(&it, scratch);
    while (map_iter_next(&it))
        if (!keep(it.key, it.value, NULL)) map_delete(scratch, *it.key);
    start = bench_now_ns() - start;
    expect(map_len(scratch) == (n + 1) / 2);
    return start;
}

static uint64_t retain_call(uint64_t n)
{
    scratch = filled(n);
    uint64_t start = bench_now_ns();
    expect(map_retain(scratch, keep, NULL) == n / 2);
    return bench_now_ns() - start;
}

static uint64_t retain_untyped_call(uint64_t n)
{
    scratch = filled(n);
    uint64_t start = bench_now_ns();
    expect(oak_map_retain(map_map(scratch), keep_untyped, NULL) == n / 2);
    return bench_now_ns() - start;
}

/* ---- copies, and room ---- */

static uint64_t put_all(uint64_t hint)
{
    map_iter it;
    uint64_t start = bench_now_ns();
    scratch = map_new(hint);
    map_iter_init(&it, full);
    while (map_iter_next(&it)) *map_put(scratch, *it.key) = *it.value;
    start = bench_now_ns() - start;
    expect(map_len(scratch) == map_len(full));
    return start;
}

static uint64_t copy_loop(uint64_t n)
{
    return put_all(n);
}

static uint64_t copy_call(uint64_t n)
{
    uint64_t start = bench_now_ns();
    scratch = map_copy(full);
    start = bench_now_ns() - start;
    expect(map_len(scratch) == n);
    return start;
}

static uint64_t reserve_loop(uint64_t n)
{
    return put_all(n * 2);
}

static uint64_t reserve_call(uint64_t n)
{
    scratch = map_copy(full);
    uint64_t start = bench_now_ns();
    expect(map_reserve(scratch, n * 2) == 0);
    start = bench_now_ns() - start;
    expect(map_len(scratch) == n);
    return start;
}

/* ---- the whole ---- */

static op ops[OPS] = {
    { "get", get_typed_loop, get_typed_call, { UINT64_MAX, UINT64_MAX } },
    { "miss", miss_loop, miss_call, { UINT64_MAX, UINT64_MAX } },
    { "untyped_get", get_loop, get_call, { UINT64_MAX, UINT64_MAX } },
    { "retain", retain_loop, retain_call, { UINT64_MAX, UINT64_MAX } },
    { "untyped_retain", retain_loop, retain_untyped_call, { UINT64_MAX, UINT64_MAX } },
    { "copy", copy_loop, copy_call, { UINT64_MAX, UINT64_MAX } },
    { "reserve", reserve_loop, reserve_call, { UINT64_MAX, UINT64_MAX } },
};

static void run(op *o, unsigned call, uint64_t n)
{
    oak_collect();
    uint64_t ns = (call ? o->call : o->loop)(n);
    scratch = NULL;
    if (ns < o->least[call]) o->least[call] = ns;
}

static bool is_wanted(const char *only, unsigned i)
{
    if (strcmp(only, "lookups") == 0) return i < LOOKUP_OPS;
    return strcmp(only, "all") == 0 ? i >= LOOKUP_OPS : strcmp(only, ops[i].name) == 0;
}

int main(int argc, char **argv)
{
    uint64_t n = bench_arg(argc, argv, 1, 0), rounds = bench_arg(argc, argv, 2, 3), state = n;
    const char *only = argc > 3 ? argv[3] : "lookups";
    if (n == 0 || n > UINT32_MAX) return 2;
    uint32_t *order = keys_array(n);
    keys_shuffle(order, n, &state);
    table = order;
    full = filled(n);
    for (uint64_t round = 0; round < rounds; round++)
        for (unsigned i = 0; i < OPS * 2; i++)
            if (is_wanted(only, i / 2))
                run(&ops[i / 2], (i + (unsigned)round) % 2, n);
    printf("check %llu\n", (unsigned long long)map_len(full));
    for (unsigned i = 0; i < OPS; i++) {
        if (!is_wanted(only, i)) continue;
        double loop = (double)ops[i].least[0], call = (double)ops[i].least[1];
        printf("%s_loop %.3f\n%s %.3f\n%s_part %.3f\n", ops[i].name, loop / (double)n, ops[i].name,
               call / (double)n, ops[i].name, call / loop);
    }
    free(order);
    counts_show();
    return 0;
}
