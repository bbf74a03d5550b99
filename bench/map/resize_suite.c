/* resize_suite.c - the benchmarks of single operations, and what Oakum is to reach: most bars are
 * on its own figures. `clock` is no map, but what the machine does to anybody. */
#include "common/suite.h"

enum { CLASSIC = OAKUM + 1, ABSL, BOOST, STD, KHASH, GLIB, GO, CLOCK, PEERS };
enum { TO_BEST, TO_GO, COLUMNS };

#define ALL_PEERS (PEER_BIT(PEERS) - 1u)
#define MAPS (ALL_PEERS & ~PEER_BIT(CLOCK))

/* clang-format off */
#define WRITES(name_, title) \
    {.name = name_, .program = "resize", .full = name_ " 10000000", .quick = name_ " 200000", .peers = ALL_PEERS, \
     .metrics = {{.key = "p50", .what = title ": p50", .unit = "ns"}, \
                 {.key = "p99", .what = "  p99", .unit = "ns"}, \
                 {.key = "p999", .what = "  p99.9", .unit = "ns"}, \
                 {.key = "p9999", .what = "  p99.99", .unit = "ns"}, \
                 {.key = "own_p9999", .what = "  p99.99 of own work", .unit = "ns", .most = 3000}, \
                 {.key = "max", .what = "  longest", .unit = "us"}, \
                 {.key = "own_max", .what = "  longest of own work", .unit = "us", .most = 100}, \
                 {.key = "fault_max", .what = "  longest with a page fault", .unit = "us"}, \
                 {.key = "faults", .what = "  with a page fault", .unit = ""}, \
                 {.key = "over10", .what = "  longer than 10 us", .unit = ""}, \
                 {.key = "over100", .what = "  longer than 100 us", .unit = ""}, \
                 {.key = "over1000", .what = "  longer than 1 ms", .unit = ""}, \
                 {.key = "seconds", .what = "  all together", .unit = "s"}, \
                 {.key = "switches", .what = "  times it lost its processor", .unit = ""}}}

static bench benches[] = {
    WRITES("insert", "10 million inserts"),
    WRITES("delete", "10 million deletes"),
    {.name = "lookup", .program = "resize", .full = "lookup 10000000", .quick = "lookup 200000", .peers = MAPS,
     .metrics = {{.key = "ratio", .what = "lookups: in a resize / at rest", .unit = "", .most = 1.2},
                 {.key = "during_mean", .what = "  mean in a resize", .unit = "ns"},
                 {.key = "rest_mean", .what = "  mean at rest", .unit = "ns"},
                 {.key = "during_p50", .what = "  p50 in a resize", .unit = "ns"},
                 {.key = "rest_p50", .what = "  p50 at rest", .unit = "ns"},
                 {.key = "during_p99", .what = "  p99 in a resize", .unit = "ns"},
                 {.key = "rest_p99", .what = "  p99 at rest", .unit = "ns"},
                 {.key = "during_p999", .what = "  p99.9 in a resize", .unit = "ns"},
                 {.key = "rest_p999", .what = "  p99.9 at rest", .unit = "ns"},
                 {.key = "during_p9999", .what = "  p99.99 in a resize", .unit = "ns"},
                 {.key = "rest_p9999", .what = "  p99.99 at rest", .unit = "ns"},
                 {.key = "during_max", .what = "  longest in a resize", .unit = "us"}}},
    {.name = "clock", .program = "resize", .full = "clock 10000000", .quick = "clock 200000", .peers = PEER_BIT(CLOCK),
     .metrics = {{.key = "cost", .what = "clock: a reading", .unit = "ns"},
                 {.key = "step", .what = "  least step", .unit = "ns"}}},
};
/* clang-format on */

suite the_suite = {
    .name = "bench-resize",
    .peers = { "oakum", "classic", "absl", "boost", "std", "khash", "glib", "go", "clock" },
    .npeers = PEERS,
    .columns = { [TO_BEST] = { "least of absl, boost", PEER_BIT(ABSL) | PEER_BIT(BOOST) },
                 [TO_GO] = { "Go", PEER_BIT(GO) } },
    .ncolumns = COLUMNS,
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
};
