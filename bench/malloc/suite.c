/* suite.c - the malloc benchmarks: what is run, and what Oakum's malloc is to reach as a ratio to
 * glibc's and mimalloc's in the same run. */
#include "common/suite.h"

enum { GLIBC = OAKUM + 1, JEMALLOC, MIMALLOC, TCMALLOC, SCUDO, PEERS };
enum { TO_GLIBC, TO_MIMALLOC, COLUMNS };

#define ALL_PEERS (PEER_BIT(PEERS) - 1u)

/* clang-format off */
#define RUN(name_, program_, full_, quick_, optional_, key_, unit_, title) \
    {.name = name_, .program = program_, .full = full_, .quick = quick_, .peers = ALL_PEERS, .optional = optional_, \
     .metrics = {{.key = key_, .what = title, .unit = unit_, .mean = true, .bar = {[TO_GLIBC] = 1.00}}, \
                 {.key = "rss_mib", .what = "  peak RSS", .unit = "MiB"}}}

#define ALLOCATES(name, program, full, quick, title) RUN(name, program, full, quick, false, "ns", "ns", title)

/* Programs that were not written for this: the whole process counts. */
#define RUNS(name, title) RUN(name, name, "20", "1", true, "cpu_s", "s", title)

static bench benches[] = {
    ALLOCATES("loop-64", "loop", "64 50000000", "64 200000", "64 bytes, one at a time"),
    ALLOCATES("loop-1000", "loop", "1000 50000000", "1000 200000", "1,000 bytes, one at a time"),
    ALLOCATES("cfrac", "cfrac", "300000", "2000", "small numbers (cfrac)"),
    ALLOCATES("espresso", "espresso", "16 2000", "16 5", "lists of cubes (espresso)"),
    ALLOCATES("larson", "larson", "2 1000 100 50000", "2 100 5 2000", "threads that come and go (larson)"),
    ALLOCATES("slots", "slots", "1 10000 20000000 4096", "1 1000 50000 4096", "random blocks (alloc-test)"),
    ALLOCATES("slots-2", "slots", "2 10000 20000000 4096", "2 1000 50000 4096", "random blocks on two threads"),
    ALLOCATES("handed", "handed", "50000 64", "200 64", "freed by another thread"),
    ALLOCATES("batches", "batches", "40000", "200", "batches in another order (sh6bench)"),
    ALLOCATES("lines", "lines", "2 300000 1000", "2 1000 100", "threads and cache lines, a write"),
    ALLOCATES("shared", "shared", "2 100 10000", "2 2 1000", "kept, dropped, shared (mstress)"),
    ALLOCATES("strings", "strings", "1000 20000000", "100 50000", "strings that grow"),
    RUNS("perl", "perl: words counted in a hash"),
    RUNS("python", "python3: objects by malloc"),
    RUNS("sqlite", "sqlite3: a table and its index"),
};
/* clang-format on */

suite the_suite = {
    .name = "bench-malloc",
    .peers = { "oakum", "glibc", "jemalloc", "mimalloc", "tcmalloc", "scudo" },
    .npeers = PEERS,
    .columns = { [TO_GLIBC] = { "glibc", PEER_BIT(GLIBC) },
                 [TO_MIMALLOC] = { "mimalloc", PEER_BIT(MIMALLOC) } },
    .ncolumns = COLUMNS,
    .mean = { .what = "geometric mean of the times", .bar = { [TO_MIMALLOC] = 1.15 } },
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
};
