/* pass.h - passes over the keys of a map, timed in batches.
 *
 * Include it after a peer. Keys are made in batches outside of what is timed; the clock is read
 * twice a batch. What is timed is a function of its own for each operation, timed_*, so that
 * callgrind can count in it alone (bench/map/count). Compiles as C and as C++. */
#ifndef BENCH_MAP_PASS_H
#define BENCH_MAP_PASS_H

typedef struct op {
    uint64_t ns, count;
} op;

/* Which keys a pass takes. */
enum { IN_ORDER, BY_TABLE, ANY, NONE };

typedef struct source {
    int kind;
    const uint32_t *table;
    uint64_t n, *state;
} source;

static inline uint64_t source_at(const source *s, uint64_t i)
{
    switch (s->kind) {
    case BY_TABLE:
        return s->table[i];
    case ANY:
        return bench_random(s->state) % s->n;
    case NONE:
        return KEY_MISSING + i;
    default:
        return i;
    }
}

/* An operation on each of n keys, whose indexes are at `index`; the sum of what it says. */
typedef uint64_t timed(map *m, const map_key *key, const uint64_t *index, unsigned n);

/* The comment for the assembler keeps compilers from merging operations with the same code. */
#define TIMED(name, says)                                                                \
    static __attribute__((noinline))                                                     \
    uint64_t timed_##name(map *m, const map_key *key, const uint64_t *index, unsigned n) \
    {                                                                                    \
        uint64_t sum = 0;                                                                \
        (void)index;                                                                     \
        __asm__ __volatile__("/* " #name " */");                                         \
        for (unsigned j = 0; j < n; j++) sum += (says);                                  \
        return sum;                                                                      \
    }

static uint64_t pass(map *m, timed *act, source s, uint64_t count, op *o)
{
    static batch b;
    static uint64_t index[BATCH];
    uint64_t sum = 0;
    for (uint64_t at = 0; at < count;) {
        unsigned n = count - at < BATCH ? (unsigned)(count - at) : (unsigned)BATCH;
        for (unsigned j = 0; j < n; j++) index[j] = source_at(&s, at + j);
        batch_fill(&b, index, n);
        uint64_t start = bench_now_ns();
        sum += act(m, b.key, index, n);
        o->ns += bench_now_ns() - start;
        at += n;
    }
    o->count += count;
    return sum;
}

/* No compiler may sum once for all. */
static __attribute__((noinline)) uint64_t timed_iterate(map *m, uint64_t times)
{
    uint64_t sum = 0;
    for (uint64_t t = 0; t < times; t++) {
        sum = peer_sum(m);
        __asm__ __volatile__("" : : : "memory");
    }
    return sum;
}

/* Small maps are summed several times between two looks at the clock. */
static uint64_t pass_sum(map *m, uint64_t n, op *o)
{
    enum { ENTRIES = 20000 };
    uint64_t times = n < ENTRIES ? ENTRIES / n : 1;
    uint64_t start = bench_now_ns();
    uint64_t sum = timed_iterate(m, times);
    o->ns += bench_now_ns() - start;
    o->count += times * n;
    return sum;
}

static void expect(uint64_t got, uint64_t wanted)
{
    if (got != wanted) keys_die("the map gave a wrong answer");
}

static void show(const char *key, const op *o)
{
    printf("%s %.3f\n", key, (double)o->ns / (double)o->count);
}

#endif
