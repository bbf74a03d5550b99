/* sample.h - which objects the heap profile records: a Poisson process over allocated bytes.
 *
 * Each span class of each cache draws the distance from one sampled byte to the next. The
 * distribution is exponential, and its mean is the rate. Poisson processes side by side make one. A
 * run counts as allocated when it is taken. It is cut before the object that holds the sampled
 * byte. So that object takes the slow path, and the run continues after it. (With one distance for
 * all classes, the class that comes next would be recorded instead: larger ones too often.)
 *
 * A flush of a cache returns slots that are known to hold no sampled byte. The rest of the old
 * distance would then fall on the next object too often. So a flush draws a new distance, which is
 * correct as the process has no memory.
 *
 * Owns: struct oaki_sampler, in oaki_heap. The rate is written in a stop in which all caches are
 * flushed. The functions are set before the first rate and stay. */
#ifndef OAKI_SAMPLE_H
#define OAKI_SAMPLE_H

#include "base.h"

struct oaki_mcache;

/* The reports about samples. Each function may take locks of rank OAKI_RANK_OBSERVE and above. */
typedef struct oaki_sample_hooks {
    /* The calling thread has allocated obj, of `bytes`, with a sampled byte in it at this rate.
     * Called outside of oaki_enter. Keeps errno. */
    void (*note)(void *obj, size_t bytes, size_t rate);
    /* Called inside oaki_enter, with no lock of OAKI_RANK_OBSERVE or a higher rank held, for an
     * object in a span with sampled ones. It is about to be freed by hand, or has a new size. */
    void (*freed)(void *obj);
    void (*resized)(void *obj, size_t bytes);
} oaki_sample_hooks;

typedef struct oaki_sampler {
    AO_t rate;           /* bytes; 1: every object; 0: none */
    AO_t random;         /* seeds caches */
    oaki_sample_hooks on;
} oaki_sampler;

#define OAKI_SAMPLE_NEVER SIZE_MAX /* bytes: more than is ever allocated */

/* Draws a new distance for a span class, after its run was flushed or the sampled byte was
 * reached. */
void oaki_sample_draw(struct oaki_mcache *mc, unsigned spanclass);

/* Draws for all span classes: the cache is new, or the rate is. */
void oaki_sample_draw_all(struct oaki_mcache *mc);

/* Seeds the cache's own random numbers. */
void oaki_sample_seed(struct oaki_mcache *mc);

/* For a run of slots of `size` bytes that holds the sampled byte: the bytes before the object with
 * that byte. */
size_t oaki_sample_before(struct oaki_mcache *mc, unsigned spanclass, size_t size);

/* The object with the sampled byte is being taken. Sets mc->sample_due, and draws a new distance
 * from the object's end on. */
void oaki_sample_met(struct oaki_mcache *mc, unsigned spanclass);

/* For a large object of `bytes` that is being published: the rate if it is sampled, else 0. */
size_t oaki_sample_large(struct oaki_mcache *mc, size_t bytes);

/* Sets the rate. With a seed other than 0, the caches draw from it. Stops the world. 0, or -1 with
 * ENOMEM. */
int oaki_sample_set_rate(size_t rate, const oaki_sample_hooks *on, uint64_t seed);

#endif
