/* resize.c - how long does a single operation take, the ones that resize included?
 *
 * usage: resize insert|delete|lookup ENTRIES; -DPEER says whose map. Integers.
 *
 * insert: ENTRIES inserts from empty. delete: all of them in random order, down to empty. Each is
 * timed by itself; the figures are percentiles over all of them. A file beside the program, named
 * like it and .insert or .delete, gets a line for each bucket of sizes, for the plot.
 * lookup: a map grows from half of ENTRIES on to all. Between windows of inserts, keys that are
 * there are looked up at random: those windows at whose beginning and end a resize was under way
 * count as `during`, as many before and after it as `rest`. A window's first half of lookups is
 * timed at one go, for the mean; the second half each by itself.
 * Answer: max and p99.99, and the ratio of the means. The Go twin is resize.go. Compiles as C and
 * as C++. */
#include PEER

#include "common/counts.h"
#include "latency.h"

#define WINDOWS 320u

static map *the_map; /* reachable by a collector from here */
static latency_sum sum;

/* ---- inserts and deletes ---- */

static __attribute__((noinline)) void timed_inserts(map *m, uint64_t n, latency *l)
{
    static batch b;
    static uint64_t index[BATCH];
    for (uint64_t at = 0; at < n; at += BATCH) {
        unsigned c = n - at < BATCH ? (unsigned)(n - at) : (unsigned)BATCH;
        for (unsigned j = 0; j < c; j++) index[j] = at + j;
        batch_fill(&b, index, c);
        uint64_t last = bench_now_ns();
        for (unsigned j = 0; j < c; j++) {
            peer_set(m, b.key[j], index[j] + 1);
            last = latency_add(l, last, bench_now_ns());
        }
    }
}

static __attribute__((noinline)) uint64_t timed_deletes(map *m, const uint32_t *table, uint64_t n,
                                                        latency *l)
{
    static batch b;
    static uint64_t index[BATCH];
    uint64_t deleted = 0;
    for (uint64_t at = 0; at < n; at += BATCH) {
        unsigned c = n - at < BATCH ? (unsigned)(n - at) : (unsigned)BATCH;
        for (unsigned j = 0; j < c; j++) index[j] = table[at + j];
        batch_fill(&b, index, c);
        uint64_t last = bench_now_ns();
        for (unsigned j = 0; j < c; j++) {
            deleted += peer_delete(m, b.key[j]);
            last = latency_add(l, last, bench_now_ns());
        }
    }
    return deleted;
}

static void insert_plain(map *m, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) peer_set(m, key_number(i), i + 1);
}

static void run_writes(uint64_t n, bool deletes, const char *path)
{
    latency l;
    map *m = the_map = peer_new();
    uint64_t state = n, ns;
    long switches;
    latency_open(&l, n);
    if (deletes) {
        uint32_t *table = keys_array(n);
        keys_shuffle(table, n, &state);
        insert_plain(m, 0, n);
        latency_look(&l);
        switches = l.switches;
        ns = bench_now_ns();
        if (timed_deletes(m, table, n, &l) != n) keys_die("the map lost a key");
    } else {
        latency_look(&l);
        switches = l.switches;
        ns = bench_now_ns();
        timed_inserts(m, n, &l);
    }
    ns = bench_now_ns() - ns;
    latency_look(&l);
    switches = l.switches - switches;
    if (peer_len(m) != (deletes ? 0 : n)) keys_die("the map has a wrong length");
    latency_read(&sum, l.ns, l.count);
    printf("check %llu\n", (unsigned long long)peer_sum(m));
    latency_show(&sum, "");
    latency_read_own(&sum, l.ns, l.count);
    latency_show_own(&sum, &l);
    printf("seconds %.3f\nswitches %ld\n", (double)ns / 1e9, switches);
    latency_plot(&sum, &l, deletes, path);
}

/* ---- lookups ---- */

typedef struct window {
    double mean;
    bool before, after; /* was a resize under way? */
} window;

