/* rootmask.h - root words that a scan ignores while their values stay the same. */
#ifndef OAKI_ROOTMASK_H
#define OAKI_ROOTMASK_H

#include "dlroots.h"

extern OAKI_HIDDEN AO_t oaki_root_masks; /* number of masks; if 0, each root range costs one test */

/* Passes the range on without its masked words. */
void oaki_root_emit_masked(const oaki_root_visitor *v, oaki_root root);

/* Called after a visit of all roots. A mask becomes void if the visit did not reach its word, or
 * found another value there. */
void oaki_root_masks_visited(void);

#endif
