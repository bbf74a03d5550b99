/* scrub.h - dead frames of a stack. */
#ifndef OAKI_SCRUB_H
#define OAKI_SCRUB_H

/* Overwrites some kilobytes below the caller's frame, where functions that have returned left
 * addresses of objects: a scan of later frames over them would keep those objects. */
void oaki_scrub(void);

#endif
