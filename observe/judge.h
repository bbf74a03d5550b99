/* judge.h - one look of the detector, and what it remembers from look to look.
 *
 * detector.c     starting and ending, the thread, the look itself, findings
 * judge.c        what grows: heap, sites, types, threads, fibers
 * judge_maps.c   maps
 * judge_state.c  what is held or wasted, without growing
 *
 * Owns: struct oaki_detector, the host's malloc's. Lock: the detector's turn, for all of it. */
#ifndef OAKI_JUDGE_H
#define OAKI_JUDGE_H

#include "census.h"
#include "site.h"
#include "trend.h"
#include <oakum/detector.h>

#define OAKI_FINDINGS 256 /* kept at most; one that is over makes room */
#define OAKI_SERIES 4096  /* sites and types that are followed */
#define OAKI_TRACKS 1024  /* maps: the largest */
#define OAKI_PERSIST 3    /* looks in a row at which a growth shows until it is told */

/* What is known of the cycles since the look before. */
typedef struct oaki_cycles {
    size_t live;            /* after the last one */
    size_t peak;            /* the most that there was before one, since the detector started */
    uint64_t thrashed;      /* times that three in a row were found to free little and take long */
    uint64_t thrash_cycle;  /* the last of the three */
    double share, freed;    /* of the time, and of the heap by the best of them, in percent */
} oaki_cycles;

typedef struct oaki_look {
    const oaki_census *census;
    const oaki_site_reading *sites;
    long nsites;
    size_t rate; /* of the profile */
    oaki_cycles cycles;
    uint64_t wall;
} oaki_look;

typedef struct oaki_series {
    oak_finding_kind kind;
    uint64_t key;    /* 0: free */
    uint64_t look;   /* the last one that had it */
    unsigned row;    /* looks in a row at which it rose */
    oaki_trend trend;
} oaki_series;

typedef struct oaki_map_track {
    uintptr_t hidden;
    uint64_t look, progress;
    unsigned still, rose, sparse; /* looks in a row: without progress, growing, sparse */
    size_t most;                  /* entries ever seen */
    oaki_map_view view;
    oaki_trend len;
} oaki_map_track;

typedef struct oaki_still { /* a thread that may have stopped for good */
    int tid;
    uintptr_t sp;
    unsigned looks;
} oaki_still;

typedef struct oaki_detector {
    oak_detector_config cfg;
    uint64_t looks;
    oaki_trend heap, threads, fibers;
    unsigned heap_row, threads_row, fibers_row;
    oaki_rise heap_rise; /* at this look */
    oaki_series *series; /* by hash */
    size_t nseries;
    oaki_map_track *tracks; /* by address */
    size_t ntracks;
    oaki_still *still;
    size_t nstill;
    unsigned fragmented, weak_dead, finalizer_cycles; /* looks in a row */
    uint64_t thrashed; /* told of */
    oak_finding finding[OAKI_FINDINGS];
    bool fresh[OAKI_FINDINGS];
    uint64_t told[OAKI_FINDINGS]; /* the look at which it was */
    size_t nfindings;
    uint64_t next_id;
    oak_detector_stats stats;
} oaki_detector;

/* The finding of this kind about this subject: found at this look. A new one has no subject yet:
 * `fresh` says so. NULL: there is no room. */
oak_finding *oaki_raise(oaki_detector *d, const oaki_look *l, oak_finding_kind kind, uint64_t key,
                        bool *fresh);

/* "12.3 MiB" in buf. */
const char *oaki_size_text(double bytes, char buf[32]);

/* Start it if OAKUM_DETECTOR says so. */
void oaki_detector_from_environment(void);

void oaki_judge_growth(oaki_detector *d, const oaki_look *l);
void oaki_judge_maps(oaki_detector *d, const oaki_look *l);
void oaki_judge_state(oaki_detector *d, const oaki_look *l);

#endif
