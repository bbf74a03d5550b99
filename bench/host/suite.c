/* suite.c - the same work by class of host and by mode: what is run, and how much more than the
 * best fixed mode Oakum's defaults may cost.
 *
 * The first peer is Oakum as it comes. `dear` and `cheap` are the same, told of faults that cost
 * much or little (OAKUM_HOST), whatever they cost here; each has a row with a ratio of its own. The
 * others are fixed modes. */
#include "common/suite.h"

enum { DEAR = OAKUM + 1, CHEAP, STOPPED, SMALL, FULL, FAULTS, NONE, PEERS };
enum { TO_BEST, COLUMNS };

#define FIXED                                                                                      \
    (PEER_BIT(STOPPED) | PEER_BIT(SMALL) | PEER_BIT(FULL) | PEER_BIT(FAULTS) | PEER_BIT(NONE))
#define ALL (PEER_BIT(PEERS) - 1u)
#define UNTOLD (PEER_BIT(OAKUM) | FIXED)

/* clang-format off */
#define COST(key_, title, unit_) \
    {.key = key_, .what = title, .unit = unit_, .bar = {1.15}}, \
    {.key = key_, .what = "  told that faults are dear", .unit = unit_, .ours = DEAR}, \
    {.key = key_, .what = "  told that faults are cheap", .unit = unit_, .ours = CHEAP}

/* A stop may be twice as long as the goal of 10 ms. */
#define PROGRAM(class, peers_, program_, full_, quick_, key_, title, unit_, stop) \
    {.name = class "-" program_, .program = "host-" class "-" program_, .full = full_, .quick = quick_, .peers = peers_, \
     .metrics = {COST(key_, class ", " title, unit_), \
                 COST("cpu_s", "  processor time", "s"), \
                 {.key = "longest_stop", .what = "  longest stop", .unit = "us", .most = stop}, \
                 {.key = "rss_mib", .what = "  peak RSS", .unit = "MiB"}, \
                 {.key = "gcs", .what = "  collections", .unit = "", .larger = true}, \
                 {.key = "concurrent", .what = "  concurrent ones", .unit = "", .larger = true}, \
                 {.key = "minor", .what = "  minor ones", .unit = "", .larger = true}, \
                 {.key = "by_kernel", .what = "  tracking by userfaultfd", .unit = "", .larger = true}, \
                 {.key = "by_signal", .what = "  tracking by faults", .unit = "", .larger = true}}}

#define CLASS(class, peers, stop) \
    PROGRAM(class, peers, "trees", "18", "12", "time", "trees", "s", stop), \
    PROGRAM(class, peers, "churn", "64 1 20000000", "64 1 200000", "ns", "churn: an object", "ns", stop), \
    PROGRAM(class, peers, "collect", "4194304", "65536", "best", "256 MB: collection", "ms", 0), \
    PROGRAM(class, peers, "graph", "2097152 4194304", "32768 65536", "total", "graph of 128 MB", "s", stop), \
    PROGRAM(class, peers, "window", "100000 1000000", "5000 50000", "total", "message window", "s", stop)

static bench benches[] = {
    CLASS("plain", ALL, 20000),
    CLASS("one", UNTOLD, 20000),
    CLASS("untracked", UNTOLD, 0),
};
/* clang-format on */

suite the_suite = {
    .name = "bench-host",
    .peers = { "oakum", "dear", "cheap", "stopped", "small", "full", "faults", "none" },
    .npeers = PEERS,
    .columns = { [TO_BEST] = { "best fixed mode", FIXED } },
    .ncolumns = COLUMNS,
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
};
