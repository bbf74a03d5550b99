/* suite.h - what is run, on whom, what is measured of it, and what Oakum is to reach.
 *
 * Each family of benchmarks has a table, its suite.c; run.c fills in the figures, report.c prints
 * them. One process, one thread. */
#ifndef BENCH_COMMON_SUITE_H
#define BENCH_COMMON_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MAX_PEERS = 12, MAX_COLUMNS = 3, MAX_METRICS = 16, MAX_COUNTS = 10, MAX_ROUNDS = 99 };
enum { OAKUM }; /* always the first peer */

#define PEER_BIT(p) (1u << (p))

/* A figure that a program prints as "key value"; the keys rss_mib, cpu_s and spawn_us are measured
 * by the runner, as are some of the counts. Smaller is better in all but those that say `larger`,
 * which have no ratio. */
typedef struct metric {
    const char *key, *what, *unit;
    const char *over[2];     /* no figure of a program, but this key's of the one by the other's */
    unsigned ours;           /* the peer that stands for Oakum in ratios, where it is there */
    bool larger;
    bool mean;               /* its ratios count in the suite's mean */
    double bar[MAX_COLUMNS]; /* the most that Oakum's figure may be of a column's; 0: no bar */
    double most;             /* the most that it may be by itself; 0: no bar */
    double value[MAX_PEERS][MAX_ROUNDS];
    unsigned rounds[MAX_PEERS]; /* figures in value[] */
} metric;

typedef struct bench {
    const char *name;
    const char *program;      /* NULL: none is run, all metrics have `over` */
    const char *full, *quick; /* arguments, divided by spaces */
    unsigned peers;           /* PEER_BITs of those that it makes sense for */
    bool once;                /* first round only: it hardly varies */
    bool optional;            /* left out where its program was not built */
    metric metrics[MAX_METRICS]; /* up to the first without a key */
    metric counts[MAX_COUNTS];   /* likewise: what is counted and not timed; run.c's */
    uint64_t check;              /* what every peer must print, once one has */
    bool checked, selected;
} bench;

/* A ratio: Oakum's figure divided by the least of these peers'. */
typedef struct column {
    const char *title; /* of what it is divided by */
    unsigned peers;    /* PEER_BITs */
} column;

typedef struct suite {
    const char *name; /* of the script, for messages */
    const char *peers[MAX_PEERS];
    unsigned npeers, ncolumns;
    column columns[MAX_COLUMNS];
    struct {
        const char *what; /* NULL: none */
        double bar[MAX_COLUMNS];
    } mean; /* the geometric mean of the ratios of metrics that say `mean` */
    bench *benches;
    size_t nbenches;
    unsigned limit_s; /* for which a program may be silent; 0: the usual */
} suite;

typedef struct options {
    const char *dir, *json, *markdown, *plain;
    const char *title[MAX_PEERS]; /* NULL: left out */
    unsigned rounds, usual_rounds, spawns;
    bool quick, minimum; /* minimum: the least of the rounds, not their median */
    bool counted;        /* the counts alone, with instructions in any case */
} options;

extern suite the_suite;

/* The figure that stands for all rounds; negative when there is none. */
double figure(const options *o, const metric *m, unsigned peer);

/* Oakum's figure by the least of the column's; negative when one of the two is not there. */
double ratio(const options *o, const metric *m, unsigned column);

/* The geometric mean of the ratios that count in it; negative when there is none. */
double mean_ratio(const options *o, unsigned column);

/* The next row of a table of a benchmark's metrics, or counts: those that some peer has. NULL after
 * the last one. Begins with NULL. */
const metric *next_row(const bench *b, bool counts, const metric *m);

/* One line on the machine; and one on what stands for all rounds. */
void machine_line(char *text, size_t size);
void method_line(const options *o, char *text, size_t size);

/* Text to stdout, JSON, Markdown and plain lines, for plots, to where the options say. 0, or -1
 * when a file could not be written. */
int report(const options *o);

/* report_json.c */
void print_json(const options *o, FILE *f);

#endif
