/* trend.h - a series of samples of one figure, and whether it rises.
 *
 * A series rises if most pairs of samples do (Mann 1945, Kendall 1975). The rate is the median of
 * the slopes of all pairs (Theil 1950, Sen 1968). Both withstand outliers of any size. A series
 * that wanders, as the size of a cache does, rises for a while too. So samples weigh less the more
 * each resembles the one before (Yue and Wang 2004), and a short window may hardly fall. Three more
 * conditions hold. The last third lies above the first. The second half keeps a share of the first
 * half's pace, as a cache that fills levels off. The series lies above all samples before the
 * window, except for single ones.
 *
 * Owns: nothing; a series belongs to its owner. Bound: a judgement is O(samples^2 log samples). */
#ifndef OAKI_TREND_H
#define OAKI_TREND_H

#include "runtime/base.h"

#define OAKI_TREND_MAX 64

typedef struct oaki_trend {
    double value[OAKI_TREND_MAX]; /* a ring: sample k is at k % max */
    unsigned n;                   /* samples so far */
    unsigned max;                 /* of the window */
    double peak;                  /* of samples that have left the window; decays slowly */
} oaki_trend;

void oaki_trend_init(oaki_trend *t, unsigned max);
void oaki_trend_add(oaki_trend *t, double value);

OAKI_INLINE unsigned oaki_trend_len(const oaki_trend *t) { return OAKI_MIN(t->n, t->max); }

/* The kth oldest sample in the window. */
OAKI_INLINE double oaki_trend_at(const oaki_trend *t, unsigned k)
{
    return t->value[(t->n - oaki_trend_len(t) + k) % t->max];
}

typedef struct oaki_rise {
    double z;             /* the test's statistic, in standard deviations of chance */
    double slope;         /* per sample: the median */
    double late;          /* the same, of the second half */
    double before, now;   /* medians of the first and the last three samples */
    bool steady;          /* the rise continues, and lies above the time before the window */
} oaki_rise;

oaki_rise oaki_trend_rise(const oaki_trend *t);

/* Does the series rise beyond doubt, over at least `looks` samples? By at least `least`, and by at
 * least `least_part` of its first samples? */
bool oaki_trend_rises(const oaki_trend *t, unsigned looks, double least, double least_part,
                      oaki_rise *out);

/* ---- two time scales ---- */

#define OAKI_SLOW 16 /* samples whose median is one sample of the slow series */

/* A rise too slow for one window is found in the slow series, whose window is OAKI_SLOW times as
 * long. */
typedef struct oaki_growth {
    oaki_trend fast, slow;
    double part[OAKI_SLOW]; /* samples for the next one of the slow series */
    unsigned parts;
} oaki_growth;

void oaki_growth_init(oaki_growth *g, unsigned max);

/* true: the slow series has a new sample. */
bool oaki_growth_add(oaki_growth *g, double value);

/* Mean and standard deviation of all samples in the window but the last. false: too few. */
bool oaki_trend_spread(const oaki_trend *t, double *mean, double *sigma);

#endif
