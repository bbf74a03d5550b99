/* judge.h - one look of the detector, and its state between looks.
 *
 * detector.c        start and end, the thread, the look itself, findings
 * judge.c           growth: heap, sites, types, threads, fibers
 * judge_cycles.c    statistics of collections
 * judge_maps.c      maps
 * judge_state.c     memory held or wasted without growth
 * judge_standing.c  memory held by stationary threads, and threads that wait for ever
 *
 * A look "on demand" is one of oak_detector_scan; the others are the background thread's.
 *
 * Owns: struct oaki_detector, from the host's malloc. Lock: the detector's turn, for all of it. */
#ifndef OAKI_JUDGE_H
#define OAKI_JUDGE_H

#include "census.h"
#include "gc/event.h"
#include "site.h"
#include "standing.h"
#include "stranded.h"
#include "trend.h"
#include <oakum/detector.h>

#define OAKI_FINDINGS 256 /* most findings kept; an inactive one makes room */
#define OAKI_SERIES 4096  /* most sites and types followed */
#define OAKI_TRACKS 1024  /* most maps followed */
#define OAKI_PERSIST 3    /* successive looks with a growth before it is reported */

/* Statistics of the cycles since the detector began. */
typedef struct oaki_cycles {
    size_t live;            /* bytes after the last cycle that is not minor */
    size_t peak;            /* most bytes at the start of a cycle */
    uint64_t thrashed;      /* times that three cycles in a row took much time and freed little */
    uint64_t thrash_cycle;  /* number of the last of the three */
    double share, freed;    /* percent of the time of all three; of the heap by the best of them */
    bool over;              /* after each of the three, live bytes exceeded the memory limit */
} oaki_cycles;

/* Successive looks at which a condition holds. */
typedef struct oaki_row {
    unsigned looks;
    uint64_t since; /* oaki_look.at of the first of them */
} oaki_row;

/* A figure that may grow. It takes one value of looks in quick succession. */
typedef struct oaki_figure {
    oaki_growth seen;
    unsigned rose;      /* successive looks at which it rose */
    bool news;          /* it has a value that is not judged yet */
    bool slow_news;     /* the slow series has a value that is not judged yet */
    unsigned slow_rose; /* successive values of the slow series at which that rose */
    bool grows;         /* the verdict; `looks` and `rise` are its evidence */
    unsigned looks;
    oaki_rise rise;
} oaki_figure;

typedef struct oaki_look {
    const oaki_census *census;
    const oaki_site_reading *sites;
    long nsites;
    size_t rate; /* sampling rate of the profile */
    oaki_cycles cycles;
    uint64_t wall;
    uint64_t at; /* ns since the first look; a look on demand adds at least a pace */
} oaki_look;

typedef struct oaki_series {
    oak_finding_kind kind;
    uint64_t key;    /* 0: free */
    uint64_t look;   /* the last paced look that saw it */
    oaki_figure figure;
} oaki_series;

typedef struct oaki_map_track {
    uintptr_t hidden;
    uint64_t look, progress;
    oaki_row still, sparse; /* looks with a resize without progress; with a sparse array */
    size_t most;            /* most entries seen */
    oaki_map_view view;
    oaki_figure len;
} oaki_map_track;

typedef struct oaki_still { /* a thread in a blocking region */
    int tid;
    uintptr_t sp;
    oaki_row row;
    bool lasts; /* it has been stationary for cfg.blocked_looks looks */
    bool waits; /* it waits for an object that it has announced */
} oaki_still;

