/* suite.h - the peers, the benchmarks, their figures and bars.
 *
 * suite.c holds the table, run.c fills in the figures, report.c prints them. One process, one
 * thread. */
#ifndef BENCH_HEAP_SUITE_H
#define BENCH_HEAP_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OAKUM, BOEHM, GO, GLIBC, JEMALLOC, PEERS };
enum { MAX_METRICS = 3, MAX_ROUNDS = 99 };

#define PEER_BIT(p) (1u << (p))
#define ALL_PEERS (PEER_BIT(PEERS) - 1u)
#define COLLECTORS (PEER_BIT(OAKUM) | PEER_BIT(BOEHM) | PEER_BIT(GO))

/* A figure that a program prints as "key value"; the keys rss_mib and spawn_us are measured by
 * the runner. Smaller is better in all. */
typedef struct metric {
    const char *key, *what, *unit;
    double bar[PEERS]; /* the most that Oakum's figure may be of the peer's; 0: no bar */
    double value[PEERS][MAX_ROUNDS];
    unsigned rounds[PEERS]; /* figures in value[] */
} metric;

typedef struct bench {
    const char *name, *program, *full, *quick; /* arguments, divided by spaces */
    unsigned peers;                            /* PEER_BITs of those that it makes sense for */
    metric metrics[MAX_METRICS];               /* up to the first without a key */
    uint64_t check;                            /* what every peer must print, once one has */
    bool checked, selected;
} bench;

typedef struct options {
    const char *dir, *json, *markdown;
    const char *title[PEERS]; /* NULL: left out */
    unsigned rounds, spawns;
    bool quick, minimum; /* minimum: the least of the rounds, not their median */
} options;

extern const char *const peer_names[PEERS];
extern bench benches[];
extern const size_t nbenches;

/* The figure that stands for all rounds; negative when there is none. */
double figure(const options *o, const metric *m, int peer);

/* Text to stdout, JSON and Markdown to where the options say. 0, or -1 when a file could not be
 * written. */
int report(const options *o);

#endif
