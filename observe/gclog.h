/* gclog.h - the lines of the log of collections. */
#ifndef OAKI_GCLOG_H
#define OAKI_GCLOG_H

#include "gc/event.h"
#include "json.h"

/* Writes the cycle as an object, where a value is expected. `lost`: lines before it that were lost,
 * as there was no room. */
void oaki_gclog_cycle(oaki_json *j, const oaki_cycle *c, uint64_t lost);

/* Starts a log to the file that OAKUM_GC_LOG names, if it is set. */
void oaki_gclog_from_environment(void);

#endif
