/* follow.h - marking with somebody watching. */
#ifndef OAKI_FOLLOW_H
#define OAKI_FOLLOW_H

#include "gc.h"

/* Mark what p points to and all that is reachable from there, on this thread alone, and call found
 * for every object that this marks; it may only note things. Objects that take more than a scan of
 * a small slot (large and typed ones) are left to the marker: they are found, what they reach may
 * not be. World stopped; the marker's queues are empty before and after. */
void oaki_follow(const void *p, void (*found)(void *obj));

#endif