typedef struct oaki_detector {
    oak_detector_config cfg;
    uint64_t looks;
    uint64_t when, at; /* of the last look: monotonic, and as oaki_look.at */
    uint64_t paces, paced_at; /* paced looks, i.e. at least a pace apart; `at` of the last one */
    bool paced;               /* this look is a paced one */
    oaki_figure heap, threads, fibers;
    double heap_slope, heap_late; /* at this look */
    oaki_series *series; /* by hash */
    size_t nseries;
    oaki_map_track *tracks; /* by address */
    size_t ntracks;
    oaki_still *still; /* by tid */
    size_t nstill;
    oaki_row fragmented, weak_dead, finalizer_cycles;
    uint64_t thrashed; /* oaki_cycles.thrashed as last reported */
    oaki_standing *held; /* memory held by stationary threads at the last query; or NULL */
    uint64_t held_next;  /* monotonic: no query before */
    bool held_stopped;   /* the query stopped the world: never again */
    oaki_stranded *stranded; /* waits that no thread can end, at the last query; or NULL */
    uint64_t stranded_next;  /* as for held */
    bool stranded_stopped;
    oak_finding finding[OAKI_FINDINGS];
    bool fresh[OAKI_FINDINGS];    /* to be reported after this look */
    uint64_t told[OAKI_FINDINGS]; /* the look at which it was last reported */
    size_t nfindings;
    uint64_t next_id;
    oak_detector_stats stats;
} oaki_detector;

void oaki_detector_end(void); /* stops the detector, and frees it */

/* The finding of this kind about this subject, marked as found at this look. *fresh: it is new, and
 * the caller sets its subject. NULL: no room. */
oak_finding *oaki_raise(oaki_detector *d, const oaki_look *l, oak_finding_kind kind, uint64_t key,
                        bool *fresh);

/* Nanoseconds between looks that count as n paces apart: 90 % of them, for inexact clocks and
 * schedulers. */
OAKI_INLINE uint64_t oaki_paces_ns(const oaki_detector *d, int n)
{
    return (uint64_t)n * (uint64_t)d->cfg.pace_ms * 900000;
}

/* Counts a look at which the condition `shows`, or doesn't. Returns true if it has held at so many
 * successive looks, for as long as they take at the usual pace. Looks in quick succession, as when
 * a heap is filled, see a single moment. */
bool oaki_row_lasts(oaki_row *r, bool shows, int looks, const oaki_detector *d, const oaki_look *l);

/* The state of a thread in a blocking region; NULL: it was in none. */
const oaki_still *oaki_still_of(const oaki_detector *d, int tid);

/* A figure: add its value at this look; then ask whether it grows by at least `least`, and by at
 * least `percent`. *looks: the looks that this verdict spans. */
void oaki_figure_init(const oaki_detector *d, oaki_figure *f);
void oaki_figure_add(const oaki_detector *d, oaki_figure *f, double value);
bool oaki_figure_grows(const oaki_detector *d, oaki_figure *f, double least, double percent,
                       oaki_rise *r, unsigned *looks);

/* "12.3 MiB" in buf. */
const char *oaki_size_text(double bytes, char buf[32]);

/* Statistics of cycles: the listener adds a cycle; read returns them since the detector began. Any
 * thread. */
void oaki_cycles_note(const oaki_cycle *c);
oaki_cycles oaki_cycles_read(void);
void oaki_cycles_begin(const oak_detector_config *cfg);
void oaki_cycles_child(void); /* in a fork's child: releases the lock */

/* A detector before its first look, for the caller to free; NULL: out of memory. */
oaki_detector *oaki_detector_new(const oak_detector_config *cfg);
void oaki_detector_free(oaki_detector *d); /* or NULL */

/* Starts the detector if OAKUM_DETECTOR asks for it. */
void oaki_detector_from_environment(void);

void oaki_judge_growth(oaki_detector *d, const oaki_look *l);
void oaki_judge_maps(oaki_detector *d, const oaki_look *l);
void oaki_judge_state(oaki_detector *d, const oaki_look *l);
void oaki_judge_standing(oaki_detector *d, const oaki_look *l);
void oaki_judge_stranded(oaki_detector *d, const oaki_look *l);

/* A query about stationary threads and fibers, from the host's malloc; NULL: none is due. */
oaki_standing *oaki_standing_wanted(const oaki_detector *d, const oaki_census *c);
/* Takes the answer s, whose query took so many nanoseconds; the detector owns s afterwards. */
void oaki_standing_answer(oaki_detector *d, oaki_standing *s, bool whole, uint64_t took);

/* As the previous two, for waiting threads: whether any thread can wake them. */
oaki_stranded *oaki_stranded_wanted(const oaki_detector *d);
void oaki_stranded_answer(oaki_detector *d, oaki_stranded *s, bool whole, uint64_t took);

#endif
