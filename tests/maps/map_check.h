/* map_check.h - holds a default map to the rules of maps/map.h. */
#ifndef TESTS_MAPS_MAP_CHECK_H
#define TESTS_MAPS_MAP_CHECK_H

#include <oakum/map.h>

/* The broken rule, or NULL. Between two writes. */
const char *map_check(const oak_map *m);

#endif
