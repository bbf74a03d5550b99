/* sample.h - which objects the heap profile notes: a Poisson process over allocated bytes.
 *
 * The distance from one sampled byte to the next is drawn, for each span class of each cache, from
 * the exponential distribution whose mean is the rate: Poisson processes side by side are one. A
 * run counts as allocated when it is taken, and is cut in front of the object in which the sampled
 * byte lies, so that the class's next object comes through the slow path; then it goes on. (With
 * one distance for all classes, whichever comes next would be noted in its place, the larger the
 * likelier.) When a cache is flushed, slots go back that were known to hold no sampled byte; so a
 * new distance is drawn then, which is right as the process has no memory, while the rest of the
 * old one would fall on the next object too often.
 *
 * Owns: struct oaki_sampler, in oaki_heap. The rate is written in a stop in which all caches are
 *   flushed; functions are set before the first rate and stay. */
#ifndef OAKI_SAMPLE_H
#define OAKI_SAMPLE_H

#include "base.h"

struct oaki_mcache;

/* What is told of samples. Each may take locks of rank OAKI_RANK_OBSERVE and above. */
typedef struct oaki_sample_hooks {
    /* obj, of `bytes`, was allocated by the calling thread, with a sampled byte in it at this rate.
     * Outside of oaki_enter. Keeps errno. */
    void (*note)(void *obj, size_t bytes, size_t rate);
    /* Inside oaki_enter, no lock held, for an object in a span with sampled ones: it is about to be
     * freed by hand, or has this size from now on. */
    void (*freed)(void *obj);
    void (*resized)(void *obj, size_t bytes);
} oaki_sample_hooks;

typedef struct oaki_sampler {
    AO_t rate;           /* bytes; 1: every object; 0: none */
    AO_t random;         /* seeds caches */
    oaki_sample_hooks on;
} oaki_sampler;

#define OAKI_SAMPLE_NEVER SIZE_MAX /* bytes: as many are never allocated */

/* A new distance for a span class: when its run was flushed, or the byte was met. */
void oaki_sample_draw(struct oaki_mcache *mc, unsigned spanclass);

/* For all of them: the cache is new, or the rate is. */
void oaki_sample_draw_all(struct oaki_mcache *mc);

/* Random numbers of the cache's own. */
void oaki_sample_seed(struct oaki_mcache *mc);

/* Of a run of slots of `size` bytes in which the sampled byte is: the bytes in front of the object
 * with that byte. */
size_t oaki_sample_before(struct oaki_mcache *mc, unsigned spanclass, size_t size);

/* That object is being taken: mc->sample_due is set, and a new distance drawn from its end on. */
void oaki_sample_met(struct oaki_mcache *mc, unsigned spanclass);

/* Is the large object that is being published, of `bytes`, to be noted? The rate, or 0. */
size_t oaki_sample_large(struct oaki_mcache *mc, size_t bytes);

/* From now on the rate is this, and with a seed other than 0 caches draw from it. Stops the world.
 * 0 or -1 with ENOMEM. */
int oaki_sample_set_rate(size_t rate, const oaki_sample_hooks *on, uint64_t seed);

#endif
