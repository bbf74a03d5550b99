/* xxh.c - see xxh.h. Owns nothing. */
#define XXH_IMPLEMENTATION
#include "xxh.h"
