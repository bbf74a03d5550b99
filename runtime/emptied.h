/* emptied.h - spans that were emptied by hand. A sweep frees those that it finds empty; these are
 * not known until they are looked for. */
#ifndef OAKI_EMPTIED_H
#define OAKI_EMPTIED_H

#include "base.h"

/* Off their lists, as a list through the spans: the first page + 1, or 0. All is swept. */
uint32_t oaki_emptied_take(void);

/* Free their pages. No other thread is in the middle of one: the world is stopped, or has passed
 * (oaki_world_handshake) since they were taken. During a mark they are put back instead. */
void oaki_emptied_free(uint32_t first);

#endif
