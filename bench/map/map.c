/* map.c - what does each operation of a map cost, and what does an entry weigh?
 *
 * usage: map time ENTRIES MS | map memory ENTRIES; -DPEER says whose map, -DSTRINGS which keys.
 *
 * time: ns an operation, each measured for MS milliseconds at least, over as many maps as it
 * takes. A map is grown from empty (insert), each key is found once in another order (hit), as
 * many others are not (miss), all entries are summed (iterate), a random half is deleted and
 * inserted again in another order (delete, reinsert), then all are deleted in random order (drain)
 * and inserted again in the first (refill). pass.h times them.
 * memory: RSS gained, bytes an entry, when maps of ENTRIES entries have grown from empty in
 * lockstep, and the most that it was meanwhile; enough maps for a million entries in all.
 * The checksum is of the first map. The Go twin is map.go. Compiles as C and as C++. */
#include PEER

#include "common/counts.h"
#include "pass.h"

enum { LEAST_TOTAL = 1000000, MAPS = 1000 };

static uint64_t check;
static map *maps[MAPS]; /* reachable by a collector from here */

/* ---- time ---- */

TIMED(set, (peer_set(m, key[j], index[j] + 1), 1))
TIMED(get, peer_get(m, key[j]))
TIMED(delete, peer_delete(m, key[j]))

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
        expect(pass(m, timed_set, in_order, n, &insert), n);
        expect(peer_len(m), n);
        keys_shuffle(table, n, &state);
        expect(pass(m, timed_get, by_table, n, &hit), all);
        expect(pass(m, timed_get, none, n, &miss), 0);
        check = pass_sum(m, n, &iterate);
        expect(pass(m, timed_delete, by_table, half, &del), half);
        expect(peer_len(m), n - half);
        keys_shuffle(table, half, &state);
        expect(pass(m, timed_set, by_table, half, &reinsert), half);
        expect(pass_sum(m, n, &iterate), check);
        keys_shuffle(table, n, &state);
        expect(pass(m, timed_delete, by_table, n, &drain), n);
        expect(peer_len(m), 0);
        expect(pass(m, timed_set, in_order, n, &refill), n);
    } while (insert.ns < least_ns || del.ns < least_ns || reinsert.ns < least_ns);
    while (hit.ns < least_ns) pass(m, timed_get, any, n, &hit);
    while (miss.ns < least_ns) expect(pass(m, timed_get, none, n, &miss), 0);
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
