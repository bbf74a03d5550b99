/* gclog.h - the lines of the log of collections. */
#ifndef OAKI_GCLOG_H
#define OAKI_GCLOG_H

#include "gc/event.h"
#include "json.h"

/* An object that tells of the cycle, where a value goes; lines lost before it, for want of room. */
void oaki_gclog_cycle(oaki_json *j, const oaki_cycle *c, uint64_t lost);

/* Start what OAKUM_GC_LOG names, if it does. */
void oaki_gclog_from_environment(void);

#endif
