/* rootmask.h - root words that are looked past while they stay the same. */
#ifndef OAKI_ROOTMASK_H
#define OAKI_ROOTMASK_H

#include "dlroots.h"

extern OAKI_HIDDEN AO_t oaki_root_masks; /* how many there are; 0 is one test for each root range */

/* Hand on the range without its masked words. */
void oaki_root_emit_masked(const oaki_root_visitor *v, oaki_root root);

/* A visit of all roots is over: masks whose word it did not come to, or not as it was, are void. */
void oaki_root_masks_visited(void);

#endif
