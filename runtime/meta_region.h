/* meta_region.h - runs of 16 KiB units. The built-in metadata back end makes its slabs and its
 * blocks of middle size from them. */
#ifndef OAKI_META_REGION_H
#define OAKI_META_REGION_H

#include "base.h"

#define OAKI_META_UNIT ((size_t)16 << 10)
#define OAKI_META_SLAB_UNITS 4u
#define OAKI_META_RUN_MAX 16u /* units */

/* A run of n units; a slab's is aligned to its size. NULL when out of memory. *zero: does it read
 * as zero? */
void *oaki_meta_run_take(unsigned n, bool slab, bool *zero);

/* Gives it back. Bytes behind its first `touched` still read as zero, if they did when the run was
 * taken. */
void oaki_meta_run_give(void *p, unsigned n, size_t touched);

/* Has an empty region, made now if there is none; false when out of memory. */
bool oaki_meta_runs_keep_room(void);

/* Bytes of runs, of free units that may have memory, and of the regions' records. No lock. */
size_t oaki_meta_runs_held(void);
const char *oaki_meta_runs_check(void); /* the violated rule, or NULL */
void oaki_meta_runs_fork(int stage);

#endif
