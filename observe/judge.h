/* judge.h - one look of the detector, and what it remembers from look to look.
 *
 * detector.c     starting and ending, the thread, the look itself, findings
 * judge.c        what grows: heap, sites, types, threads, fibers
 * judge_cycles.c what is known of collections
 * judge_maps.c   maps
 * judge_state.c  what is held or wasted, without growing
 * judge_standing.c  what threads hold that stand still, and whether they wait for ever
 *
 * Owns: struct oaki_detector, the host's malloc's. Lock: the detector's turn, for all of it. */
#ifndef OAKI_JUDGE_H
#define OAKI_JUDGE_H

#include "census.h"
#include "gc/event.h"
#include "site.h"
#include "standing.h"
#include "stranded.h"
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
    bool over;              /* more was live after each than the memory limit allows */
} oaki_cycles;

/* Looks in a row at which something shows. */
typedef struct oaki_row {
    unsigned looks;
    uint64_t since; /* the first of them */
} oaki_row;

/* A figure that may grow. Of looks in quick succession it takes one. */
typedef struct oaki_figure {
    oaki_growth seen;
    unsigned rose;      /* looks in a row at which it did */
    bool news;          /* it has one more look, that is not judged yet */
    bool slow_news;     /* and so has the slow series */
    unsigned slow_rose; /* of these, how many times in a row */
    bool grows;         /* the verdict, and what it says */
    unsigned looks;
    oaki_rise rise;
} oaki_figure;

typedef struct oaki_look {
    const oaki_census *census;
    const oaki_site_reading *sites;
    long nsites;
    size_t rate; /* of the profile */
    oaki_cycles cycles;
    uint64_t wall;
    uint64_t at; /* nanoseconds since the first look, those on demand at least a pace apart */
} oaki_look;

typedef struct oaki_series {
    oak_finding_kind kind;
    uint64_t key;    /* 0: free */
    uint64_t look;   /* the last one that had it, of those at the usual pace */
    oaki_figure figure;
} oaki_series;

typedef struct oaki_map_track {
    uintptr_t hidden;
    uint64_t look, progress;
    oaki_row still, sparse; /* a resize without progress; an array */
    size_t most;                  /* entries ever seen */
    oaki_map_view view;
    oaki_figure len;
} oaki_map_track;

typedef struct oaki_still { /* a thread that may have stopped for good */
    int tid;
    uintptr_t sp;
    oaki_row row;
    bool lasts; /* and has, for as many looks as it takes */
    bool waits; /* for an object that it has told of */
} oaki_still;

typedef struct oaki_detector {
    oak_detector_config cfg;
    uint64_t looks;
    uint64_t when, at; /* the last one: monotonic, and as oaki_look.at */
    uint64_t paces, paced_at; /* looks at the usual pace, and the last one's time */
    bool paced;               /* this look is one of them */
    oaki_figure heap, threads, fibers;
    double heap_slope, heap_late; /* at this look */
    oaki_series *series; /* by hash */
    size_t nseries;
    oaki_map_track *tracks; /* by address */
    size_t ntracks;
    oaki_still *still; /* by tid */
    size_t nstill;
    oaki_row fragmented, weak_dead, finalizer_cycles;
    uint64_t thrashed; /* told of */
    oaki_standing *held; /* what those that stood still held, when it was asked for; or NULL */
    uint64_t held_next;  /* monotonic: not again before */
    bool held_stopped;   /* to know it stops the world: not again */
    oaki_stranded *stranded; /* the waits that nobody ends, when it was asked; or NULL */
    uint64_t stranded_next;  /* as for held */
    bool stranded_stopped;
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

/* What looks that are n paces apart must have between them, clocks and schedulers allowed for. */
OAKI_INLINE uint64_t oaki_paces_ns(const oaki_detector *d, int n)
{
    return (uint64_t)n * (uint64_t)d->cfg.pace_ms * 900000;
}

/* Does it show now, and has it at so many looks in a row, for as long as they take at the usual
 * pace? Looks in quick succession, as collections come while a heap is filled, see one moment. */
bool oaki_row_lasts(oaki_row *r, bool shows, int looks, const oaki_detector *d, const oaki_look *l);

/* What is known of a thread that is in a blocking region; NULL: it was in none. */
const oaki_still *oaki_still_of(const oaki_detector *d, int tid);

/* What it was at this look; then, does it grow: by so much at least, and by such a part? *looks:
 * that it takes to see it. */
void oaki_figure_init(const oaki_detector *d, oaki_figure *f);
void oaki_figure_add(const oaki_detector *d, oaki_figure *f, double value);
bool oaki_figure_grows(const oaki_detector *d, oaki_figure *f, double least, double percent,
                       oaki_rise *r, unsigned *looks);

/* "12.3 MiB" in buf. */
const char *oaki_size_text(double bytes, char buf[32]);

/* The listener's, and what it has noted since the detector began. Any thread. */
void oaki_cycles_note(const oaki_cycle *c);
oaki_cycles oaki_cycles_read(void);
void oaki_cycles_begin(const oak_detector_config *cfg);
void oaki_cycles_child(void); /* of a fork: nobody has the lock */

/* One that has seen nothing yet, the caller's to free; NULL: out of memory. */
oaki_detector *oaki_detector_new(const oak_detector_config *cfg);
void oaki_detector_free(oaki_detector *d); /* or NULL */

/* Start it if OAKUM_DETECTOR says so. */
void oaki_detector_from_environment(void);

void oaki_judge_growth(oaki_detector *d, const oaki_look *l);
void oaki_judge_maps(oaki_detector *d, const oaki_look *l);
void oaki_judge_state(oaki_detector *d, const oaki_look *l);
void oaki_judge_standing(oaki_detector *d, const oaki_look *l);
void oaki_judge_stranded(oaki_detector *d, const oaki_look *l);

/* What is to be asked about those that stand still, the host's malloc's; NULL: nothing now. */
oaki_standing *oaki_standing_wanted(const oaki_detector *d, const oaki_census *c);
/* It was asked, which took so many nanoseconds; s is the detector's from here on. */
void oaki_standing_answer(oaki_detector *d, oaki_standing *s, bool whole, uint64_t took);

/* The same for those that wait, and whether anybody could wake them. */
oaki_stranded *oaki_stranded_wanted(const oaki_detector *d);
void oaki_stranded_answer(oaki_detector *d, oaki_stranded *s, bool whole, uint64_t took);

#endif
