/* clients.h - what is run of each client, on which library, and what was seen of it.
 *
 * works.c has the table, run.c fills in what was seen, report.c prints it. One process, one
 * thread. */
#ifndef TESTS_CLIENTS_CLIENTS_H
#define TESTS_CLIENTS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LIBGC, OAKUM, SIDES };
enum { MAX_ROUNDS = 99, MAX_RUNS = 1000 };

/* What Oakum's figure may be at most of libgc's, for a client as a whole. */
#define TIME_BAR 0.9
#define RSS_BAR 1.1

/* The figures of one side. `bad` counts the runs that crashed, hung, failed or printed something
 * else than the reference, and `differing` the last of these; `why` tells of the first one. */
typedef struct figures {
    double seconds[MAX_ROUNDS], cpu[MAX_ROUNDS], mib[MAX_ROUNDS];
    double stop_ms[MAX_ROUNDS], call_ms[MAX_ROUNDS];
    unsigned timed, paused; /* figures in the two lines above */
    unsigned runs, bad, differing;
    char why[120];
} figures;

/* Commands for `sh -c`; they find in their environment `from`, the folder of the client's files,
 * `made`, where what was made goes, `size` (full or quick), and `side`. What `command` prints must
 * be the same on both sides. A work that repeats runs often, as one that is not reliable on libgc
 * either. `prepare` runs once, on libgc. */
typedef struct work {
    const char *client, *name, *prepare, *command, *full, *quick;
    bool repeats;
    figures side[SIDES];
    bool selected, installed;
} work;

typedef struct options {
    const char *dir, *source; /* where outputs go, and the clients' files are */
    const char *json, *markdown;
    const char *oakum; /* the folder of the drop-in; NULL: only libgc is run */
    const char *pause; /* pause.so; NULL: no pauses */
    unsigned rounds, runs;
    bool quick;
} options;

extern work works[];
extern const size_t nworks;
extern const char *const side_names[SIDES];

/* What pause.so tells; the runner makes the file, and reads it when the client has ended. */
typedef struct pauses {
    size_t stop_ns, call_ns; /* the longest so far */
    size_t looks;            /* how often its thread looked at the clock */
    char library[256];       /* where GC_malloc was found */
} pauses;

/* The figure that stands for all rounds; negative when there is none. Of times the least: whatever
 * else a machine does only adds to them, and some run at two speeds, a minute at each. */
double least(const double *values, unsigned n);
double median(const double *values, unsigned n);

/* Whether a work is worse on Oakum than on libgc: what makes the exit status 1. */
bool is_wrong(const options *o, const work *w);

/* Text to stdout, JSON and Markdown to where the options say. 0, or -1 when a file could not be
 * written. */
int report(const options *o);

#endif
