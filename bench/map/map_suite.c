/* map_suite.c - the map benchmarks: what is run, and what Oakum is to reach as a ratio to the
 * faster of absl and boost, or to absl alone, in the same run. */
#include "common/suite.h"

enum { CLASSIC = OAKUM + 1, ABSL, BOOST, STD, KHASH, GLIB, GO, PEERS };
enum { TO_BEST, TO_ABSL, TO_GO, COLUMNS };

#define ALL_PEERS (PEER_BIT(PEERS) - 1u)

/* clang-format off */
#define BEST(bar) {[TO_BEST] = (bar)}
#define BOTH(bar) {[TO_BEST] = (bar), [TO_ABSL] = 1.0}

/* Times of one kind and size; 0 for no bar. */
#define TIMES(name_, program_, size, quick_, title, bar_insert, bar_hit, bar_miss, bar_iterate, bar_delete, bar_reinsert) \
    {.name = name_, .program = program_, .full = "time " size " 200", .quick = "time " quick_ " 2", .peers = ALL_PEERS, \
     .metrics = {{.key = "insert", .what = title ": insert", .unit = "ns", .bar = bar_insert}, \
                 {.key = "hit", .what = "  hit", .unit = "ns", .bar = bar_hit}, \
                 {.key = "miss", .what = "  miss", .unit = "ns", .bar = bar_miss}, \
                 {.key = "iterate", .what = "  iterate", .unit = "ns", .bar = bar_iterate}, \
                 {.key = "delete", .what = "  delete half", .unit = "ns", .bar = bar_delete}, \
                 {.key = "reinsert", .what = "  reinsert half", .unit = "ns", .bar = bar_reinsert}, \
                 {.key = "drain", .what = "  delete all", .unit = "ns"}, \
                 {.key = "refill", .what = "  reinsert all", .unit = "ns"}}}

#define MEMORY(name_, program_, size, quick_, title, bar_rest, bar_peak) \
    {.name = name_, .program = program_, .full = "memory " size, .quick = "memory " quick_, .peers = ALL_PEERS, .once = true, \
     .metrics = {{.key = "rest", .what = title ": bytes an entry", .unit = "", .bar = bar_rest}, \
                 {.key = "peak", .what = "  most while growing", .unit = "", .bar = bar_peak}}}

/* Calls on many entries, each with the loop that it replaces. */
#define PAIR(key_, title, bar) \
    {.key = key_ "_loop", .what = title ", by a loop", .unit = "ns"}, {.key = key_, .what = "  by one call", .unit = "ns"}, \
    {.key = key_ "_part", .what = "  the call of the loop", .unit = "", .most = bar}
#define BULK(name_, size, quick_, title) \
    {.name = "bulk-lookups-" name_, .program = "bulk", .full = size " 3 lookups", .quick = quick_ " 1 lookups", .peers = PEER_BIT(OAKUM), .once = true, \
     .metrics = {PAIR("get", title ": get", 0.5), PAIR("miss", "miss", 0.5), PAIR("untyped_get", "untyped get", 0.5)}}, \
    {.name = "bulk-all-" name_, .program = "bulk", .full = size " 3 all", .quick = quick_ " 1 all", .peers = PEER_BIT(OAKUM), .once = true, \
     .metrics = {PAIR("retain", title ": retain half", 0.5), PAIR("untyped_retain", "untyped retain", 0.5), \
                 PAIR("copy", "copy", 0.25), PAIR("reserve", "reserve", 0.5)}}

#define NO_BAR {0}

static bench benches[] = {
    TIMES("u64-1000", "u64", "1000", "100", "1,000 integers", BOTH(1.5), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2)),
    TIMES("u64-100000", "u64", "100000", "1000", "100,000 integers", BOTH(1.0), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2)),
    TIMES("u64-1000000", "u64", "1000000", "10000", "1 million integers", BOTH(1.0), NO_BAR, NO_BAR, NO_BAR, NO_BAR, NO_BAR),
    TIMES("u64-10000000", "u64", "10000000", "100000", "10 million integers", BOTH(1.0), BOTH(1.0), BOTH(1.2), BOTH(0.6), BOTH(1.0), BOTH(1.0)),
    TIMES("str-1000", "str", "1000", "100", "1,000 strings", BOTH(1.5), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2)),
    TIMES("str-100000", "str", "100000", "1000", "100,000 strings", BOTH(1.0), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2)),
    TIMES("str-1000000", "str", "1000000", "10000", "1 million strings", BOTH(1.0), NO_BAR, NO_BAR, NO_BAR, NO_BAR, NO_BAR),
    TIMES("str-10000000", "str", "10000000", "100000", "10 million strings", BOTH(1.0), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2), BOTH(1.2)),
    BULK("1000000", "1000000", "1000", "1 million integers"),
    BULK("10000000", "10000000", "10000", "10 million integers"),
    MEMORY("bytes-u64-1000", "u64", "1000", "100", "1,000 integers", NO_BAR, NO_BAR),
    MEMORY("bytes-u64-100000", "u64", "100000", "1000", "100,000 integers", NO_BAR, NO_BAR),
    MEMORY("bytes-u64-1000000", "u64", "1000000", "10000", "1 million integers", NO_BAR, NO_BAR),
    MEMORY("bytes-u64-10000000", "u64", "10000000", "100000", "10 million integers", BEST(1.05), BEST(0.72)),
    MEMORY("bytes-str-1000", "str", "1000", "100", "1,000 strings", NO_BAR, NO_BAR),
    MEMORY("bytes-str-100000", "str", "100000", "1000", "100,000 strings", NO_BAR, NO_BAR),
    MEMORY("bytes-str-1000000", "str", "1000000", "10000", "1 million strings", NO_BAR, NO_BAR),
    MEMORY("bytes-str-10000000", "str", "10000000", "100000", "10 million strings", NO_BAR, NO_BAR),
};
/* clang-format on */

suite the_suite = {
    .name = "bench-map",
    .peers = { "oakum", "classic", "absl", "boost", "std", "khash", "glib", "go" },
    .npeers = PEERS,
    .columns = { [TO_BEST] = { "faster of absl, boost", PEER_BIT(ABSL) | PEER_BIT(BOOST) },
                 [TO_ABSL] = { "absl", PEER_BIT(ABSL) },
                 [TO_GO] = { "Go", PEER_BIT(GO) } },
    .ncolumns = COLUMNS,
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
};
