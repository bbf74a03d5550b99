/* trend.c - a series of samples of one figure, and whether it rises (trend.h).
 *
 * Owns: nothing. */
#include "trend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SURE_SHORT 3.09 /* one in a thousand series without a trend exceeds this by chance */
#define SURE_LONG 3.5
#define SHORT 20     /* samples: a shorter window must hardly fall */
#define FALL_PART 0.25
#define DECAY 0.999  /* of the peak, per sample */
#define ABOVE 0.02   /* of the peak, that the end must be above it, ... */
#define ABOVE_RISE 0.75 /* ... or this part of the window's rise, if that is less */
#define SPREAD_MIN 8
#define PACE_SHORT 0.6 /* the least pace of the second half, as a part of the first half's */
#define PACE_LONG 0.3

void oaki_trend_init(oaki_trend *t, unsigned max)
{
    memset(t, 0, sizeof *t);
    t->max = OAKI_MIN(max, OAKI_TREND_MAX);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* The median of three samples from the kth on. */
static double around(const oaki_trend *t, unsigned k)
{
    double v[3];
    for (unsigned i = 0; i < 3; i++) v[i] = oaki_trend_at(t, k + i);
    return median(v, 3);
}

void oaki_trend_add(oaki_trend *t, double value)
{
    t->peak *= DECAY;
    if (t->n >= t->max) t->peak = OAKI_MAX(t->peak, around(t, 0)); /* a single sample is no peak */
    t->value[t->n++ % t->max] = value;
}

/* The variance of the sum of signs without a trend; ties reduce it. */
static double variance(const oaki_trend *t, unsigned n)
{
    double v[OAKI_TREND_MAX], sum = (double)n * (n - 1) * (2 * n + 5);
    for (unsigned i = 0; i < n; i++) v[i] = oaki_trend_at(t, i);
    qsort(v, n, sizeof *v, by_value);
    for (unsigned i = 0, k; i < n; i += k) {
        for (k = 1; i + k < n && v[i + k] <= v[i]; k++) {
        }
        sum -= (double)k * (k - 1) * (2 * k + 5);
    }
    return sum / 18;
}

/* The autocorrelation of neighbouring samples without the slope: 0 to 0.9. */
static double likeness(const oaki_trend *t, unsigned n, double slope)
{
    double mean = 0, squares = 0, products = 0, rest[OAKI_TREND_MAX];
    for (unsigned i = 0; i < n; i++) mean += (rest[i] = oaki_trend_at(t, i) - slope * i) / n;
    for (unsigned i = 0; i < n; i++) {
        rest[i] -= mean;
        squares += rest[i] * rest[i];
        if (i > 0) products += rest[i] * rest[i - 1];
    }
    if (squares <= 1e-9 * mean * mean) return 0; /* a straight line */
    double r = products / squares + 1.0 / n;
    return r < 0 ? 0 : r > 0.9 ? 0.9 : r;
}

/* All falls in the window together are at most FALL_PART of its rise. */
static bool hardly_falls(const oaki_trend *t, unsigned n)
{
    double falls = 0;
    for (unsigned i = 1; i < n; i++) {
        double d = oaki_trend_at(t, i - 1) - oaki_trend_at(t, i);
        falls += d > 0 ? d : 0;
    }
    return falls <= FALL_PART * (oaki_trend_at(t, n - 1) - oaki_trend_at(t, 0));
}

/* The median of the slopes of all pairs of n samples from the kth on. Adds the signs of the slopes
 * to *signs. */
static double slope_of(const oaki_trend *t, unsigned k, unsigned n, double *signs)
{
    double slopes[OAKI_TREND_MAX * (OAKI_TREND_MAX - 1) / 2];
    unsigned pairs = 0;
    for (unsigned i = k; i < k + n; i++)
        for (unsigned j = i + 1; j < k + n; j++) {
            double d = oaki_trend_at(t, j) - oaki_trend_at(t, i);
            *signs += (d > 0) - (d < 0);
            slopes[pairs++] = d / (j - i);
        }
    return median(slopes, pairs);
}

/* A cache that fills levels off, so the second half must keep a part of the first half's pace. The
 * median ignores a step, as when an array doubles. */
static bool keeps_pace(const oaki_trend *t, unsigned n, double late)
{
    double signs = 0, first = slope_of(t, 0, n / 2, &signs);
    return late >= (n < SHORT ? PACE_SHORT : PACE_LONG) * first;
}

/* A ramp that is slower than ABOVE a window goes on rising, too. */
static bool is_above_peak(const oaki_trend *t, unsigned n)
{
    double end = around(t, n - 3), rise = end - around(t, 0);
    return end > t->peak + OAKI_MIN(ABOVE * t->peak, ABOVE_RISE * rise);
}

/* All samples of the last third are above all of the first. And the end is above the peak before
 * the window. */
static bool is_steady(const oaki_trend *t, unsigned n, double late)
{
    unsigned third = n / 3;
    double top_of_first = oaki_trend_at(t, 0), least_of_last = oaki_trend_at(t, n - 1);
    for (unsigned i = 0; i < third; i++) {
        top_of_first = OAKI_MAX(top_of_first, oaki_trend_at(t, i));
        least_of_last = OAKI_MIN(least_of_last, oaki_trend_at(t, n - 1 - i));
    }
    return least_of_last > top_of_first && is_above_peak(t, n) && keeps_pace(t, n, late);
}

oaki_rise oaki_trend_rise(const oaki_trend *t)
{
    static const oaki_rise none;
    unsigned n = oaki_trend_len(t);
    double signs = 0, of_half = 0;
    if (n < 4) return none;
    oaki_rise r = { .slope = slope_of(t, 0, n, &signs),
                    .late = slope_of(t, n - n / 2, n / 2, &of_half),
                    .before = around(t, 0),
                    .now = around(t, n - 3) };
    r.steady = is_steady(t, n, r.late);
    double alike = hardly_falls(t, n) ? 0 : likeness(t, n, r.slope);
    double var = variance(t, n) * (1 + alike) / (1 - alike);
    if (var > 0 && signs != 0) r.z = (signs - (signs > 0 ? 1 : -1)) / sqrt(var);
    return r;
}

bool oaki_trend_rises(const oaki_trend *t, unsigned looks, double least, double least_part,
                      oaki_rise *out)
{
    unsigned n = oaki_trend_len(t);
    if (n < looks || oaki_trend_at(t, n - 1) < oaki_trend_at(t, 0) + least) return false;
    *out = oaki_trend_rise(t);
    double rise = out->slope * (n - 1);
    if (n < SHORT && !hardly_falls(t, n)) return false;
    return out->z >= (n < SHORT ? SURE_SHORT : SURE_LONG) && out->steady && rise >= least &&
           rise >= least_part * out->before;
}

void oaki_growth_init(oaki_growth *g, unsigned max)
{
    oaki_trend_init(&g->fast, max);
    oaki_trend_init(&g->slow, max);
    g->parts = 0;
}

bool oaki_growth_add(oaki_growth *g, double value)
{
    oaki_trend_add(&g->fast, value);
    g->part[g->parts++] = value;
    if (g->parts < OAKI_SLOW) return false;
    g->parts = 0;
    oaki_trend_add(&g->slow, median(g->part, OAKI_SLOW));
    return true;
}

bool oaki_trend_spread(const oaki_trend *t, double *mean, double *sigma)
{
    unsigned n = oaki_trend_len(t);
    double sum = 0, squares = 0;
    if (n < SPREAD_MIN + 1) return false;
    for (unsigned i = 0; i + 1 < n; i++) sum += oaki_trend_at(t, i);
    *mean = sum / (n - 1);
    for (unsigned i = 0; i + 1 < n; i++) {
        double d = oaki_trend_at(t, i) - *mean;
        squares += d * d;
    }
    *sigma = sqrt(squares / (n - 1));
    return true;
}
