/* trend.h - a series of looks at one figure, and whether it rises.
 *
 * A series rises when most pairs of looks do (Mann 1945, Kendall 1975), by how much tells the
 * median of the slopes of all pairs (Theil 1950, Sen 1968): both hold up against outliers of any
 * size. What wanders, as caches do, goes up for a while too, so that its looks are worth less the
 * more each is like the one before (Yue and Wang 2004), and in a short window it hardly may fall.
 * And more is asked: that the last third lies above the first, that the second half has its part
 * of the first one's pace, as what fills up levels off, and that it is higher than what was seen
 * before the window, single looks aside.
 *
 * Owns: nothing; a series is its owner's. Bound: a judgement is O(looks^2 log looks). */
#ifndef OAKI_TREND_H
#define OAKI_TREND_H

#include "runtime/base.h"

#define OAKI_TREND_MAX 64

typedef struct oaki_trend {
    double value[OAKI_TREND_MAX]; /* a ring: look k is at k % max */
    unsigned n;                   /* looks so far */
    unsigned max;                 /* of the window */
    double peak;                  /* of what has left the window; forgotten slowly */
} oaki_trend;

void oaki_trend_init(oaki_trend *t, unsigned max);
void oaki_trend_add(oaki_trend *t, double value);

OAKI_INLINE unsigned oaki_trend_len(const oaki_trend *t) { return OAKI_MIN(t->n, t->max); }

/* The kth oldest in the window. */
OAKI_INLINE double oaki_trend_at(const oaki_trend *t, unsigned k)
{
    return t->value[(t->n - oaki_trend_len(t) + k) % t->max];
}

typedef struct oaki_rise {
    double z;             /* standard deviations that chance would have to be off by */
    double slope;         /* a look: the median */
    double late;          /* the same, of the second half */
    double before, now;   /* medians of the first and the last three looks */
    bool steady;          /* it is still rising, and above what was before */
} oaki_rise;

oaki_rise oaki_trend_rise(const oaki_trend *t);

/* Does it rise beyond doubt, over at least `looks` looks, by at least so much? */
bool oaki_trend_rises(const oaki_trend *t, unsigned looks, double least, double least_part,
                      oaki_rise *out);

/* ---- at two paces ---- */

#define OAKI_SLOW 16 /* looks whose median is one of the slow series */

/* What a window of looks is too short for is seen in one of so many times the length. */
typedef struct oaki_growth {
    oaki_trend fast, slow;
    double part[OAKI_SLOW]; /* looks for the next one of slow */
    unsigned parts;
} oaki_growth;

void oaki_growth_init(oaki_growth *g, unsigned max);

/* true: slow has one more. */
bool oaki_growth_add(oaki_growth *g, double value);

/* Mean and standard deviation of all looks in the window but the last. false: too few. */
bool oaki_trend_spread(const oaki_trend *t, double *mean, double *sigma);

#endif
