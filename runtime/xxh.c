/* xxh.c - the code of xxHash (xxh.h). Owns nothing. */
#define XXH_IMPLEMENTATION
#include "xxh.h"
