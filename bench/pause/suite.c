/* suite.c - the benchmarks of pauses: what is run, and what Oakum is to reach beside Go 1.19 in the
 * same run. The first peer is Oakum as it comes; its modes are peers of their own. */
#include "common/suite.h"

enum { STOPPED = OAKUM + 1, CONCURRENT, GENERATIONS, FAULTS, BOEHM, INCREMENTAL, GO, GLIBC, PEERS };
enum { TO_GO, TO_BOEHM, COLUMNS };

#define ALL_PEERS (PEER_BIT(PEERS) - 1u)
#define GO_BAR(most) {[TO_GO] = (most)}

/* clang-format off */
/* What every program answers. 0 is no bar. */
#define FIGURES(title, worst_, rss, total_, cpu) \
    {.key = "worst", .what = title ": worst operation", .unit = "us", .bar = GO_BAR(worst_)}, \
    {.key = "p9999", .what = "  p99.99", .unit = "us"}, \
    {.key = "p999", .what = "  p99.9", .unit = "us"}, \
    {.key = "p50", .what = "  p50", .unit = "ns"}, \
    {.key = "over", .what = "  longer than 20 us", .unit = ""}, \
    {.key = "mmu1", .what = "  least use of any 1 ms", .unit = "%", .larger = true}, \
    {.key = "mmu10", .what = "  least use of any 10 ms", .unit = "%", .larger = true}, \
    {.key = "mmu100", .what = "  least use of any 100 ms", .unit = "%", .larger = true}, \
    {.key = "stop", .what = "  longest stop", .unit = "us"}, \
    {.key = "cycles", .what = "  collections", .unit = "", .larger = true}, \
    {.key = "total", .what = "  all together", .unit = "s", .bar = GO_BAR(total_)}, \
    {.key = "cpu_s", .what = "  processor time", .unit = "s", .bar = GO_BAR(cpu), .ours = (cpu) > 0 ? GENERATIONS : OAKUM}, \
    {.key = "rss_mib", .what = "  peak RSS", .unit = "MiB", .bar = GO_BAR(rss)}, \
    {.key = "clock", .what = "  of each, for the clock", .unit = "ns"}

#define GRAPH(name_, title, full_, quick_, worst_, total_, cpu) \
    {.name = name_, .program = "pause-graph", .full = full_, .quick = quick_, .peers = ALL_PEERS, \
     .metrics = {FIGURES(title, worst_, 0, total_, cpu), \
                 {.key = "build", .what = "  worst while it grew", .unit = "us"}}}

#define STOP(name_, title, arguments) \
    {.name = name_, .program = "pause-stop", .full = arguments " 300", .quick = arguments " 20", \
     .peers = PEER_BIT(OAKUM) | PEER_BIT(BOEHM) | PEER_BIT(GO), \
     .metrics = {{.key = "until", .what = title ": until all stand", .unit = "us"}, \
                 {.key = "until_worst", .what = "  longest", .unit = "us"}, \
                 {.key = "whole", .what = "  with statistics and start", .unit = "us"}, \
                 {.key = "whole_worst", .what = "  the same, longest", .unit = "us"}}}

/* Nodes, operations (8 million, or a quarter more than nodes), threads, writes. */
static bench benches[] = {
    GRAPH("graph-256", "graph of 256 MB", "4194304 8388608", "65536 262144", 0.10, 1, 0.5),
    GRAPH("graph-512", "graph of 512 MB", "8388608 10485760", "131072 262144", 0.10, 1, 0.5),
    GRAPH("graph-1024", "graph of 1 GiB", "16777216 20971520", "262144 262144", 0.10, 1, 0.5),
    GRAPH("graph-4096", "graph of 4 GiB", "67108864 83886080", "524288 524288", 0.10, 1, 0.5),
    {.name = "graph-growth", .full = "", .quick = "", .peers = ALL_PEERS,
     .metrics = {{.key = "stop", .what = "4 GiB by 256 MB: longest stop", .unit = "", .over = {"graph-4096", "graph-256"}, .most = 1.3},
                 {.key = "worst", .what = "  worst operation", .unit = "", .over = {"graph-4096", "graph-256"}}}},
    {.name = "window", .program = "pause-window", .full = "200000 2000000", .quick = "20000 200000", .peers = ALL_PEERS,
     .metrics = {FIGURES("message window", 0.5, 0.8, 1, 0)}},
    {.name = "map", .program = "pause-map", .full = "10000000", .quick = "100000", .peers = ALL_PEERS,
     .metrics = {FIGURES("map of 10 million", 0, 0, 1, 0)}},
    {.name = "trees", .program = "pause-trees", .full = "22 1000000", .quick = "14 20000", .peers = ALL_PEERS,
     .metrics = {FIGURES("trees", 0, 0, 1, 0)}},
    GRAPH("threads-2", "2 threads", "8388608 10485760 2", "131072 262144 2", 0, 0, 0),
    GRAPH("threads-4", "4 threads", "8388608 10485760 4", "131072 262144 4", 0, 0, 0),
    GRAPH("threads-16", "16 threads", "8388608 10485760 16", "131072 262144 16", 0, 0, 0),
    GRAPH("writes-1", "1 write more", "8388608 10485760 1 1", "131072 262144 1 1", 0, 0, 0),
    GRAPH("writes-4", "4 writes more", "8388608 10485760 1 4", "131072 262144 1 4", 0, 0, 0),
    GRAPH("writes-16", "16 writes more", "8388608 10485760 1 16", "131072 262144 1 16", 0, 0, 0),
    STOP("stop-2", "stop of 2 threads", "2 mixed"),
    STOP("stop-16", "stop of 16 threads", "16 mixed"),
    STOP("stop-64", "stop of 64 threads", "64 mixed"),
    STOP("stop-64-compute", "64 that compute", "64 compute"),
    STOP("stop-64-runtime", "64 in the allocator", "64 runtime"),
    STOP("stop-64-blocked", "64 that are blocked", "64 blocked"),
    STOP("stop-64-syscall", "64 in system calls", "64 syscall"),
};
/* clang-format on */

suite the_suite = {
    .name = "bench-pause",
    .peers = { "oakum", "stopped", "concurrent", "generations", "faults", "boehm", "incremental",
               "go", "glibc" },
    .npeers = PEERS,
    .columns = { [TO_GO] = { "Go", PEER_BIT(GO) }, [TO_BOEHM] = { "Boehm", PEER_BIT(BOEHM) } },
    .ncolumns = COLUMNS,
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
    .limit_s = 1800,
};