static __attribute__((noinline)) uint64_t lookups(map *m, uint64_t count, uint64_t entries,
                                                  uint64_t *state, latency *each, uint64_t *ns)
{
    static batch b;
    static uint64_t index[BATCH];
    uint64_t total = 0;
    for (uint64_t at = 0; at < count; at += BATCH) {
        unsigned c = count - at < BATCH ? (unsigned)(count - at) : (unsigned)BATCH;
        for (unsigned j = 0; j < c; j++) index[j] = bench_random(state) % entries;
        batch_fill(&b, index, c);
        uint64_t last = bench_now_ns();
        if (!each) {
            for (unsigned j = 0; j < c; j++) total += peer_get(m, b.key[j]) == index[j] + 1;
            *ns += bench_now_ns() - last;
            continue;
        }
        for (unsigned j = 0; j < c; j++) {
            total += peer_get(m, b.key[j]) == index[j] + 1;
            last = latency_add(each, last, bench_now_ns());
        }
    }
    return total;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The windows of one kind from `from` to `to`, together; the median of their means, 0 when there
 * are none. */
static double show_windows(const window *w, const uint32_t *ns, uint64_t each, bool during,
                           unsigned from, unsigned to, const char *prefix)
{
    uint32_t *all = keys_array(WINDOWS * each);
    uint64_t count = 0;
    double means[WINDOWS], mean = 0;
    unsigned windows = 0;
    for (unsigned i = from; i < to; i++) {
        if (w[i].before != during || w[i].after != during) continue;
        memcpy(all + count, ns + i * each, each * sizeof *all);
        count += each;
        means[windows++] = w[i].mean;
    }
    if (windows) {
        qsort(means, windows, sizeof means[0], by_value);
        mean = means[windows / 2];
        latency_read(&sum, all, count);
        printf("%smean %.2f\n", prefix, mean);
        latency_show(&sum, prefix);
    }
    free(all);
    return mean;
}

static void run_lookups(uint64_t n)
{
    static window w[WINDOWS];
    latency l;
    uint64_t state = n, have = n / 2, step = (n - have) / WINDOWS, right = 0;
    map *m = the_map = peer_new();
    latency_open(&l, WINDOWS * step);
    insert_plain(m, 0, have);
    unsigned first = WINDOWS, end = 0;
    bool resizing = peer_resizing(m);
    for (unsigned i = 0; i < WINDOWS; i++) {
        uint64_t ns = 0; /* of the half that is timed at one go */
        w[i].before = resizing;
        insert_plain(m, have, have + step);
        have += step;
        w[i].after = resizing = peer_resizing(m);
        right += lookups(m, step, have, &state, NULL, &ns);
        right += lookups(m, step, have, &state, &l, &ns);
        w[i].mean = (double)ns / (double)step;
        if (!w[i].before || !w[i].after) continue;
        if (first == WINDOWS) first = i;
        end = i + 1;
    }
    if (right != 2 * WINDOWS * step) keys_die("the map gave a wrong answer");
    printf("check %llu\n", (unsigned long long)right);
    unsigned half = first < end ? (end - first + 1) / 2 : WINDOWS;
    double during = show_windows(w, l.ns, step, true, first, end, "during_");
    /* One on each side may be mixed, and doesn't count. */
    double rest = show_windows(w, l.ns, step, false, first > half + 1 ? first - half - 1 : 0,
                               end + half + 1 < WINDOWS ? end + half + 1 : WINDOWS, "rest_");
    if (during > 0 && rest > 0) printf("ratio %.3f\n", during / rest);
}

int main(int argc, char **argv)
{
    uint64_t n = bench_arg(argc, argv, 2, 0);
    if (argc < 3 || n < 2 * WINDOWS || n > UINT32_MAX) return 2;
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", argv[0], argv[1]);
    if (strcmp(argv[1], "lookup") == 0)
        run_lookups(n);
    else
        run_writes(n, strcmp(argv[1], "delete") == 0, path);
    counts_show();
    return 0;
}
