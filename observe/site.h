/* site.h - sites: stacks, with the labels of the thread, that allocated sampled objects.
 *
 * A site lives for ever and does not move. Its frames and labels never change, so they are read
 * without a lock. Its figures are under observe_lock.
 *
 * Owns: the table of sites, and the table from an object's address to its site.
 * Bound: at most OAKI_SITES_LABELLED sites with labels. Beyond that, a new stack with labels is
 * counted without them. At most OAKI_SITES sites in all. Beyond that, a new stack is counted at a
 * site without frames. */
#ifndef OAKI_SITE_H
#define OAKI_SITE_H

#include "runtime/label.h"
#include "stack.h"

#define OAKI_SITES_LABELLED 65536u
#define OAKI_SITES 1048576u

/* Unbiased estimates for all objects, not only the sampled ones. */
typedef struct oaki_site_figures {
    double alloc_objects, alloc_bytes;
    double live_objects, live_bytes;
} oaki_site_figures;

typedef struct oaki_site {
    struct oaki_site *same_hash;
    uint64_t hash;
    uint32_t id; /* counted from 0 */
    uint32_t nframes;
    uint32_t nlabels;
    size_t label_bytes;
    /* under observe_lock */
    uint64_t epoch;        /* of the last change; `settled` is as of the end of the epoch before */
    uint64_t live_samples; /* objects in the table */
    oaki_site_figures now, settled;
    uintptr_t frame[]; /* return addresses, the innermost first; then a hash of each one's object,
                        * and the labels' body (label.h) */
} oaki_site;

OAKI_INLINE const uint32_t *oaki_site_objects(const oaki_site *s)
{
    return (const uint32_t *)(s->frame + s->nframes);
}

OAKI_INLINE const void *oaki_site_labels(const oaki_site *s)
{
    return s->frame + s->nframes + (s->nframes + 1) / 2;
}

typedef struct oaki_site_reading {
    const oaki_site *site;
    uint64_t live_samples;
    oaki_site_figures now;     /* as of this moment */
    oaki_site_figures settled; /* as of the end of the last collection; if there was none, as of
                                * now */
} oaki_site_reading;

/* Starts the record of samples: registers the hooks. 0 or -1 with ENOMEM. Outside of oaki_enter. */
int oaki_sites_init(void);
const struct oaki_sample_hooks *oaki_sites_hooks(void);

/* The figures of all sites at one moment, in the order of their ids. *out is the host's malloc's;
 * the caller frees it. Returns how many, or -1 with ENOMEM. Outside of oaki_enter. */
long oaki_sites_read(oaki_site_reading **out);

/* The site of the object that begins at obj; NULL if it was not sampled. Inside oaki_enter, or with
 * the world stopped. O(1). */
const oaki_site *oaki_site_of(const void *obj);

/* The calling thread's current stack as a site, without an object; NULL without memory. Keeps
 * errno. Outside of oaki_enter. */
const oaki_site *oaki_site_here(void);

/* The site with this id, or NULL. Conditions as for oaki_site_of. */
const oaki_site *oaki_site_by_id(uint32_t id);

/* The code of frame i, for its name (symbol.h): the byte before the return address. Of a library
 * that was unloaded, and that another one has replaced, it is a number without a name. */
uintptr_t oaki_site_code(const oaki_site *s, size_t i);

/* Calls fn for each sampled object that is live now or was at the last collection. `weight` is the
 * number of objects that it stands for. World stopped. */
void oaki_samples_visit(void (*fn)(void *obj, size_t bytes, double weight, const oaki_site *s,
                                   void *ctx),
                        void *ctx);

/* Formats the innermost `frames` functions, as "make (file.c:12) < grow < main". buf is ended by a
 * zero byte; the text is cut to n bytes. Looks names up (symbol.h), so outside of oaki_enter.
 * Returns the length. */
size_t oaki_site_format(const oaki_site *s, unsigned frames, char *buf, size_t n);

/* The invariant that is broken, or NULL. World stopped. */
const char *oaki_sites_check(void);

#endif
