/* options.h - the options in the table of <oakum/base.h>, and the debug switches of OAKUM_DEBUG.
 *
 * Set once, before the heap starts; read without a lock. */
#ifndef OAKI_OPTIONS_H
#define OAKI_OPTIONS_H

#include "base.h"

/* Bits of oaki_debug.guard, from OAKUM_DEBUG=guard, guard=page, guard=continue or
 * guard=page+continue. */
enum { OAKI_DEBUG_GUARD = 1, OAKI_DEBUG_GUARD_PAGE = 2, OAKI_DEBUG_GUARD_CONTINUE = 4 };

/* OAKUM_DEBUG=gctrace=1,stress=N,... : switch, min, max, help. */
#define OAKI_DEBUG_SWITCHES(X)                                                                     \
    X(gctrace, 0, 1, "print a line for each collection, in the form of Go's")                      \
    X(stress, 0, 1000000000, "collect at every Nth allocation")                                    \
    X(verify, 0, 1, "check in each final pause that every reachable object is marked")             \
    X(poison, 0, 1, "fill freed objects with 0xdb")                                                \
    X(failalloc, 0, 1000000000, "fail every Nth request of the page heap for memory")              \
    X(beside, 0, 2, "mark small heaps concurrently, too; 2: with dirty pages found in pauses")     \
    X(twice, 0, 1, "run a concurrent collection before each requested one")                        \
    X(settle, 0, 1000000, "microseconds before dead records leave the object tables")              \
    X(markers, 0, 64, "concurrent markers; 0: a quarter of those in a pause")                      \
    X(minor, 0, 1000000, "N minor collections between two full ones, whatever they find")          \
    X(markstack, 0, 1000000, "at most N segments of mark stack a marker: forces the overflow path")

typedef struct oaki_debug {
#define OAKI_DEBUG_FIELD(name, min, max, help) int name;
    OAKI_DEBUG_SWITCHES(OAKI_DEBUG_FIELD)
#undef OAKI_DEBUG_FIELD
    int guard;
} oaki_debug;

extern OAKI_HIDDEN oaki_debug oaki_debug_switches;

/* One bit for each variable whose bad value has been reported. Tests reset it. */
extern OAKI_HIDDEN AO_t oaki_options_complained;

/* Reads OAKUM_* into *cfg and OAKUM_DEBUG into oaki_debug_switches. A bad value leaves the default.
 * It is reported on stderr once per variable, with the variable's name and the accepted form.
 * Nothing is read in a set-user-id process. */
void oaki_options_from_environment(oak_config *cfg);

/* The value of a variable of Oakum's, such as OAKUM_GC_LOG. NULL where it isn't set, and in a
 * set-user-id process. */
const char *oaki_options_variable(const char *name);

/* Returns the name of the first field that is out of range, or NULL. */
const char *oaki_options_check(const oak_config *cfg);

/* Parse a size ("64M") or an integer in [min, max]. Return 0, or -1 with EINVAL. */
int oaki_parse_size(const char *s, size_t min, size_t max, size_t *out);
int oaki_parse_int(const char *s, int min, int max, int *out);

#endif
