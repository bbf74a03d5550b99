/* map.c - what does each operation of a map cost, and what does an entry weigh?
 *
 * usage: map time ENTRIES MS | map memory ENTRIES; -DPEER says whose map, -DSTRINGS which keys.
 *
 * time: ns an operation, each measured for MS milliseconds at least, over as many maps as it
 * takes. A map is grown from empty (insert), each key is found once in another order (hit), as
 * many others are not (miss), all entries are summed (iterate), a random half is deleted and
 * inserted again in another order (delete, reinsert), then all are deleted in random order (drain)
 * and inserted again in the first (refill). Keys are made in batches outside of what is timed; the
 * clock is read twice a batch.
 * memory: RSS gained, bytes an entry, when maps of ENTRIES entries have grown from empty in
 * lockstep, and the most that it was meanwhile; enough maps for a million entries in all.
 * The checksum is of the first map. The Go twin is map.go. Compiles as C and as C++. */
#include PEER

#include "common/counts.h"

enum { LEAST_TOTAL = 1000000, MAPS = 1000 };

typedef struct op {
    uint64_t ns, count;
} op;

static uint64_t check;
static map *maps[MAPS]; /* reachable by a collector from here */

/* ---- timed passes ---- */

enum { IN_ORDER, BY_TABLE, ANY, NONE };

/* Which keys a pass takes. */
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

typedef uint64_t action(map *m, map_key k, uint64_t index);

static inline uint64_t do_set(map *m, map_key k, uint64_t index)
{
    peer_set(m, k, index + 1);
    return 1;
}

static inline uint64_t do_get(map *m, map_key k, uint64_t index)
{
    (void)index;
    return peer_get(m, k);
}

static inline uint64_t do_delete(map *m, map_key k, uint64_t index)
{
    (void)index;
    return peer_delete(m, k);
}

/* The action on each key of the source; the sum of what it says. Inlined, so that the action is
 * too. */
static inline __attribute__((always_inline)) uint64_t pass(map *m, action *act, source s,
                                                           uint64_t count, op *o)
{
    static batch b;
    static uint64_t index[BATCH];
    uint64_t sum = 0;
    for (uint64_t at = 0; at < count;) {
        unsigned n = count - at < BATCH ? (unsigned)(count - at) : (unsigned)BATCH;
        for (unsigned j = 0; j < n; j++) index[j] = source_at(&s, at + j);
        batch_fill(&b, index, n);
        uint64_t start = bench_now_ns();
        for (unsigned j = 0; j < n; j++) sum += act(m, b.key[j], index[j]);
        o->ns += bench_now_ns() - start;
        at += n;
    }
    o->count += count;
    return sum;
}

static __attribute__((noinline)) uint64_t pass_set(map *m, source s, uint64_t count, op *o)
{
    return pass(m, do_set, s, count, o);
}

static __attribute__((noinline)) uint64_t pass_get(map *m, source s, uint64_t count, op *o)
{
    return pass(m, do_get, s, count, o);
}

static __attribute__((noinline)) uint64_t pass_delete(map *m, source s, uint64_t count, op *o)
{
    return pass(m, do_delete, s, count, o);
}

