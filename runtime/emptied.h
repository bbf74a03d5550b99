/* emptied.h - spans that were emptied by hand. A sweep frees the spans that it finds empty; these
 * are not known until a search finds them. */
#ifndef OAKI_EMPTIED_H
#define OAKI_EMPTIED_H

#include "base.h"

/* Takes them off their lists and returns them as a list through the spans: the first page + 1, or
 * 0. All spans are swept. */
uint32_t oaki_emptied_take(void);

/* Frees their pages. No other thread is still using one: the world is stopped, or a handshake
 * (oaki_world_handshake) has passed since they were taken. During a mark they are put back
 * instead. */
void oaki_emptied_free(uint32_t first);

#endif
