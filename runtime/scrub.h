/* scrub.h - clearing of a stack's dead frames. */
#ifndef OAKI_SCRUB_H
#define OAKI_SCRUB_H

/* Overwrites some kilobytes below the caller's frame, where functions that have returned left
 * addresses of objects. A scan of later frames that cover them would keep those objects. */
void oaki_scrub(void);

#endif