/* Small maps are summed several times between two looks at the clock. */
static __attribute__((noinline)) uint64_t pass_sum(map *m, uint64_t n, op *o)
{
    enum { ENTRIES = 20000 };
    uint64_t times = n < ENTRIES ? ENTRIES / n : 1, sum = 0;
    uint64_t start = bench_now_ns();
    for (uint64_t t = 0; t < times; t++) {
        sum = peer_sum(m);
        __asm__ __volatile__("" : : : "memory"); /* no compiler may sum once for all */
    }
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

static void run_time(uint64_t n, uint64_t least_ns)
{
    op insert = { 0, 0 }, hit = insert, miss = insert, iterate = insert, del = insert,
       reinsert = insert, drain = insert, refill = insert;
    uint64_t state = n, half = n / 2, all = n * (n + 1) / 2;
    uint32_t *table = keys_array(n);
    source in_order = { IN_ORDER, NULL, n, NULL }, by_table = { BY_TABLE, table, n, NULL },
           any = { ANY, NULL, n, &state }, none = { NONE, NULL, n, NULL };
    map *m = NULL;
    do {
        if (m) peer_drop(m);
        maps[0] = m = peer_new();
        expect(pass_set(m, in_order, n, &insert), n);
        expect(peer_len(m), n);
        keys_shuffle(table, n, &state);
        expect(pass_get(m, by_table, n, &hit), all);
        expect(pass_get(m, none, n, &miss), 0);
        check = pass_sum(m, n, &iterate);
        expect(pass_delete(m, by_table, half, &del), half);
        expect(peer_len(m), n - half);
        keys_shuffle(table, half, &state);
        expect(pass_set(m, by_table, half, &reinsert), half);
        expect(pass_sum(m, n, &iterate), check);
        keys_shuffle(table, n, &state);
        expect(pass_delete(m, by_table, n, &drain), n);
        expect(peer_len(m), 0);
        expect(pass_set(m, in_order, n, &refill), n);
    } while (insert.ns < least_ns || del.ns < least_ns || reinsert.ns < least_ns);
    while (hit.ns < least_ns) pass_get(m, any, n, &hit);
    while (miss.ns < least_ns) expect(pass_get(m, none, n, &miss), 0);
    while (iterate.ns < least_ns) expect(pass_sum(m, n, &iterate), check);
    printf("check %llu\n", (unsigned long long)check);
    show("insert", &insert);
    show("hit", &hit);
    show("miss", &miss);
    show("iterate", &iterate);
    show("delete", &del);
    show("reinsert", &reinsert);
    show("drain", &drain);
    show("refill", &refill);
    free(table);
}

/* ---- memory ---- */

/* A line of a file of /proc/self, "Rss:     123 kB", in bytes. */
static double kernel_says(const char *file, const char *what)
{
    char line[256];
    double kib = -1;
    FILE *f = fopen(file, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, what, strlen(what)) == 0) kib = strtod(line + strlen(what), NULL);
    }
    if (f) fclose(f);
    if (kib < 0) keys_die("the kernel doesn't tell the RSS");
    return kib * 1024;
}

static double rss(void)
{
    return kernel_says("/proc/self/smaps_rollup", "Rss:");
}

static void set_one(map *m, uint64_t index)
{
    static batch b;
    batch_fill(&b, &index, 1);
    peer_set(m, b.key[0], index + 1);
}

static void run_memory(uint64_t n)
{
    uint64_t count = n < LEAST_TOTAL ? LEAST_TOTAL / n : 1, sum = 0;
    if (count > MAPS) count = MAPS;
    maps[0] = peer_new();
    set_one(maps[0], KEY_MISSING);
    peer_drop(maps[0]);
    for (uint64_t j = 0; j < count; j++) maps[j] = peer_new();
    double before = rss();
    for (uint64_t i = 0; i < n; i++) {
        for (uint64_t j = 0; j < count; j++) set_one(maps[j], j * n + i);
    }
    double rest = rss(), peak = kernel_says("/proc/self/status", "VmHWM:"),
           entries = (double)(n * count);
    if (peak < rest) peak = rest;
    for (uint64_t j = 0; j < count; j++) {
        expect(peer_len(maps[j]), n);
        sum += peer_sum(maps[j]);
    }
    printf("check %llu\nrest %.3f\npeak %.3f\n", (unsigned long long)sum, (rest - before) / entries,
           (peak - before) / entries);
}

int main(int argc, char **argv)
{
    uint64_t n = bench_arg(argc, argv, 2, 0);
    if (argc < 3 || n == 0 || n > UINT32_MAX) return 2;
    if (strcmp(argv[1], "time") == 0)
        run_time(n, bench_arg(argc, argv, 3, 200) * 1000000);
    else
        run_memory(n);
    counts_show();
    return 0;
}
