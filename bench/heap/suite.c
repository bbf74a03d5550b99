/* suite.c - the heap benchmarks: what is run, and what Oakum is to reach as a ratio to a peer
 * in the same run. */
#include "common/suite.h"

enum { BOEHM = OAKUM + 1, GO, GLIBC, JEMALLOC, PEERS };
enum { TO_BOEHM, TO_GO, COLUMNS };

#define ALL_PEERS (PEER_BIT(PEERS) - 1u)
#define BY_HAND (PEER_BIT(OAKUM) | PEER_BIT(GLIBC) | PEER_BIT(JEMALLOC))
#define COLLECTORS (PEER_BIT(OAKUM) | PEER_BIT(BOEHM) | PEER_BIT(GO))

/* clang-format off */
#define BOTH(boehm, go) {[TO_BOEHM] = (boehm), [TO_GO] = (go)}

/* The counts are chosen so that each program runs for a second or more. */
static bench benches[] = {
    {.name = "trees", .program = "trees", .full = "20", .quick = "14", .peers = ALL_PEERS,
     .metrics = {{.key = "time", .what = "binary trees of depth 20", .unit = "s", .bar = BOTH(0.35, 0.30)},
                 {.key = "rss_mib", .what = "  peak RSS", .unit = "MiB", .bar = {[TO_GO] = 1.00}}}},
    {.name = "churn-16", .program = "churn", .full = "16 1 60000000", .quick = "16 1 5000000", .peers = ALL_PEERS,
     .metrics = {{.key = "ns", .what = "allocate and drop 16 bytes", .unit = "ns", .bar = BOTH(0.30, 0.30)}}},
    {.name = "churn-64", .program = "churn", .full = "64 1 40000000", .quick = "64 1 5000000", .peers = ALL_PEERS,
     .metrics = {{.key = "ns", .what = "allocate and drop 64 bytes", .unit = "ns", .bar = BOTH(0.30, 0.30)}}},
    {.name = "churn-256", .program = "churn", .full = "256 1 20000000", .quick = "256 1 2000000", .peers = ALL_PEERS,
     .metrics = {{.key = "ns", .what = "allocate and drop 256 bytes", .unit = "ns", .bar = BOTH(0.30, 0.30)}}},
    {.name = "churn-1024", .program = "churn", .full = "1024 1 8000000", .quick = "1024 1 1000000", .peers = ALL_PEERS,
     .metrics = {{.key = "ns", .what = "allocate and drop 1,024 bytes", .unit = "ns", .bar = BOTH(0.30, 0.30)}}},
    {.name = "churn-64x2", .program = "churn", .full = "64 2 20000000", .quick = "64 2 2000000", .peers = ALL_PEERS,
     .metrics = {{.key = "ns", .what = "64 bytes on two threads, each", .unit = "ns", .bar = {[TO_GO] = 0.25}}}},
    {.name = "graph", .program = "graph", .full = "16777216", .quick = "1048576", .peers = COLLECTORS,
     .metrics = {{.key = "best", .what = "full collection of 1 GiB, best of 3", .unit = "ms", .bar = BOTH(0.065, 0.13)},
                 {.key = "median", .what = "  median of 3", .unit = "ms", .bar = BOTH(0.065, 0.13)},
                 {.key = "rss_mib", .what = "  peak RSS", .unit = "MiB"}}},
    {.name = "window", .program = "window", .full = "200000 2000000", .quick = "20000 200000", .peers = ALL_PEERS,
     .metrics = {{.key = "worst", .what = "message window: worst push", .unit = "us"},
                 {.key = "total", .what = "  2 million pushes", .unit = "s"},
                 {.key = "rss_mib", .what = "  peak RSS", .unit = "MiB"}}},
    {.name = "small-1", .program = "small", .full = "1000000 1", .quick = "1000000 1", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "rss_mib", .what = "1 MB live: peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.20}},
                 {.key = "threads", .what = "  threads of the process", .unit = ""}}},
    {.name = "small-5", .program = "small", .full = "5000000 1", .quick = "5000000 1", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "rss_mib", .what = "5 MB live: peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.20}},
                 {.key = "threads", .what = "  threads of the process", .unit = ""}}},
    {.name = "small-1x2", .program = "small", .full = "1000000 2", .quick = "1000000 2", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "rss_mib", .what = "1 MB live on each of two threads: peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.20}},
                 {.key = "threads", .what = "  threads of the process", .unit = ""}}},
    {.name = "trees-14", .program = "trees", .full = "14", .quick = "14", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "rss_mib", .what = "binary trees of depth 14: peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.20}}}},
    {.name = "trees-16", .program = "trees", .full = "16", .quick = "16", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "rss_mib", .what = "binary trees of depth 16: peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.20}}}},
    {.name = "discard-64", .program = "discard", .full = "64 1073741824", .quick = "64 67108864", .peers = BY_HAND,
     .metrics = {{.key = "worst", .what = "let go of 1 GiB in 64 bytes, worst of 5", .unit = "ms", .most = 5},
                 {.key = "cpu", .what = "  processor time in that one", .unit = "ms"}}},
    {.name = "discard-1000", .program = "discard", .full = "1000 1073741824", .quick = "1000 67108864", .peers = BY_HAND,
     .metrics = {{.key = "worst", .what = "let go of 1 GiB in 1,000 bytes, worst of 5", .unit = "ms", .most = 5},
                 {.key = "cpu", .what = "  processor time in that one", .unit = "ms"}}},
    {.name = "startup", .program = "startup", .full = "", .quick = "", .peers = ALL_PEERS,
     .metrics = {{.key = "spawn_us", .what = "start-up: one object, exit", .unit = "us", .bar = {[TO_BOEHM] = 1.00}}}},
    {.name = "startup-memory", .program = "startup", .full = "peak", .quick = "peak", .peers = ALL_PEERS & ~PEER_BIT(GO),
     .metrics = {{.key = "peak_mib", .what = "  peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.00}}}},
    {.name = "startup-static", .program = "static", .full = "", .quick = "", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "spawn_us", .what = "start-up: Oakum linked statically", .unit = "us", .bar = {[TO_BOEHM] = 1.00}}}},
    {.name = "startup-static-memory", .program = "static", .full = "peak", .quick = "peak", .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM),
     .metrics = {{.key = "peak_mib", .what = "  peak RSS", .unit = "MiB", .bar = {[TO_BOEHM] = 1.00}}}},
    {.name = "startup-empty", .program = "empty", .full = "", .quick = "", .peers = PEER_BIT(GLIBC),
     .metrics = {{.key = "spawn_us", .what = "  an empty C program, for reference", .unit = "us"}}},
};
/* clang-format on */

suite the_suite = {
    .name = "bench-heap",
    .peers = { "oakum", "boehm", "go", "glibc", "jemalloc" },
    .npeers = PEERS,
    .columns = { [TO_BOEHM] = { "Boehm", PEER_BIT(BOEHM) }, [TO_GO] = { "Go", PEER_BIT(GO) } },
    .ncolumns = COLUMNS,
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
};
