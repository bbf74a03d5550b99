/* memstats_json.h - MemStats as JSON, under Go's names. */
#ifndef OAKI_MEMSTATS_JSON_H
#define OAKI_MEMSTATS_JSON_H

#include "json.h"
#include <oakum/heap.h>

/* An object, where a value goes. */
void oaki_memstats_json(oaki_json *j, const oak_memstats *s);

#endif
