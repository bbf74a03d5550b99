/* course_suite.c - the operations that comparisons of maps time: what is run, on which maps. */
#include "common/suite.h"

enum { ABSL = OAKUM + 1, BOOST, STD, ANKERL, ROBIN, HOPSCOTCH, SKA, KHASH, VERSTABLE, PEERS };
enum { TO_BEST, TO_BOOST, COLUMNS };

#define ALL_PEERS (PEER_BIT(PEERS) - 1u)

/* clang-format off */
#define COURSE(kind, size, arguments, quick_, peers_, title) \
    {.name = kind "-" size, .program = "course-" kind, .full = arguments, .quick = quick_, .peers = peers_, \
     .metrics = {{.key = "insert", .what = title ": insert", .unit = "ns", .mean = true}, \
                 {.key = "erase", .what = "  erase", .unit = "ns", .mean = true}, \
                 {.key = "replace", .what = "  replace", .unit = "ns", .mean = true}, \
                 {.key = "hit", .what = "  hit", .unit = "ns", .mean = true}, \
                 {.key = "miss", .what = "  miss", .unit = "ns", .mean = true}, \
                 {.key = "absent", .what = "  erase what is absent", .unit = "ns", .mean = true}, \
                 {.key = "iterate", .what = "  iterate", .unit = "ns", .mean = true}, \
                 {.key = "load", .what = "  entries a slot", .unit = "", .larger = true}}}
#define SMALL(kind, title) COURSE(kind, "1000", "1000 10", "100 1", ALL_PEERS, "1,000 " title)
#define MIDDLE(kind, title) COURSE(kind, "200000", "200000 10", "1000 1", ALL_PEERS, "200,000 " title)
/* Without std, which takes three times as long as the others. */
#define LARGE(kind, title) COURSE(kind, "10000000", "10000000 1", "10000 1", ALL_PEERS & ~PEER_BIT(STD), "10 million " title)

static bench benches[] = {
    SMALL("u32", "u32 to u32"), MIDDLE("u32", "u32 to u32"), LARGE("u32", "u32 to u32"),
    SMALL("u64", "u64 to u64"), MIDDLE("u64", "u64 to u64"), LARGE("u64", "u64 to u64"),
    SMALL("wide", "u64 to 56 bytes"), MIDDLE("wide", "u64 to 56 bytes"),
    SMALL("texts", "strings to u64"), MIDDLE("texts", "strings to u64"),
};
/* clang-format on */

suite the_suite = {
    .name = "bench-course",
    .peers = { "oakum", "absl", "boost", "std", "ankerl", "robin", "hopscotch", "ska", "khash",
               "verstable" },
    .npeers = PEERS,
    .columns = { [TO_BEST] = { "best of the others", ALL_PEERS & ~PEER_BIT(OAKUM) },
                 [TO_BOOST] = { "boost", PEER_BIT(BOOST) } },
    .ncolumns = COLUMNS,
    .mean = { .what = "geometric mean of the ratios" },
    .benches = benches,
    .nbenches = sizeof benches / sizeof benches[0],
};
