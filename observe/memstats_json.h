/* memstats_json.h - heap statistics as JSON, under the names of Go's MemStats. */
#ifndef OAKI_MEMSTATS_JSON_H
#define OAKI_MEMSTATS_JSON_H

#include "json.h"
#include <oakum/heap.h>

/* Writes the statistics as an object, where a value is expected. */
void oaki_memstats_json(oaki_json *j, const oak_memstats *s);

#endif
