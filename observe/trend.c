/* trend.c - a series of looks at one figure, and whether it rises (trend.h).
 *
 * Owns: nothing. */
#include "trend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SURE_SHORT 3.09 /* of a thousand series without a trend, one goes so far by chance */
#define SURE_LONG 3.5
#define SHORT 20     /* looks: below it a fall of more than a part of the rise is no growth */
#define FALL_PART 0.25
#define DECAY 0.999  /* of the peak, a look */
#define SPREAD_MIN 8

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

/* Of three looks from the kth on. */
static double around(const oaki_trend *t, unsigned k)
{
    double v[3];
    for (unsigned i = 0; i < 3; i++) v[i] = oaki_trend_at(t, k + i);
    return median(v, 3);
}

void oaki_trend_add(oaki_trend *t, double value)
{
    t->peak *= DECAY;
    if (t->n >= t->max) t->peak = OAKI_MAX(t->peak, around(t, 0)); /* one look alone is no peak */
    t->value[t->n++ % t->max] = value;
}

/* Variance of the sum of signs when there is no trend; ties make it smaller. */
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

/* How much alike neighbouring looks are, once the slope is taken off: 0 to 0.9. */
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

/* In a short window: it hardly ever falls. */
static bool hardly_falls(const oaki_trend *t, unsigned n)
{
    double falls = 0;
    for (unsigned i = 1; i < n; i++) {
        double d = oaki_trend_at(t, i - 1) - oaki_trend_at(t, i);
        falls += d > 0 ? d : 0;
    }
    return falls <= FALL_PART * (oaki_trend_at(t, n - 1) - oaki_trend_at(t, 0));
}

/* The last third is above the first whichever looks are compared, has its share of the rise, and is
 * beyond what was before the window. */
static bool is_steady(const oaki_trend *t, unsigned n)
{
    unsigned third = n / 3;
    double top_of_first = oaki_trend_at(t, 0), least_of_last = oaki_trend_at(t, n - 1);
    for (unsigned i = 0; i < third; i++) {
        top_of_first = OAKI_MAX(top_of_first, oaki_trend_at(t, i));
        least_of_last = OAKI_MIN(least_of_last, oaki_trend_at(t, n - 1 - i));
    }
    double before = around(t, 0), now = around(t, n - 3), at_third = around(t, n - third - 1);
    return least_of_last > top_of_first && now - at_third >= 0.1 * (now - before) &&
           now > t->peak * 1.02;
}

oaki_rise oaki_trend_rise(const oaki_trend *t)
{
    static const oaki_rise none;
    unsigned n = oaki_trend_len(t), pairs = 0;
    double slopes[OAKI_TREND_MAX * (OAKI_TREND_MAX - 1) / 2], signs = 0;
    if (n < 4) return none;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = i + 1; j < n; j++) {
            double d = oaki_trend_at(t, j) - oaki_trend_at(t, i);
            signs += (d > 0) - (d < 0);
            slopes[pairs++] = d / (j - i);
        }
    oaki_rise r = { .slope = median(slopes, pairs),
                    .before = around(t, 0),
                    .now = around(t, n - 3),
                    .steady = is_steady(t, n) };
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
